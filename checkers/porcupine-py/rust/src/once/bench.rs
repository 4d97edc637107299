//! What a check at once takes, piece by piece.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::room::Room;
use super::{Asked, Check, Open, ROUNDS};
use crate::clock::Clock;
use crate::reader::{Reader, Spec};
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
        let mut room = Room::take();
        let values = std::mem::take(&mut room.values);
        let Some(reader) = Reader::new(operations.py(), spec, values)? else { return Ok(None) };
        let mut clock = Clock::new(asked.until);
        let mut check = Check::new(operations, asked, reader, room);
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
        let mut room = Room::take();
        let mut took = [0.0; 3];
        let started = Instant::now();
        let Some(reader) = Reader::new(operations.py(), spec, std::mem::take(&mut room.values))? else {
            return Ok(None);
        };
        let mut clock = Clock::new(asked.until);
        let mut check = Check::new(operations, asked, reader, room);
        if !check.sort_out(&mut clock)? {
            return Ok(None);
        }
        took[0] += started.elapsed().as_secs_f64();
        let mut open = true;
        for part in 0..check.lots.len() {
            let started = Instant::now();
            let mut spare = check.room.spares.pop().unwrap_or_default();
            let Some(read) = check.read(part, &mut spare, &mut clock)? else { return Ok(None) };
            took[0] += started.elapsed().as_secs_f64();
            let started = Instant::now();
            let Some(mut part) = Open::new(read, spare, asked) else { return Ok(None) };
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
