//! Operations on strings and registers as one number each, and the kinds that these numbers stand for.

use crate::memory::Mixed;
use crate::native::Kind;
use crate::problem::NONE;

// What an operation does, in the upper bits of its code.
pub const BLIND: u64 = 0;
pub const READ: u64 = 1;
pub const WRITE: u64 = 2;
pub const APPEND: u64 = 3;
pub const SWAP: u64 = 4;
pub const NO_SWAP: u64 = 5;
pub const SAW: u64 = 6;
pub const MAY_SWAP: u64 = 7;
/// The bits that the number of a value has in a code: more values than memory holds.
const VALUE_BITS: u32 = 30;

pub fn code(doing: u64, a: u32, b: u32) -> u64 {
    assert!((a | b) >> VALUE_BITS == 0, "too many values");
    doing << (2 * VALUE_BITS) | u64::from(a) << VALUE_BITS | u64::from(b)
}

pub fn decoded(code: u64) -> (u64, u32, u32) {
    let low = |bits: u64| (bits & ((1 << VALUE_BITS) - 1)) as u32;
    (code >> (2 * VALUE_BITS), low(code >> VALUE_BITS), low(code))
}

/// Whether what a code stands for never changes a state.
pub fn pure(code: u64) -> bool {
    matches!(decoded(code).0, BLIND | READ | NO_SWAP | SAW)
}

/// An operation on strings, by its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextCode(pub u64);

impl Kind for TextCode {
    fn pure(&self) -> bool {
        pure(self.0)
    }
}

/// Values below this have a place in a table together with another such value.
const PAIRED: u32 = 8;
const PAIRS: usize = (PAIRED * PAIRED * 8) as usize;
/// Values below this have a place in the table by themselves.
const SINGLE: u32 = 1 << 12;

/// Kinds by code: most in a table, the rest in a hash.
#[derive(Default)]
pub struct Codes {
    table: Vec<u32>,
    /// The places of the table that are in use.
    used: Vec<u32>,
    rest: Mixed<u64, u32>,
}

impl Codes {
    /// The kind of a code; `next` if the code is new, which it then is the kind of.
    #[inline]
    pub fn kind(&mut self, code: u64, next: u32) -> u32 {
        let (doing, a, b) = decoded(code);
        let at = if a < PAIRED && b < PAIRED {
            ((a * PAIRED + b) * 8) as usize + doing as usize
        } else if b == 0 && a < SINGLE {
            PAIRS + 8 * a as usize + doing as usize
        } else {
            return *self.rest.entry(code).or_insert(next);
        };
        if at >= self.table.len() {
            self.table.resize((at + 1).next_power_of_two(), NONE);
        }
        if self.table[at] == NONE {
            self.table[at] = next;
            self.used.push(at as u32);
        }
        self.table[at]
    }

    /// Begin anew, and keep the room.
    pub fn clear(&mut self) {
        for at in self.used.drain(..) {
            self.table[at as usize] = NONE;
        }
        self.rest.clear();
    }

    pub fn held_bytes(&self) -> usize {
        4 * (self.table.capacity() + self.used.capacity()) + crate::memory::table_bytes(&self.rest)
    }
}
