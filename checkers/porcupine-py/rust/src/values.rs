//! Numbers in place of Python's values, equal for equal ones, and the names of operations.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

use crate::memory::{table_bytes, Mixed};
use crate::problem::NONE;

/// Whole numbers from 0 to this have a table of their own.
const SMALL: i64 = 64;

/// Objects that came again lately are known by their places in memory.
const LATELY: usize = 64;

/// What outlives the values that were numbered in it, for others.
#[derive(Default)]
pub struct ValuesRoom {
    whole: Mixed<i64, u32>,
    texts: Mixed<isize, u32>,
    next: Vec<(u32, u32)>,
}

impl ValuesRoom {
    pub fn held_bytes(&self) -> usize {
        table_bytes(&self.whole) + table_bytes(&self.texts) + 8 * self.next.capacity()
    }
}

/// Numbers for values, equal for equal ones.
pub struct Values<'py> {
    py: Python<'py>,
    small: [u32; SMALL as usize],
    /// Whole numbers; strings by their hash, which they know, and for each the next of the same hash.
    room: ValuesRoom,
    none: u32,
    lately: [u32; LATELY],
    /// All of them, once one came that could be equal to a whole number, to a string or to None.
    rest: Option<Bound<'py, PyDict>>,
    pub known: Vec<Bound<'py, PyAny>>,
}

impl<'py> Values<'py> {
    pub fn new(py: Python<'py>) -> Values<'py> {
        Values::within(py, ValuesRoom::default())
    }

    pub fn within(py: Python<'py>, room: ValuesRoom) -> Values<'py> {
        let mut made = Values {
            py,
            small: [NONE; SMALL as usize],
            room,
            none: NONE,
            lately: [NONE; LATELY],
            rest: None,
            known: Vec::new(),
        };
        made.clear();
        made
    }

    pub fn into_room(self) -> ValuesRoom {
        self.room
    }

    /// Begin anew, and keep the room.
    pub fn clear(&mut self) {
        self.room.whole.clear();
        self.room.texts.clear();
        self.room.next.clear();
        if !self.known.is_empty() {
            self.small = [NONE; SMALL as usize];
            self.lately = [NONE; LATELY];
            self.none = NONE;
            self.rest = None;
            self.known.clear();
        }
    }

    /// As `number`, quicker where it mostly is the same few objects again.
    #[inline]
    pub fn number_again(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        let near = (value.as_ptr() as usize >> 4) % LATELY;
        let number = self.lately[near];
        if number != NONE && self.known[number as usize].is(value) {
            return Ok(Some(number));
        }
        let found = self.number(value)?;
        if let Some(number) = found {
            self.lately[near] = number;
        }
        Ok(found)
    }

    /// None for a value that differs from itself.
    pub fn number(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        if self.rest.is_none() {
            if value.is_exact_instance_of::<PyInt>() {
                if let Ok(whole) = value.extract::<i64>() {
                    return Ok(Some(self.whole(whole, value)));
                }
            } else if let Ok(text) = value.cast_exact::<PyString>() {
                return self.text(text).map(Some);
            } else if value.is_none() {
                if self.none == NONE {
                    self.none = self.add(value);
                }
                return Ok(Some(self.none));
            }
        }
        self.by_hash(value)
    }

    fn add(&mut self, value: &Bound<'py, PyAny>) -> u32 {
        self.known.push(value.clone());
        self.known.len() as u32 - 1
    }

    fn whole(&mut self, whole: i64, value: &Bound<'py, PyAny>) -> u32 {
        let made = self.known.len() as u32;
        let found = if (0..SMALL).contains(&whole) {
            let found = &mut self.small[whole as usize];
            if *found == NONE {
                *found = made;
            }
            *found
        } else {
            *self.room.whole.entry(whole).or_insert(made)
        };
        if found == made {
            self.add(value);
        }
        found
    }

    fn text(&mut self, value: &Bound<'py, PyString>) -> PyResult<u32> {
        let head = self.room.texts.entry(value.hash()?).or_insert(NONE);
        let mut at = *head;
        while at != NONE {
            let (number, next) = self.room.next[at as usize];
            let known = &self.known[number as usize];
            if known.is(value) || known.cast::<PyString>()?.to_str()? == value.to_str()? {
                return Ok(number);
            }
            at = next;
        }
        let number = self.known.len() as u32;
        self.room.next.push((number, *head));
        *head = self.room.next.len() as u32 - 1;
        Ok(self.add(value))
    }

    fn by_hash(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        let rest = match &self.rest {
            Some(rest) => rest,
            None => {
                let rest = PyDict::new(self.py);
                for (number, known) in self.known.iter().enumerate() {
                    rest.set_item(known, number)?;
                }
                self.rest.insert(rest)
            }
        };
        if !value.eq(value)? {
            return Ok(None);
        }
        if let Some(found) = rest.get_item(value)? {
            return found.extract().map(Some);
        }
        rest.set_item(value, self.known.len())?;
        Ok(Some(self.add(value)))
    }
}

/// What an operation is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    Read,
    Write,
    Cas,
    Add,
    AddAndGet,
    Remove,
    Contains,
    Enqueue,
    Dequeue,
    Push,
    Pop,
    Peek,
    Acquire,
    Release,
    Txn,
    Get,
    Put,
    Append,
    Other,
}

fn name_of(text: &str) -> Name {
    match text {
        "read" => Name::Read,
        "write" => Name::Write,
        "cas" => Name::Cas,
        "add" => Name::Add,
        "add_and_get" => Name::AddAndGet,
        "remove" => Name::Remove,
        "contains" => Name::Contains,
        "enqueue" => Name::Enqueue,
        "dequeue" => Name::Dequeue,
        "push" => Name::Push,
        "pop" => Name::Pop,
        "peek" => Name::Peek,
        "acquire" => Name::Acquire,
        "release" => Name::Release,
        "txn" => Name::Txn,
        "get" => Name::Get,
        "put" => Name::Put,
        "append" => Name::Append,
        _ => Name::Other,
    }
}

/// The names met, by their places in memory: mostly one object each.
pub struct Names<'py> {
    met: Vec<(Bound<'py, PyAny>, Name)>,
}

const NAMES_MAX: usize = 8;

impl<'py> Names<'py> {
    pub fn new() -> Names<'py> {
        Names { met: Vec::new() }
    }

    /// An error for what is no string.
    pub fn get(&mut self, name: &Bound<'py, PyAny>) -> PyResult<Name> {
        if let Some((_, found)) = self.met.iter().find(|(met, _)| met.is(name)) {
            return Ok(*found);
        }
        let found = name_of(name.cast::<PyString>()?.to_str()?);
        if self.met.len() < NAMES_MAX {
            self.met.push((name.clone(), found));
        }
        Ok(found)
    }
}
