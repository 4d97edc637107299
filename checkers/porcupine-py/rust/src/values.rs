//! Numbers in place of Python's values, equal for equal ones, and the names of operations.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use crate::glance::Glance;
use crate::memory::{table_bytes, Mixed};
use crate::problem::NONE;

/// Whole numbers from 0 to this have places of their own among those met lately.
const SMALL: usize = 64;
/// Other plain values share so many places.
const SHARED: usize = 64;

/// A plain value's place among those met lately, and whether that is its own.
#[inline(always)]
fn place(glance: Glance) -> (usize, bool) {
    match glance.whole() {
        Some(whole) if (whole as u64) < SMALL as u64 => (whole as usize, true),
        _ => (SMALL + glance.mixed() as usize % SHARED, false),
    }
}

/// A value as it was found: at a glance, where that says all of it, or as an object.
pub enum Value<'py> {
    Plain(Glance),
    Object(Bound<'py, PyAny>),
}

impl<'py> Value<'py> {
    #[inline(always)]
    pub fn truth(&self) -> Option<bool> {
        match self {
            Value::Plain(glance) => glance.truth(),
            Value::Object(object) => object.cast_exact::<PyBool>().ok().map(|truth| truth.is_true()),
        }
    }
}

/// What outlives the values that were numbered in it, for others.
pub struct ValuesRoom {
    /// All values: at a glance, or the places of their objects.
    known: Vec<(Glance, u32)>,
    /// Numbers of plain values that were met lately, or others that are no longer true.
    lately: [u32; SMALL + SHARED],
    plain: Mixed<u128, u32>,
    /// Long strings by their hash, which they know, and for each the next of the same hash.
    texts: Mixed<isize, u32>,
    next: Vec<(u32, u32)>,
}

impl Default for ValuesRoom {
    fn default() -> ValuesRoom {
        let (plain, texts) = (Mixed::default(), Mixed::default());
        ValuesRoom { known: Vec::new(), lately: [NONE; SMALL + SHARED], plain, texts, next: Vec::new() }
    }
}

impl ValuesRoom {
    pub fn held_bytes(&self) -> usize {
        let lists = 20 * self.known.capacity() + 8 * self.next.capacity();
        lists + table_bytes(&self.plain) + table_bytes(&self.texts)
    }
}

/// Numbers for values, equal for equal ones.
pub struct Values<'py> {
    py: Python<'py>,
    room: Box<ValuesRoom>,
    /// The objects of values that a glance does not say all of.
    objects: Vec<Bound<'py, PyAny>>,
    /// All of them, once one came that could be equal to a plain one or to a string.
    rest: Option<Bound<'py, PyDict>>,
}

impl<'py> Values<'py> {
    pub fn new(py: Python<'py>) -> Values<'py> {
        Values::within(py, Box::default())
    }

    pub fn within(py: Python<'py>, room: Box<ValuesRoom>) -> Values<'py> {
        let mut made = Values { py, room, objects: Vec::new(), rest: None };
        made.clear();
        made
    }

    pub fn into_room(self) -> Box<ValuesRoom> {
        self.room
    }

    /// Begin anew, and keep the room.
    pub fn clear(&mut self) {
        self.room.known.clear();
        self.room.plain.clear();
        self.room.texts.clear();
        self.room.next.clear();
        self.objects.clear();
        self.rest = None;
    }

    /// How many different ones there are.
    pub fn count(&self) -> usize {
        self.room.known.len()
    }

    /// An object equal to the value of a number.
    pub fn object(&self, number: u32) -> PyResult<Bound<'py, PyAny>> {
        let (glance, object) = self.room.known[number as usize];
        self.objects.get(object as usize).map_or_else(|| glance.object(self.py), |object| Ok(object.clone()))
    }

    /// None for a value that differs from itself.
    #[inline(always)]
    pub fn number_of(&mut self, value: &Value<'py>) -> PyResult<Option<u32>> {
        match value {
            Value::Plain(glance) => match self.lately(*glance) {
                Some(number) => Ok(Some(number)),
                None => self.plain(*glance),
            },
            Value::Object(object) => self.number(object),
        }
    }

    /// The number of a plain value that was met lately.
    #[inline(always)]
    fn lately(&self, glance: Glance) -> Option<u32> {
        let number = self.room.lately[place(glance).0];
        let (known, _) = self.room.known.get(number as usize)?;
        (*known == glance).then_some(number)
    }

    /// None for a value that differs from itself.
    pub fn number(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        if self.rest.is_some() {
            return self.by_hash(value);
        }
        let glance = Glance::of(value);
        if glance.is_plain() {
            return self.plain(glance);
        }
        match value.cast_exact::<PyString>() {
            Ok(text) if glance.is_text() => self.long_text(text).map(Some),
            _ => self.by_hash(value),
        }
    }

    fn plain(&mut self, glance: Glance) -> PyResult<Option<u32>> {
        if let Some(number) = self.lately(glance) {
            return Ok(Some(number));
        }
        if self.rest.is_some() || glance.truth().is_some() {
            return self.by_hash(&glance.object(self.py)?);
        }
        let ValuesRoom { known, lately, plain, .. } = &mut *self.room;
        let made = known.len() as u32;
        let (near, alone) = place(glance);
        let found = if alone { made } else { *plain.entry(glance.number()).or_insert(made) };
        if found == made {
            known.push((glance, NONE));
        }
        lately[near] = found;
        Ok(Some(found))
    }

    fn long_text(&mut self, value: &Bound<'py, PyString>) -> PyResult<u32> {
        let ValuesRoom { known, texts, next, .. } = &mut *self.room;
        let head = texts.entry(value.hash()?).or_insert(NONE);
        let mut at = *head;
        while at != NONE {
            let (number, after) = next[at as usize];
            if let Some(known) = self.objects.get(known[number as usize].1 as usize) {
                if known.is(value) || known.cast::<PyString>()?.to_str()? == value.to_str()? {
                    return Ok(number);
                }
            }
            at = after;
        }
        next.push((known.len() as u32, *head));
        *head = next.len() as u32 - 1;
        Ok(self.add(value))
    }

    fn add(&mut self, value: &Bound<'py, PyAny>) -> u32 {
        self.room.known.push((Glance::ABSENT, self.objects.len() as u32));
        self.objects.push(value.clone());
        self.room.known.len() as u32 - 1
    }

    fn by_hash(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        if self.rest.is_none() {
            let rest = PyDict::new(self.py);
            for number in 0..self.count() as u32 {
                rest.set_item(self.object(number)?, number)?;
            }
            self.rest = Some(rest);
        }
        let Some(rest) = &self.rest else { return Ok(None) };
        if !value.eq(value)? {
            return Ok(None);
        }
        if let Some(found) = rest.get_item(value)? {
            return found.extract().map(Some);
        }
        rest.set_item(value, self.count())?;
        Ok(Some(self.add(value)))
    }
}

/// What an operation is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
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

/// All names, in the order of their numbers.
const NAMES: [Name; Name::Other as usize + 1] = [
    Name::Read,
    Name::Write,
    Name::Cas,
    Name::Add,
    Name::AddAndGet,
    Name::Remove,
    Name::Contains,
    Name::Enqueue,
    Name::Dequeue,
    Name::Push,
    Name::Pop,
    Name::Peek,
    Name::Acquire,
    Name::Release,
    Name::Txn,
    Name::Get,
    Name::Put,
    Name::Append,
    Name::Other,
];

impl Name {
    /// The name of a number, which is that of its place among them.
    #[inline]
    pub fn numbered(number: u8) -> Name {
        NAMES.get(number as usize).copied().unwrap_or(Name::Other)
    }
}

pub fn name_of(text: &str) -> Name {
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
