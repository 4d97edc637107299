//! From a list of Python's operations to columns: what counts, when it was called, and what it does.
//!
//! Whatever is out of the ordinary is answered by None: then the ordinary way in Python has the say.

use std::collections::HashMap;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::clock::Clock;
use crate::codes::{decoded, TextCode, BLIND, READ, WRITE};
use crate::gates::{Entry, NEVER};
use crate::machine::Machine;
use crate::memory::Mixed;
use crate::native::{Grow, Kind, Op, Sequence, Shape};
use crate::operation::{Operation, Outcome, Said, Time};
use crate::problem::Raw;
use crate::reader::{text, Marks, Reader, ReaderRoom, Spec, Twin};

/// An error of the kind that means "not for us"; what interrupts the program does not.
pub fn beside<T>(result: PyResult<Option<T>>, py: Python<'_>) -> PyResult<Option<T>> {
    match result {
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        other => other,
    }
}

/// The columns of a history: what counts, when it was called and when it returned.
pub struct Timed<'py> {
    pub source: u32,
    pub call: i64,
    pub ret: i64,
    pub optional: bool,
    pub input: Bound<'py, PyAny>,
    pub output: Bound<'py, PyAny>,
}

/// What the core reads of an operation.
pub struct Fields<'py> {
    pub outcome: Said,
    pub call: Time,
    pub ret: Time,
    pub input: Bound<'py, PyAny>,
    pub output: Bound<'py, PyAny>,
}

pub fn fields<'py>(operation: &Bound<'py, PyAny>) -> PyResult<Fields<'py>> {
    let py = operation.py();
    if let Ok(own) = operation.cast_exact::<Operation>() {
        let own = own.get();
        return Ok(Fields {
            outcome: own.outcome_of(py),
            call: own.call_of(py),
            ret: own.return_of(py),
            input: own.input_of(py),
            output: own.output_of(py),
        });
    }
    Ok(Fields {
        outcome: operation.getattr(pyo3::intern!(py, "outcome"))?.extract()?,
        call: operation.getattr(pyo3::intern!(py, "call"))?.extract()?,
        ret: operation.getattr(pyo3::intern!(py, "return_time"))?.extract()?,
        input: operation.getattr(pyo3::intern!(py, "input"))?,
        output: operation.getattr(pyo3::intern!(py, "output"))?,
    })
}

/// Whether history.py's validate has nothing to say of any of these, at a glance. False says nothing.
pub fn plain(operations: &Bound<'_, PyList>, sees_failures: bool, clock: &mut Clock) -> PyResult<bool> {
    let py = operations.py();
    for operation in operations.iter() {
        clock.tick(py)?;
        let Ok(own) = operation.cast_exact::<Operation>() else { return Ok(false) };
        let own = own.get();
        let (Some(outcome), Some(call)) = (own.plain_outcome(), own.whole_call()) else { return Ok(false) };
        let returns = outcome == Outcome::Ok || (outcome == Outcome::Fail && sees_failures);
        if returns && own.whole_return().is_none_or(|back| back < call) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The operations that count, with UNKNOWN as the output of optional ones. None for times that are not
/// whole numbers of 64 bits. The history was validated.
pub fn timed<'py>(
    operations: &Bound<'py, PyList>,
    sees_failures: bool,
    clock: &mut Clock,
) -> PyResult<Option<Vec<Timed<'py>>>> {
    let py = operations.py();
    let unknown = Marks::get(py)?.unknown(py);
    let mut found = Vec::with_capacity(operations.len());
    for (source, operation) in operations.iter().enumerate() {
        clock.tick(py)?;
        let read = fields(&operation)?;
        let outcome = read.outcome.outcome(py)?;
        let optional = outcome == Some(Outcome::Info);
        if !optional && outcome != Some(Outcome::Ok) && !sees_failures {
            continue;
        }
        let Some(call) = read.call.whole(py)? else { return Ok(None) };
        let ret = if optional { Some(0) } else { read.ret.whole(py)? };
        let Some(ret) = ret else { return Ok(None) };
        let output = if optional { unknown.clone() } else { read.output };
        found.push(Timed { source: source as u32, call, ret, optional, input: read.input, output });
    }
    Ok(Some(found))
}

/// A history as the search takes it: operations of numbered kinds, and which kinds are pure.
pub struct Parsed {
    pub raws: Vec<Raw>,
    pub pure: Vec<bool>,
    pub machine: Box<dyn Machine>,
}

/// A ready model's history as its gate takes it, with values below a bound.
pub enum Gated {
    Ops { shape: Shape, ops: Vec<Entry<Op>>, values: usize, initial: i64 },
    Text { ops: Vec<Entry<Grow<u8>>>, initial: Box<[u8]> },
    List { ops: Vec<Entry<Grow<u32>>> },
}

/// None where the gate in Python must be asked.
pub fn gated<'py>(operations: &[Timed<'py>], spec: &Spec<'py>, clock: &mut Clock) -> PyResult<Option<Gated>> {
    let py = spec.initial.py();
    let Some(mut reader) = Reader::new(py, spec, ReaderRoom::default())? else { return Ok(None) };
    match reader.twin {
        Twin::Text => {
            let initial = text(&spec.initial)?.as_bytes().into();
            let Some(codes) = entries(operations, clock, |i, o| reader.text(i, o))? else { return Ok(None) };
            let mut ops = Vec::with_capacity(codes.len());
            for Entry { call, ret, op: TextCode(code) } in codes {
                let (doing, number, _) = decoded(code);
                let string = || reader.string(number).into();
                let op = match doing {
                    BLIND => Grow::Blind,
                    READ => Grow::Get(string()),
                    WRITE => Grow::Put(string()),
                    _ => Grow::Append(string()),
                };
                ops.push(Entry { call, ret, op });
            }
            Ok(Some(Gated::Text { ops, initial }))
        }
        Twin::List => {
            let ops = entries(operations, clock, |i, o| reader.grow(i, o))?;
            Ok(ops.map(|ops| Gated::List { ops }))
        }
        Twin::Words(shape, _) => {
            let initial = match shape {
                Shape::Set | Shape::Queue | Shape::Stack | Shape::Priority => 0,
                Shape::Counter => {
                    let Some(value) = reader.whole(&spec.initial)? else { return Ok(None) };
                    value
                }
                _ => return Ok(None),
            };
            let Some(mut ops) = entries(operations, clock, |i, o| reader.op(i, o))? else { return Ok(None) };
            if shape == Shape::Priority && !reader.rank(ops.iter_mut().map(|entry| &mut entry.op))? {
                return Ok(None);
            }
            Ok(Some(Gated::Ops { shape, ops, values: reader.values_known(), initial }))
        }
    }
}

/// Each operation by itself. None as soon as one cannot be read, or has a time that stands for none.
fn entries<'py, O>(
    operations: &[Timed<'py>],
    clock: &mut Clock,
    mut read: impl FnMut(&Bound<'py, PyTuple>, &Bound<'py, PyAny>) -> PyResult<Option<O>>,
) -> PyResult<Option<Vec<Entry<O>>>> {
    let mut found = Vec::with_capacity(operations.len());
    for operation in operations {
        clock.tick(operation.input.py())?;
        if !operation.input.is_exact_instance_of::<PyTuple>() {
            return Ok(None);
        }
        let Some(op) = read(operation.input.cast::<PyTuple>()?, &operation.output)? else { return Ok(None) };
        let ret = if operation.optional { NEVER } else { operation.ret };
        if operation.call == NEVER || (ret == NEVER && !operation.optional) {
            return Ok(None);
        }
        found.push(Entry { call: operation.call, ret, op });
    }
    Ok(Some(found))
}

/// A ready model's history, or None where its twin does not apply.
pub fn native<'py>(
    operations: &[Timed<'py>],
    spec: &Spec<'py>,
    clock: &mut Clock,
) -> PyResult<Option<Parsed>> {
    let py = spec.initial.py();
    let Some(mut reader) = Reader::new(py, spec, ReaderRoom::default())? else { return Ok(None) };
    match reader.twin {
        Twin::Text => {
            let Some((raws, ops)) = kinds(operations, clock, |i, o| reader.text(i, o))? else {
                return Ok(None);
            };
            let pure = ops.iter().map(Kind::pure).collect();
            let mut machine = Sequence::empty();
            reader.text_machine(&ops, &mut machine);
            Ok(Some(Parsed { raws, pure, machine: Box::new(machine) }))
        }
        Twin::List => {
            let Some((raws, ops)) = kinds(operations, clock, |i, o| reader.grow(i, o))? else {
                return Ok(None);
            };
            let pure = ops.iter().map(Kind::pure).collect();
            Ok(Some(Parsed { raws, pure, machine: Box::new(Sequence::new(&ops, &[])) }))
        }
        Twin::Words(shape, _) => {
            if shape == Shape::Counter && operations.len() > 1 << 20 {
                return Ok(None);
            }
            let Some((raws, ops)) = kinds(operations, clock, |i, o| reader.op(i, o))? else {
                return Ok(None);
            };
            let pure = ops.iter().map(Kind::pure).collect();
            let machine = reader.machine(shape, ops)?;
            Ok(machine.map(|machine| Parsed { raws, pure, machine }))
        }
    }
}

/// Each operation with the number of what it does, and what the numbers stand for. Optional operations
/// that are pure are left out. None as soon as one cannot be read.
fn kinds<'py, O: Kind>(
    operations: &[Timed<'py>],
    clock: &mut Clock,
    mut read: impl FnMut(&Bound<'py, PyTuple>, &Bound<'py, PyAny>) -> PyResult<Option<O>>,
) -> PyResult<Option<(Vec<Raw>, Vec<O>)>> {
    let mut raws = Vec::with_capacity(operations.len());
    let mut number: Mixed<O, u32> = HashMap::default();
    let mut known: Vec<O> = Vec::new();
    for operation in operations {
        clock.tick(operation.input.py())?;
        if !operation.input.is_exact_instance_of::<PyTuple>() {
            return Ok(None);
        }
        let input = operation.input.cast::<PyTuple>()?;
        let Some(op) = read(input, &operation.output)? else { return Ok(None) };
        if operation.optional && op.pure() {
            continue;
        }
        let kind = match number.get(&op) {
            Some(&kind) => kind,
            None => {
                let kind = known.len() as u32;
                number.insert(op.clone(), kind);
                known.push(op);
                kind
            }
        };
        raws.push(Raw {
            call: operation.call,
            ret: operation.ret,
            optional: operation.optional,
            kind,
            source: operation.source,
        });
    }
    Ok(Some((raws, known)))
}
