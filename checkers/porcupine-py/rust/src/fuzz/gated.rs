//! Random histories of distinct values, to hold the gates against the oracle.
//!
//! As in fuzz.rs a model is run, but every value is put in once. What is spoilt then may well put one in twice:
//! the gate must not apply to that.

use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::PyErr;

use super::{blur, blur_grow, Asking, Dice, Made};
use crate::gates::{self, Answer, Entry, NEVER};
use crate::machine::Machine;
use crate::memory::Mixed;
use crate::native::{counter_words, Got, Grow, Op, Register, Sequence, Shape, Words};
use crate::oracle::linearizable;
use crate::parse::Gated;
use crate::problem::Raw;
use crate::zones::{self, Columns};

/// Values are below this.
const VALUES: u32 = 24;
/// What a string that does not begin empty begins as.
const BEGINNING: &[u8] = b"z";

#[derive(Clone, Default)]
struct State {
    items: Vec<u32>,
    text: Vec<u8>,
    sum: i64,
}

/// Where in a run an operation is drawn.
struct Now<'d> {
    dice: &'d mut Dice,
    instant: u32,
    /// Its value, if it puts one in: all of them have an order of their own.
    fresh: u32,
    shape: Shape,
}

struct Kit<O> {
    shape: Shape,
    first: State,
    /// An operation that fits, and what it does to the state.
    draw: fn(&mut Now, &mut State) -> O,
    /// Any operation at all.
    guess: fn(&mut Dice) -> O,
    unknown: fn(&O) -> O,
    machine: fn(Vec<O>) -> Box<dyn Machine>,
    gate: fn(Vec<Entry<O>>) -> Answer,
}

/// How many histories were legal, illegal and not for the gate, and what gate and oracle disagree on.
pub type Count = (u64, u64, u64, Vec<String>);

pub fn fuzz(
    model: &str,
    seed: u64,
    count: u64,
    pulse: &mut dyn FnMut() -> Result<(), PyErr>,
) -> Result<Count, PyErr> {
    fn ops(shape: Shape, draw: fn(&mut Now, &mut State) -> Op, guess: fn(&mut Dice) -> Op) -> Kit<Op> {
        let machine: fn(Vec<Op>) -> Box<dyn Machine> = match shape {
            Shape::Register => |ops| Box::new(Register { ops }),
            Shape::Counter => |ops| Box::new(Words::new(Shape::Counter, ops, &counter_words(0))),
            Shape::Set => |ops| Box::new(Words::new(Shape::Set, ops, &[])),
            Shape::Queue => |ops| Box::new(Words::new(Shape::Queue, ops, &[])),
            Shape::Stack => |ops| Box::new(Words::new(Shape::Stack, ops, &[])),
            _ => |ops| Box::new(Words::new(Shape::Priority, ops, &[])),
        };
        let gate: fn(Vec<Entry<Op>>) -> Answer = match shape {
            Shape::Register => |ops| register_gate(&ops),
            Shape::Counter => |ops| gate(Shape::Counter, ops),
            Shape::Set => |ops| gate(Shape::Set, ops),
            Shape::Queue => |ops| gate(Shape::Queue, ops),
            Shape::Stack => |ops| gate(Shape::Stack, ops),
            _ => |ops| gate(Shape::Priority, ops),
        };
        Kit { shape, first: State::default(), draw, guess, unknown: blur, machine, gate }
    }
    let text = |first: &[u8], machine, gate| Kit {
        shape: Shape::Register,
        first: State { text: first.to_vec(), ..State::default() },
        draw: string,
        guess: |dice| super::append(dice, 3),
        unknown: blur_grow,
        machine,
        gate,
    };
    match model {
        "queue" => run(seed, count, pulse, &ops(Shape::Queue, collection, any_collection)),
        "stack" => run(seed, count, pulse, &ops(Shape::Stack, collection, any_collection)),
        "priority" => run(seed, count, pulse, &ops(Shape::Priority, collection, any_collection)),
        "set" => run(seed, count, pulse, &ops(Shape::Set, element, |dice| super::set(dice, 4))),
        "whole-set" => run(seed, count, pulse, &ops(Shape::Set, whole, any_whole)),
        "counter" => run(seed, count, pulse, &ops(Shape::Counter, sum, |dice| super::counter(dice, 4))),
        "register" => {
            run(seed, count, pulse, &ops(Shape::Register, register, |dice| super::register(dice, 6)))
        }
        "append" => run(
            seed,
            count,
            pulse,
            &text(
                b"",
                |ops| Box::new(Sequence::new(&ops, b"")),
                |ops| gates::judge(&Gated::Text { ops, initial: [].into() }, &|| false),
            ),
        ),
        "append-to-some" => run(
            seed,
            count,
            pulse,
            &text(
                BEGINNING,
                |ops| Box::new(Sequence::new(&ops, BEGINNING)),
                |ops| gates::judge(&Gated::Text { ops, initial: BEGINNING.into() }, &|| false),
            ),
        ),
        "list" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: row,
                guess: |dice| super::list(dice, 3),
                ..text(
                    b"",
                    |ops| Box::new(Sequence::new(&ops, b"")),
                    |ops| {
                        let ops = ops.into_iter().map(|Entry { call, ret, op }| Entry {
                            call,
                            ret,
                            op: widened(op),
                        });
                        gates::judge(&Gated::List { ops: ops.collect() }, &|| false)
                    },
                )
            },
        ),
        _ => Err(PyValueError::new_err(format!("no gate {model:?} to fuzz"))),
    }
}

fn gate(shape: Shape, ops: Vec<Entry<Op>>) -> Answer {
    gates::judge(&Gated::Ops { shape, ops, values: VALUES as usize, initial: 0 }, &|| false)
}

/// The zones; the initial value is 0.
fn register_gate(entries: &[Entry<Op>]) -> Answer {
    let mut columns = Columns::of(VALUES as usize);
    for entry in entries {
        let (call, ret) = (entry.call, entry.ret);
        match entry.op {
            Op::Read(value) => columns.read(call, ret, value),
            Op::Write(value) => columns.write(call, ret, value),
            Op::Swap(old, new) => columns.swap(call, ret, old, new),
            Op::MaySwap(old, new) if entry.unknown() => columns.swap(call, ret, old, new),
            Op::MaySwap(_, new) => columns.doubt(Some(new)),
            Op::NoSwap(_) => columns.doubt(None),
            Op::Saw(old, seen) if old == seen => return Answer::Illegal(Vec::new()),
            Op::Saw(_, seen) => columns.read(call, ret, seen),
            _ => {}
        }
    }
    zones::judge(&columns).into()
}

fn widened(op: Grow<u8>) -> Grow<u32> {
    let wide = |text: Box<[u8]>| text.iter().map(|&letter| u32::from(letter)).collect();
    match op {
        Grow::Blind => Grow::Blind,
        Grow::Get(text) => Grow::Get(wide(text)),
        Grow::Put(text) => Grow::Put(wide(text)),
        Grow::Append(text) => Grow::Append(wide(text)),
    }
}

// --- what fits ------------------------------------------------------------------------------------

fn collection(now: &mut Now, state: &mut State) -> Op {
    let items = &mut state.items;
    let at = if now.shape == Shape::Stack { items.len().wrapping_sub(1) } else { 0 };
    let got = items.get(at).map_or(Got::Empty, |&value| Got::Value(value));
    match now.dice.below(10) {
        0..=4 => {
            if now.shape == Shape::Priority {
                items.insert(items.partition_point(|&value| value < now.fresh), now.fresh);
            } else {
                items.push(now.fresh);
            }
            Op::Put(now.fresh)
        }
        5..=7 => {
            if got != Got::Empty {
                items.remove(at);
            }
            Op::Take(got)
        }
        _ => Op::Look(if now.dice.in_hundred(10) { Got::Unknown } else { got }),
    }
}

fn element(now: &mut Now, state: &mut State) -> Op {
    let kind = now.dice.below(6);
    let value = if kind == 0 { now.instant } else { now.dice.below(3) as u32 };
    let place = state.items.iter().position(|&item| item == value);
    let blind = now.dice.in_hundred(40);
    match (kind, place) {
        (0 | 1, None) => {
            state.items.push(value);
            Op::Insert(value, (!blind).then_some(true))
        }
        (0 | 1, Some(_)) => Op::Insert(value, Some(false)),
        (2, Some(place)) => {
            state.items.remove(place);
            Op::Remove(value, (!blind).then_some(true))
        }
        (2, None) => Op::Remove(value, (!blind).then_some(false)),
        _ => Op::Has(value, place.is_some()),
    }
}

fn whole(now: &mut Now, state: &mut State) -> Op {
    if now.dice.in_hundred(50) {
        state.items.push(now.fresh);
        return Op::Insert(now.fresh, now.dice.in_hundred(50).then_some(true));
    }
    let mut seen = state.items.clone();
    seen.sort_unstable();
    Op::Members(seen.into())
}

fn sum(now: &mut Now, state: &mut State) -> Op {
    let by = [1, 1, 2, 5, -3, 0][now.dice.below(6) as usize];
    match now.dice.below(20) {
        0..=4 => Op::Count(state.sum),
        5 => {
            state.sum += by;
            Op::Add(by)
        }
        _ => {
            state.sum += by;
            Op::AddGet(by, state.sum)
        }
    }
}

/// The state is the last item; it is 0 at first.
fn register(now: &mut Now, state: &mut State) -> Op {
    let held = state.items.last().copied().unwrap_or(0);
    let new = now.instant + 1;
    match now.dice.below(10) {
        0..=4 => Op::Read(held),
        5 => Op::Saw(now.dice.below(4) as u32 + held + 1, held),
        6 | 7 => {
            state.items.push(new);
            Op::Write(new)
        }
        _ => {
            state.items.push(new);
            Op::Swap(held, new)
        }
    }
}

fn letters(now: &mut Now) -> Box<[u8]> {
    let mut token = vec![b'a' + now.instant as u8];
    if now.dice.in_hundred(30) {
        token.push(b'.');
    }
    token.into()
}

fn string(now: &mut Now, state: &mut State) -> Grow<u8> {
    match now.dice.below(10) {
        0..=4 => Grow::Get(state.text.clone().into()),
        5 => {
            let token = letters(now);
            state.text = token.to_vec();
            Grow::Put(token)
        }
        _ => {
            let token = letters(now);
            state.text.extend(token.iter());
            Grow::Append(token)
        }
    }
}

fn row(now: &mut Now, state: &mut State) -> Grow<u8> {
    if now.dice.in_hundred(50) {
        return Grow::Get(state.text.clone().into());
    }
    let letter = b'a' + now.instant as u8;
    state.text.push(letter);
    Grow::Append([letter].into())
}

// --- what need not --------------------------------------------------------------------------------

fn any_collection(dice: &mut Dice) -> Op {
    let got = if dice.in_hundred(25) { Got::Empty } else { Got::Value(dice.below(8) as u32) };
    match dice.below(10) {
        0 => Op::Put(dice.below(20) as u32),
        1..=6 => Op::Take(got),
        _ => Op::Look(got),
    }
}

fn any_whole(dice: &mut Dice) -> Op {
    if dice.in_hundred(20) {
        return Op::Insert(dice.below(12) as u32, None);
    }
    Op::Members((0..8).filter(|_| dice.in_hundred(50)).collect())
}

fn history<O: Asking>(dice: &mut Dice, kit: &Kit<O>) -> Vec<Made<O>> {
    let count = 2 + dice.below(9) as i64;
    let (spread, grain) = (dice.below(7) + 1, 1 + dice.below(3) as i64);
    let info = [0, 0, 10, 30][dice.below(4) as usize];
    let mut fresh: Vec<u32> = (0..count as u32).collect();
    shuffle(dice, &mut fresh);
    let mut state = kit.first.clone();
    let mut found: Vec<Made<O>> = Vec::new();
    for instant in 0..count {
        let optional = dice.in_hundred(info);
        let mut after = state.clone();
        let mut now = Now { instant: instant as u32, fresh: fresh[instant as usize], shape: kit.shape, dice };
        let op = (kit.draw)(&mut now, &mut after);
        if !optional || dice.in_hundred(50) {
            state = after;
        }
        let call = (instant - dice.below(spread) as i64).div_euclid(grain);
        let ret = (instant + dice.below(spread) as i64).div_euclid(grain);
        found.push(Made { op: if optional { (kit.unknown)(&op) } else { op }, call, ret, optional });
    }
    for _ in 0..[0, 1, 3, 5][dice.below(4) as usize] {
        let at = dice.below(found.len() as u64) as usize;
        if found[at].optional {
            continue;
        }
        match dice.below(8) {
            0 => found[at].op = (kit.guess)(dice),
            1 => {
                // Two operations change places in time.
                let other = dice.below(found.len() as u64) as usize;
                let (one, two) = (found[at].op.clone(), found[other].op.clone());
                if !found[other].optional {
                    (found[at].op, found[other].op) = (two, one);
                }
            }
            2 => {
                found[at].optional = true;
                found[at].op = (kit.unknown)(&found[at].op);
            }
            3 | 4 => {
                let by = dice.below(13) as i64 - 6;
                found[at].call += by;
                found[at].ret += by;
            }
            _ => {
                let made = &mut found[at];
                made.call += dice.below((made.ret - made.call) as u64 + 1) as i64;
                made.ret = made.call;
            }
        }
    }
    shuffle(dice, &mut found);
    found
}

fn shuffle<T>(dice: &mut Dice, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        items.swap(at, dice.below(at as u64 + 1) as usize);
    }
}

fn run<O: Asking>(
    seed: u64,
    count: u64,
    pulse: &mut dyn FnMut() -> Result<(), PyErr>,
    kit: &Kit<O>,
) -> Result<Count, PyErr> {
    let mut dice = Dice(seed.wrapping_mul(0xA076_1D64_78BD_642F) ^ 0x2545_F491);
    let (mut legal, mut illegal, mut beside, mut wrong) = (0, 0, 0, Vec::new());
    for number in 0..count {
        if number % 1024 == 0 {
            pulse()?;
        }
        let made = history(&mut dice, kit);
        let mut numbers: Mixed<&O, u32> = HashMap::default();
        let mut ops: Vec<O> = Vec::new();
        let mut raws: Vec<Raw> = Vec::new();
        for (source, one) in made.iter().enumerate() {
            let kind = *numbers.entry(&one.op).or_insert_with(|| {
                ops.push(one.op.clone());
                ops.len() as u32 - 1
            });
            let (call, ret, optional) = (one.call, one.ret, one.optional);
            raws.push(Raw { call, ret, optional, kind, source: source as u32 });
        }
        let entries = made.iter().map(|one| Entry {
            call: one.call,
            ret: if one.optional { NEVER } else { one.ret },
            op: one.op.clone(),
        });
        let answer = (kit.gate)(entries.collect());
        if answer == Answer::DoesNotApply {
            beside += 1;
            continue;
        }
        let truth = linearizable(&raws, &mut *(kit.machine)(ops.clone()))?;
        if truth {
            legal += 1;
        } else {
            illegal += 1;
        }
        let objection = match &answer {
            Answer::Legal if truth => continue,
            Answer::Illegal(places) if !truth => {
                let mut left: Vec<Raw> = places.iter().map(|&place| raws[place as usize]).collect();
                left.dedup_by_key(|raw| raw.source);
                if places.is_empty() || !linearizable(&left, &mut *(kit.machine)(ops.clone()))? {
                    continue;
                }
                format!("legal are the operations at {places:?} by themselves")
            }
            other => format!("the gate says {other:?}, the oracle {truth}"),
        };
        if wrong.len() < 5 {
            let shown: Vec<String> = made.iter().map(Made::shown).collect();
            wrong.push(format!("history {number}: {objection}: {}", shown.join("; ")));
        }
    }
    Ok((legal, illegal, beside, wrong))
}
