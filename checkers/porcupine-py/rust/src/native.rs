//! Ready models: what their operations do to a state, on numbers in place of values.
//!
//! Each is the twin of one in porcupine/models.py, which is the reference. Values are numbered by the
//! caller, equal numbers for equal values. A register's state is the number of its value; all others have
//! a state of several words, or of bytes, that is itself numbered here.

use std::hash::Hash;

use pyo3::PyErr;

use crate::interner::{Interner, Piece};
use crate::machine::{Machine, Role, REFUSED};
use crate::memory::Held;
use crate::problem::NONE;
use crate::straight::Walk;

/// What came back from an operation that can fail: not told, or whether it did what it was asked.
pub type Told = Option<bool>;

/// What an operation that takes or looks at an element came back with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Got {
    Value(u32),
    Empty,
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// Read-only, and nothing is known of what it saw.
    Blind,
    // Registers.
    Read(u32),
    Write(u32),
    Swap(u32, u32),
    NoSwap(u32),
    Saw(u32, u32),
    MaySwap(u32, u32),
    // Counters.
    Add(i64),
    Count(i64),
    AddGet(i64, i64),
    // Sets.
    Insert(u32, Told),
    Remove(u32, Told),
    Has(u32, bool),
    Members(Box<[u32]>),
    // Queues, stacks and priority queues; values of the latter are numbered in their order.
    Put(u32),
    Take(Got),
    Look(Got),
    // Mutexes and semaphores.
    Acquire(u32, Told),
    Release(u32, Told),
    // Multi-registers: (key, value written), (key, value read; NONE when not known).
    Txn(Box<[(bool, u32, u32)]>),
}

/// What operations do, as what they are told apart by.
pub trait Kind: Clone + Eq + Hash {
    /// Whether no state lets it change the state.
    fn pure(&self) -> bool;
}

impl Kind for Op {
    fn pure(&self) -> bool {
        match self {
            Op::Blind
            | Op::Read(_)
            | Op::NoSwap(_)
            | Op::Saw(..)
            | Op::Count(_)
            | Op::Has(..)
            | Op::Members(_)
            | Op::Look(_) => true,
            Op::Insert(_, told) | Op::Remove(_, told) | Op::Acquire(_, told) | Op::Release(_, told) => {
                *told == Some(false)
            }
            Op::Take(got) => *got == Got::Empty,
            Op::Txn(parts) => parts.iter().all(|&(write, _, _)| !write),
            Op::Add(by) => *by == 0,
            Op::AddGet(by, _) => *by == 0,
            Op::Write(_) | Op::Swap(..) | Op::MaySwap(..) | Op::Put(_) => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Register,
    Counter,
    Set,
    Queue,
    Stack,
    Priority,
    /// Mutexes too; the number is how many permits there are.
    Semaphore(u32),
    Registers,
}

/// One register: the state is the value's number.
pub struct Register {
    pub ops: Vec<Op>,
}

impl Machine for Register {
    fn step(&mut self, state: u32, kind: u32) -> Result<u32, PyErr> {
        let fits = |yes: bool| if yes { state } else { REFUSED };
        Ok(match self.ops[kind as usize] {
            Op::Read(value) => fits(state == value),
            Op::Write(value) => value,
            Op::Swap(old, new) => {
                if state == old {
                    new
                } else {
                    REFUSED
                }
            }
            Op::NoSwap(old) => fits(state != old),
            Op::Saw(old, seen) => fits(state == seen && seen != old),
            Op::MaySwap(old, new) => {
                if state == old {
                    new
                } else {
                    state
                }
            }
            _ => state,
        })
    }

    fn direct(&self) -> bool {
        true
    }

    fn sets(&self, kind: u32) -> Option<(u32, bool)> {
        match self.ops[kind as usize] {
            Op::Write(value) => Some((value, true)),
            Op::Swap(_, new) | Op::MaySwap(_, new) => Some((new, false)),
            _ => None,
        }
    }

    fn states(&self) -> Option<Vec<u32>> {
        let mut found = vec![0];
        found.extend((0..self.ops.len() as u32).filter_map(|kind| Some(self.sets(kind)?.0)));
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    fn held(&self) -> Held {
        Held::default()
    }
}

/// Every object whose state is a few words.
pub struct Words {
    pub shape: Shape,
    pub ops: Vec<Op>,
    states: Interner<u32>,
    made: Vec<u32>,
}

enum Effect {
    Refused,
    Same,
    Changed,
}

fn yes(fits: bool) -> Effect {
    if fits {
        Effect::Same
    } else {
        Effect::Refused
    }
}

impl Words {
    pub fn new(shape: Shape, ops: Vec<Op>, first: &[u32]) -> Words {
        let mut states = Interner::default();
        states.number(first);
        Words { shape, ops, states, made: Vec::new() }
    }
}

pub fn counter_words(value: i64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn counter_value(words: &[u32]) -> i64 {
    i64::from(words[0]) | i64::from(words[1] as i32) << 32
}

fn apply(shape: Shape, op: &Op, state: &[u32], made: &mut Vec<u32>) -> Effect {
    made.clear();
    match op {
        Op::Blind => Effect::Same,
        Op::Add(by) => {
            made.extend_from_slice(&counter_words(counter_value(state).wrapping_add(*by)));
            Effect::Changed
        }
        Op::Count(seen) => yes(counter_value(state) == *seen),
        Op::AddGet(by, seen) => {
            let value = counter_value(state).wrapping_add(*by);
            if value != *seen {
                return Effect::Refused;
            }
            made.extend_from_slice(&counter_words(value));
            Effect::Changed
        }
        Op::Insert(value, told) => {
            let found = state.binary_search(value);
            if told.is_some_and(|new| new == found.is_ok()) {
                return Effect::Refused;
            }
            match found {
                Ok(_) => Effect::Same,
                Err(at) => {
                    made.extend_from_slice(state);
                    made.insert(at, *value);
                    Effect::Changed
                }
            }
        }
        Op::Remove(value, told) => {
            let found = state.binary_search(value);
            if told.is_some_and(|gone| gone != found.is_ok()) {
                return Effect::Refused;
            }
            match found {
                Err(_) => Effect::Same,
                Ok(at) => {
                    made.extend_from_slice(state);
                    made.remove(at);
                    Effect::Changed
                }
            }
        }
        Op::Has(value, seen) => yes(state.binary_search(value).is_ok() == *seen),
        Op::Members(seen) => yes(state == &**seen),
        Op::Put(value) => {
            made.extend_from_slice(state);
            if shape == Shape::Priority {
                made.insert(state.partition_point(|v| v <= value), *value);
            } else {
                made.push(*value);
            }
            Effect::Changed
        }
        Op::Take(got) => {
            let at = if shape == Shape::Stack { state.len().wrapping_sub(1) } else { 0 };
            match (got, state.get(at)) {
                (Got::Empty | Got::Unknown, None) => Effect::Same,
                (Got::Empty, Some(_)) | (Got::Value(_), None) => Effect::Refused,
                (Got::Value(seen), Some(value)) if seen != value => Effect::Refused,
                (_, Some(_)) => {
                    made.extend_from_slice(&state[..at]);
                    made.extend_from_slice(&state[at + 1..]);
                    Effect::Changed
                }
            }
        }
        Op::Look(got) => {
            let at = if shape == Shape::Stack { state.len().wrapping_sub(1) } else { 0 };
            yes(match got {
                Got::Unknown => true,
                Got::Empty => state.is_empty(),
                Got::Value(seen) => state.get(at) == Some(seen),
            })
        }
        Op::Acquire(count, told) => {
            let possible = state[0] >= *count;
            match told {
                Some(false) => yes(!possible),
                _ if !possible => Effect::Refused,
                _ => {
                    made.push(state[0] - count);
                    Effect::Changed
                }
            }
        }
        Op::Release(count, told) => {
            let Shape::Semaphore(permits) = shape else { return Effect::Refused };
            let possible = state[0] + count <= permits;
            match told {
                Some(false) => yes(!possible),
                _ if !possible => Effect::Refused,
                _ => {
                    made.push(state[0] + count);
                    Effect::Changed
                }
            }
        }
        Op::Txn(parts) => {
            made.extend_from_slice(state);
            for &(write, key, value) in parts.iter() {
                if write {
                    made[key as usize] = value;
                } else if value != NONE && made[key as usize] != value {
                    return Effect::Refused;
                }
            }
            Effect::Changed
        }
        Op::Read(_) | Op::Write(_) | Op::Swap(..) | Op::NoSwap(_) | Op::Saw(..) | Op::MaySwap(..) => {
            Effect::Refused
        }
    }
}

impl Machine for Words {
    fn step(&mut self, state: u32, kind: u32) -> Result<u32, PyErr> {
        Ok(match apply(self.shape, &self.ops[kind as usize], self.states.get(state), &mut self.made) {
            Effect::Refused => REFUSED,
            Effect::Same => state,
            Effect::Changed => self.states.number(&self.made),
        })
    }

    fn held(&self) -> Held {
        self.states.held()
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Grow<T> {
    Blind,
    Get(Box<[T]>),
    Put(Box<[T]>),
    Append(Box<[T]>),
}

impl<T: Copy + Eq + Hash> Kind for Grow<T> {
    fn pure(&self) -> bool {
        matches!(self, Grow::Blind | Grow::Get(_))
    }
}

/// An operation on a sequence; reads and puts by the number of their state.
enum Stride {
    Blind,
    Get(u32),
    Put(u32),
    Append { from: usize, to: usize },
}

/// A string or list that is appended to. A required read sees all that came before, and so binds what may
/// come: an append after which the next read can no longer see what it saw is no use.
pub struct Sequence<T> {
    ops: Vec<Stride>,
    /// What is appended, end to end.
    tails: Vec<T>,
    states: Interner<T>,
    /// States after an append, in places by the state and the kind, which are told beside each.
    after: Vec<(u64, u32)>,
    /// The room of a walk.
    walked: Vec<T>,
}

/// How many places there are at least for states after an append.
const PLACES_MIN: usize = 64;
/// No state and kind.
const NOWHERE: (u64, u32) = (u64::MAX, NONE);

impl<T: Piece + Send + Sync> Sequence<T> {
    pub fn new(ops: &[Grow<T>], first: &[T]) -> Sequence<T> {
        let mut states = Interner::default();
        states.number(first);
        let numbers: Vec<u32> = ops
            .iter()
            .map(|op| match op {
                Grow::Blind => NONE,
                Grow::Get(value) | Grow::Put(value) | Grow::Append(value) => states.number(value),
            })
            .collect();
        let mut made = Sequence::empty();
        made.begin(&mut states);
        for (op, number) in ops.iter().zip(numbers) {
            match op {
                Grow::Blind => made.add_blind(),
                Grow::Get(_) => made.add_get(number),
                Grow::Put(_) => made.add_put(number),
                Grow::Append(_) => made.add_append(number),
            }
        }
        made
    }

    pub fn empty() -> Sequence<T> {
        Sequence {
            ops: Vec::new(),
            tails: Vec::new(),
            states: Interner::default(),
            after: Vec::new(),
            walked: Vec::new(),
        }
    }

    /// Begin anew, with the room there is, and with states in exchange for those there were; the first has the number
    /// 0. Without kinds yet; they are numbered in the order in which they are added.
    pub fn begin(&mut self, states: &mut Interner<T>) {
        self.ops.clear();
        self.tails.clear();
        std::mem::swap(&mut self.states, states);
        self.after.clear();
        self.after.resize(PLACES_MIN, NOWHERE);
    }

    pub fn add_blind(&mut self) {
        self.ops.push(Stride::Blind);
    }

    /// What sees a state.
    pub fn add_get(&mut self, seen: u32) {
        self.ops.push(Stride::Get(seen));
    }

    /// What sets a state.
    pub fn add_put(&mut self, value: u32) {
        self.ops.push(Stride::Put(value));
    }

    /// What appends what a state consists of.
    pub fn add_append(&mut self, value: u32) {
        let from = self.tails.len();
        self.tails.extend_from_slice(self.states.get(value));
        self.ops.push(Stride::Append { from, to: self.tails.len() });
    }

    /// A walk from the first state, which numbers no states.
    pub fn walk(&mut self) -> Growing<'_, T> {
        let Sequence { ops, tails, states, walked, .. } = self;
        walked.clear();
        walked.extend_from_slice(states.get(0));
        Growing { ops, tails, states, all: walked, from: 0 }
    }

    fn appended(&mut self, state: u32, kind: u32, from: usize, to: usize) -> u32 {
        let key = u64::from(state) << 32 | u64::from(kind);
        let place = |count: usize| key.wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> 7 & (count - 1);
        let (known, reached) = self.after[place(self.after.len())];
        if known == key {
            return reached;
        }
        let reached = self.states.number_longer(state, &self.tails[from..to]);
        if self.states.count() > self.after.len() / 2 {
            let count = 2 * self.after.len();
            self.after.clear();
            self.after.resize(count, NOWHERE);
        }
        let place = place(self.after.len());
        self.after[place] = (key, reached);
        reached
    }
}

impl<T: Piece + Send + Sync> Machine for Sequence<T> {
    fn step(&mut self, state: u32, kind: u32) -> Result<u32, PyErr> {
        Ok(match self.ops[kind as usize] {
            Stride::Blind => state,
            Stride::Get(seen) if state == seen => state,
            Stride::Get(_) => REFUSED,
            Stride::Put(value) => value,
            Stride::Append { from, to } => self.appended(state, kind, from, to),
        })
    }

    fn direct(&self) -> bool {
        true
    }

    fn held(&self) -> Held {
        let pieces = self.tails.capacity() + self.walked.capacity();
        let now = pieces * std::mem::size_of::<T>() + 16 * self.after.capacity();
        Held { now, soon: 0 } + self.states.held()
    }

    fn grows(&self) -> bool {
        true
    }

    fn role(&self, kind: u32) -> Role {
        match self.ops[kind as usize] {
            Stride::Get(_) => Role::Observer,
            Stride::Put(_) => Role::Reset,
            _ => Role::Plain,
        }
    }

    fn may_become(&self, state: u32, kind: u32) -> bool {
        match self.ops[kind as usize] {
            Stride::Get(seen) => self.states.get(seen).starts_with(self.states.get(state)),
            _ => true,
        }
    }

    fn sets_out(&self, kind: u32, observer: u32) -> bool {
        match (&self.ops[kind as usize], &self.ops[observer as usize]) {
            (&Stride::Put(value), &Stride::Get(seen)) => {
                self.states.get(seen).starts_with(self.states.get(value))
            }
            _ => true,
        }
    }
}

/// A string or list as it grows: what stands in `all` from a place on, which a put exchanges for one further on.
pub struct Growing<'s, T> {
    ops: &'s [Stride],
    tails: &'s [T],
    states: &'s Interner<T>,
    all: &'s mut Vec<T>,
    from: usize,
}

impl<T: Piece> Walk for Growing<'_, T> {
    #[inline]
    fn fits(&mut self, kind: u32) -> Result<bool, PyErr> {
        Ok(match self.ops[kind as usize] {
            Stride::Get(seen) => *self.states.get(seen) == self.all[self.from..],
            _ => true,
        })
    }

    fn accepts(&mut self, _kind: u32) -> Result<bool, PyErr> {
        Ok(true)
    }

    fn take(&mut self, kind: u32) -> Result<(), PyErr> {
        match self.ops[kind as usize] {
            Stride::Blind | Stride::Get(_) => {}
            Stride::Put(value) => {
                self.from = self.all.len();
                self.all.extend_from_slice(self.states.get(value));
            }
            Stride::Append { from, to } => self.all.extend_from_slice(&self.tails[from..to]),
        }
        Ok(())
    }

    fn mark(&self) -> (usize, usize) {
        (self.from, self.all.len())
    }

    fn back(&mut self, (from, length): (usize, usize)) {
        self.from = from;
        self.all.truncate(length);
    }

    fn foresees(&self) -> bool {
        true
    }

    fn observes(&self, kind: u32) -> bool {
        matches!(self.ops[kind as usize], Stride::Get(_))
    }

    fn resets(&self, kind: u32) -> bool {
        matches!(self.ops[kind as usize], Stride::Put(_))
    }

    fn leads(&self, kind: u32, observer: u32) -> bool {
        let states = self.states;
        let Stride::Get(seen) = self.ops[observer as usize] else { return true };
        let (seen, now) = (states.get(seen), &self.all[self.from..]);
        match self.ops[kind as usize] {
            Stride::Blind | Stride::Get(_) => seen.starts_with(now),
            Stride::Put(value) => seen.starts_with(states.get(value)),
            Stride::Append { from, to } => {
                let rest = seen.get(now.len()..);
                rest.is_some_and(|rest| rest.starts_with(&self.tails[from..to])) && seen.starts_with(now)
            }
        }
    }

    fn held(&self) -> Held {
        Held { now: self.all.capacity() * std::mem::size_of::<T>(), soon: 0 }
    }
}
