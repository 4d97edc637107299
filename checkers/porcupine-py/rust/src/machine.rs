//! What the search asks of an object: its behaviour on numbered states and numbered kinds of operations.

use pyo3::PyErr;

use crate::memory::Held;

pub const REFUSED: u32 = u32::MAX;

/// What a kind of operation has to do with foresight; see `Core::promising`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Plain,
    /// A required read of the whole state.
    Observer,
    /// Sets the state whatever it was.
    Reset,
}

/// An object's sequential behaviour on numbered states and kinds; state 0 is the first.
pub trait Machine: Send + Sync {
    /// The state after, or REFUSED.
    fn step(&mut self, state: u32, kind: u32) -> Result<u32, PyErr>;

    /// Whether a step is cheaper than remembering it.
    fn direct(&self) -> bool {
        false
    }

    /// For kinds of optional operations that set a state whatever it was, and for those that set the same one but not
    /// from every state: (a number for what they set, whether from every state).
    fn sets(&self, _kind: u32) -> Option<(u32, bool)> {
        None
    }

    /// All states it may be in, where these are few and known.
    fn states(&self) -> Option<Vec<u32>> {
        None
    }

    /// What its states take.
    fn held(&self) -> Held;

    /// Whether states only ever grow, but for resets: then `may_become` is asked.
    fn grows(&self) -> bool {
        false
    }

    fn role(&self, _kind: u32) -> Role {
        Role::Plain
    }

    /// Whether the state can become the one this observer saw without a reset.
    fn may_become(&self, _state: u32, _kind: u32) -> bool {
        true
    }

    /// Whether the state that a reset sets can become the one this observer saw without another.
    fn sets_out(&self, _kind: u32, _observer: u32) -> bool {
        true
    }
}
