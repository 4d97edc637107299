//! Operations as they are read at once: their times, and what they do.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::clock::Clock;
use crate::native::Kind;
use crate::operation::{Operation, Outcome as Ended, Said, Time};
use crate::problem::Raw;
use crate::reader::{Marks, Reader};

pub(super) fn purity<O: Kind>(pure: &mut Vec<bool>, ops: &[O]) {
    pure.clear();
    pure.extend(ops.iter().map(Kind::pure));
}

/// An operation's times: out of the ordinary, or nothing, or what counts, without its kind.
pub(super) enum Timed {
    Odd,
    Failed,
    Counts(Raw),
}

#[inline]
pub(super) fn timed(operation: &Operation, source: usize) -> Timed {
    let (Said::Plain(outcome), Time::Whole(call)) = (&operation.outcome, &operation.call) else {
        return Timed::Odd;
    };
    let (call, optional) = (*call, *outcome == Ended::Info);
    let ret = match operation.return_time {
        _ if *outcome == Ended::Fail => return Timed::Failed,
        _ if optional => 0,
        Time::Whole(back) if back >= call => back,
        _ => return Timed::Odd,
    };
    Timed::Counts(Raw { call, ret, optional, kind: 0, source: source as u32 })
}

/// Let `kind_of` say which kind each operation is of, and whether that is pure; optional ones that are are left out.
/// `raws` has the part's, or none where all are to be looked at. False where one cannot be read.
pub(super) fn kinds<'py, 'm>(
    operations: &Bound<'py, PyTuple>,
    sorted: bool,
    reader: &mut Reader<'py, 'm>,
    raws: &mut Vec<Raw>,
    clock: &mut Clock,
    mut kind_of: impl FnMut(
        &mut Reader<'py, 'm>,
        &Bound<'py, PyTuple>,
        &Bound<'py, PyAny>,
    ) -> PyResult<Option<(u32, bool)>>,
) -> PyResult<bool> {
    let py = operations.py();
    let unknown = Marks::get(py)?.unknown(py);
    let count = if sorted { raws.len() } else { operations.len() };
    if !sorted {
        raws.reserve(count);
    }
    let mut kept = 0;
    for at in 0..count {
        clock.tick(py)?;
        let source = if sorted { raws[at].source as usize } else { at };
        let operation = operations.get_borrowed_item(source)?;
        let Ok(operation) = operation.cast_exact::<Operation>() else { return Ok(false) };
        let operation = operation.try_borrow()?;
        let mut raw = if sorted {
            raws[at]
        } else {
            match timed(&operation, source) {
                Timed::Odd => return Ok(false),
                Timed::Failed => continue,
                Timed::Counts(raw) => raw,
            }
        };
        let Ok(input) = operation.input.bind(py).cast_exact::<PyTuple>() else { return Ok(false) };
        let output = if raw.optional { unknown } else { operation.output.bind(py) };
        let Some((kind, pure)) = kind_of(reader, input, output)? else { return Ok(false) };
        if raw.optional && pure {
            continue;
        }
        raw.kind = kind;
        if sorted {
            raws[kept] = raw;
        } else {
            raws.push(raw);
        }
        kept += 1;
    }
    raws.truncate(kept);
    Ok(true)
}
