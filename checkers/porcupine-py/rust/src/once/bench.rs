//! What a check at once takes, piece by piece.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{Asked, Check, Open, ROUNDS};
use crate::clock::Clock;
use crate::reader::Spec;
use crate::search::Outcome;

/// The best seconds of some rounds from the parts as they were read to a verdict, parts in turn as in a check. None
/// where the ordinary way has to be gone.
pub fn bench_alone<'py>(
    operations: &Bound<'py, PyTuple>,
    spec: &Spec<'py>,
    asked: &Asked,
    rounds: usize,
) -> PyResult<Option<f64>> {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let mut clock = Clock::new(asked.until);
        let Some(mut check) = Check::new(operations, spec, asked)? else { return Ok(None) };
        let started = Instant::now();
        check.reading = Some(Duration::ZERO);
        if !check.sort_out(&mut clock)? {
            return Ok(None);
        }
        let sorted = started.elapsed();
        if check.decide(&mut clock)?.is_none() {
            return Ok(None);
        }
        let apart = sorted + check.reading.unwrap_or_default();
        best = best.min(started.elapsed().saturating_sub(apart).as_secs_f64());
        check.done();
    }
    Ok(Some(best))
}

/// The best times of some rounds, in seconds: of reading, of getting ready for the search, and of the search;
/// zones are not asked, and no part after one that is illegal is searched. None where the ordinary way has to be gone.
pub fn bench<'py>(
    operations: &Bound<'py, PyTuple>,
    spec: &Spec<'py>,
    asked: &Asked,
    rounds: usize,
) -> PyResult<Option<[f64; 3]>> {
    let mut best = [f64::INFINITY; 3];
    for _ in 0..rounds {
        let mut took = [0.0; 3];
        let started = Instant::now();
        let mut clock = Clock::new(asked.until);
        let Some(mut check) = Check::new(operations, spec, asked)? else { return Ok(None) };
        if !check.sort_out(&mut clock)? {
            return Ok(None);
        }
        took[0] += started.elapsed().as_secs_f64();
        let mut open = true;
        for number in 0..check.room.lots.len() {
            let started = Instant::now();
            let mut spare = check.room.spares.pop().unwrap_or_default();
            if !check.read(number, &mut spare.part, &mut clock)? {
                return Ok(None);
            }
            took[0] += started.elapsed().as_secs_f64();
            let started = Instant::now();
            let Some(mut part) = Open::new(spare, asked) else { return Ok(None) };
            took[1] += started.elapsed().as_secs_f64();
            if open {
                let started = Instant::now();
                open = !matches!(part.search(ROUNDS, asked)?, Outcome::Illegal);
                took[2] += started.elapsed().as_secs_f64();
            }
            check.room.leave(part);
        }
        for (best, took) in best.iter_mut().zip(took) {
            *best = best.min(took);
        }
        check.done();
    }
    Ok(Some(best))
}
