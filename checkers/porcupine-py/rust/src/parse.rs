//! From Python objects to numbers: operations, their values, and what each does to a ready model.
//!
//! What a ready model's twin cannot express (an input without meaning, a value without a hash or that
//! differs from itself) is answered by None: then the model's own step is asked, which has the say, and
//! raises what there is to raise.

use std::collections::HashMap;

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use crate::clock::Clock;
use crate::gates::{Entry, NEVER};
use crate::machine::Machine;
use crate::memory::{Held, Mixed};
use crate::native::{counter_words, Got, Grow, Op, Register, Sequence, Shape, Told, Words};
use crate::problem::{Raw, NONE};

const COUNT_MAX: i64 = 1 << 40;

/// The package's own marks, looked up once.
pub struct Marks {
    unknown: Py<PyAny>,
    empty: Py<PyAny>,
    saw: Py<PyAny>,
}

static MARKS: PyOnceLock<Marks> = PyOnceLock::new();

impl Marks {
    pub fn get(py: Python<'_>) -> PyResult<&Marks> {
        MARKS.get_or_try_init(py, || {
            let history = py.import("porcupine.history")?;
            Ok(Marks {
                unknown: history.getattr("UNKNOWN")?.unbind(),
                empty: history.getattr("EMPTY")?.unbind(),
                saw: py.import("porcupine.zones")?.getattr("Saw")?.unbind(),
            })
        })
    }

    pub fn is_unknown(&self, value: &Bound<'_, PyAny>) -> bool {
        value.is(&self.unknown)
    }

    pub fn saw<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if value.get_type().is(&self.saw) {
            Ok(Some(value.getattr("value")?))
        } else {
            Ok(None)
        }
    }
}

/// An error of the kind that means "not for us"; what interrupts the program does not.
pub fn beside<T>(result: PyResult<Option<T>>, py: Python<'_>) -> PyResult<Option<T>> {
    match result {
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        other => other,
    }
}

/// Numbers for values, equal for equal ones.
pub struct Values<'py> {
    /// Whole numbers by themselves, for speed, until a value comes that could be equal to one.
    whole: Mixed<i64, u32>,
    rest: Bound<'py, PyDict>,
    mixed: bool,
    pub known: Vec<Bound<'py, PyAny>>,
}

impl<'py> Values<'py> {
    pub fn new(py: Python<'py>) -> Values<'py> {
        Values { whole: Mixed::default(), rest: PyDict::new(py), mixed: false, known: Vec::new() }
    }

    /// None for a value that differs from itself.
    pub fn number(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        let made = self.known.len() as u32;
        let exact = value.is_exact_instance_of::<PyInt>();
        if exact && !self.mixed {
            if let Ok(whole) = value.extract::<i64>() {
                let found = *self.whole.entry(whole).or_insert(made);
                if found == made {
                    self.known.push(value.clone());
                }
                return Ok(Some(found));
            }
        }
        let plain = exact || value.is_none() || value.is_exact_instance_of::<PyString>();
        if !plain {
            if !self.mixed {
                self.mixed = true;
                for (&whole, &number) in &self.whole {
                    self.rest.set_item(whole, number)?;
                }
            }
            if !value.eq(value)? {
                return Ok(None);
            }
        }
        if let Some(found) = self.rest.get_item(value)? {
            return Ok(Some(found.extract()?));
        }
        self.rest.set_item(value, made)?;
        self.known.push(value.clone());
        Ok(Some(made))
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

/// The operations that count, with UNKNOWN as the output of optional ones. None for times that are not
/// whole numbers of 64 bits. The history was validated.
pub fn timed<'py>(
    operations: &Bound<'py, PyList>,
    sees_failures: bool,
    clock: &mut Clock,
) -> PyResult<Option<Vec<Timed<'py>>>> {
    let py = operations.py();
    let unknown = Marks::get(py)?.unknown.bind(py);
    let names = [
        pyo3::intern!(py, "outcome"),
        pyo3::intern!(py, "call"),
        pyo3::intern!(py, "return_time"),
        pyo3::intern!(py, "input"),
        pyo3::intern!(py, "output"),
    ];
    let mut found = Vec::with_capacity(operations.len());
    for (source, operation) in operations.iter().enumerate() {
        clock.tick(py)?;
        let outcome = operation.getattr(names[0])?;
        let outcome = outcome.cast::<PyString>()?.to_str()?;
        let optional = outcome == "info";
        if !optional && outcome != "ok" && !sees_failures {
            continue;
        }
        let call = operation.getattr(names[1])?;
        if !call.is_instance_of::<PyInt>() {
            return Ok(None);
        }
        let ret = if optional {
            0
        } else {
            let ret = operation.getattr(names[2])?;
            if !ret.is_instance_of::<PyInt>() {
                return Ok(None);
            }
            ret.extract()?
        };
        found.push(Timed {
            source: source as u32,
            call: call.extract()?,
            ret,
            optional,
            input: operation.getattr(names[3])?,
            output: if optional { unknown.clone() } else { operation.getattr(names[4])? },
        });
    }
    Ok(Some(found))
}

/// A history as the search takes it: operations of numbered kinds, and which kinds are pure.
pub struct Parsed {
    pub raws: Vec<Raw>,
    pub pure: Vec<bool>,
    pub machine: Box<dyn Machine>,
}

/// What a model in models.py says of its twin here.
pub struct Spec<'py> {
    pub name: String,
    pub initial: Bound<'py, PyAny>,
    /// How many elements stand between an input's name and its arguments.
    pub skip: usize,
}

struct Reader<'py, 'm> {
    marks: &'m Marks,
    values: Values<'py>,
    keys: Values<'py>,
    spec: &'m Spec<'py>,
}

impl<'py> Reader<'py, '_> {
    fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        self.values.number(value)
    }

    fn argument(&mut self, input: &Bound<'py, PyTuple>, at: usize) -> PyResult<Option<u32>> {
        let value = input.get_item(1 + self.spec.skip + at)?;
        self.value(&value)
    }

    fn told(&self, output: &Bound<'py, PyAny>) -> Told {
        if output.is_exact_instance_of::<PyBool>() {
            Some(output.is_truthy().unwrap_or(false))
        } else {
            None
        }
    }

    fn got(&mut self, output: &Bound<'py, PyAny>) -> PyResult<Option<Got>> {
        if self.marks.is_unknown(output) {
            return Ok(Some(Got::Unknown));
        }
        if output.is(&self.marks.empty) {
            return Ok(Some(Got::Empty));
        }
        Ok(self.value(output)?.map(Got::Value))
    }

    fn whole(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<i64>> {
        if !value.is_instance_of::<PyInt>() {
            return Ok(None);
        }
        let value: i64 = value.extract()?;
        Ok((value.abs() <= COUNT_MAX).then_some(value))
    }

    /// The elements of a list, tuple or set, numbered.
    fn elements(&mut self, output: &Bound<'py, PyAny>, sets: bool) -> PyResult<Option<Vec<u32>>> {
        let fits = output.is_exact_instance_of::<PyList>()
            || output.is_exact_instance_of::<PyTuple>()
            || (sets
                && (output.is_exact_instance_of::<PySet>() || output.is_exact_instance_of::<PyFrozenSet>()));
        if !fits {
            return Ok(None);
        }
        let mut found = Vec::new();
        for value in output.try_iter()? {
            match self.value(&value?)? {
                Some(number) => found.push(number),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    fn op(
        &mut self,
        shape: Shape,
        swaps: bool,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Op>> {
        let name = input.get_item(0)?;
        let name = name.cast::<PyString>()?.to_str()?;
        let unknown = self.marks.is_unknown(output);
        Ok(match (shape, name) {
            (Shape::Register, "read") => {
                if unknown {
                    Some(Op::Blind)
                } else {
                    self.value(output)?.map(Op::Read)
                }
            }
            (Shape::Register, "write") => self.argument(input, 0)?.map(Op::Write),
            (Shape::Register, "cas") if swaps => {
                let (Some(old), Some(new)) = (self.argument(input, 0)?, self.argument(input, 1)?) else {
                    return Ok(None);
                };
                if unknown {
                    Some(Op::MaySwap(old, new))
                } else if let Some(told) = self.told(output) {
                    Some(if told { Op::Swap(old, new) } else { Op::NoSwap(old) })
                } else {
                    match self.marks.saw(output)? {
                        Some(seen) => self.value(&seen)?.map(|seen| Op::Saw(old, seen)),
                        None => None,
                    }
                }
            }
            (Shape::Counter, "add") => self.whole(&input.get_item(1)?)?.map(Op::Add),
            (Shape::Counter, "read") => {
                if unknown {
                    Some(Op::Blind)
                } else {
                    self.whole(output)?.map(Op::Count)
                }
            }
            (Shape::Counter, "add_and_get") => {
                let Some(by) = self.whole(&input.get_item(1)?)? else { return Ok(None) };
                if unknown {
                    Some(Op::Add(by))
                } else {
                    self.whole(output)?.map(|seen| Op::AddGet(by, seen))
                }
            }
            (Shape::Set, "add") => self.argument(input, 0)?.map(|v| Op::Insert(v, self.told(output))),
            (Shape::Set, "remove") => self.argument(input, 0)?.map(|v| Op::Remove(v, self.told(output))),
            (Shape::Set, "contains") => match (self.argument(input, 0)?, self.told(output)) {
                (Some(_), _) if unknown => Some(Op::Blind),
                (Some(value), Some(seen)) => Some(Op::Has(value, seen)),
                _ => None,
            },
            (Shape::Set, "read") => {
                if unknown {
                    Some(Op::Blind)
                } else {
                    self.elements(output, true)?.map(|mut seen| {
                        seen.sort_unstable();
                        seen.dedup();
                        Op::Members(seen.into())
                    })
                }
            }
            (Shape::Queue, "enqueue") | (Shape::Stack | Shape::Priority, "push") => {
                self.argument(input, 0)?.map(Op::Put)
            }
            (Shape::Queue, "dequeue") | (Shape::Stack | Shape::Priority, "pop") => {
                self.got(output)?.map(Op::Take)
            }
            (Shape::Queue | Shape::Stack | Shape::Priority, "peek") => self.got(output)?.map(Op::Look),
            (Shape::Semaphore(permits), "acquire" | "release") => {
                let count = if input.len() > 1 { self.whole(&input.get_item(1)?)? } else { Some(1) };
                match count {
                    Some(count) if (0..=i64::from(permits)).contains(&count) => {
                        let told = self.told(output);
                        Some(if name == "acquire" {
                            Op::Acquire(count as u32, told)
                        } else {
                            Op::Release(count as u32, told)
                        })
                    }
                    _ => None,
                }
            }
            (Shape::Registers, "txn") => self.txn(input, output, unknown)?,
            _ => None,
        })
    }

    fn txn(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
        unknown: bool,
    ) -> PyResult<Option<Op>> {
        let parts = input.get_item(1)?;
        let mut seen = if unknown { None } else { Some(output.try_iter()?) };
        let mut found = Vec::new();
        for part in parts.try_iter()? {
            let part = part?;
            let part = part.cast::<PyTuple>()?;
            let name = part.get_item(0)?;
            let name = name.cast::<PyString>()?.to_str()?;
            let Some(key) = self.keys.number(&part.get_item(1)?)? else { return Ok(None) };
            match name {
                "w" => {
                    let Some(value) = self.value(&part.get_item(2)?)? else { return Ok(None) };
                    found.push((true, key, value));
                }
                "r" => {
                    let value = match &mut seen {
                        None => NONE,
                        Some(seen) => {
                            let Some(value) = seen.next() else { return Ok(None) };
                            let value = value?;
                            if self.marks.is_unknown(&value) {
                                NONE
                            } else {
                                let Some(value) = self.value(&value)? else { return Ok(None) };
                                value
                            }
                        }
                    };
                    found.push((false, key, value));
                }
                _ => return Ok(None),
            }
        }
        if seen.is_some_and(|mut seen| seen.next().is_some()) {
            return Ok(None);
        }
        Ok(Some(Op::Txn(found.into())))
    }

    fn grow(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Grow<u32>>> {
        let name = input.get_item(0)?;
        Ok(match name.cast::<PyString>()?.to_str()? {
            "read" if self.marks.is_unknown(output) => Some(Grow::Blind),
            "read" => self.elements(output, false)?.map(|seen| Grow::Get(seen.into())),
            "append" => self.argument(input, 0)?.map(|value| Grow::Append([value].into())),
            _ => None,
        })
    }

    fn text(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Grow<u8>>> {
        let name = input.get_item(0)?;
        let at = 1 + self.spec.skip;
        Ok(match name.cast::<PyString>()?.to_str()? {
            "get" if self.marks.is_unknown(output) => Some(Grow::Blind),
            "get" => Some(Grow::Get(bytes(output)?)),
            "put" => Some(Grow::Put(bytes(&input.get_item(at)?)?)),
            "append" => Some(Grow::Append(bytes(&input.get_item(at)?)?)),
            _ => None,
        })
    }
}

fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Box<[u8]>> {
    if !value.is_exact_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("not a string"));
    }
    Ok(value.cast::<PyString>()?.to_str()?.as_bytes().into())
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
    let mut reader = Reader { marks: Marks::get(py)?, values: Values::new(py), keys: Values::new(py), spec };
    let shape = match spec.name.as_str() {
        "append" => {
            let initial = bytes(&spec.initial)?;
            let ops = entries(operations, clock, |i, o| reader.text(i, o))?;
            return Ok(ops.map(|ops| Gated::Text { ops, initial }));
        }
        "list" => {
            let ops = entries(operations, clock, |i, o| reader.grow(i, o))?;
            return Ok(ops.map(|ops| Gated::List { ops }));
        }
        "counter" => Shape::Counter,
        "set" => Shape::Set,
        "queue" => Shape::Queue,
        "stack" => Shape::Stack,
        "priority" => Shape::Priority,
        _ => return Ok(None),
    };
    let mut initial = 0;
    if shape == Shape::Counter {
        let Some(value) = reader.whole(&spec.initial)? else { return Ok(None) };
        initial = value;
    }
    let Some(mut ops) = entries(operations, clock, |i, o| reader.op(shape, true, i, o))? else {
        return Ok(None);
    };
    if shape == Shape::Priority && !reader.rank(ops.iter_mut().map(|entry| &mut entry.op))? {
        return Ok(None);
    }
    Ok(Some(Gated::Ops { shape, ops, values: reader.values.known.len(), initial }))
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
    let mut reader = Reader { marks: Marks::get(py)?, values: Values::new(py), keys: Values::new(py), spec };
    let initial = &spec.initial;
    match spec.name.as_str() {
        "append" => {
            let first = bytes(initial)?;
            let Some((raws, kinds)) = kinds(operations, clock, Grow::pure, |i, o| reader.text(i, o))? else {
                return Ok(None);
            };
            Ok(Some(Parsed {
                raws,
                pure: kinds.iter().map(Grow::pure).collect(),
                machine: Box::new(Sequence::new(kinds, &first)),
            }))
        }
        "list" => {
            let Some((raws, kinds)) = kinds(operations, clock, Grow::pure, |i, o| reader.grow(i, o))? else {
                return Ok(None);
            };
            Ok(Some(Parsed {
                raws,
                pure: kinds.iter().map(Grow::pure).collect(),
                machine: Box::new(Sequence::new(kinds, &[])),
            }))
        }
        name => {
            let shape = match name {
                "register" | "cas-register" => Shape::Register,
                "counter" => Shape::Counter,
                "set" => Shape::Set,
                "queue" => Shape::Queue,
                "stack" => Shape::Stack,
                "priority" => Shape::Priority,
                "semaphore" => Shape::Semaphore(initial.extract()?),
                "registers" => Shape::Registers,
                _ => return Ok(None),
            };
            if shape == Shape::Counter && operations.len() > 1 << 20 {
                return Ok(None);
            }
            let mut first: Vec<u32> = Vec::new();
            match shape {
                // The initial value has the number 0.
                Shape::Register | Shape::Registers if reader.value(initial)?.is_none() => return Ok(None),
                Shape::Counter => {
                    let Some(value) = reader.whole(initial)? else { return Ok(None) };
                    first.extend(counter_words(value));
                }
                Shape::Semaphore(permits) => first.push(permits),
                _ => {}
            }
            let Some((raws, mut ops)) =
                kinds(operations, clock, Op::pure, |i, o| reader.op(shape, name != "register", i, o))?
            else {
                return Ok(None);
            };
            if shape == Shape::Registers {
                first = vec![0; reader.keys.known.len()];
            }
            if shape == Shape::Priority && !reader.rank(ops.iter_mut())? {
                return Ok(None);
            }
            let pure = ops.iter().map(Op::pure).collect();
            let machine: Box<dyn Machine> = if shape == Shape::Register {
                Box::new(Register { ops })
            } else {
                Box::new(Words::new(shape, ops, &first))
            };
            Ok(Some(Parsed { raws, pure, machine }))
        }
    }
}

impl Reader<'_, '_> {
    /// Number a priority queue's values in their order. False when they have none.
    fn rank<'o>(&self, ops: impl Iterator<Item = &'o mut Op>) -> PyResult<bool> {
        let py = self.spec.initial.py();
        let list = PyList::new(py, &self.values.known)?;
        list.sort()?;
        let mut order = Values::new(py);
        let mut previous: Option<Bound<'_, PyAny>> = None;
        for value in list.iter() {
            // A list that sorts need not be in order: sets compare, but not each with each.
            if previous.is_some_and(|previous| !previous.lt(&value).unwrap_or(false)) {
                return Ok(false);
            }
            order.number(&value)?;
            previous = Some(value);
        }
        let mut rank = Vec::with_capacity(self.values.known.len());
        for value in &self.values.known {
            rank.push(order.number(value)?.unwrap_or(NONE));
        }
        for op in ops {
            match op {
                Op::Put(value) | Op::Take(Got::Value(value)) | Op::Look(Got::Value(value)) => {
                    *value = rank[*value as usize]
                }
                _ => {}
            }
        }
        Ok(true)
    }
}

/// Each operation with the number of what it does, and what the numbers stand for. Optional operations
/// that are pure are left out. None as soon as one cannot be read.
fn kinds<'py, O: Eq + std::hash::Hash + Clone>(
    operations: &[Timed<'py>],
    clock: &mut Clock,
    pure: impl Fn(&O) -> bool,
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
        if operation.optional && pure(&op) {
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
            Ok(u32::try_from(reached).unwrap_or(crate::machine::REFUSED))
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
