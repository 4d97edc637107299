//! The operation that a history is made of, with its fields where the core can read them at once.
//!
//! history.py's dataclass of the same name is what it means; this one takes its place where the core is in
//! use, and gets the dataclass' equality, its text and its marks from there.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

#[pyclass(module = "porcupine.history", subclass, get_all, set_all)]
pub struct Operation {
    pub client_id: Py<PyAny>,
    pub input: Py<PyAny>,
    pub call: Py<PyAny>,
    pub output: Py<PyAny>,
    pub return_time: Py<PyAny>,
    pub outcome: Py<PyAny>,
    pub metadata: Py<PyAny>,
}

/// A field that may be left out; None is not left out.
enum Field {
    LeftOut,
    Given(Py<PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Field {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Field> {
        Ok(Field::Given(given.to_owned().unbind()))
    }
}

#[pymethods]
impl Operation {
    #[new]
    #[pyo3(signature = (client_id, input, call, output, return_time, outcome=Field::LeftOut, metadata=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        client_id: Py<PyAny>,
        input: Py<PyAny>,
        call: Py<PyAny>,
        output: Py<PyAny>,
        return_time: Py<PyAny>,
        outcome: Field,
        metadata: Option<Py<PyAny>>,
    ) -> Operation {
        let outcome = match outcome {
            Field::Given(outcome) => outcome,
            Field::LeftOut => pyo3::intern!(py, "ok").clone().into_any().unbind(),
        };
        let metadata = metadata.unwrap_or_else(|| py.None());
        Operation { client_id, input, call, output, return_time, outcome, metadata }
    }

    /// How it is copied and pickled: with either core, for the other too.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let own = slf.borrow();
        let fields = [
            &own.client_id,
            &own.input,
            &own.call,
            &own.output,
            &own.return_time,
            &own.outcome,
            &own.metadata,
        ];
        Ok((slf.get_type(), PyTuple::new(py, fields)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.client_id)?;
        visit.call(&self.input)?;
        visit.call(&self.call)?;
        visit.call(&self.output)?;
        visit.call(&self.return_time)?;
        visit.call(&self.outcome)?;
        visit.call(&self.metadata)
    }

    fn __clear__(&mut self, py: Python<'_>) {
        for field in [
            &mut self.client_id,
            &mut self.input,
            &mut self.call,
            &mut self.output,
            &mut self.return_time,
            &mut self.outcome,
            &mut self.metadata,
        ] {
            *field = py.None();
        }
    }
}
