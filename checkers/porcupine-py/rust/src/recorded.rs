//! Driftline's histories of registers, from the bytes of their lines to the parts that the zones accept.
//!
//! Only what is plain is decided: lines with the fields of docs/formats.md of that project, of a history that is fit
//! to be one, whose keys have no escapes and whose values are whole numbers or null. Whatever is out of the ordinary,
//! and every breach above all, gives None: who asked reads the same lines again, and has the words. Of a part that
//! the zones do not accept the lines are handed back.

use std::time::Instant;

use pyo3::prelude::*;

mod lines;

use self::lines::{Cursor, Does, End, Event, Held, Value};
use crate::memory::Mixed;
use crate::zones::{judge as judge_zones, Answer, Columns};

const NEVER: i64 = i64::MAX;
/// No clock that counts from a run's origin comes to this many nanoseconds.
const TIME_MAX: i64 = 1 << 62;
const LINES_PER_LOOK: usize = 1 << 14;

/// What was made of a history.
#[derive(Default)]
pub struct Found {
    pub operations: u32,
    /// Reads that promise nothing, each of a value that was written by then.
    pub aside: u32,
    pub parts: u32,
    /// Operations of the largest part.
    pub largest: u32,
    pub accepted: u32,
    /// The lines of all other parts, in their order.
    pub rest: Vec<u8>,
}

/// An operation that was invoked.
#[derive(Clone, Copy)]
struct Called {
    over: bool,
    local: bool,
    does: Does,
    part: u32,
    process: i64,
    call: i64,
    index: u32,
    /// Slots of the value written or expected, and of the one swapped in.
    given: (u32, u32),
}

/// What the zones are told of an operation.
enum Row {
    Read(u32),
    Write(u32),
    Swap(u32, u32),
    /// A compare-and-set that does not say what it saw, or says what cannot be.
    Doubt,
}

/// The operations of one key; values are slots, null's is 0.
struct Part<'a> {
    key: Option<&'a [u8]>,
    operations: u32,
    slots: u32,
    /// (call, return, the index of its invoke, what it did)
    rows: Vec<(i64, i64, u32, Row)>,
}

impl Part<'_> {
    fn accepted(&self) -> bool {
        let mut columns = Columns::of(self.slots as usize);
        for &(call, ret, _, ref row) in &self.rows {
            match *row {
                Row::Read(value) => columns.read(call, ret, value),
                Row::Write(value) => columns.write(call, ret, value),
                Row::Swap(old, new) => columns.swap(call, ret, old, new),
                Row::Doubt => columns.doubt(None),
            }
        }
        judge_zones(&columns) == Answer::Accept
    }
}

/// What is known so far.
struct History<'a> {
    parts: Vec<Part<'a>>,
    by_key: Mixed<Option<&'a [u8]>, u32>,
    slots: Mixed<(u32, i64), u32>,
    /// By number of the operation.
    called: Vec<Option<Called>>,
    processes: Mixed<i64, Process>,
    /// Local reads that saw something: its part and slot, and the index of the end.
    looks: Vec<(u32, u32, u32)>,
    aside: u32,
    time: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Idle,
    Open,
    Gone,
}

/// None for what is not decided here; `lines` are whole ones, without the header.
pub fn judge(
    lines: &[u8],
    until: Option<Instant>,
    pulse: &mut dyn FnMut() -> PyResult<()>,
) -> PyResult<Option<Found>> {
    if std::str::from_utf8(lines).is_err() || lines.len() >= u32::MAX as usize {
        return Ok(None);
    }
    let mut history = History::new(lines.iter().filter(|&&byte| byte == b'\n').count());
    // Of each line its part, and where it begins.
    let mut places: Vec<(u32, u32)> = Vec::with_capacity(history.called.len());
    let mut cursor = Cursor::new(lines);
    while cursor.at() < lines.len() {
        if places.len() % LINES_PER_LOOK == LINES_PER_LOOK - 1 {
            pulse()?;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
        let begin = cursor.at() as u32;
        let Some(part) = cursor.event().and_then(|event| history.take(&event, places.len())) else {
            return Ok(None);
        };
        places.push((part, begin));
    }
    Ok(history.finish().map(|(found, refused)| with_rest(found, &refused, &places, lines)))
}

fn with_rest(mut found: Found, refused: &[bool], places: &[(u32, u32)], lines: &[u8]) -> Found {
    if refused.contains(&true) {
        for (number, &(part, begin)) in places.iter().enumerate() {
            if refused[part as usize] {
                let end = places.get(number + 1).map_or(lines.len(), |next| next.1 as usize);
                found.rest.extend_from_slice(&lines[begin as usize..end]);
            }
        }
    }
    found
}

impl<'a> History<'a> {
    fn new(lines: usize) -> History<'a> {
        History {
            parts: Vec::new(),
            by_key: Mixed::default(),
            slots: Mixed::default(),
            called: vec![None; lines],
            processes: Mixed::default(),
            looks: Vec::new(),
            aside: 0,
            time: 0,
        }
    }

    /// The part that an event is of; None for an event that cannot stand here.
    fn take(&mut self, event: &Event<'a>, due: usize) -> Option<u32> {
        if event.index != due as i64 || event.time < self.time || event.time > TIME_MAX {
            return None;
        }
        self.time = event.time;
        let number = usize::try_from(event.op).ok().filter(|&number| number < self.called.len())?;
        let process = self.processes.entry(event.process).or_insert(Process::Idle);
        if event.end == End::Invoke {
            if self.called[number].is_some() || *process != Process::Idle {
                return None;
            }
            *process = Process::Open;
            let called = self.invoke(event, due as u32)?;
            self.called[number] = Some(called);
            return Some(called.part);
        }
        let called = self.called[number].as_mut()?;
        let same = called.process == event.process
            && called.does == event.does
            && self.parts[called.part as usize].key == event.key;
        if called.over || !same {
            return None;
        }
        called.over = true;
        *process = if event.end == End::Info { Process::Gone } else { Process::Idle };
        let called = *called;
        match event.end {
            End::Ok => self.done(&called, event)?,
            End::Info => self.unknown(&called),
            End::Fail | End::Invoke => {}
        }
        Some(called.part)
    }

    fn invoke(&mut self, event: &Event<'a>, index: u32) -> Option<Called> {
        let made = self.parts.len() as u32;
        let part = *self.by_key.entry(event.key).or_insert(made);
        if part == made {
            self.parts.push(Part { key: event.key, operations: 0, slots: 1, rows: Vec::new() });
        }
        let local = event.does == Does::Read && event.local;
        if local {
            self.aside += 1;
        } else {
            self.parts[part as usize].operations += 1;
        }
        let given = match (event.does, event.value) {
            (Does::Read, _) => (0, 0),
            (Does::Write, Value::Plain(value)) => (self.slot(part, value), 0),
            (Does::Swap, Value::Swap { from, to, .. }) => (self.slot(part, from), self.slot(part, to)),
            _ => return None,
        };
        let (process, call, does) = (event.process, event.time, event.does);
        Some(Called { over: false, local, does, part, process, call, index, given })
    }

    fn slot(&mut self, part: u32, value: Held) -> u32 {
        let Some(value) = value else { return 0 };
        let slots = &mut self.parts[part as usize].slots;
        *self.slots.entry((part, value)).or_insert_with(|| {
            *slots += 1;
            *slots - 1
        })
    }

    /// It took effect, and this is what it saw.
    fn done(&mut self, called: &Called, event: &Event<'a>) -> Option<()> {
        let (old, new) = called.given;
        let row = match (called.does, event.value) {
            (Does::Read, Value::Plain(value)) => {
                let saw = self.slot(called.part, value);
                if called.local {
                    if value.is_some() {
                        self.looks.push((called.part, saw, event.index as u32));
                    }
                    return Some(());
                }
                Row::Read(saw)
            }
            (Does::Write, _) => Row::Write(old),
            (Does::Swap, Value::Swap { swapped: Some(true), .. }) => Row::Swap(old, new),
            (Does::Swap, Value::Swap { swapped: Some(false), saw, .. }) => {
                match saw.map(|saw| self.slot(called.part, saw)) {
                    Some(saw) if saw != old => Row::Read(saw),
                    _ => Row::Doubt,
                }
            }
            _ => return None,
        };
        self.parts[called.part as usize].rows.push((called.call, event.time, called.index, row));
        Some(())
    }

    /// It may take effect at any time, or never.
    fn unknown(&mut self, called: &Called) {
        let (old, new) = called.given;
        let row = match called.does {
            Does::Read => return,
            Does::Write => Row::Write(old),
            Does::Swap => Row::Swap(old, new),
        };
        self.parts[called.part as usize].rows.push((called.call, NEVER, called.index, row));
    }

    /// And which parts the zones do not accept. None if a local read saw what nobody had begun to write.
    fn finish(mut self) -> Option<(Found, Vec<bool>)> {
        let open: Vec<Called> = self.called.iter().flatten().filter(|called| !called.over).copied().collect();
        open.iter().for_each(|called| self.unknown(called));
        if !self.looks_fit() {
            return None;
        }
        let mut found = Found { aside: self.aside, operations: self.aside, ..Found::default() };
        let mut refused = vec![false; self.parts.len()];
        // A key of local reads alone is no part.
        for (number, part) in self.parts.iter().enumerate().filter(|(_, part)| part.operations > 0) {
            found.operations += part.operations;
            found.parts += 1;
            found.largest = found.largest.max(part.operations);
            refused[number] = !part.accepted();
            found.accepted += u32::from(!refused[number]);
        }
        Some((found, refused))
    }

    fn looks_fit(&self) -> bool {
        if self.looks.is_empty() {
            return true;
        }
        let mut begun: Mixed<(u32, u32), u32> = Mixed::default();
        for (number, part) in self.parts.iter().enumerate() {
            for &(_, _, index, ref row) in &part.rows {
                if let Row::Write(value) | Row::Swap(_, value) = *row {
                    let first = begun.entry((number as u32, value)).or_insert(index);
                    *first = index.min(*first);
                }
            }
        }
        self.looks.iter().all(|&(part, value, index)| begun.get(&(part, value)).is_some_and(|&b| b < index))
    }
}
