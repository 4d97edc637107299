//! What an operation does to a ready model, on numbers in place of values.
//!
//! What the model's twin cannot express (an input without meaning, a value without a hash or that differs from
//! itself) is answered by None: then the model's own step is asked, which has the say, and raises what there is
//! to raise.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use crate::codes::{code, decoded, TextCode, APPEND, BLIND, MAY_SWAP, NO_SWAP, READ, SAW, SWAP, WRITE};
use crate::machine::Machine;
use crate::native::{counter_words, Got, Grow, Op, Register, Sequence, Shape, Told, Words};
use crate::problem::NONE;
use crate::values::{Name, Names, Values, ValuesRoom};

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
    /// None for a model without a twin, or with a first state that the twin does not know.
    pub fn new(py: Python<'py>, spec: &'m Spec<'py>, room: ValuesRoom) -> PyResult<Option<Self>> {
        let Some(twin) = spec.twin else { return Ok(None) };
        let mut reader = Reader {
            marks: Marks::get(py)?,
            values: Values::within(py, room),
            keys: Values::new(py),
            names: Names::new(),
            spec,
            twin,
        };
        Ok(reader.begin()?.then_some(reader))
    }

    /// Forget the values read so far: another part has its own. False for a first state that the twin does not know.
    pub fn begin(&mut self) -> PyResult<bool> {
        self.values.clear();
        // The initial value has the number 0.
        let numbered = matches!(self.twin, Twin::Words(Shape::Register | Shape::Registers, _));
        Ok(!numbered || self.value(&self.spec.initial)?.is_some())
    }

    /// The room that its values took, for another.
    pub fn into_room(self) -> ValuesRoom {
        self.values.into_room()
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

    /// The machine of operations on strings, by their codes; in place of another, if there is one.
    pub fn text_machine(&self, codes: &[TextCode], other: Option<Sequence<u8>>) -> PyResult<Sequence<u8>> {
        let mut made = other.unwrap_or_else(Sequence::empty);
        made.begin(text(&self.spec.initial)?.as_bytes());
        for &TextCode(code) in codes {
            let (doing, number, _) = decoded(code);
            match doing {
                BLIND => made.add_blind(),
                READ => made.add_get(self.string(number)?),
                WRITE => made.add_put(self.string(number)?),
                _ => made.add_append(self.string(number)?),
            }
        }
        Ok(made)
    }

    /// The string of a number.
    pub fn string(&self, number: u32) -> PyResult<&[u8]> {
        text(&self.values.known[number as usize]).map(str::as_bytes)
    }

    /// How many different values were read.
    pub fn values_known(&self) -> usize {
        self.values.known.len()
    }

    /// The number of a part's key; None for one that differs from itself.
    pub fn key(&mut self, key: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        self.keys.number_again(key)
    }

    fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Option<u32>> {
        self.values.number(value)
    }

    fn argument(&mut self, input: &Bound<'py, PyTuple>, at: usize) -> PyResult<Option<u32>> {
        self.values.number_again(&*input.get_borrowed_item(1 + self.spec.skip + at)?)
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
        let Twin::Words(shape, _) = self.twin else { return Ok(None) };
        if shape == Shape::Register {
            return match self.register_code(input, output)? {
                Some(code) => Ok(Some(self.register_of(code))),
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
            Name::Read => self.values.number_again(output)?.map(|seen| code(READ, seen, 0)),
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

    pub fn register_of(&self, code: u64) -> Op {
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
}

pub fn text<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    value.cast_exact::<PyString>()?.to_str()
}

impl Reader<'_, '_> {
    /// Number a priority queue's values in their order. False when they have none.
    pub fn rank<'o>(&self, ops: impl Iterator<Item = &'o mut Op>) -> PyResult<bool> {
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
