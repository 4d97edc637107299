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
use crate::codes::{self, TextCode};
use crate::machine::Machine;
use crate::memory::Mixed;
use crate::native::{Kind, Register, Sequence, Shape};
use crate::operation::Operation;
use crate::problem::{Problem, Raw, NONE};
use crate::reader::{register_of, Doing, Marks, Noted, Reader, Spec, Twin};
use crate::search::{search_in_place_of, Limits, Outcome, Run};
use crate::straight::{in_turn, straight, Allowed, Desk, Numbered, Trial, Tried};
use crate::zones;

pub use bench::{bench, bench_alone};
use reading::{objects, timed, Given, Timed};
use room::{Room, Spare};

/// What a part's search may take in the first round: so many steps, or so many for each operation.
const STEPS: u64 = 2_000;
const STEPS_PER_OPERATION: u64 = 4;
const ROUNDS: u32 = 4;
const ROUND_FACTOR: u64 = 4;
/// A part with a gate that is longer is left to it.
const GATED_MAX: usize = 2_000;
/// A part of no more operations is judged without letting other threads go on meanwhile, which would take some of the
/// time that it takes itself; its first turn is less than a millisecond.
const ATTACHED_MAX: usize = 256;
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

/// The operations that belong to one part: places of the first and of the last that counts, how many there are, and
/// how many with those that failed.
struct Lot {
    first: u32,
    last: u32,
    count: usize,
    operations: u32,
}

/// A part that is read.
struct Part {
    raws: Vec<Raw>,
    /// By kind.
    pure: Vec<bool>,
    motor: Motor,
    columns: Option<zones::Columns>,
    problem: Problem,
    desk: Desk,
}

/// A machine; those of strings are used again.
enum Motor {
    Text(Sequence<u8>),
    List(Sequence<u32>),
    Other(Box<dyn Machine>),
}

impl Motor {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Motor::Text(sequence) => sequence,
            Motor::List(sequence) => sequence,
            Motor::Other(other) => &mut **other,
        }
    }
}

impl Default for Part {
    fn default() -> Part {
        let motor = Motor::Text(Sequence::empty());
        Part {
            raws: Vec::new(),
            pure: Vec::new(),
            motor,
            columns: None,
            problem: Problem::default(),
            desk: Desk::default(),
        }
    }
}

impl Part {
    /// What can be told without getting ready for a search. `hopeful`: whether operations are tried that overlap.
    fn first_try(&mut self, hopeful: bool, asked: &Asked) -> PyResult<Trial> {
        let allowed = Allowed { until: asked.until, memory_bytes: asked.memory_bytes };
        let Part { raws, pure, motor, desk, .. } = self;
        let trial = in_turn(raws, motor.machine(), &allowed)?;
        if trial.tried != Tried::Open || !hopeful {
            return Ok(trial);
        }
        match motor {
            Motor::Text(text) => straight(raws, pure, &mut text.walk(), desk, &allowed),
            Motor::List(list) => straight(raws, pure, &mut list.walk(), desk, &allowed),
            Motor::Other(other) => straight(raws, pure, &mut Numbered::new(&mut **other), desk, &allowed),
        }
    }
}

/// A part whose search has begun.
struct Open {
    part: Box<Part>,
    run: Box<dyn Run>,
}

/// None where the ordinary way has to be gone.
pub fn judge<'py>(
    operations: &Bound<'py, PyTuple>,
    spec: &Spec<'py>,
    asked: &Asked,
) -> PyResult<Option<Found>> {
    let mut clock = Clock::new(asked.until);
    let Some(mut check) = Check::new(operations, spec, asked)? else { return Ok(None) };
    let found = if check.sort_out(&mut clock)? { check.decide(&mut clock)? } else { None };
    check.done();
    Ok(found)
}

struct Check<'a, 'py> {
    given: Given<'a, 'py>,
    asked: &'a Asked,
    reader: Reader<'py, 'a>,
    room: Box<Room>,
    /// How long the parts took to read, where that is measured.
    reading: Option<Duration>,
}

impl<'a, 'py> Check<'a, 'py> {
    /// None for a model that the core does not know.
    fn new(
        operations: &'a Bound<'py, PyTuple>,
        spec: &'a Spec<'py>,
        asked: &'a Asked,
    ) -> PyResult<Option<Self>> {
        let (py, mut room) = (operations.py(), Room::take());
        let Some(reader) = Reader::new(py, spec, std::mem::take(&mut room.reader))? else { return Ok(None) };
        let given = Given { all: operations, met: Vec::new(), marks: Marks::get(py)? };
        Ok(Some(Check { given, asked, reader, room, reading: None }))
    }

    fn done(self) {
        let Check { reader, mut room, .. } = self;
        room.reader = reader.into_room();
        room.keep();
    }

    /// Look at times and outcomes, and find the parts. False where the ordinary way has to be gone.
    fn sort_out(&mut self, clock: &mut Clock) -> PyResult<bool> {
        let (py, marks) = (self.given.all.py(), self.given.marks);
        let count = self.given.all.len();
        let Room { raws, after, lots, .. } = &mut *self.room;
        raws.clear();
        after.clear();
        lots.clear();
        if !self.asked.keyed {
            // Looked at when it is read.
            lots.push(Lot { first: NONE, last: NONE, count, operations: count as u32 });
            return Ok(true);
        }
        raws.reserve(count);
        after.reserve(count);
        self.given.met.reserve(count);
        for (source, operation) in self.given.all.iter_borrowed().enumerate() {
            clock.tick(py)?;
            let Ok(operation) = operation.cast_exact::<Operation>() else { return Ok(false) };
            let operation = operation.get();
            self.given.met.push(operation);
            let key = Noted { operation, optional: false, marks, py }.element(1)?;
            let Some(part) = self.reader.key(&key)? else { return Ok(false) };
            if part as usize == lots.len() {
                lots.push(Lot { first: NONE, last: NONE, count: 0, operations: 0 });
            }
            let lot = &mut lots[part as usize];
            lot.operations += 1;
            let at = raws.len() as u32;
            match timed(operation, source) {
                Timed::Odd => return Ok(false),
                Timed::Failed => continue,
                Timed::Counts(raw) => raws.push(raw),
            }
            lot.count += 1;
            after.push(NONE);
            match after.get_mut(lot.last as usize) {
                Some(after) => *after = at,
                None => lot.first = at,
            }
            lot.last = at;
        }
        Ok(true)
    }

    /// What a part's operations do. False where the ordinary way has to be gone.
    fn read(&mut self, number: usize, part: &mut Part, clock: &mut Clock) -> PyResult<bool> {
        part.raws.clear();
        part.pure.clear();
        part.columns = None;
        if self.asked.keyed {
            let Lot { first, count, .. } = self.room.lots[number];
            part.raws.reserve(count);
            let mut at = first;
            while at != NONE {
                part.raws.push(self.room.raws[at as usize]);
                at = self.room.after[at as usize];
            }
        }
        if number > 0 && !self.reader.begin()? {
            return Ok(false);
        }
        match self.reader.twin {
            Twin::Text => {
                if !self.coded(part, clock)? {
                    return Ok(false);
                }
                if !matches!(part.motor, Motor::Text(_)) {
                    part.motor = Motor::Text(Sequence::empty());
                }
                if let Motor::Text(text) = &mut part.motor {
                    self.reader.text_machine(&self.room.met, text);
                }
            }
            Twin::Words(Shape::Register, _) => {
                if !self.coded(part, clock)? {
                    return Ok(false);
                }
                let ops: Vec<_> = self.room.met.iter().map(|&TextCode(code)| register_of(code)).collect();
                if self.asked.gated {
                    part.columns = zones::of_ops(&part.raws, &ops, self.reader.values_known());
                }
                part.motor = Motor::Other(Box::new(Register { ops }));
            }
            Twin::List => {
                let Some(ops) = self.meant(part, clock, Reader::grow)? else { return Ok(false) };
                part.motor = Motor::List(Sequence::new(&ops, &[]));
            }
            Twin::Words(shape, _) => {
                if shape == Shape::Counter && self.given.all.len() > 1 << 20 {
                    return Ok(false);
                }
                let Some(ops) = self.meant(part, clock, Reader::op)? else { return Ok(false) };
                let Some(machine) = self.reader.machine(shape, ops)? else { return Ok(false) };
                part.motor = Motor::Other(machine);
            }
        }
        Ok(true)
    }

    /// Kinds of operations that have a code, in the order of `room.met`. False where one cannot be read.
    fn coded(&mut self, part: &mut Part, clock: &mut Clock) -> PyResult<bool> {
        let Room { codes, met, .. } = &mut *self.room;
        codes.clear();
        met.clear();
        let (reader, pure) = (&mut self.reader, &mut part.pure);
        self.given.kinds(&mut part.raws, clock, |noted| {
            let Some(code) = reader.code(noted)? else { return Ok(None) };
            let kind = codes.kind(code, met.len() as u32);
            if kind as usize == met.len() {
                met.push(TextCode(code));
                pure.push(codes::pure(code));
            }
            Ok(Some((kind, pure[kind as usize])))
        })
    }

    /// Kinds of operations that are told apart by what they do.
    fn meant<O: Kind>(
        &mut self,
        part: &mut Part,
        clock: &mut Clock,
        mut meant: impl FnMut(
            &mut Reader<'py, 'a>,
            &Bound<'py, PyTuple>,
            &Bound<'py, PyAny>,
        ) -> PyResult<Option<O>>,
    ) -> PyResult<Option<Vec<O>>> {
        let mut number: Mixed<O, u32> = Mixed::default();
        let mut ops: Vec<O> = Vec::new();
        let reader = &mut self.reader;
        let done = self.given.kinds(&mut part.raws, clock, |noted| {
            let Some((input, output)) = objects(noted) else { return Ok(None) };
            let Some(op) = meant(reader, &input, &output)? else { return Ok(None) };
            let pure = op.pure();
            let kind = *number.entry(op).or_insert_with_key(|op| {
                ops.push(op.clone());
                ops.len() as u32 - 1
            });
            Ok(Some((kind, pure)))
        })?;
        part.pure.extend(ops.iter().map(Kind::pure));
        Ok(done.then_some(ops))
    }

    /// How often the parts' searches take their turn. Where a gate that is not asked here may know, a long part is
    /// left to it, for states grow with the history; and a short one only gets one turn, unless it has foresight.
    fn rounds(&self) -> u32 {
        let foresees = matches!(self.reader.twin, Twin::Text | Twin::List);
        if !self.asked.gated || matches!(self.reader.twin, Twin::Words(Shape::Register, _)) {
            ROUNDS
        } else if self.room.lots.iter().any(|lot| lot.count > GATED_MAX) {
            0
        } else if foresees {
            ROUNDS
        } else {
            1
        }
    }

    fn decide(&mut self, clock: &mut Clock) -> PyResult<Option<Found>> {
        let (py, asked, rounds) = (self.given.all.py(), self.asked, self.rounds());
        let mut left = self.room.lots.len();
        let mut found = Found { legal: true, parts: left as u32, ..Found::default() };
        let mut open: Vec<(usize, Option<Open>)> = Vec::new();
        let mut hopeful = true;
        for round in 0..rounds {
            let turns = if round == 0 { Vec::new() } else { std::mem::take(&mut open) };
            let mut turns = turns.into_iter();
            for turn in 0..left {
                let (number, begun) = turns.next().unwrap_or((turn, None));
                let Lot { operations, count, .. } = self.room.lots[number];
                let attached = round == 0 && count <= ATTACHED_MAX;
                let mut begun = match begun {
                    Some(begun) => begun,
                    None => {
                        let mut spare = self.room.spares.pop().unwrap_or_default();
                        let started = self.reading.map(|_| Instant::now());
                        if !self.read(number, &mut spare.part, clock)? {
                            return Ok(None);
                        }
                        if let (Some(reading), Some(started)) = (&mut self.reading, started) {
                            *reading += started.elapsed();
                        }
                        let work = || spare.part.first_try(hopeful, asked);
                        let Trial { tried, steps } = beside_others(py, !attached, work)?;
                        found.steps += steps;
                        match tried {
                            // Nor will it mostly be enough for the parts that are left.
                            Tried::Open => hopeful = false,
                            Tried::Legal => {
                                found.decided += 1;
                                found.most = found.most.max(operations);
                                self.room.take_back(spare);
                                continue;
                            }
                            Tried::Illegal(most) => {
                                found.legal = false;
                                found.decided += 1;
                                found.most = found.most.max(most);
                                self.room.take_back(spare);
                                return Ok(Some(found));
                            }
                        }
                        // Nothing for what is too concurrent, and no search for what the zones accept.
                        let begun = beside_others(py, !attached, || {
                            let accept = zones::Answer::Accept;
                            if spare.part.columns.as_ref().is_some_and(|c| zones::judge(c) == accept) {
                                return Some(None);
                            }
                            Open::new(spare, asked).map(Some)
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
                let before = begun.run.steps();
                let outcome = beside_others(py, !attached, || begun.search(round, asked))?;
                found.steps += begun.run.steps() - before;
                match outcome {
                    Outcome::Ok => {
                        found.decided += 1;
                        found.most = found.most.max(operations);
                        self.room.leave(begun);
                    }
                    Outcome::Illegal => {
                        found.legal = false;
                        found.decided += 1;
                        found.most = found.most.max(begun.run.most());
                        self.room.leave(begun);
                        return Ok(Some(found));
                    }
                    Outcome::Pause => open.push((number, Some(begun))),
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

/// Let other threads go on meanwhile, if that is worth it.
fn beside_others<T: Send>(py: Python<'_>, worth: bool, work: impl FnOnce() -> T + Send) -> T {
    if worth {
        py.detach(work)
    } else {
        work()
    }
}

impl Open {
    /// None for a part that is too concurrent.
    fn new(spare: Spare, asked: &Asked) -> Option<Open> {
        let Spare { mut part, run } = spare;
        let room = asked.memory_bytes.map(|bytes| bytes / ROOM_PART);
        let kinds = part.pure.len();
        let Part { raws, pure, problem, .. } = &mut *part;
        if !problem.refill(raws, kinds, pure, room) {
            return None;
        }
        let run = search_in_place_of(run, problem, kinds)?;
        Some(Open { part, run })
    }

    fn search(&mut self, round: u32, asked: &Asked) -> Result<Outcome, PyErr> {
        let first = STEPS.max(STEPS_PER_OPERATION * self.part.raws.len() as u64);
        let mut pulse = || Python::attach(|py| py.check_signals());
        let mut limits = Limits {
            steps: Some(first * ROUND_FACTOR.pow(round)),
            until: asked.until,
            memory_bytes: asked.memory_bytes,
            ceiling_bytes: None,
            pulse: &mut pulse,
        };
        let Part { problem, motor, .. } = &mut *self.part;
        self.run.run(problem, motor.machine(), &mut limits)
    }
}
