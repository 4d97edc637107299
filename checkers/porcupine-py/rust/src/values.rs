//! Numbers in place of Python's values, equal for equal ones, and the names of operations.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

use crate::memory::Mixed;
use crate::problem::NONE;

/// Whole numbers from 0 to this have a table of their own.
const SMALL: i64 = 64;

/// Numbers for values, equal for equal ones.
pub struct Values<'py> {
    /// Whole numbers by themselves, for speed, until a value comes that could be equal to one.
    small: [u32; SMALL as usize],
    whole: Mixed<i64, u32>,
    rest: Bound<'py, PyDict>,
    mixed: bool,
    /// Strings met before, by their places in memory, which they keep as long as they are held here.
    texts: Mixed<usize, u32>,
    held: Vec<Bound<'py, PyAny>>,
    none: u32,
    pub known: Vec<Bound<'py, PyAny>>,
}

impl<'py> Values<'py> {
    pub fn new(py: Python<'py>) -> Values<'py> {
        Values {
            small: [NONE; SMALL as usize],
            whole: Mixed::default(),
            rest: PyDict::new(py),
            mixed: false,
            texts: Mixed::default(),
            held: Vec::new(),
            none: NONE,
            known: Vec::new(),
        }
    }

    /// None for a value that differs from itself.
    pub fn number(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        let exact = value.is_exact_instance_of::<PyInt>();
        if exact && !self.mixed {
            if let Ok(whole) = value.extract::<i64>() {
                return Ok(Some(self.whole(whole, value)));
            }
        }
        if value.is_none() {
            if self.none == NONE {
                self.none = self.by_hash(value)?;
            }
            return Ok(Some(self.none));
        }
        if value.is_exact_instance_of::<PyString>() {
            if let Some(&found) = self.texts.get(&(value.as_ptr() as usize)) {
                return Ok(Some(found));
            }
            let found = self.by_hash(value)?;
            self.texts.insert(value.as_ptr() as usize, found);
            self.held.push(value.clone());
            return Ok(Some(found));
        }
        if !exact {
            self.mix()?;
            if !value.eq(value)? {
                return Ok(None);
            }
        }
        self.by_hash(value).map(Some)
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
            *self.whole.entry(whole).or_insert(made)
        };
        if found == made {
            self.known.push(value.clone());
        }
        found
    }

    /// From now on whole numbers are found by their hash, as what may be equal to one is.
    fn mix(&mut self) -> PyResult<()> {
        if self.mixed {
            return Ok(());
        }
        self.mixed = true;
        let small = self.small.iter().zip(0i64..).filter(|(&number, _)| number != NONE);
        for (&number, whole) in small.chain(self.whole.iter().map(|(&whole, number)| (number, whole))) {
            self.rest.set_item(whole, number)?;
        }
        Ok(())
    }

    fn by_hash(&mut self, value: &Bound<'py, PyAny>) -> PyResult<u32> {
        if let Some(found) = self.rest.get_item(value)? {
            return found.extract();
        }
        let made = self.known.len() as u32;
        self.rest.set_item(value, made)?;
        self.known.push(value.clone());
        Ok(made)
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
