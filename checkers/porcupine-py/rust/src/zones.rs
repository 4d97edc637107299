//! Registers whose observed values are each written once, on flat columns: the passes of zones.py.
//!
//! Two things are decided here: that nothing is wrong, and that the zones do not apply. Everything else,
//! and a contradiction above all, is left to zones.py, which has the words for it.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};

use crate::clock::Clock;
use crate::gates;
use crate::memory::Mixed;
use crate::native::Op;
use crate::operation::Outcome;
use crate::parse::fields;
use crate::problem::{Raw, NONE};
use crate::reader::Marks;
use crate::values::{Name, Names, Values};

const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The zones apply and find nothing wrong.
    Accept,
    /// A value that was seen has two producers, or an outcome is not told: the search must decide.
    DoesNotApply,
    /// Ask zones.py.
    Ask,
}

/// Operations that count, by kind; values are slots, the initial value's is 0.
#[derive(Default)]
pub struct Columns {
    slots: usize,
    reads: Vec<(i64, i64, u32)>,
    writes: Vec<(i64, i64, u32)>,
    /// (call, return, expected, new)
    swaps: Vec<(i64, i64, u32, u32)>,
    /// What completed compare-and-sets may have written that do not say whether they swapped.
    doubtful: Vec<u32>,
    /// Some compare-and-set does not say that, or what it found.
    unsure: bool,
}

impl Columns {
    /// Nothing yet, of values below `slots`.
    pub fn of(slots: usize) -> Columns {
        Columns { slots, ..Columns::default() }
    }

    pub fn read(&mut self, call: i64, ret: i64, value: u32) {
        self.reads.push((call, ret, value));
    }

    pub fn write(&mut self, call: i64, ret: i64, value: u32) {
        self.writes.push((call, ret, value));
    }

    pub fn swap(&mut self, call: i64, ret: i64, expected: u32, new: u32) {
        self.swaps.push((call, ret, expected, new));
    }

    /// A completed compare-and-set that does not say whether it swapped, and may have written this.
    pub fn doubt(&mut self, new: Option<u32>) {
        self.unsure = true;
        self.doubtful.extend(new);
    }
}

impl From<Answer> for gates::Answer {
    fn from(answer: Answer) -> gates::Answer {
        match answer {
            Answer::Accept => gates::Answer::Legal,
            Answer::DoesNotApply => gates::Answer::DoesNotApply,
            Answer::Ask => gates::Answer::Illegal(Vec::new()),
        }
    }
}

/// None where the zones of zones.py must be asked.
pub fn read<'py>(
    operations: &Bound<'py, PyList>,
    initial: &Bound<'py, PyAny>,
    skip: usize,
    may_swap: bool,
    clock: &mut Clock,
) -> PyResult<Option<Columns>> {
    let py = operations.py();
    let marks = Marks::get(py)?;
    let mut values = Values::new(py);
    let mut columns = Columns::default();
    if values.number(initial)?.is_none() {
        return Ok(None);
    }
    let mut names = Names::new();
    let at = 1 + skip;
    for operation in operations.iter() {
        clock.tick(py)?;
        let read = fields(&operation)?;
        let outcome = read.outcome.outcome(py)?;
        if outcome == Some(Outcome::Fail) {
            continue;
        }
        let ok = outcome == Some(Outcome::Ok);
        let (input, output) = (read.input, read.output);
        if !input.is_exact_instance_of::<PyTuple>() {
            return Ok(None);
        }
        let input = input.cast::<PyTuple>()?;
        let name = names.get(&*input.get_borrowed_item(0)?)?;
        if name == Name::Read && !ok {
            continue;
        }
        let Some(call) = read.call.whole(py)? else { return Ok(None) };
        let ret = if ok { read.ret.whole(py)? } else { Some(NEVER) };
        let Some(ret) = ret else { return Ok(None) };
        match name {
            Name::Read => {
                if !marks.is_unknown(&output) {
                    let Some(value) = values.number(&output)? else { return Ok(None) };
                    columns.reads.push((call, ret, value));
                }
            }
            Name::Write => {
                let Some(value) = values.number(&input.get_item(at)?)? else { return Ok(None) };
                columns.writes.push((call, ret, value));
            }
            Name::Cas if may_swap => {
                let expected = input.get_item(at)?;
                let told = output.is_exact_instance_of::<PyBool>();
                if ok && told && !output.is_truthy()? {
                    columns.unsure = true;
                    continue;
                }
                if ok && marks.is_unknown(&output) {
                    columns.unsure = true;
                    let Some(new) = values.number(&input.get_item(at + 1)?)? else { return Ok(None) };
                    columns.doubtful.push(new);
                    continue;
                }
                if ok && !told {
                    let Some(seen) = marks.saw(&output)? else { return Ok(None) };
                    let (Some(expected), Some(seen)) = (values.number(&expected)?, values.number(&seen)?)
                    else {
                        return Ok(None);
                    };
                    if seen == expected {
                        return Ok(None);
                    }
                    columns.reads.push((call, ret, seen));
                    continue;
                }
                let (Some(old), Some(new)) =
                    (values.number(&expected)?, values.number(&input.get_item(at + 1)?)?)
                else {
                    return Ok(None);
                };
                columns.swaps.push((call, ret, old, new));
            }
            _ => return Ok(None),
        }
    }
    columns.slots = values.count();
    Ok(Some(columns))
}

/// From operations that were read; `slots` is how many values there are. None for a compare-and-set that saw what
/// it expected, or that does not say whether it swapped or what it saw.
pub fn of_ops(raws: &[Raw], ops: &[Op], slots: usize) -> Option<Columns> {
    let mut columns = Columns { slots, ..Columns::default() };
    for raw in raws {
        let ret = if raw.optional { NEVER } else { raw.ret };
        match ops[raw.kind as usize] {
            Op::Read(value) => columns.reads.push((raw.call, ret, value)),
            Op::Write(value) => columns.writes.push((raw.call, ret, value)),
            Op::Swap(old, new) => columns.swaps.push((raw.call, ret, old, new)),
            Op::MaySwap(old, new) if raw.optional => columns.swaps.push((raw.call, ret, old, new)),
            Op::Saw(old, seen) if old != seen => columns.reads.push((raw.call, ret, seen)),
            Op::Blind => {}
            _ => return None,
        }
    }
    Some(columns)
}

/// None for columns of unequal length, or kinds or times without a meaning.
pub fn of_columns(
    kinds: &[u8],
    calls: &[i64],
    returns: &[i64],
    values: &[i64],
    news: &[i64],
    initial: i64,
) -> Option<Columns> {
    let count = kinds.len();
    if [calls.len(), returns.len(), values.len(), news.len()] != [count; 4] {
        return None;
    }
    // Slots for values: a table where they lie close together, else a hash.
    let (mut low, mut high) = (initial, initial);
    for i in 0..count {
        low = low.min(values[i]);
        high = high.max(values[i]);
        if kinds[i] == 2 {
            low = low.min(news[i]);
            high = high.max(news[i]);
        }
    }
    let span = i128::from(high) - i128::from(low) + 1;
    let mut table = if span <= 8 * count as i128 + 1024 { vec![NONE; span as usize] } else { Vec::new() };
    let mut hash: Mixed<i64, u32> = Mixed::default();
    let mut slots = 0u32;
    let mut slot = |value: i64| -> u32 {
        let found = if table.is_empty() {
            hash.entry(value).or_insert(NONE)
        } else {
            &mut table[value.wrapping_sub(low) as usize]
        };
        if *found == NONE {
            *found = slots;
            slots += 1;
        }
        *found
    };
    slot(initial);
    let mut columns = Columns::default();
    for i in 0..count {
        if returns[i] < calls[i] {
            return None;
        }
        match kinds[i] {
            0 if returns[i] != NEVER => columns.reads.push((calls[i], returns[i], slot(values[i]))),
            0 => {}
            1 => columns.writes.push((calls[i], returns[i], slot(values[i]))),
            2 => columns.swaps.push((calls[i], returns[i], slot(values[i]), slot(news[i]))),
            _ => return None,
        }
    }
    columns.slots = slots as usize;
    Some(columns)
}

/// One value: who made it, who was the first and the last to see it, and who swapped it away.
#[derive(Clone, Copy)]
struct Slot {
    /// Its producer: a write's number, a swap's beyond those, or one of the marks below.
    producer: u32,
    repeated: bool,
    seen: bool,
    first_back: i64,
    last_call: i64,
    next: u32,
}

const NOBODY: u32 = u32::MAX;
const INITIAL: u32 = u32::MAX - 1;

/// What the passes say of a history.
pub fn judge(columns: &Columns) -> Answer {
    let Columns { reads, writes, swaps, .. } = columns;
    let blank = Slot {
        producer: NOBODY,
        repeated: false,
        seen: false,
        first_back: NEVER,
        last_call: i64::MIN,
        next: NOBODY,
    };
    let mut slots = vec![blank; columns.slots];
    slots[0].producer = INITIAL;

    // collect: who makes what.
    let doubtful = columns.doubtful.iter().copied();
    let produced = writes.iter().map(|w| w.2).chain(swaps.iter().map(|s| s.3)).chain(doubtful);
    for (number, value) in produced.enumerate() {
        let slot = &mut slots[value as usize];
        if slot.producer == NOBODY {
            slot.producer = number as u32;
        } else {
            slot.repeated = true;
        }
    }

    // attribute: who saw what.
    for &(call, back, value) in reads {
        let slot = &mut slots[value as usize];
        if slot.producer == NOBODY {
            return Answer::Ask;
        }
        slot.seen = true;
        slot.first_back = slot.first_back.min(back);
        slot.last_call = slot.last_call.max(call);
    }
    let chain = |slots: &mut Vec<Slot>, number: usize| -> bool {
        let slot = &mut slots[swaps[number].2 as usize];
        // With two producers of its source a fork is no contradiction, and the zones do not apply.
        if slot.producer == NOBODY || (slot.next != NOBODY && !slot.repeated) {
            return false;
        }
        slot.seen = true;
        slot.next = number as u32;
        true
    };
    let mut chained = 0;
    for (number, swap) in swaps.iter().enumerate() {
        if swap.1 != NEVER {
            if !chain(&mut slots, number) {
                return Answer::Ask;
            }
            chained += 1;
        }
    }

    if columns.unsure {
        return Answer::DoesNotApply;
    }

    // settle: which unknown operations took effect.
    let pending = |slots: &[Slot], value: u32| -> Option<u32> {
        let producer = slots[value as usize].producer;
        let back = match producer {
            INITIAL | NOBODY => return None,
            p if (p as usize) < writes.len() => writes[p as usize].1,
            p => swaps[p as usize - writes.len()].1,
        };
        (back == NEVER).then_some(producer)
    };
    let mut took_effect = vec![false; writes.len()];
    let mut done = vec![false; columns.slots];
    let mut applies = true;
    let targets = writes
        .iter()
        .filter(|w| w.1 == NEVER)
        .map(|w| w.2)
        .chain(swaps.iter().filter(|s| s.1 == NEVER).map(|s| s.3));
    let mut work: Vec<u32> =
        targets.filter(|&v| slots[v as usize].seen && pending(&slots, v).is_some()).collect();
    while let Some(value) = work.pop() {
        if std::mem::replace(&mut done[value as usize], true) {
            continue;
        }
        if slots[value as usize].repeated {
            applies = false;
            continue;
        }
        let Some(producer) = pending(&slots, value) else { continue };
        if (producer as usize) < writes.len() {
            took_effect[producer as usize] = true;
            continue;
        }
        let number = producer as usize - writes.len();
        if !chain(&mut slots, number) {
            return Answer::Ask;
        }
        chained += 1;
        let source = swaps[number].2;
        if pending(&slots, source).is_some() {
            work.push(source);
        }
    }
    if !applies || slots.iter().any(|slot| slot.repeated && slot.seen) {
        return Answer::DoesNotApply;
    }

    // arrange: along each block.
    let mut zones: Vec<(i64, i64)> = Vec::with_capacity(writes.len() + 1);
    let mut met = 0;
    let mut walk = |value: u32, mut r: i64, mut i: i64| -> bool {
        let mut slot = &slots[value as usize];
        loop {
            if slot.first_back < i {
                return false;
            }
            r = r.min(slot.first_back);
            i = i.max(slot.last_call);
            if slot.next == NOBODY {
                zones.push((r, i));
                return true;
            }
            met += 1;
            let (call, back, _, new) = swaps[slot.next as usize];
            if back < i {
                return false;
            }
            r = r.min(back);
            i = i.max(call);
            slot = &slots[new as usize];
        }
    };
    if slots[0].seen && !walk(0, i64::MIN, i64::MIN) {
        return Answer::Ask;
    }
    for (number, &(call, back, value)) in writes.iter().enumerate() {
        if (back != NEVER || took_effect[number]) && !walk(value, back, call) {
            return Answer::Ask;
        }
    }
    if met < chained {
        return Answer::Ask;
    }

    // compare: no two blocks may each have to come first.
    let mut forward: Vec<(i64, i64)> = zones.iter().copied().filter(|&(r, i)| r < i).collect();
    forward.sort_by_key(|zone| zone.0);
    if forward.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        return Answer::Ask;
    }
    let fits = zones.iter().filter(|&&(r, i)| r >= i).all(|&(r, i)| {
        let before = forward.partition_point(|zone| zone.0 < i);
        before == 0 || r >= forward[before - 1].1
    });
    if fits {
        Answer::Accept
    } else {
        Answer::Ask
    }
}
