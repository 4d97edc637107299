//! Operations as they are read at once: their times, and what they do.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::clock::Clock;
use crate::operation::{Operation, Outcome as Ended};
use crate::problem::Raw;
use crate::reader::{Marks, Noted};

/// An operation's times: out of the ordinary, or nothing, or what counts, without its kind.
pub(super) enum Timed {
    Odd,
    Failed,
    Counts(Raw),
}

#[inline(always)]
pub(super) fn timed(operation: &Operation, source: usize) -> Timed {
    let (Some(outcome), Some(call)) = (operation.plain_outcome(), operation.whole_call()) else {
        return Timed::Odd;
    };
    let optional = outcome == Ended::Info;
    let ret = match operation.whole_return() {
        _ if outcome == Ended::Fail => return Timed::Failed,
        _ if optional => 0,
        Some(back) if back >= call => back,
        _ => return Timed::Odd,
    };
    Timed::Counts(Raw { call, ret, optional, kind: 0, source: source as u32 })
}

/// The operations of a history: those that were looked at before, else all.
pub(super) struct Given<'a, 'py> {
    pub(super) all: &'a Bound<'py, PyTuple>,
    /// In the order of `all`.
    pub(super) met: Vec<&'a Operation>,
    pub(super) marks: &'a Marks,
}

impl<'a, 'py> Given<'a, 'py> {
    /// None for what is no operation of the core's own.
    #[inline]
    fn at(&self, source: usize) -> PyResult<Option<&'a Operation>> {
        if let Some(operation) = self.met.get(source) {
            return Ok(Some(operation));
        }
        Ok(self.all.get_borrowed_item(source)?.cast_exact::<Operation>().ok().map(Borrowed::get))
    }

    /// Let `kind_of` say which kind each operation is of, and whether that is pure; optional ones that are are left
    /// out. `raws` has the part's, or none where all are to be looked at. False where one cannot be read.
    #[inline]
    pub(super) fn kinds(
        &self,
        raws: &mut Vec<Raw>,
        clock: &mut Clock,
        mut kind_of: impl FnMut(&Noted<'a, 'py>) -> PyResult<Option<(u32, bool)>>,
    ) -> PyResult<bool> {
        let (py, marks, sorted) = (self.all.py(), self.marks, !self.met.is_empty());
        let count = if sorted { raws.len() } else { self.all.len() };
        if !sorted {
            raws.reserve(count);
        }
        let mut kept = 0;
        for at in 0..count {
            clock.tick(py)?;
            let source = if sorted { raws[at].source as usize } else { at };
            let Some(operation) = self.at(source)? else { return Ok(false) };
            let mut raw = if sorted {
                raws[at]
            } else {
                match timed(operation, source) {
                    Timed::Odd => return Ok(false),
                    Timed::Failed => continue,
                    Timed::Counts(raw) => raw,
                }
            };
            let noted = Noted { operation, optional: raw.optional, marks, py };
            let Some((kind, pure)) = kind_of(&noted)? else { return Ok(false) };
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
}

/// An operation's input and output as objects, for what goes by these. None where the input is no tuple.
pub(super) fn objects<'py>(noted: &Noted<'_, 'py>) -> Option<(Bound<'py, PyTuple>, Bound<'py, PyAny>)> {
    let Noted { operation, optional, marks, py } = *noted;
    let input = operation.input_of(py).cast_into_exact::<PyTuple>().ok()?;
    let output = if optional { marks.unknown(py).clone() } else { operation.output_of(py) };
    Some((input, output))
}
