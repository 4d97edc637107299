//! Random histories of ready models, to hold the search against the oracle: seeded, and small enough that
//! the oracle can be plain.
//!
//! A history is made by running the model: each operation gets its instant, an interval around it, and its
//! true output. Times are coarse, so that many are equal; values are few, so that operations repeat; some
//! outcomes are unknown. Then, more often than not, something is spoilt.

pub mod gated;

use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::PyErr;

use crate::machine::{Machine, REFUSED};
use crate::memory::Mixed;
use crate::native::{counter_words, Got, Grow, Kind, Op, Register, Sequence, Shape, Words};
use crate::oracle::linearizable;
use crate::problem::{Problem, Raw, NONE};
use crate::search::{search, Limits, Outcome};
use crate::straight::{in_turn, straight, Allowed, Desk, Numbered, Tried};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn in_hundred(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// An operation before its output is known, and what it may come out as.
trait Asking: Kind + std::fmt::Debug {}

impl Asking for Op {}
impl Asking for Grow<u8> {}

type Sequenced<O> = fn(&[O]) -> Sequence<u8>;

/// What one model needs: operations as completed in a state (drawn until one fits), and as unknown.
struct Kit<O> {
    /// A guess at an operation with an output; the model says whether it fits.
    draw: fn(&mut Dice, u32) -> O,
    /// The same operation when its output is not known.
    unknown: fn(&O) -> O,
    machine: fn(Vec<O>) -> Box<dyn Machine>,
    /// The same as a sequence, of models that are one.
    sequence: Option<Sequenced<O>>,
}

pub fn fuzz(
    model: &str,
    seed: u64,
    count: u64,
    pulse: &mut dyn FnMut() -> Result<(), PyErr>,
) -> Result<(u64, u64, Vec<String>), PyErr> {
    fn words(shape: Shape, first: &[u32]) -> impl Fn(Vec<Op>) -> Box<dyn Machine> + '_ {
        move |ops| Box::new(Words::new(shape, ops, first))
    }
    match model {
        "register" => run(
            seed,
            count,
            pulse,
            &Kit { draw: register, unknown: blur, machine: |ops| Box::new(Register { ops }), sequence: None },
        ),
        "append" => run(
            seed,
            count,
            pulse,
            &Kit { draw: append, unknown: blur_grow, machine: sequence_machine, sequence: Some(sequence) },
        ),
        "list" => run(
            seed,
            count,
            pulse,
            &Kit { draw: list, unknown: blur_grow, machine: sequence_machine, sequence: Some(sequence) },
        ),
        "counter" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: counter,
                unknown: blur,
                machine: |ops| words(Shape::Counter, &counter_words(0))(ops),
                sequence: None,
            },
        ),
        "set" => run(
            seed,
            count,
            pulse,
            &Kit { draw: set, unknown: blur, machine: |ops| words(Shape::Set, &[])(ops), sequence: None },
        ),
        "queue" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: collection,
                unknown: blur,
                machine: |ops| words(Shape::Queue, &[])(ops),
                sequence: None,
            },
        ),
        "stack" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: collection,
                unknown: blur,
                machine: |ops| words(Shape::Stack, &[])(ops),
                sequence: None,
            },
        ),
        "priority" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: collection,
                unknown: blur,
                machine: |ops| words(Shape::Priority, &[])(ops),
                sequence: None,
            },
        ),
        "mutex" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: mutex,
                unknown: blur,
                machine: |ops| words(Shape::Semaphore(1), &[1])(ops),
                sequence: None,
            },
        ),
        "semaphore" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: semaphore,
                unknown: blur,
                machine: |ops| words(Shape::Semaphore(3), &[3])(ops),
                sequence: None,
            },
        ),
        "registers" => run(
            seed,
            count,
            pulse,
            &Kit {
                draw: registers,
                unknown: blur,
                machine: |ops| words(Shape::Registers, &[0, 0])(ops),
                sequence: None,
            },
        ),
        _ => Err(PyValueError::new_err(format!("no model {model:?} to fuzz"))),
    }
}

fn sequence(ops: &[Grow<u8>]) -> Sequence<u8> {
    Sequence::new(ops, b"")
}

fn sequence_machine(ops: Vec<Grow<u8>>) -> Box<dyn Machine> {
    Box::new(sequence(&ops))
}

fn value(dice: &mut Dice, values: u32) -> u32 {
    dice.below(u64::from(values)) as u32
}

fn register(dice: &mut Dice, values: u32) -> Op {
    let (a, b) = (value(dice, values), value(dice, values));
    match dice.below(8) {
        0..=2 => Op::Read(a),
        3 | 4 => Op::Write(a),
        5 => Op::Swap(a, b),
        6 => {
            if dice.in_hundred(50) {
                Op::NoSwap(a)
            } else {
                Op::Saw(a, b)
            }
        }
        _ => {
            if dice.in_hundred(70) {
                Op::Swap(a, b)
            } else {
                Op::MaySwap(a, b)
            }
        }
    }
}

/// What a read may have seen: short strings over a small alphabet.
fn text(dice: &mut Dice, letters: u32) -> Box<[u8]> {
    let length = dice.below(5);
    (0..length).map(|_| b'a' + value(dice, letters.min(3)) as u8).collect()
}

fn append(dice: &mut Dice, values: u32) -> Grow<u8> {
    match dice.below(8) {
        0..=2 => Grow::Get(text(dice, values)),
        3 => Grow::Put(text(dice, values)),
        4 => Grow::Append([b'a', b'a' + value(dice, values.min(3)) as u8].into()),
        _ => Grow::Append([b'a' + value(dice, values.min(3)) as u8].into()),
    }
}

fn list(dice: &mut Dice, values: u32) -> Grow<u8> {
    if dice.in_hundred(45) {
        Grow::Get(text(dice, values))
    } else {
        Grow::Append([b'a' + value(dice, values.min(3)) as u8].into())
    }
}

fn counter(dice: &mut Dice, values: u32) -> Op {
    let by = i64::from(value(dice, values)) - 1;
    let seen = dice.below(8) as i64 - 2;
    match dice.below(6) {
        0 | 1 => Op::Count(seen),
        2 | 3 => Op::Add(by),
        _ => Op::AddGet(by, seen),
    }
}

fn set(dice: &mut Dice, values: u32) -> Op {
    let one = value(dice, values);
    let told = [None, Some(true), Some(false)][dice.below(3) as usize];
    match dice.below(7) {
        0 | 1 => Op::Insert(one, told),
        2 | 3 => Op::Remove(one, told),
        4 => Op::Has(one, dice.in_hundred(50)),
        _ => Op::Members((0..values).filter(|_| dice.in_hundred(50)).collect()),
    }
}

fn collection(dice: &mut Dice, values: u32) -> Op {
    let one = value(dice, values);
    let got = if dice.in_hundred(20) { Got::Empty } else { Got::Value(one) };
    match dice.below(7) {
        0..=2 => Op::Put(one),
        3..=5 => Op::Take(got),
        _ => Op::Look(got),
    }
}

fn mutex(dice: &mut Dice, _values: u32) -> Op {
    let told = [None, Some(true), Some(false)][dice.below(3) as usize];
    if dice.in_hundred(50) {
        Op::Acquire(1, told)
    } else {
        Op::Release(1, told)
    }
}

fn semaphore(dice: &mut Dice, _values: u32) -> Op {
    let told = [None, Some(true), Some(false)][dice.below(3) as usize];
    let count = 1 + value(dice, 3);
    if dice.in_hundred(50) {
        Op::Acquire(count, told)
    } else {
        Op::Release(count, told)
    }
}

fn registers(dice: &mut Dice, values: u32) -> Op {
    let parts = 1 + dice.below(3);
    Op::Txn(
        (0..parts)
            .map(|_| {
                let (key, one) = (value(dice, 2), value(dice, values));
                if dice.in_hundred(40) {
                    (true, key, one)
                } else {
                    (false, key, if dice.in_hundred(15) { NONE } else { one })
                }
            })
            .collect(),
    )
}

fn blur(op: &Op) -> Op {
    match op {
        Op::Read(_) | Op::Count(_) | Op::Has(..) | Op::Members(_) | Op::Look(_) => Op::Blind,
        Op::Swap(a, b) | Op::MaySwap(a, b) => Op::MaySwap(*a, *b),
        Op::NoSwap(a) | Op::Saw(a, _) => Op::MaySwap(*a, a ^ 1),
        Op::AddGet(by, _) => Op::Add(*by),
        Op::Insert(v, _) => Op::Insert(*v, None),
        Op::Remove(v, _) => Op::Remove(*v, None),
        Op::Take(_) => Op::Take(Got::Unknown),
        Op::Acquire(n, _) => Op::Acquire(*n, None),
        Op::Release(n, _) => Op::Release(*n, None),
        Op::Txn(parts) => Op::Txn(parts.iter().map(|&(w, k, v)| (w, k, if w { v } else { NONE })).collect()),
        other => other.clone(),
    }
}

fn blur_grow(op: &Grow<u8>) -> Grow<u8> {
    match op {
        Grow::Get(_) => Grow::Blind,
        other => other.clone(),
    }
}

struct Made<O> {
    op: O,
    call: i64,
    ret: i64,
    optional: bool,
}

impl<O: Asking> Made<O> {
    fn shown(&self) -> String {
        let back = if self.optional { "...".to_owned() } else { self.ret.to_string() };
        format!("{:?} [{}, {back}]", self.op, self.call)
    }
}

/// Many operations of unknown outcome, a few of them alike, and some that need them: whether an early one
/// may use one up, or must leave it to a later one, is what decides here.
fn crashing<O: Asking>(dice: &mut Dice, kit: &Kit<O>) -> Vec<Made<O>> {
    let values = 2 + dice.below(2) as u32;
    let mut found = Vec::new();
    for _ in 0..2 + dice.below(5) {
        let op = (kit.unknown)(&(kit.draw)(dice, values));
        found.push(Made { op, call: dice.below(7) as i64, ret: 0, optional: true });
    }
    for _ in 0..2 + dice.below(4) {
        let call = dice.below(13) as i64;
        found.push(Made {
            op: (kit.draw)(dice, values),
            call,
            ret: call + dice.below(4) as i64,
            optional: false,
        });
    }
    found
}

fn history<O: Asking>(dice: &mut Dice, kit: &Kit<O>) -> Vec<Made<O>> {
    if dice.in_hundred(30) {
        return crashing(dice, kit);
    }
    let count = 1 + dice.below(9) as i64;
    let values = 2 + dice.below(3) as u32;
    let (spread, grain) = (dice.below(7) + 1, 1 + dice.below(3) as i64);
    let info = [0, 20, 50][dice.below(3) as usize];
    let mut found: Vec<Made<O>> = Vec::new();
    let mut past: Vec<O> = Vec::new();
    for instant in 0..count {
        let optional = dice.in_hundred(info);
        let happens = !optional || dice.in_hundred(50);
        // Some operation that fits now; if none is found, one that need not.
        let mut op = (kit.draw)(dice, values);
        for _ in 0..40 {
            if !happens || fits(kit, &past, &op) {
                break;
            }
            op = (kit.draw)(dice, values);
        }
        if happens {
            past.push(op.clone());
        }
        let call = (instant - dice.below(spread) as i64).div_euclid(grain);
        let ret = (instant + dice.below(spread) as i64).div_euclid(grain);
        let shown = if optional { (kit.unknown)(&op) } else { op };
        found.push(Made { op: shown, call, ret, optional });
    }
    for _ in 0..[0, 1, 3, 5][dice.below(4) as usize] {
        let at = dice.below(found.len() as u64) as usize;
        let made = &mut found[at];
        match dice.below(3) {
            0 if !made.optional => made.op = (kit.draw)(dice, values),
            1 => {
                let by = dice.below(9) as i64 - 4;
                made.call += by;
                made.ret += by;
            }
            _ if !made.optional => {
                made.call += (made.ret - made.call) / 2;
                made.ret = made.call;
            }
            _ => {}
        }
    }
    // The order in which operations stand must not count.
    for at in (1..found.len()).rev() {
        found.swap(at, dice.below(at as u64 + 1) as usize);
    }
    found
}

/// Whether a model that has gone through `past` accepts `op` next.
fn fits<O: Asking>(kit: &Kit<O>, past: &[O], op: &O) -> bool {
    let mut ops = past.to_vec();
    ops.push(op.clone());
    let last = ops.len() - 1;
    let mut machine = (kit.machine)(ops);
    let mut state = 0;
    for kind in 0..=last {
        match machine.step(state, kind as u32) {
            Ok(REFUSED) if kind < last => {}
            Ok(REFUSED) | Err(_) => return false,
            Ok(reached) => state = reached,
        }
    }
    true
}

fn run<O: Asking>(
    seed: u64,
    count: u64,
    pulse: &mut dyn FnMut() -> Result<(), PyErr>,
    kit: &Kit<O>,
) -> Result<(u64, u64, Vec<String>), PyErr> {
    let mut dice = Dice(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5851_F42D);
    let (mut legal, mut illegal, mut wrong) = (0, 0, Vec::new());
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
            raws.push(Raw {
                call: one.call,
                ret: one.ret,
                optional: one.optional,
                kind,
                source: source as u32,
            });
        }
        let truth = linearizable(&raws, &mut *(kit.machine)(ops.clone()))?;
        let pure: Vec<bool> = ops.iter().map(Kind::pure).collect();
        raws.retain(|raw| !(raw.optional && pure[raw.kind as usize]));
        let told = match judge(&raws, &ops, &pure, kit, truth, number)? {
            None => judge_at_first_try(&mut raws, &ops, &pure, kit, truth)?,
            told => told,
        };
        if let Some(objection) = told {
            if wrong.len() < 5 {
                let shown: Vec<String> = made.iter().map(Made::shown).collect();
                wrong.push(format!("history {number}: {objection}: {}", shown.join("; ")));
            }
        }
        if truth {
            legal += 1
        } else {
            illegal += 1
        }
    }
    Ok((legal, illegal, wrong))
}

/// What is wrong with what is told without a search, if something is.
fn judge_at_first_try<O: Asking>(
    raws: &mut [Raw],
    ops: &[O],
    pure: &[bool],
    kit: &Kit<O>,
    truth: bool,
) -> Result<Option<String>, PyErr> {
    raws.sort_by_key(|raw| raw.call);
    let (mut machine, mut desk, allowed) = ((kit.machine)(ops.to_vec()), Desk::default(), Allowed::default());
    let mut trials = vec![in_turn(raws, &mut *machine, &allowed)?];
    trials.push(straight(raws, pure, &mut Numbered::new(&mut *machine), &mut desk, &allowed)?);
    if let Some(sequence) = kit.sequence {
        trials.push(straight(raws, pure, &mut sequence(ops).walk(), &mut desk, &allowed)?);
    }
    let wrong = trials.iter().any(|trial| match trial.tried {
        Tried::Legal => !truth,
        Tried::Illegal(_) => truth,
        Tried::Open => false,
    });
    Ok(wrong.then(|| {
        let tried: Vec<&Tried> = trials.iter().map(|trial| &trial.tried).collect();
        format!("at first try {tried:?}, the oracle {truth}")
    }))
}

/// A history of which so many returns are known: an operation that returns later may have happened, or not.
fn up_to(raws: &[Raw], problem: &Problem, returns: u32) -> Vec<Raw> {
    let mut cut = raws.to_vec();
    for &o in &problem.by_return[returns as usize..] {
        let source = problem.ops[o as usize].source;
        cut.iter_mut().filter(|raw| raw.source == source).for_each(|raw| raw.optional = true);
    }
    cut
}

/// What is wrong with the search's answer, if something is. Every third history is searched in slices, three of
/// seven by place alone, as when there is no memory to search depth first, and sometimes narrowly at first.
fn judge<O: Asking>(
    raws: &[Raw],
    ops: &[O],
    pure: &[bool],
    kit: &Kit<O>,
    truth: bool,
    number: u64,
) -> Result<Option<String>, PyErr> {
    let Some(problem) = Problem::new(raws, ops.len(), pure) else { return Ok(Some("no problem".to_owned())) };
    if problem.returns() == 0 {
        return Ok((!truth).then(|| "nothing is required, yet the oracle refuses".to_owned()));
    }
    let Some(mut search) = search(&problem, ops.len(), problem.returns(), number % 5 == 0) else {
        return Ok(Some("no search".to_owned()));
    };
    let mut machine = (kit.machine)(ops.to_vec());
    let mut pulse = || Ok(());
    let mut slice = 0;
    if number % 7 < 3 {
        search.by_place([1, 2, 256][(number / 7 % 3) as usize]);
    }
    let found = loop {
        slice += 3;
        let steps = (number % 3 == 0).then_some(slice);
        match search.run(
            &problem,
            &mut *machine,
            &mut Limits { steps, until: None, memory_bytes: None, ceiling_bytes: None, pulse: &mut pulse },
        )? {
            Outcome::Pause => {}
            Outcome::Ok => break true,
            Outcome::Illegal => break false,
            _ => return Ok(Some("no verdict".to_owned())),
        }
    };
    if found != truth {
        return Ok(Some(format!("the search says {found}, the oracle {truth}")));
    }
    if !found {
        if machine.grows() || !search.exact() {
            return Ok(None);
        }
        // What returned before the return that it names has an order, and with that one there is none.
        let stuck = search.furthest();
        let before = linearizable(&up_to(raws, &problem, stuck), &mut *machine)?;
        let with = linearizable(&up_to(raws, &problem, stuck + 1), &mut *machine)?;
        return Ok((!before || with).then(|| format!("it is not stuck at return {stuck}")));
    }
    // The order must be one: in time, by the model, and with all that is required in it.
    let order = search.best(&problem);
    let (mut state, mut latest) = (0, i64::MIN);
    let mut left = raws.iter().filter(|raw| !raw.optional).count();
    for &source in &order {
        let Some(raw) = raws.iter().find(|raw| raw.source == source) else {
            return Ok(Some("a stranger in the order".to_owned()));
        };
        if !raw.optional {
            left -= 1;
            if raw.ret < latest {
                return Ok(Some(format!("the order {order:?} goes back in time")));
            }
        }
        latest = latest.max(raw.call);
        state = machine.step(state, raw.kind)?;
        if state == REFUSED {
            return Ok(Some(format!("the model refuses the order {order:?}")));
        }
    }
    Ok((left != 0).then(|| format!("the order {order:?} is not full")))
}
