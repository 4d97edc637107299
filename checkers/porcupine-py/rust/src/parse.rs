//! From Python objects to numbers: operations, their values, and what each does to a ready model.
//!
//! What a ready model's twin cannot express (an input without meaning, a value without a hash or that
//! differs from itself) is answered by None: then the model's own step is asked, which has the say, and
//! raises what there is to raise.

use std::collections::HashMap;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use crate::clock::Clock;
use crate::gates::{Entry, NEVER};
use crate::machine::Machine;
use crate::memory::Mixed;
use crate::native::{counter_words, Got, Grow, Kind, Op, Register, Sequence, Shape, Told, Words};
use crate::operation::Operation;
use crate::problem::{Raw, NONE};
use crate::values::{Name, Names, Values};

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

    pub fn unknown<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.unknown.bind(py)
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

/// The columns of a history: what counts, when it was called and when it returned.
pub struct Timed<'py> {
    pub source: u32,
    pub call: i64,
    pub ret: i64,
    pub optional: bool,
    pub input: Bound<'py, PyAny>,
    pub output: Bound<'py, PyAny>,
}

/// An operation's outcome, call, return time, input and output.
pub fn fields<'py>(operation: &Bound<'py, PyAny>) -> PyResult<[Bound<'py, PyAny>; 5]> {
    let py = operation.py();
    if let Ok(own) = operation.cast_exact::<Operation>() {
        let own = own.try_borrow()?;
        let shown = |field: &Py<PyAny>| field.bind(py).clone();
        return Ok([
            shown(&own.outcome),
            shown(&own.call),
            shown(&own.return_time),
            shown(&own.input),
            shown(&own.output),
        ]);
    }
    Ok([
        operation.getattr(pyo3::intern!(py, "outcome"))?,
        operation.getattr(pyo3::intern!(py, "call"))?,
        operation.getattr(pyo3::intern!(py, "return_time"))?,
        operation.getattr(pyo3::intern!(py, "input"))?,
        operation.getattr(pyo3::intern!(py, "output"))?,
    ])
}

/// Whether history.py's validate has nothing to say of any of these, at a glance. False says nothing.
pub fn plain(operations: &Bound<'_, PyList>, sees_failures: bool, clock: &mut Clock) -> PyResult<bool> {
    let py = operations.py();
    for operation in operations.iter() {
        clock.tick(py)?;
        let Ok(own) = operation.cast_exact::<Operation>() else { return Ok(false) };
        let own = own.try_borrow()?;
        let (call, back) = (own.call.bind(py), own.return_time.bind(py));
        let Ok(outcome) = own.outcome.bind(py).cast_exact::<PyString>() else { return Ok(false) };
        let returns = match outcome.to_str()? {
            "ok" => true,
            "fail" => sees_failures,
            "info" => false,
            _ => return Ok(false),
        };
        if !call.is_exact_instance_of::<PyInt>() {
            return Ok(false);
        }
        if returns {
            if !back.is_exact_instance_of::<PyInt>() {
                return Ok(false);
            }
            match (call.extract::<i64>(), back.extract::<i64>()) {
                (Ok(call), Ok(back)) if call <= back => {}
                _ => return Ok(false),
            }
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
    let unknown = Marks::get(py)?.unknown.bind(py);
    let mut found = Vec::with_capacity(operations.len());
    for (source, operation) in operations.iter().enumerate() {
        clock.tick(py)?;
        let [outcome, call, ret, input, output] = fields(&operation)?;
        let outcome = outcome.cast::<PyString>()?.to_str()?;
        let optional = outcome == "info";
        if !optional && outcome != "ok" && !sees_failures {
            continue;
        }
        if !call.is_instance_of::<PyInt>() || !(optional || ret.is_instance_of::<PyInt>()) {
            return Ok(None);
        }
        found.push(Timed {
            source: source as u32,
            call: call.extract()?,
            ret: if optional { 0 } else { ret.extract()? },
            optional,
            input,
            output: if optional { unknown.clone() } else { output },
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

/// Reads what operations do, on numbers in place of values.
pub struct Reader<'py, 'm> {
    marks: &'m Marks,
    values: Values<'py>,
    keys: Values<'py>,
    names: Names<'py>,
    spec: &'m Spec<'py>,
    pub twin: Twin,
}

/// A ready model's version here: strings, lists, or what has a state of words, and whether it swaps.
#[derive(Clone, Copy)]
pub enum Twin {
    Text,
    List,
    Words(Shape, bool),
}

impl<'py, 'm> Reader<'py, 'm> {
    /// For `count` operations. None for a model without a twin, or with first states that the twin does not know.
    pub fn new(py: Python<'py>, spec: &'m Spec<'py>, count: usize) -> PyResult<Option<Self>> {
        let twin = match spec.name.as_str() {
            "append" => Twin::Text,
            "list" => Twin::List,
            "register" => Twin::Words(Shape::Register, false),
            "cas-register" => Twin::Words(Shape::Register, true),
            "counter" => Twin::Words(Shape::Counter, false),
            "set" => Twin::Words(Shape::Set, false),
            "queue" => Twin::Words(Shape::Queue, false),
            "stack" => Twin::Words(Shape::Stack, false),
            "priority" => Twin::Words(Shape::Priority, false),
            "semaphore" => Twin::Words(Shape::Semaphore(spec.initial.extract()?), false),
            "registers" => Twin::Words(Shape::Registers, false),
            _ => return Ok(None),
        };
        let mut reader = Reader {
            marks: Marks::get(py)?,
            // Strings that are appended to are seen once each.
            values: if matches!(twin, Twin::Text) { Values::with_room(py, count) } else { Values::new(py) },
            keys: Values::new(py),
            names: Names::new(),
            spec,
            twin,
        };
        // The initial value has the number 0.
        let numbered = matches!(twin, Twin::Words(Shape::Register | Shape::Registers, _));
        let known = !numbered || reader.value(&spec.initial)?.is_some();
        Ok(known.then_some(reader))
    }

    /// None where values that must have an order have none.
    pub fn machine(&mut self, shape: Shape, mut ops: Vec<Op>) -> PyResult<Option<Box<dyn Machine>>> {
        if shape == Shape::Register {
            return Ok(Some(Box::new(Register { ops })));
        }
        let first = match shape {
            Shape::Counter => {
                let Some(value) = self.whole(&self.spec.initial)? else { return Ok(None) };
                counter_words(value).to_vec()
            }
            Shape::Semaphore(permits) => vec![permits],
            Shape::Registers => vec![0; self.keys.known.len()],
            _ => Vec::new(),
        };
        if shape == Shape::Priority && !self.rank(ops.iter_mut())? {
            return Ok(None);
        }
        Ok(Some(Box::new(Words::new(shape, ops, &first))))
    }

    /// The machine of operations on strings, by their codes.
    pub fn text_machine(&self, codes: &[TextCode]) -> PyResult<Box<dyn Machine>> {
        let mut made = Sequence::empty(codes.len(), text(&self.spec.initial)?.as_bytes());
        for &TextCode(code) in codes {
            let (doing, number, _) = decoded(code);
            match doing {
                BLIND => made.add_blind(),
                READ => made.add_get(text(&self.values.known[number as usize])?.as_bytes()),
                WRITE => made.add_put(text(&self.values.known[number as usize])?.as_bytes()),
                _ => made.add_append(text(&self.values.known[number as usize])?.as_bytes()),
            }
        }
        Ok(Box::new(made))
    }

    /// How many different values were read.
    pub fn values_known(&self) -> usize {
        self.values.known.len()
    }

    /// The number of a part's key; None for one that differs from itself.
    pub fn key(&mut self, key: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        self.keys.number(key)
    }

    fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        self.values.number(value)
    }

    fn argument(&mut self, input: &Bound<'py, PyTuple>, at: usize) -> PyResult<Option<u32>> {
        self.value(&*input.get_borrowed_item(1 + self.spec.skip + at)?)
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

    pub fn op(&mut self, input: &Bound<'py, PyTuple>, output: &Bound<'py, PyAny>) -> PyResult<Option<Op>> {
        let Twin::Words(shape, _) = self.twin else { return Ok(None) };
        if shape == Shape::Register {
            return match self.register_code(input, output)? {
                Some(code) => self.register_of(code).map(Some),
                None => Ok(None),
            };
        }
        let name = self.names.get(&*input.get_borrowed_item(0)?)?;
        let unknown = self.marks.is_unknown(output);
        Ok(match (shape, name) {
            (Shape::Counter, Name::Add) => self.whole(&input.get_item(1)?)?.map(Op::Add),
            (Shape::Counter, Name::Read) => {
                if unknown {
                    Some(Op::Blind)
                } else {
                    self.whole(output)?.map(Op::Count)
                }
            }
            (Shape::Counter, Name::AddAndGet) => {
                let Some(by) = self.whole(&input.get_item(1)?)? else { return Ok(None) };
                if unknown {
                    Some(Op::Add(by))
                } else {
                    self.whole(output)?.map(|seen| Op::AddGet(by, seen))
                }
            }
            (Shape::Set, Name::Add) => self.argument(input, 0)?.map(|v| Op::Insert(v, self.told(output))),
            (Shape::Set, Name::Remove) => self.argument(input, 0)?.map(|v| Op::Remove(v, self.told(output))),
            (Shape::Set, Name::Contains) => match (self.argument(input, 0)?, self.told(output)) {
                (Some(_), _) if unknown => Some(Op::Blind),
                (Some(value), Some(seen)) => Some(Op::Has(value, seen)),
                _ => None,
            },
            (Shape::Set, Name::Read) => {
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
            (Shape::Queue, Name::Enqueue) | (Shape::Stack | Shape::Priority, Name::Push) => {
                self.argument(input, 0)?.map(Op::Put)
            }
            (Shape::Queue, Name::Dequeue) | (Shape::Stack | Shape::Priority, Name::Pop) => {
                self.got(output)?.map(Op::Take)
            }
            (Shape::Queue | Shape::Stack | Shape::Priority, Name::Peek) => self.got(output)?.map(Op::Look),
            (Shape::Semaphore(permits), Name::Acquire | Name::Release) => {
                let count = if input.len() > 1 { self.whole(&input.get_item(1)?)? } else { Some(1) };
                match count {
                    Some(count) if (0..=i64::from(permits)).contains(&count) => {
                        let told = self.told(output);
                        Some(if name == Name::Acquire {
                            Op::Acquire(count as u32, told)
                        } else {
                            Op::Release(count as u32, told)
                        })
                    }
                    _ => None,
                }
            }
            (Shape::Registers, Name::Txn) => self.txn(input, output, unknown)?,
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

    pub fn grow(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Grow<u32>>> {
        Ok(match self.names.get(&*input.get_borrowed_item(0)?)? {
            Name::Read if self.marks.is_unknown(output) => Some(Grow::Blind),
            Name::Read => self.elements(output, false)?.map(|seen| Grow::Get(seen.into())),
            Name::Append => self.argument(input, 0)?.map(|value| Grow::Append([value].into())),
            _ => None,
        })
    }

    pub fn text(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<TextCode>> {
        self.text_code(input, output).map(|code| code.map(TextCode))
    }

    /// An operation on strings as one number: what it does, and the number of its string.
    pub fn text_code(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<u64>> {
        let name = self.names.get(&*input.get_borrowed_item(0)?)?;
        let argument;
        let (doing, string) = match name {
            Name::Get if self.marks.is_unknown(output) => return Ok(Some(code(BLIND, 0, 0))),
            Name::Get => (READ, output),
            Name::Put | Name::Append => {
                argument = input.get_borrowed_item(1 + self.spec.skip)?;
                (if name == Name::Put { WRITE } else { APPEND }, &*argument)
            }
            _ => return Ok(None),
        };
        if !string.is_exact_instance_of::<PyString>() {
            return Ok(None);
        }
        Ok(self.value(string)?.map(|number| code(doing, number, 0)))
    }

    /// An operation on a register as one number: what it does, and the numbers of its values.
    pub fn register_code(
        &mut self,
        input: &Bound<'py, PyTuple>,
        output: &Bound<'py, PyAny>,
    ) -> PyResult<Option<u64>> {
        let Twin::Words(Shape::Register, swaps) = self.twin else { return Ok(None) };
        Ok(match self.names.get(&*input.get_borrowed_item(0)?)? {
            Name::Read if self.marks.is_unknown(output) => Some(code(BLIND, 0, 0)),
            Name::Read => self.value(output)?.map(|seen| code(READ, seen, 0)),
            Name::Write => self.argument(input, 0)?.map(|new| code(WRITE, new, 0)),
            Name::Cas if swaps => {
                let (Some(old), Some(new)) = (self.argument(input, 0)?, self.argument(input, 1)?) else {
                    return Ok(None);
                };
                if self.marks.is_unknown(output) {
                    Some(code(MAY_SWAP, old, new))
                } else if let Some(told) = self.told(output) {
                    Some(if told { code(SWAP, old, new) } else { code(NO_SWAP, old, 0) })
                } else {
                    match self.marks.saw(output)? {
                        Some(seen) => self.value(&seen)?.map(|seen| code(SAW, old, seen)),
                        None => None,
                    }
                }
            }
            _ => None,
        })
    }

    pub fn register_of(&self, code: u64) -> PyResult<Op> {
        let (doing, a, b) = decoded(code);
        Ok(match doing {
            BLIND => Op::Blind,
            READ => Op::Read(a),
            WRITE => Op::Write(a),
            SWAP => Op::Swap(a, b),
            NO_SWAP => Op::NoSwap(a),
            SAW => Op::Saw(a, b),
            _ => Op::MaySwap(a, b),
        })
    }
}

// What an operation does, in the upper bits of its code.
const BLIND: u64 = 0;
const READ: u64 = 1;
const WRITE: u64 = 2;
const APPEND: u64 = 3;
const SWAP: u64 = 4;
const NO_SWAP: u64 = 5;
const SAW: u64 = 6;
const MAY_SWAP: u64 = 7;
/// The bits that the number of a value has in a code: more values than memory holds.
const VALUE_BITS: u32 = 30;

fn code(doing: u64, a: u32, b: u32) -> u64 {
    assert!((a | b) >> VALUE_BITS == 0, "too many values");
    doing << (2 * VALUE_BITS) | u64::from(a) << VALUE_BITS | u64::from(b)
}

fn decoded(code: u64) -> (u64, u32, u32) {
    let low = |bits: u64| (bits & ((1 << VALUE_BITS) - 1)) as u32;
    (code >> (2 * VALUE_BITS), low(code >> VALUE_BITS), low(code))
}

/// An operation on strings, by its code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextCode(pub u64);

impl Kind for TextCode {
    fn pure(&self) -> bool {
        matches!(decoded(self.0).0, BLIND | READ)
    }
}

fn text<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    Ok(value.cast_exact::<PyString>()?.to_str()?)
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
    let Some(mut reader) = Reader::new(py, spec, operations.len())? else { return Ok(None) };
    match reader.twin {
        Twin::Text => {
            let initial = text(&spec.initial)?.as_bytes().into();
            let Some(codes) = entries(operations, clock, |i, o| reader.text(i, o))? else { return Ok(None) };
            let mut ops = Vec::with_capacity(codes.len());
            for Entry { call, ret, op: TextCode(code) } in codes {
                let (doing, number, _) = decoded(code);
                let string = || text(&reader.values.known[number as usize]).map(|s| Box::from(s.as_bytes()));
                let op = match doing {
                    BLIND => Grow::Blind,
                    READ => Grow::Get(string()?),
                    WRITE => Grow::Put(string()?),
                    _ => Grow::Append(string()?),
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
            Ok(Some(Gated::Ops { shape, ops, values: reader.values.known.len(), initial }))
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
    let Some(mut reader) = Reader::new(py, spec, operations.len())? else { return Ok(None) };
    match reader.twin {
        Twin::Text => {
            let Some((raws, ops)) = kinds(operations, clock, |i, o| reader.text(i, o))? else {
                return Ok(None);
            };
            let pure = ops.iter().map(Kind::pure).collect();
            Ok(Some(Parsed { raws, pure, machine: reader.text_machine(&ops)? }))
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
