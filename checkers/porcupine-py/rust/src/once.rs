//! Histories that are decided at once: a ready model, and no part that takes the search long.
//!
//! Operations are read in one pass, straight to the parts that may be judged alone; then each part is asked of
//! the zones where they apply, and of the search with a small budget. Only verdicts come of it: orders and
//! witnesses are for the ordinary way to find, when somebody asks. Whatever is not plain (times that are no
//! whole numbers, objects that are no operations, a part that is not decided) is left to the ordinary way too.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyString, PyTuple};
use pyo3::PyErr;

use crate::clock::Clock;
use crate::machine::Machine;
use crate::memory::Mixed;
use crate::native::{Kind, Sequence, Shape};
use crate::operation::Operation;
use crate::parse::{Marks, Reader, Spec, TextCode, Twin};
use crate::problem::{Problem, Raw};
use crate::search::{search, Limits, Outcome, Run};
use crate::zones;

/// What a part's search may take in the first round: so many steps, or so many for each operation.
const STEPS: u64 = 2_000;
const STEPS_PER_OPERATION: u64 = 4;
const ROUNDS: u32 = 4;
const ROUND_FACTOR: u64 = 4;
/// A part with a gate that is longer is left to it.
const GATED_MAX: usize = 2_000;
/// Kinds, and operations of a part, that there is room for at first.
const CODES: usize = 100;
const LOT_ROOM: usize = 16;
/// The part of a memory limit that lists of who is open when may take, as in native.py.
const ROOM_PART: usize = 8;

/// One part's operations, with what they do.
struct Lot<O> {
    raws: Vec<Raw>,
    ops: Vec<O>,
    /// With those that failed.
    operations: u32,
}

impl<O> Lot<O> {
    fn with_room(room: usize) -> Self {
        Lot { raws: Vec::with_capacity(room), ops: Vec::new(), operations: 0 }
    }
}

/// A part ready to be judged.
struct Ready {
    raws: Vec<Raw>,
    pure: Vec<bool>,
    machine: Box<dyn Machine>,
    operations: u32,
    register: bool,
    columns: Option<zones::Columns>,
}

/// What came of it.
#[derive(Default)]
pub struct Found {
    pub legal: bool,
    pub steps: u64,
    pub most: u32,
    pub decided: u32,
    pub parts: u32,
}

pub struct Asked {
    /// Whether parts are told apart by the second element of an input.
    pub keyed: bool,
    /// Whether the model's gate is asked before the search. Only the zones of registers are asked here.
    pub gated: bool,
    pub until: Option<Instant>,
    pub memory_bytes: Option<usize>,
}

impl Asked {
    /// How often the parts' searches take their turn. Where a gate that is not asked here may know, a long part is
    /// left to it, for states grow with the history; and a short one only gets one turn, unless it has foresight.
    fn rounds(&self, parts: &[Ready]) -> u32 {
        if !self.gated || parts.iter().all(|part| part.register) {
            ROUNDS
        } else if parts.iter().any(|part| part.raws.len() > GATED_MAX) {
            0
        } else if parts.iter().all(|part| part.machine.grows()) {
            ROUNDS
        } else {
            1
        }
    }
}

/// None where the ordinary way has to be gone.
pub fn judge<'py>(
    operations: &Bound<'py, PyList>,
    spec: &Spec<'py>,
    asked: &Asked,
) -> PyResult<Option<Found>> {
    match gather(operations, spec, asked)? {
        Some(parts) if asked.rounds(&parts) == 0 => Ok(None),
        Some(parts) => operations.py().detach(|| decide(parts, asked)),
        None => Ok(None),
    }
}

/// The best times of some rounds, in seconds: of reading, of getting ready for the search, and of the search;
/// zones are not asked. None where the ordinary way has to be gone.
pub fn bench<'py>(
    operations: &Bound<'py, PyList>,
    spec: &Spec<'py>,
    asked: &Asked,
    rounds: usize,
) -> PyResult<Option<[f64; 3]>> {
    let mut best = [f64::INFINITY; 3];
    for _ in 0..rounds {
        let started = Instant::now();
        let Some(parts) = gather(operations, spec, asked)? else { return Ok(None) };
        let mut took = [started.elapsed().as_secs_f64(), 0.0, 0.0];
        let mut open = true;
        for mut part in parts {
            let started = Instant::now();
            let Some((problem, mut run)) = part.prepared(asked) else { return Ok(None) };
            took[1] += started.elapsed().as_secs_f64();
            if !open {
                continue;
            }
            let started = Instant::now();
            let outcome = part.search(&problem, &mut *run, ROUNDS, asked)?;
            took[2] += started.elapsed().as_secs_f64();
            open = !matches!(outcome, Outcome::Illegal);
        }
        for (best, took) in best.iter_mut().zip(took) {
            *best = best.min(took);
        }
    }
    Ok(Some(best))
}

fn gather<'py>(
    operations: &Bound<'py, PyList>,
    spec: &Spec<'py>,
    asked: &Asked,
) -> PyResult<Option<Vec<Ready>>> {
    let py = operations.py();
    let Some(mut reader) = Reader::new(py, spec, operations.len())? else { return Ok(None) };
    let parts = match reader.twin {
        Twin::Text => {
            let Some(lots) = read(
                operations,
                asked,
                &mut reader,
                by_code(Reader::text_code, |_, code| Ok(TextCode(code))),
            )?
            else {
                return Ok(None);
            };
            ready(lots, |ops| reader.text_machine(&ops).map(Some))?
        }
        Twin::List => {
            let Some(lots) = read(operations, asked, &mut reader, by_meaning(Reader::grow))? else {
                return Ok(None);
            };
            ready(lots, |ops| Ok(Some(Box::new(Sequence::new(&ops, &[])))))?
        }
        Twin::Words(shape, _) => {
            if shape == Shape::Counter && operations.len() > 1 << 20 {
                return Ok(None);
            }
            let lots = if shape == Shape::Register {
                read(operations, asked, &mut reader, by_code(Reader::register_code, Reader::register_of))?
            } else {
                read(operations, asked, &mut reader, by_meaning(Reader::op))?
            };
            let Some(lots) = lots else { return Ok(None) };
            let slots = reader.values_known();
            let columns: Vec<_> = lots
                .iter()
                .map(|lot| {
                    let fits = asked.gated && shape == Shape::Register;
                    fits.then(|| zones::of_ops(&lot.raws, &lot.ops, slots)).flatten()
                })
                .collect();
            let mut parts = ready(lots, |ops| reader.machine(shape, ops))?;
            for (part, columns) in parts.iter_mut().flatten().zip(columns) {
                part.columns = columns;
                part.register = shape == Shape::Register;
            }
            parts
        }
    };
    Ok(parts)
}

impl Ready {
    fn prepared(&self, asked: &Asked) -> Option<(Problem, Box<dyn Run>)> {
        let room = asked.memory_bytes.map(|bytes| bytes / ROOM_PART);
        let kinds = self.pure.len();
        let problem = Problem::within(&self.raws, kinds, &self.pure, room)?;
        let run = search(&problem, kinds, problem.returns(), false)?;
        Some((problem, run))
    }

    fn search(
        &mut self,
        problem: &Problem,
        run: &mut dyn Run,
        round: u32,
        asked: &Asked,
    ) -> Result<Outcome, PyErr> {
        let first = STEPS.max(STEPS_PER_OPERATION * self.raws.len() as u64);
        let mut pulse = || Python::attach(|py| py.check_signals());
        let mut limits = Limits {
            steps: Some(first * ROUND_FACTOR.pow(round)),
            until: asked.until,
            memory_bytes: asked.memory_bytes,
            ceiling_bytes: None,
            pulse: &mut pulse,
        };
        run.run(problem, &mut *self.machine, &mut limits)
    }
}

fn ready<O: Kind>(
    lots: Vec<Lot<O>>,
    mut machine: impl FnMut(Vec<O>) -> PyResult<Option<Box<dyn Machine>>>,
) -> PyResult<Option<Vec<Ready>>> {
    let mut parts = Vec::with_capacity(lots.len());
    for lot in lots {
        let pure = lot.ops.iter().map(Kind::pure).collect();
        let Some(machine) = machine(lot.ops)? else { return Ok(None) };
        parts.push(Ready {
            raws: lot.raws,
            pure,
            machine,
            operations: lot.operations,
            register: false,
            columns: None,
        });
    }
    Ok(Some(parts))
}

/// Read every operation, and let `kind_of` say which of its part's kinds it is of; that adds those that are new.
fn read<'py: 'm, 'm, O: Kind>(
    operations: &Bound<'py, PyList>,
    asked: &Asked,
    reader: &mut Reader<'py, 'm>,
    mut kind_of: impl FnMut(&mut Reader<'py, 'm>, Given<'_, 'py>, &mut Vec<O>) -> PyResult<Option<u32>>,
) -> PyResult<Option<Vec<Lot<O>>>> {
    let py = operations.py();
    let mut clock = Clock::new(asked.until);
    let unknown = Marks::get(py)?.unknown(py);
    let (ok, info, fail) = (pyo3::intern!(py, "ok"), pyo3::intern!(py, "info"), pyo3::intern!(py, "fail"));
    let mut lots: Vec<Lot<O>> = Vec::new();
    if !asked.keyed {
        lots.push(Lot::with_room(operations.len()));
    }
    let whole = |time: &Bound<'py, PyAny>| -> Option<i64> {
        if time.is_exact_instance_of::<PyInt>() {
            time.extract().ok()
        } else {
            None
        }
    };
    for (source, operation) in operations.iter().enumerate() {
        clock.tick(py)?;
        let Ok(operation) = operation.cast_exact::<Operation>() else { return Ok(None) };
        let operation = operation.try_borrow()?;
        let Ok(input) = operation.input.bind(py).cast_exact::<PyTuple>() else { return Ok(None) };
        let part = if asked.keyed {
            let Some(key) = reader.key(&*input.get_borrowed_item(1)?)? else { return Ok(None) };
            key
        } else {
            0
        };
        if part as usize == lots.len() {
            lots.push(Lot::with_room(LOT_ROOM));
        }
        let lot = &mut lots[part as usize];
        lot.operations += 1;
        let Some(call) = whole(operation.call.bind(py)) else { return Ok(None) };
        let outcome = operation.outcome.bind(py);
        let mut outcome = outcome.cast_exact::<PyString>()?;
        if !outcome.is(ok) && !outcome.is(info) && !outcome.is(fail) {
            outcome = match outcome.to_str()? {
                "ok" => ok,
                "info" => info,
                "fail" => fail,
                _ => return Ok(None),
            };
        }
        if outcome.is(fail) {
            continue;
        }
        let optional = outcome.is(info);
        let mut ret = 0;
        if !optional {
            match whole(operation.return_time.bind(py)) {
                Some(back) if back >= call => ret = back,
                _ => return Ok(None),
            }
        }
        let output = if optional { unknown } else { operation.output.bind(py) };
        let given = Given { part, input, output };
        let Some(kind) = kind_of(reader, given, &mut lot.ops)? else { return Ok(None) };
        if optional && lot.ops[kind as usize].pure() {
            continue;
        }
        lot.raws.push(Raw { call, ret, optional, kind, source: source as u32 });
    }
    Ok(Some(lots))
}

/// What an operation was given and came back with.
struct Given<'a, 'py> {
    part: u32,
    input: &'a Bound<'py, PyTuple>,
    output: &'a Bound<'py, PyAny>,
}

/// Kinds of operations that are told apart by what they do.
fn by_meaning<'py: 'm, 'm, O: Kind, F>(
    mut meant: F,
) -> impl FnMut(&mut Reader<'py, 'm>, Given<'_, 'py>, &mut Vec<O>) -> PyResult<Option<u32>>
where
    F: FnMut(&mut Reader<'py, 'm>, &Bound<'py, PyTuple>, &Bound<'py, PyAny>) -> PyResult<Option<O>>,
{
    let mut kinds: Mixed<(u32, O), u32> = Mixed::default();
    move |reader: &mut Reader<'py, 'm>, given: Given<'_, 'py>, ops: &mut Vec<O>| {
        let Some(op) = meant(reader, given.input, given.output)? else { return Ok(None) };
        Ok(Some(*kinds.entry((given.part, op)).or_insert_with_key(|(_, op)| {
            ops.push(op.clone());
            ops.len() as u32 - 1
        })))
    }
}

/// Kinds of operations that are told apart by a number, so that most need not be looked into.
fn by_code<'py: 'm, 'm, O: Kind, F, G>(
    mut code_of: F,
    meaning: G,
) -> impl FnMut(&mut Reader<'py, 'm>, Given<'_, 'py>, &mut Vec<O>) -> PyResult<Option<u32>>
where
    F: FnMut(&mut Reader<'py, 'm>, &Bound<'py, PyTuple>, &Bound<'py, PyAny>) -> PyResult<Option<u64>>,
    G: Fn(&Reader<'py, 'm>, u64) -> PyResult<O>,
{
    let mut kinds: Mixed<(u32, u64), u32> = Mixed::with_capacity_and_hasher(CODES, Default::default());
    move |reader: &mut Reader<'py, 'm>, given: Given<'_, 'py>, ops: &mut Vec<O>| {
        let Some(code) = code_of(reader, given.input, given.output)? else { return Ok(None) };
        if let Some(&kind) = kinds.get(&(given.part, code)) {
            return Ok(Some(kind));
        }
        let kind = ops.len() as u32;
        ops.push(meaning(reader, code)?);
        kinds.insert((given.part, code), kind);
        Ok(Some(kind))
    }
}

fn decide(parts: Vec<Ready>, asked: &Asked) -> Result<Option<Found>, PyErr> {
    let rounds = asked.rounds(&parts);
    let mut found = Found { legal: true, parts: parts.len() as u32, ..Found::default() };
    let mut left: Vec<Ready> = Vec::new();
    for part in parts {
        let accepted = part.columns.as_ref().is_some_and(|c| zones::judge(c) == zones::Answer::Accept);
        if accepted {
            found.decided += 1;
            found.most = found.most.max(part.operations);
        } else {
            left.push(part);
        }
    }
    // In the first round each is made ready when its turn comes: the first that is illegal ends the check.
    let mut open: Vec<_> = left.into_iter().map(|part| (part, None)).collect();
    for round in 0..rounds {
        let mut still = Vec::new();
        for (mut part, prepared) in open {
            let prepared: Option<(Problem, Box<dyn Run>)> = prepared.or_else(|| part.prepared(asked));
            let Some((problem, mut run)) = prepared else { return Ok(None) };
            let before = run.steps();
            let outcome = part.search(&problem, &mut *run, round, asked)?;
            found.steps += run.steps() - before;
            match outcome {
                Outcome::Ok => {
                    found.decided += 1;
                    found.most = found.most.max(part.operations);
                }
                Outcome::Illegal => {
                    found.legal = false;
                    found.decided += 1;
                    found.most = found.most.max(run.most());
                    return Ok(Some(found));
                }
                Outcome::Pause => still.push((part, Some((problem, run)))),
                Outcome::Timeout | Outcome::Memory => return Ok(None),
            }
        }
        if still.is_empty() {
            return Ok(Some(found));
        }
        open = still;
    }
    Ok(None)
}
