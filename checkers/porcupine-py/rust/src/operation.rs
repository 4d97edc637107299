//! The operation that a history is made of, with its fields where the core can read them at once.
//!
//! history.py's dataclass of the same name is what it means; this one takes its place where the core is in
//! use, and gets the dataclass' equality, its text and its marks from there.
//!
//! What a check asks of each operation is noted when a field is given, as numbers: times, the outcome, the name in the
//! input, and its arguments and the output at a glance. So a check follows no pointers and takes no lock, but for
//! values that a glance cannot hold.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyTuple, PyType};

use crate::glance::{Glance, GlanceCell};
use crate::values::{name_of, Name};

/// A time: a whole number of 64 bits, or whatever else was given.
pub enum Time {
    Whole(i64),
    Other(Py<PyAny>),
}

impl Time {
    /// The time of a validated history; None for one that is no whole number, an error for one past 64 bits.
    pub fn whole(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        match self {
            Time::Whole(time) => Ok(Some(*time)),
            Time::Other(time) if time.bind(py).is_instance_of::<PyInt>() => time.extract(py).map(Some),
            Time::Other(_) => Ok(None),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Time {
    type Error = Infallible;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> Result<Time, Infallible> {
        if given.is_exact_instance_of::<PyInt>() {
            if let Ok(time) = given.extract() {
                return Ok(Time::Whole(time));
            }
        }
        Ok(Time::Other(given.to_owned().unbind()))
    }
}

impl<'py> IntoPyObject<'py> for &Time {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Infallible> {
        Ok(match self {
            Time::Whole(time) => time.into_pyobject(py)?.into_any(),
            Time::Other(time) => time.bind(py).clone(),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Fail,
    Info,
}

/// What was given as an outcome: one of the three strings, or whatever else.
pub enum Said {
    Plain(Outcome),
    Other(Py<PyAny>),
}

fn outcome_of(text: &str) -> Option<Outcome> {
    match text {
        "ok" => Some(Outcome::Ok),
        "fail" => Some(Outcome::Fail),
        "info" => Some(Outcome::Info),
        _ => None,
    }
}

impl Said {
    /// None for a string without a meaning, an error for what is no string.
    pub fn outcome(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        match self {
            Said::Plain(outcome) => Ok(Some(*outcome)),
            Said::Other(other) => Ok(outcome_of(other.bind(py).cast::<PyString>()?.to_str()?)),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Said {
    type Error = Infallible;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> Result<Said, Infallible> {
        let known = given.cast_exact::<PyString>().ok().and_then(|text| outcome_of(text.to_str().ok()?));
        Ok(known.map_or_else(|| Said::Other(given.to_owned().unbind()), Said::Plain))
    }
}

impl<'py> IntoPyObject<'py> for &Said {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Infallible> {
        let text = match self {
            Said::Plain(Outcome::Ok) => pyo3::intern!(py, "ok"),
            Said::Plain(Outcome::Fail) => pyo3::intern!(py, "fail"),
            Said::Plain(Outcome::Info) => pyo3::intern!(py, "info"),
            Said::Other(other) => return Ok(other.bind(py).clone()),
        };
        Ok(text.clone().into_any())
    }
}

// How a time or an outcome is kept: as a number, or as the object that was given.
const WHOLE: u8 = 0;
const NOTHING: u8 = 1;
const GIVEN: u8 = 2;

/// The number that stands for a time, how it is kept, and the object if that is needed.
fn noted(py: Python<'_>, time: Time) -> (i64, u8, Option<Py<PyAny>>) {
    match time {
        Time::Whole(time) => (time, WHOLE, None),
        Time::Other(other) if other.is_none(py) => (0, NOTHING, None),
        Time::Other(other) => (0, GIVEN, Some(other)),
    }
}

// An outcome as a number; GIVEN_OUTCOME where another object was given.
const OUTCOMES: [Outcome; 3] = [Outcome::Ok, Outcome::Fail, Outcome::Info];
const GIVEN_OUTCOME: u8 = 3;

fn noted_outcome(said: Said) -> (u8, Option<Py<PyAny>>) {
    match said {
        Said::Plain(outcome) => (outcome as u8, None),
        Said::Other(other) => (GIVEN_OUTCOME, Some(other)),
    }
}

/// The elements of an input that follow its name, as far as a ready model with keys looks.
const ARGUMENTS: usize = 3;

/// An input at a glance: its name, and what follows. A name that is none where the input is no tuple that begins with
/// a string.
fn glanced(input: &Bound<'_, PyAny>) -> (Name, [Glance; ARGUMENTS]) {
    let mut arguments = [Glance::ABSENT; ARGUMENTS];
    let Ok(input) = input.cast_exact::<PyTuple>() else { return (Name::Other, arguments) };
    let mut elements = input.iter_borrowed();
    let name = elements.next().and_then(|name| Some(name_of(name.cast::<PyString>().ok()?.to_str().ok()?)));
    for (argument, element) in arguments.iter_mut().zip(elements) {
        *argument = Glance::of(&element);
    }
    (name.unwrap_or(Name::Other), arguments)
}

/// The fields as objects. Whole times, None for a time, and outcomes of the three are made anew when asked for.
struct Held {
    client_id: Py<PyAny>,
    input: Py<PyAny>,
    output: Py<PyAny>,
    metadata: Py<PyAny>,
    given: Option<Box<Given>>,
}

/// What was given as times and outcome where numbers cannot say it.
#[derive(Default)]
struct Given {
    call: Option<Py<PyAny>>,
    return_time: Option<Py<PyAny>>,
    outcome: Option<Py<PyAny>>,
}

/// In the order in which a check looks at them: it takes two lines of the processor's cache, and mostly not the third.
#[pyclass(module = "porcupine.history", subclass, frozen)]
#[repr(C)]
pub struct Operation {
    call: AtomicI64,
    back: AtomicI64,
    call_kept: AtomicU8,
    back_kept: AtomicU8,
    outcome: AtomicU8,
    name: AtomicU8,
    arguments: [GlanceCell; ARGUMENTS],
    seen: GlanceCell,
    held: Mutex<Held>,
}

impl Operation {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchange something held. What was held goes when the lock is free again, for that may call back.
    fn exchange<T>(&self, place: impl FnOnce(&mut Held) -> &mut T, new: T) {
        let old = std::mem::replace(place(&mut self.held()), new);
        drop(old);
    }

    fn note_given(&self, place: impl FnOnce(&mut Given) -> &mut Option<Py<PyAny>>, new: Option<Py<PyAny>>) {
        let mut held = self.held();
        let old = match (&mut held.given, new) {
            (None, None) => None,
            (given, new) => std::mem::replace(place(given.get_or_insert_default()), new),
        };
        drop(held);
        drop(old);
    }

    fn given(&self, py: Python<'_>, place: impl FnOnce(&Given) -> &Option<Py<PyAny>>) -> Py<PyAny> {
        let held = self.held();
        let found = held.given.as_deref().and_then(|given| place(given).as_ref());
        found.map_or_else(|| py.None(), |found| found.clone_ref(py))
    }

    /// The time of its call, if that is a whole number.
    #[inline(always)]
    pub fn whole_call(&self) -> Option<i64> {
        (self.call_kept.load(Relaxed) == WHOLE).then(|| self.call.load(Relaxed))
    }

    /// The time of its return, if that is a whole number.
    #[inline(always)]
    pub fn whole_return(&self) -> Option<i64> {
        (self.back_kept.load(Relaxed) == WHOLE).then(|| self.back.load(Relaxed))
    }

    /// Its outcome, if that is one of the three strings.
    #[inline(always)]
    pub fn plain_outcome(&self) -> Option<Outcome> {
        OUTCOMES.get(self.outcome.load(Relaxed) as usize).copied()
    }

    /// What its input is called.
    #[inline(always)]
    pub fn called(&self) -> Name {
        Name::numbered(self.name.load(Relaxed))
    }

    /// The element of its input at a place, from 1 on; None for one so far behind that it was not noted.
    #[inline(always)]
    pub fn element(&self, at: usize) -> Option<Glance> {
        self.arguments.get(at - 1).map(GlanceCell::get)
    }

    /// Its output.
    #[inline(always)]
    pub fn seen(&self) -> Glance {
        self.seen.get()
    }

    pub fn call_of(&self, py: Python<'_>) -> Time {
        self.whole_call().map_or_else(|| Time::Other(self.given(py, |given| &given.call)), Time::Whole)
    }

    pub fn return_of(&self, py: Python<'_>) -> Time {
        self.whole_return()
            .map_or_else(|| Time::Other(self.given(py, |given| &given.return_time)), Time::Whole)
    }

    pub fn outcome_of(&self, py: Python<'_>) -> Said {
        self.plain_outcome().map_or_else(|| Said::Other(self.given(py, |given| &given.outcome)), Said::Plain)
    }

    pub fn input_of<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.held().input.bind(py).clone()
    }

    pub fn output_of<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.held().output.bind(py).clone()
    }
}

#[pymethods]
impl Operation {
    #[new]
    #[pyo3(signature = (client_id, input, call, output, return_time, outcome=Said::Plain(Outcome::Ok), metadata=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        client_id: Py<PyAny>,
        input: Bound<'_, PyAny>,
        call: Time,
        output: Bound<'_, PyAny>,
        return_time: Time,
        outcome: Said,
        metadata: Option<Py<PyAny>>,
    ) -> Operation {
        let (name, arguments) = glanced(&input);
        let seen = GlanceCell::new(Glance::of(&output));
        let (call, call_kept, call_given) = noted(py, call);
        let (back, back_kept, back_given) = noted(py, return_time);
        let (outcome, outcome_given) = noted_outcome(outcome);
        let given = (call_given.is_some() || back_given.is_some() || outcome_given.is_some())
            .then(|| Box::new(Given { call: call_given, return_time: back_given, outcome: outcome_given }));
        let metadata = metadata.unwrap_or_else(|| py.None());
        let held = Held { client_id, input: input.unbind(), output: output.unbind(), metadata, given };
        Operation {
            call: AtomicI64::new(call),
            back: AtomicI64::new(back),
            call_kept: AtomicU8::new(call_kept),
            back_kept: AtomicU8::new(back_kept),
            outcome: AtomicU8::new(outcome),
            name: AtomicU8::new(name as u8),
            arguments: arguments.map(GlanceCell::new),
            seen,
            held: Mutex::new(held),
        }
    }

    #[getter(client_id)]
    fn get_client_id(&self, py: Python<'_>) -> Py<PyAny> {
        self.held().client_id.clone_ref(py)
    }

    #[setter(client_id)]
    fn set_client_id(&self, new: Py<PyAny>) {
        self.exchange(|held| &mut held.client_id, new);
    }

    #[getter(input)]
    fn get_input(&self, py: Python<'_>) -> Py<PyAny> {
        self.held().input.clone_ref(py)
    }

    #[setter(input)]
    fn set_input(&self, new: Bound<'_, PyAny>) {
        let (name, arguments) = glanced(&new);
        self.name.store(name as u8, Relaxed);
        for (cell, glance) in self.arguments.iter().zip(arguments) {
            cell.set(glance);
        }
        self.exchange(|held| &mut held.input, new.unbind());
    }

    #[getter(call)]
    fn get_call<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok((&self.call_of(py)).into_pyobject(py)?)
    }

    #[setter(call)]
    fn set_call(&self, py: Python<'_>, new: Time) {
        let (time, kept, given) = noted(py, new);
        self.call.store(time, Relaxed);
        self.call_kept.store(kept, Relaxed);
        self.note_given(|all| &mut all.call, given);
    }

    #[getter(output)]
    fn get_output(&self, py: Python<'_>) -> Py<PyAny> {
        self.held().output.clone_ref(py)
    }

    #[setter(output)]
    fn set_output(&self, new: Bound<'_, PyAny>) {
        self.seen.set(Glance::of(&new));
        self.exchange(|held| &mut held.output, new.unbind());
    }

    #[getter(return_time)]
    fn get_return_time<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok((&self.return_of(py)).into_pyobject(py)?)
    }

    #[setter(return_time)]
    fn set_return_time(&self, py: Python<'_>, new: Time) {
        let (time, kept, given) = noted(py, new);
        self.back.store(time, Relaxed);
        self.back_kept.store(kept, Relaxed);
        self.note_given(|all| &mut all.return_time, given);
    }

    #[getter(outcome)]
    fn get_outcome<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok((&self.outcome_of(py)).into_pyobject(py)?)
    }

    #[setter(outcome)]
    fn set_outcome(&self, new: Said) {
        let (outcome, given) = noted_outcome(new);
        self.outcome.store(outcome, Relaxed);
        self.note_given(|all| &mut all.outcome, given);
    }

    #[getter(metadata)]
    fn get_metadata(&self, py: Python<'_>) -> Py<PyAny> {
        self.held().metadata.clone_ref(py)
    }

    #[setter(metadata)]
    fn set_metadata(&self, new: Py<PyAny>) {
        self.exchange(|held| &mut held.metadata, new);
    }

    /// How it is copied and pickled: with either core, for the other too.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let (py, own) = (slf.py(), slf.get());
        let fields = (
            own.get_client_id(py),
            own.get_input(py),
            own.get_call(py)?,
            own.get_output(py),
            own.get_return_time(py)?,
            own.get_outcome(py)?,
            own.get_metadata(py),
        );
        Ok((slf.get_type(), fields.into_pyobject(py)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let held = match self.held.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()), // in use, so no garbage
        };
        for field in [&held.client_id, &held.input, &held.output, &held.metadata] {
            visit.call(field)?;
        }
        if let Some(given) = &held.given {
            for field in [&given.call, &given.return_time, &given.outcome] {
                visit.call(field)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let none = || py.None().into_bound(py);
        self.set_client_id(py.None());
        self.set_input(none());
        self.set_call(py, Time::Other(py.None()));
        self.set_output(none());
        self.set_return_time(py, Time::Other(py.None()));
        self.set_outcome(Said::Plain(Outcome::Ok));
        self.set_metadata(py.None());
    }
}
