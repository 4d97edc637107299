//! Models written in Python, which are asked: each transition once.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::clock::Clock;
use crate::machine::{Machine, REFUSED};
use crate::memory::Held;
use crate::parse::{Parsed, Timed};
use crate::problem::Raw;

/// A model written in Python: each transition is asked for once.
struct Asked {
    /// take(place in the history, state) -> state, or -1.
    take: Py<PyAny>,
    /// The states: their attribute `bytes` is what they weigh.
    states: Py<PyAny>,
    sources: Vec<u32>,
}

impl Machine for Asked {
    fn step(&mut self, state: u32, kind: u32) -> Result<u32, PyErr> {
        Python::attach(|py| {
            let reached: i64 = self.take.call1(py, (self.sources[kind as usize], state))?.extract(py)?;
            Ok(u32::try_from(reached).unwrap_or(REFUSED))
        })
    }

    fn held(&self) -> Held {
        // To read an attribute runs no code, so that nothing can be raised here and get lost.
        let now = Python::attach(|py| {
            let bytes = self.states.getattr(py, pyo3::intern!(py, "bytes"));
            bytes.and_then(|bytes| bytes.extract(py)).unwrap_or(0)
        });
        Held { now, soon: 0 }
    }
}

/// Any model's history. Equal inputs and outputs of equal types are of one kind; what has no hash is of a
/// kind of its own.
pub fn asked<'py>(
    operations: &[Timed<'py>],
    readonly: Option<&Bound<'py, PyAny>>,
    take: &Bound<'py, PyAny>,
    states: &Bound<'py, PyAny>,
    clock: &mut Clock,
) -> PyResult<Parsed> {
    let py = take.py();
    let number = PyDict::new(py);
    let mut raws = Vec::with_capacity(operations.len());
    let mut pure: Vec<bool> = Vec::new();
    let mut sources: Vec<u32> = Vec::new();
    for operation in operations {
        clock.tick(py)?;
        let made = sources.len() as u32;
        let kind = kind_of(&number, operation, made)?;
        if kind == made {
            sources.push(operation.source);
            pure.push(match readonly {
                Some(readonly) => {
                    clock.look(py)?; // nobody knows how long the model takes
                    readonly.call1((&operation.input, &operation.output))?.is_truthy()?
                }
                None => false,
            });
        }
        if operation.optional && pure[kind as usize] {
            continue;
        }
        raws.push(Raw {
            call: operation.call,
            ret: operation.ret,
            optional: operation.optional,
            kind,
            source: operation.source,
        });
    }
    let machine = Box::new(Asked { take: take.clone().unbind(), states: states.clone().unbind(), sources });
    Ok(Parsed { raws, pure, machine })
}

fn kind_of(number: &Bound<'_, PyDict>, operation: &Timed<'_>, made: u32) -> PyResult<u32> {
    let py = number.py();
    // 1 == True, but a model may tell them apart.
    let types = if operation.input.is_exact_instance_of::<PyTuple>() {
        PyTuple::new(py, operation.input.cast::<PyTuple>()?.iter().map(|part| part.get_type()))?
    } else {
        PyTuple::new(py, [operation.input.get_type()])?
    };
    let key = (&operation.input, &operation.output, operation.output.get_type(), types).into_pyobject(py)?;
    match number.get_item(&key) {
        Ok(Some(found)) => found.extract(),
        Ok(None) => {
            number.set_item(&key, made)?;
            Ok(made)
        }
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(made),
        Err(error) => Err(error),
    }
}
