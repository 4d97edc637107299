//! Gates: polynomial checks for the ready models, where every value is distinct. The reference, with the reasons,
//! are the modules of porcupine/gates.
//!
//! A contradiction names operations that are one by themselves; those are then judged by the reference, which has
//! the words. Where it names none, the reference looks at the whole history.

mod appends;
pub mod columns;
mod counters;
mod cover;
mod fifo;
mod lifo;
mod priority;
mod segments;
mod sets;
mod stays;

use crate::native::{Op, Shape};
use crate::parse::Gated;

/// The return of an operation of unknown outcome, and the end of a stay that has none.
pub const NEVER: i64 = i64::MAX;

/// What a gate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Legal,
    /// Places of operations that are illegal by themselves, or none where they are still to be found.
    Illegal(Vec<u32>),
    DoesNotApply,
    /// The deadline passed.
    Late,
}

/// Why a check ends early.
#[derive(Debug)]
pub enum Stop {
    Contradiction(Vec<u32>),
    DoesNotApply,
    Late,
}

pub type Checked<T> = Result<T, Stop>;

impl From<Checked<()>> for Answer {
    fn from(checked: Checked<()>) -> Answer {
        match checked {
            Ok(()) => Answer::Legal,
            Err(Stop::Contradiction(operations)) => Answer::Illegal(operations),
            Err(Stop::DoesNotApply) => Answer::DoesNotApply,
            Err(Stop::Late) => Answer::Late,
        }
    }
}

/// One operation that counts: when it was called, and when it returned, NEVER if its outcome is unknown.
#[derive(Clone, Debug)]
pub struct Entry<O> {
    pub call: i64,
    pub ret: i64,
    pub op: O,
}

impl<O> Entry<O> {
    pub fn unknown(&self) -> bool {
        self.ret == NEVER
    }
}

/// What the gate of a ready model says of its history.
pub fn judge(history: &Gated, late: &dyn Fn() -> bool) -> Answer {
    match history {
        Gated::Text { ops, initial } => appends::appends(ops, initial),
        Gated::List { ops } => appends::appends(ops, &[]),
        Gated::Ops { shape: Shape::Counter, ops, initial, .. } => counters::counter(ops, *initial),
        Gated::Ops { shape: Shape::Set, ops, values, .. } => sets::set(ops, *values),
        Gated::Ops { shape, ops, values, .. } => collection(*shape, ops, *values, late),
    }
}

/// A queue, a stack or a priority queue, of values below `values`; of the latter in their order.
fn collection(shape: Shape, entries: &[Entry<Op>], values: usize, late: &dyn Fn() -> bool) -> Answer {
    let stays = match stays::of(entries, values) {
        Ok(stays) => stays,
        Err(stop) => return Err(stop).into(),
    };
    let checked = stays.cuts().and_then(|()| match shape {
        Shape::Queue => fifo::check(&stays),
        Shape::Stack => lifo::check(&stays, late),
        Shape::Priority => priority::check(&stays),
        _ => Err(Stop::DoesNotApply),
    });
    match checked {
        // A take of unknown outcome may have taken what is in the way.
        Err(Stop::Contradiction(_)) if stays.unsure => Answer::DoesNotApply,
        other => other.into(),
    }
}
