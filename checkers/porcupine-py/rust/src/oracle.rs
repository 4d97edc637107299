//! Wing and Gong's definition, word for word, to test the search against: some operation may come next
//! unless one that must happen returned before it was called, and the rest must follow.
//!
//! Nothing is done to be fast, except that no configuration is tried twice (Lowe). It shares a model's steps
//! with the search, and nothing else.

use std::collections::HashSet;

use pyo3::PyErr;

use crate::machine::{Machine, REFUSED};
use crate::problem::Raw;

/// For at most 64 operations.
pub fn linearizable(raws: &[Raw], machine: &mut dyn Machine) -> Result<bool, PyErr> {
    let required =
        raws.iter().enumerate().filter(|(_, raw)| !raw.optional).fold(0u64, |all, (i, _)| all | 1 << i);
    let mut tried: HashSet<(u64, u32)> = HashSet::new();
    let mut todo = vec![(0u64, 0u32)];
    while let Some((done, state)) = todo.pop() {
        if required & !done == 0 {
            return Ok(true);
        }
        if !tried.insert((done, state)) {
            continue;
        }
        let left = |i: &usize| done >> i & 1 == 0;
        for index in (0..raws.len()).filter(left) {
            let call = raws[index].call;
            if (0..raws.len()).filter(left).any(|other| !raws[other].optional && raws[other].ret < call) {
                continue;
            }
            let reached = machine.step(state, raws[index].kind)?;
            if reached != REFUSED {
                todo.push((done | 1 << index, reached));
            }
        }
    }
    Ok(false)
}
