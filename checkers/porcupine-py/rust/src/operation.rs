//! The operation that a history is made of, with its fields where the core can read them at once.
//!
//! history.py's dataclass of the same name is what it means; this one takes its place where the core is in
//! use, and gets the dataclass' equality, its text and its marks from there.

use std::convert::Infallible;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyTuple, PyType};

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

    pub fn copied(&self, py: Python<'_>) -> Time {
        match self {
            Time::Whole(time) => Time::Whole(*time),
            Time::Other(time) => Time::Other(time.clone_ref(py)),
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

    pub fn copied(&self, py: Python<'_>) -> Said {
        match self {
            Said::Plain(outcome) => Said::Plain(*outcome),
            Said::Other(other) => Said::Other(other.clone_ref(py)),
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

#[pyclass(module = "porcupine.history", subclass, get_all, set_all)]
pub struct Operation {
    pub client_id: Py<PyAny>,
    pub input: Py<PyAny>,
    pub call: Time,
    pub output: Py<PyAny>,
    pub return_time: Time,
    pub outcome: Said,
    pub metadata: Py<PyAny>,
}

#[pymethods]
impl Operation {
    #[new]
    #[pyo3(signature = (client_id, input, call, output, return_time, outcome=Said::Plain(Outcome::Ok), metadata=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        client_id: Py<PyAny>,
        input: Py<PyAny>,
        call: Time,
        output: Py<PyAny>,
        return_time: Time,
        outcome: Said,
        metadata: Option<Py<PyAny>>,
    ) -> Operation {
        let metadata = metadata.unwrap_or_else(|| py.None());
        Operation { client_id, input, call, output, return_time, outcome, metadata }
    }

    /// How it is copied and pickled: with either core, for the other too.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let own = slf.borrow();
        let fields = (
            &own.client_id,
            &own.input,
            &own.call,
            &own.output,
            &own.return_time,
            &own.outcome,
            &own.metadata,
        );
        Ok((slf.get_type(), fields.into_pyobject(py)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.client_id)?;
        visit.call(&self.input)?;
        visit.call(&self.output)?;
        visit.call(&self.metadata)?;
        for time in [&self.call, &self.return_time] {
            if let Time::Other(other) = time {
                visit.call(other)?;
            }
        }
        match &self.outcome {
            Said::Other(other) => visit.call(other),
            Said::Plain(_) => Ok(()),
        }
    }

    fn __clear__(&mut self, py: Python<'_>) {
        for field in [&mut self.client_id, &mut self.input, &mut self.output, &mut self.metadata] {
            *field = py.None();
        }
        self.call = Time::Other(py.None());
        self.return_time = Time::Other(py.None());
        self.outcome = Said::Plain(Outcome::Ok);
    }
}
