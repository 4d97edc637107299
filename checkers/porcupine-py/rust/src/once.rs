//! Histories that are decided at once: a ready model, and no part that takes the search long.
//!
//! Operations are looked at once for their times and for the part they belong to. Then one part after the other is
//! read and asked of the zones where they apply, and of the search with a small budget; so the first part that is
//! illegal ends the check before those after it are read. Only verdicts come of it: orders and witnesses are for the
//! ordinary way to find, when somebody asks. Whatever is not plain (times that are no whole numbers, objects that
//! are no operations, a part that is not decided) is left to the ordinary way too.

mod bench;
mod reading;
mod room;

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::PyErr;

use crate::clock::Clock;
use crate::codes::TextCode;
use crate::machine::Machine;
use crate::memory::Mixed;
use crate::native::{Kind, Op, Sequence, Shape};
use crate::operation::Operation;
use crate::problem::{Problem, Raw};
use crate::reader::{Reader, Spec, Twin};
use crate::search::{search_in_place_of, Limits, Outcome, Run};
use crate::zones;

pub use bench::{bench, bench_alone};
use reading::{kinds, purity, timed, Timed};
use room::{Room, Spare};

/// What a part's search may take in the first round: so many steps, or so many for each operation.
const STEPS: u64 = 2_000;
const STEPS_PER_OPERATION: u64 = 4;
const ROUNDS: u32 = 4;
const ROUND_FACTOR: u64 = 4;
/// A part with a gate that is longer is left to it.
const GATED_MAX: usize = 2_000;
/// The part of a memory limit that lists of who is open when may take, as in native.py.
const ROOM_PART: usize = 8;
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

/// The operations that belong to one part: so many from a place on, and with those that failed.
struct Lot {
    from: usize,
    count: usize,
    operations: u32,
}

/// A part that is read.
struct Read {
    raws: Vec<Raw>,
    pure: Vec<bool>,
    motor: Motor,
    columns: Option<zones::Columns>,
}

/// A machine; those of strings are used again.
enum Motor {
    Text(Sequence<u8>),
    Other(Box<dyn Machine>),
}

impl Motor {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Motor::Text(sequence) => sequence,
            Motor::Other(other) => &mut **other,
        }
    }
}

/// A part whose search has begun.
struct Open {
    read: Read,
    problem: Problem,
    run: Box<dyn Run>,
}

/// None where the ordinary way has to be gone.
pub fn judge<'py>(
    operations: &Bound<'py, PyTuple>,
    spec: &Spec<'py>,
    asked: &Asked,
) -> PyResult<Option<Found>> {
    let mut room = Room::take();
    let py = operations.py();
    let Some(reader) = Reader::new(py, spec, std::mem::take(&mut room.values))? else { return Ok(None) };
    let mut clock = Clock::new(asked.until);
    let mut check = Check::new(operations, asked, reader, room);
    let found = if check.sort_out(&mut clock)? { check.decide(&mut clock)? } else { None };
    check.done();
    Ok(found)
}

struct Check<'a, 'py> {
    operations: &'a Bound<'py, PyTuple>,
    asked: &'a Asked,
    reader: Reader<'py, 'a>,
    room: Room,
    /// Those that count; what they do is not read yet.
    raws: Vec<Raw>,
    /// Their places in `raws`, part by part.
    order: Vec<u32>,
    lots: Vec<Lot>,
    /// How long the parts took to read, where that is measured.
    reading: Option<Duration>,
}

impl<'a, 'py> Check<'a, 'py> {
    fn new(
        operations: &'a Bound<'py, PyTuple>,
        asked: &'a Asked,
        reader: Reader<'py, 'a>,
        room: Room,
    ) -> Self {
        let (raws, order, lots) = (Vec::new(), Vec::new(), Vec::new());
        Check { operations, asked, reader, room, raws, order, lots, reading: None }
    }

    fn done(self) {
        let Check { reader, mut room, .. } = self;
        room.values = reader.into_room();
        room.keep();
    }

    /// Look at times and outcomes, and find the parts. False where the ordinary way has to be gone.
    fn sort_out(&mut self, clock: &mut Clock) -> PyResult<bool> {
        let py = self.operations.py();
        let count = self.operations.len();
        if !self.asked.keyed {
            self.lots.push(Lot { from: 0, count, operations: count as u32 }); // looked at when it is read
            return Ok(true);
        }
        self.raws.reserve(count);
        let mut part_of: Vec<u32> = Vec::with_capacity(count);
        for (source, operation) in self.operations.iter_borrowed().enumerate() {
            clock.tick(py)?;
            let Ok(operation) = operation.cast_exact::<Operation>() else { return Ok(false) };
            let operation = operation.try_borrow()?;
            let Ok(input) = operation.input.bind_borrowed(py).cast_exact::<PyTuple>() else {
                return Ok(false);
            };
            let Some(part) = self.reader.key(&*input.get_borrowed_item(1)?)? else { return Ok(false) };
            if part as usize == self.lots.len() {
                self.lots.push(Lot { from: 0, count: 0, operations: 0 });
            }
            let lot = &mut self.lots[part as usize];
            lot.operations += 1;
            match timed(&operation, source) {
                Timed::Odd => return Ok(false),
                Timed::Failed => continue,
                Timed::Counts(raw) => self.raws.push(raw),
            }
            lot.count += 1;
            part_of.push(part);
        }
        let mut from = 0;
        for lot in &mut self.lots {
            lot.from = from;
            from += lot.count;
            lot.count = 0;
        }
        self.order.resize(part_of.len(), 0);
        for (at, part) in part_of.into_iter().enumerate() {
            let lot = &mut self.lots[part as usize];
            self.order[lot.from + lot.count] = at as u32;
            lot.count += 1;
        }
        Ok(true)
    }

    /// What a part's operations do.
    fn read(&mut self, part: usize, spare: &mut Spare, clock: &mut Clock) -> PyResult<Option<Read>> {
        let Lot { from, count, .. } = self.lots[part];
        let mut raws = std::mem::take(&mut spare.raws);
        raws.clear();
        if self.asked.keyed {
            raws.extend(self.order[from..from + count].iter().map(|&at| self.raws[at as usize]));
        }
        if part > 0 && !self.reader.begin()? {
            return Ok(None);
        }
        let mut pure = std::mem::take(&mut spare.pure);
        let mut columns = None;
        let motor = match self.reader.twin {
            Twin::Text => {
                let mut ops = std::mem::take(&mut self.room.text_ops);
                ops.clear();
                self.room.codes.clear();
                let codes = &mut self.room.codes;
                let done = kinds(
                    self.operations,
                    self.asked.keyed,
                    &mut self.reader,
                    &mut raws,
                    clock,
                    |reader, input, output| {
                        let Some(code) = reader.text_code(input, output)? else { return Ok(None) };
                        let kind = codes.kind(code, ops.len() as u32);
                        if kind as usize == ops.len() {
                            ops.push(TextCode(code));
                        }
                        Ok(Some((kind, ops[kind as usize].pure())))
                    },
                )?;
                if !done {
                    return Ok(None);
                }
                purity(&mut pure, &ops);
                let text = self.reader.text_machine(&ops, spare.text.take())?;
                self.room.text_ops = ops;
                Motor::Text(text)
            }
            Twin::List => {
                let Some(ops) = self.meant(&mut raws, clock, Reader::grow)? else { return Ok(None) };
                purity(&mut pure, &ops);
                Motor::Other(Box::new(Sequence::new(&ops, &[])))
            }
            Twin::Words(Shape::Register, _) => {
                self.room.codes.clear();
                let (codes, mut ops) = (&mut self.room.codes, Vec::new());
                let done = kinds(
                    self.operations,
                    self.asked.keyed,
                    &mut self.reader,
                    &mut raws,
                    clock,
                    |reader, input, output| {
                        let Some(code) = reader.register_code(input, output)? else { return Ok(None) };
                        let kind = codes.kind(code, ops.len() as u32);
                        if kind as usize == ops.len() {
                            ops.push(reader.register_of(code));
                        }
                        Ok(Some((kind, ops[kind as usize].pure())))
                    },
                )?;
                if !done {
                    return Ok(None);
                }
                purity(&mut pure, &ops);
                if self.asked.gated {
                    columns = zones::of_ops(&raws, &ops, self.reader.values_known());
                }
                let Some(machine) = self.reader.machine(Shape::Register, ops)? else { return Ok(None) };
                Motor::Other(machine)
            }
            Twin::Words(shape, _) => {
                if shape == Shape::Counter && self.operations.len() > 1 << 20 {
                    return Ok(None);
                }
                let Some(ops) = self.meant::<Op>(&mut raws, clock, Reader::op)? else { return Ok(None) };
                purity(&mut pure, &ops);
                let Some(machine) = self.reader.machine(shape, ops)? else { return Ok(None) };
                Motor::Other(machine)
            }
        };
        Ok(Some(Read { raws, pure, motor, columns }))
    }

    /// Kinds of operations that are told apart by what they do.
    fn meant<O: Kind>(
        &mut self,
        raws: &mut Vec<Raw>,
        clock: &mut Clock,
        mut meant: impl FnMut(
            &mut Reader<'py, 'a>,
            &Bound<'py, PyTuple>,
            &Bound<'py, PyAny>,
        ) -> PyResult<Option<O>>,
    ) -> PyResult<Option<Vec<O>>> {
        let mut number: Mixed<O, u32> = Mixed::default();
        let mut ops: Vec<O> = Vec::new();
        let done = kinds(
            self.operations,
            self.asked.keyed,
            &mut self.reader,
            raws,
            clock,
            |reader, input, output| {
                let Some(op) = meant(reader, input, output)? else { return Ok(None) };
                let pure = op.pure();
                let kind = *number.entry(op).or_insert_with_key(|op| {
                    ops.push(op.clone());
                    ops.len() as u32 - 1
                });
                Ok(Some((kind, pure)))
            },
        )?;
        Ok(done.then_some(ops))
    }

    /// How often the parts' searches take their turn. Where a gate that is not asked here may know, a long part is
    /// left to it, for states grow with the history; and a short one only gets one turn, unless it has foresight.
    fn rounds(&self) -> u32 {
        let foresees = matches!(self.reader.twin, Twin::Text | Twin::List);
        if !self.asked.gated || matches!(self.reader.twin, Twin::Words(Shape::Register, _)) {
            ROUNDS
        } else if self.lots.iter().any(|lot| lot.count > GATED_MAX) {
            0
        } else if foresees {
            ROUNDS
        } else {
            1
        }
    }

    fn decide(&mut self, clock: &mut Clock) -> PyResult<Option<Found>> {
        let (py, asked, rounds) = (self.operations.py(), self.asked, self.rounds());
        let mut found = Found { legal: true, parts: self.lots.len() as u32, ..Found::default() };
        let mut open: Vec<(usize, Option<Open>)> = Vec::new();
        let mut left = self.lots.len();
        for round in 0..rounds {
            let turns = if round == 0 { Vec::new() } else { std::mem::take(&mut open) };
            let mut turns = turns.into_iter();
            for turn in 0..left {
                let (part, begun) = turns.next().unwrap_or((turn, None));
                let operations = self.lots[part].operations;
                let mut part_open = match begun {
                    Some(begun) => begun,
                    None => {
                        let mut spare = self.room.spares.pop().unwrap_or_default();
                        let started = self.reading.map(|_| Instant::now());
                        let Some(read) = self.read(part, &mut spare, clock)? else { return Ok(None) };
                        if let (Some(reading), Some(started)) = (&mut self.reading, started) {
                            *reading += started.elapsed();
                        }
                        // Nothing for what is too concurrent, and no search for what the zones accept.
                        let begun = py.detach(|| {
                            let accept = zones::Answer::Accept;
                            if read.columns.as_ref().is_some_and(|c| zones::judge(c) == accept) {
                                return Some(None);
                            }
                            Open::new(read, spare, asked).map(Some)
                        });
                        match begun {
                            Some(Some(open)) => open,
                            Some(None) => {
                                found.decided += 1;
                                found.most = found.most.max(operations);
                                continue;
                            }
                            None => return Ok(None),
                        }
                    }
                };
                let before = part_open.run.steps();
                let outcome = py.detach(|| part_open.search(round, asked))?;
                found.steps += part_open.run.steps() - before;
                match outcome {
                    Outcome::Ok => {
                        found.decided += 1;
                        found.most = found.most.max(operations);
                        self.room.leave(part_open);
                    }
                    Outcome::Illegal => {
                        found.legal = false;
                        found.decided += 1;
                        found.most = found.most.max(part_open.run.most());
                        self.room.leave(part_open);
                        return Ok(Some(found));
                    }
                    Outcome::Pause => open.push((part, Some(part_open))),
                    Outcome::Timeout | Outcome::Memory => return Ok(None),
                }
            }
            left = open.len();
            if left == 0 {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Open {
    /// None for a part that is too concurrent.
    fn new(read: Read, spare: Spare, asked: &Asked) -> Option<Open> {
        let Spare { mut problem, run, .. } = spare;
        let room = asked.memory_bytes.map(|bytes| bytes / ROOM_PART);
        let kinds = read.pure.len();
        if !problem.refill(&read.raws, kinds, &read.pure, room) {
            return None;
        }
        let run = search_in_place_of(run, &problem, kinds)?;
        Some(Open { read, problem, run })
    }

    fn search(&mut self, round: u32, asked: &Asked) -> Result<Outcome, PyErr> {
        let first = STEPS.max(STEPS_PER_OPERATION * self.read.raws.len() as u64);
        let mut pulse = || Python::attach(|py| py.check_signals());
        let mut limits = Limits {
            steps: Some(first * ROUND_FACTOR.pow(round)),
            until: asked.until,
            memory_bytes: asked.memory_bytes,
            ceiling_bytes: None,
            pulse: &mut pulse,
        };
        self.run.run(&self.problem, self.read.motor.machine(), &mut limits)
    }
}
