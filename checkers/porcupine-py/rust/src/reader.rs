//! What an operation does to a ready model, on numbers in place of values.
//!
//! What the model's twin cannot express (an input without meaning, a value without a hash or that differs from
//! itself) is answered by None: then the model's own step is asked, which has the say, and raises what there is
//! to raise.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use crate::codes::{code, decoded, TextCode, APPEND, BLIND, MAY_SWAP, NO_SWAP, READ, SAW, SWAP, WRITE};
use crate::interner::Interner;
use crate::machine::Machine;
use crate::native::{counter_words, Got, Grow, Op, Register, Sequence, Shape, Told, Words};
use crate::operation::Operation;
use crate::problem::NONE;
use crate::values::{Name, Names, Value, Values, ValuesRoom};

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

/// What a model in models.py says of its twin here.
pub struct Spec<'py> {
    /// None for a model without a twin.
    pub twin: Option<Twin>,
    pub initial: Bound<'py, PyAny>,
    /// How many elements stand between an input's name and its arguments.
    pub skip: usize,
}

impl<'py> Spec<'py> {
    /// An error for a first state that the twin cannot have.
    pub fn new(name: &str, initial: Bound<'py, PyAny>, skip: usize) -> PyResult<Self> {
        let twin = match name {
            "append" => Some(Twin::Text),
            "list" => Some(Twin::List),
            "register" => Some(Twin::Words(Shape::Register, false)),
            "cas-register" => Some(Twin::Words(Shape::Register, true)),
            "counter" => Some(Twin::Words(Shape::Counter, false)),
            "set" => Some(Twin::Words(Shape::Set, false)),
            "queue" => Some(Twin::Words(Shape::Queue, false)),
            "stack" => Some(Twin::Words(Shape::Stack, false)),
            "priority" => Some(Twin::Words(Shape::Priority, false)),
            "semaphore" => Some(Twin::Words(Shape::Semaphore(initial.extract()?), false)),
            "registers" => Some(Twin::Words(Shape::Registers, false)),
            _ => None,
        };
        Ok(Spec { twin, initial, skip })
    }
}

/// What an operation was asked and what came of it.
pub trait Doing<'py> {
    /// An error for an input whose name is no string.
    fn name(&self, names: &mut Names<'py>) -> PyResult<Name>;
    /// The element of the input at a place after the name; an error where there is none.
    fn element(&self, at: usize) -> PyResult<Value<'py>>;
    /// None for one that nobody saw.
    fn output(&self) -> Option<Value<'py>>;
}

/// By its input and output.
pub struct Objects<'a, 'py> {
    pub input: &'a Bound<'py, PyTuple>,
    pub output: &'a Bound<'py, PyAny>,
    pub marks: &'a Marks,
}

impl<'py> Doing<'py> for Objects<'_, 'py> {
    fn name(&self, names: &mut Names<'py>) -> PyResult<Name> {
        names.get(&*self.input.get_borrowed_item(0)?)
    }

    fn element(&self, at: usize) -> PyResult<Value<'py>> {
        Ok(Value::Object(self.input.get_item(at)?))
    }

    fn output(&self) -> Option<Value<'py>> {
        (!self.marks.is_unknown(self.output)).then(|| Value::Object(self.output.clone()))
    }
}

/// As it was noted when the operation was made, and as objects where that does not say enough.
pub struct Noted<'a, 'py> {
    pub operation: &'a Operation,
    /// Whether its outcome is not known, so that nobody saw its output.
    pub optional: bool,
    pub marks: &'a Marks,
    pub py: Python<'py>,
}

impl<'py> Doing<'py> for Noted<'_, 'py> {
    #[inline(always)]
    fn name(&self, _: &mut Names<'py>) -> PyResult<Name> {
        Ok(self.operation.called())
    }

    #[inline(always)]
    fn element(&self, at: usize) -> PyResult<Value<'py>> {
        match self.operation.element(at) {
            Some(glance) if glance.is_plain() => Ok(Value::Plain(glance)),
            _ => Ok(Value::Object(self.operation.input_of(self.py).cast::<PyTuple>()?.get_item(at)?)),
        }
    }

    #[inline(always)]
    fn output(&self) -> Option<Value<'py>> {
        if self.optional {
            return None;
        }
        let glance = self.operation.seen();
        if glance.is_plain() {
            return Some(Value::Plain(glance));
        }
        let output = self.operation.output_of(self.py);
        (!self.marks.is_unknown(&output)).then_some(Value::Object(output))
    }
}

/// The room that a reader's values took, for another.
#[derive(Default)]
pub struct ReaderRoom {
    values: Box<ValuesRoom>,
    keys: Box<ValuesRoom>,
    strings: Interner<u8>,
}

impl ReaderRoom {
    pub fn held_bytes(&self) -> usize {
        self.values.held_bytes() + self.keys.held_bytes() + self.strings.held().now
    }
}

/// Reads what operations do, on numbers in place of values.
pub struct Reader<'py, 'm> {
    marks: &'m Marks,
    values: Values<'py>,
    keys: Values<'py>,
    /// In place of values, where these are strings and nothing else. The first state has the number 0.
    strings: Interner<u8>,
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
    /// None for a model without a twin, or with a first state that the twin does not know.
    pub fn new(py: Python<'py>, spec: &'m Spec<'py>, room: ReaderRoom) -> PyResult<Option<Self>> {
        let Some(twin) = spec.twin else { return Ok(None) };
        let mut reader = Reader {
            marks: Marks::get(py)?,
            values: Values::within(py, room.values),
            keys: Values::within(py, room.keys),
            strings: room.strings,
            names: Names::new(),
            spec,
            twin,
        };
        Ok(reader.begin()?.then_some(reader))
    }

    /// Forget the values read so far: another part has its own. False for a first state that the twin does not know.
    pub fn begin(&mut self) -> PyResult<bool> {
        self.values.clear();
        if let Twin::Text = self.twin {
            self.strings.clear();
            self.strings.number(text(&self.spec.initial)?.as_bytes());
        }
        // The initial value has the number 0.
        let numbered = matches!(self.twin, Twin::Words(Shape::Register | Shape::Registers, _));
        Ok(!numbered || self.value(&self.spec.initial)?.is_some())
    }

    /// The room that its values took, for another.
    pub fn into_room(self) -> ReaderRoom {
        let (values, keys) = (self.values.into_room(), self.keys.into_room());
        ReaderRoom { values, keys, strings: self.strings }
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
            Shape::Registers => vec![0; self.keys.count()],
            _ => Vec::new(),
        };
        if shape == Shape::Priority && !self.rank(ops.iter_mut())? {
            return Ok(None);
        }
        Ok(Some(Box::new(Words::new(shape, ops, &first))))
    }

    /// The machine of operations on strings, by their codes, in place of another. It takes the strings that were read.
    pub fn text_machine(&mut self, codes: &[TextCode], made: &mut Sequence<u8>) {
        made.begin(&mut self.strings);
        for &TextCode(code) in codes {
            let (doing, number, _) = decoded(code);
            match doing {
                BLIND => made.add_blind(),
                READ => made.add_get(number),
                WRITE => made.add_put(number),
                _ => made.add_append(number),
            }
        }
    }

    /// The UTF-8 of the string of a number.
    pub fn string(&self, number: u32) -> &[u8] {
        self.strings.get(number)
    }

    /// How many different values were read.
    pub fn values_known(&self) -> usize {
        self.values.count()
    }

    /// The number of a part's key; None for one that differs from itself.
    #[inline(always)]
    pub fn key(&mut self, key: &Value<'py>) -> PyResult<Option<u32>> {
        self.keys.number_of(key)
    }

    fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        self.values.number(value)
    }

    fn argument(&mut self, input: &Bound<'py, PyTuple>, at: usize) -> PyResult<Option<u32>> {
        self.values.number(&*input.get_borrowed_item(1 + self.spec.skip + at)?)
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

    pub fn whole(&self, value: &Bound<'py, PyAny>) -> PyResult<Option<i64>> {
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
        let Twin::Words(shape, swaps) = self.twin else { return Ok(None) };
        if shape == Shape::Register {
            let doing = Objects { input, output, marks: self.marks };
            return Ok(self.register_code(&doing, swaps)?.map(register_of));
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
        let doing = Objects { input, output, marks: self.marks };
        self.text_code(&doing).map(|code| code.map(TextCode))
    }

    /// An operation on strings as one number: what it does, and the number of its string.
    #[inline]
    pub fn text_code(&mut self, doing: &impl Doing<'py>) -> PyResult<Option<u64>> {
        let (does, string) = match doing.name(&mut self.names)? {
            Name::Get => match doing.output() {
                None => return Ok(Some(code(BLIND, 0, 0))),
                Some(seen) => (READ, seen),
            },
            Name::Put => (WRITE, doing.element(1 + self.spec.skip)?),
            Name::Append => (APPEND, doing.element(1 + self.spec.skip)?),
            _ => return Ok(None),
        };
        let number = match &string {
            Value::Plain(glance) => match glance.text(&mut [0; 16]) {
                Some(short) => self.strings.number(short),
                None => return Ok(None),
            },
            Value::Object(object) => match object.cast_exact::<PyString>() {
                Ok(text) => self.strings.number(text.to_str()?.as_bytes()),
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(code(does, number, 0)))
    }

    /// An operation on a register as one number: what it does, and the numbers of its values.
    #[inline]
    pub fn register_code(&mut self, doing: &impl Doing<'py>, swaps: bool) -> PyResult<Option<u64>> {
        let at = 1 + self.spec.skip;
        Ok(match doing.name(&mut self.names)? {
            Name::Read => match doing.output() {
                None => Some(code(BLIND, 0, 0)),
                Some(seen) => self.values.number_of(&seen)?.map(|seen| code(READ, seen, 0)),
            },
            Name::Write => self.values.number_of(&doing.element(at)?)?.map(|new| code(WRITE, new, 0)),
            Name::Cas if swaps => {
                let old = self.values.number_of(&doing.element(at)?)?;
                let new = self.values.number_of(&doing.element(at + 1)?)?;
                let (Some(old), Some(new)) = (old, new) else { return Ok(None) };
                match doing.output() {
                    None => Some(code(MAY_SWAP, old, new)),
                    Some(told) => match (told.truth(), told) {
                        (Some(true), _) => Some(code(SWAP, old, new)),
                        (Some(false), _) => Some(code(NO_SWAP, old, 0)),
                        (None, Value::Object(told)) => match self.marks.saw(&told)? {
                            Some(seen) => self.value(&seen)?.map(|seen| code(SAW, old, seen)),
                            None => None,
                        },
                        (None, Value::Plain(_)) => None,
                    },
                }
            }
            _ => None,
        })
    }

    /// An operation on strings or on a register as one number.
    #[inline]
    pub fn code(&mut self, doing: &impl Doing<'py>) -> PyResult<Option<u64>> {
        match self.twin {
            Twin::Text => self.text_code(doing),
            Twin::Words(Shape::Register, swaps) => self.register_code(doing, swaps),
            _ => Ok(None),
        }
    }
}

/// What a code of a register's operation stands for.
pub fn register_of(code: u64) -> Op {
    let (doing, a, b) = decoded(code);
    match doing {
        BLIND => Op::Blind,
        READ => Op::Read(a),
        WRITE => Op::Write(a),
        SWAP => Op::Swap(a, b),
        NO_SWAP => Op::NoSwap(a),
        SAW => Op::Saw(a, b),
        _ => Op::MaySwap(a, b),
    }
}

pub fn text<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    value.cast_exact::<PyString>()?.to_str()
}

impl Reader<'_, '_> {
    /// Number a priority queue's values in their order. False when they have none.
    pub fn rank<'o>(&self, ops: impl Iterator<Item = &'o mut Op>) -> PyResult<bool> {
        let py = self.spec.initial.py();
        let mut known = Vec::with_capacity(self.values.count());
        for number in 0..self.values.count() as u32 {
            known.push(self.values.object(number)?);
        }
        let list = PyList::new(py, &known)?;
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
        let mut rank = Vec::with_capacity(known.len());
        for value in &known {
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
