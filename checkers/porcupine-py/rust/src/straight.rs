//! A first try at an order, before anything is made ready for the search: most parts of most histories need no more.
//!
//! It is the search without its memory: depth first, operations taken in the order of their calls as they stand. What
//! is pure and fits is linearized at once (R1 of the search); the rest waits until the one of them that returns first
//! has to be linearized. Of several that may come next the first by return is followed, of one kind only the first
//! (R3), and the others are come back to where a state refuses what it should not. Where states only grow, no
//! operation is followed after which a read to come could no longer see what it saw. An order is an order however it
//! was found, and where all ways were tried there is none; but as nothing is remembered, it gives up soon.
//!
//! Optional operations are never used, which is allowed, but then a refusal proves nothing.

use std::time::Instant;

use pyo3::PyErr;

use crate::machine::{Machine, REFUSED};
use crate::memory::Held;
use crate::problem::Raw;

/// With more that wait the search is asked.
const WAITING_MAX: usize = 64;
/// How often it goes back at most. Where a few times are not enough, many mostly are not either: what was wrong lies
/// further back.
const RETREATS_MAX: u32 = 20;
/// How many operations are called between two looks at the limits.
const CALLS_PER_LOOK: usize = 256;

/// What a history is followed with: a state, and what operations do to it, by their kinds.
pub trait Walk {
    /// Whether an operation of a pure kind fits the state.
    fn fits(&mut self, kind: u32) -> Result<bool, PyErr>;

    /// Whether an operation that may change the state is accepted by it.
    fn accepts(&mut self, kind: u32) -> Result<bool, PyErr>;

    /// Let one happen that is accepted.
    fn take(&mut self, kind: u32) -> Result<(), PyErr>;

    /// Two numbers that lead back here as long as nothing before was gone back to.
    fn mark(&self) -> (usize, usize);

    fn back(&mut self, mark: (usize, usize));

    /// Whether kinds observe or reset, as asked for below.
    fn foresees(&self) -> bool {
        false
    }

    /// Whether this kind is a read of the whole state, which only grows but for resets.
    fn observes(&self, _kind: u32) -> bool {
        false
    }

    /// Whether this kind sets the state whatever it was.
    fn resets(&self, _kind: u32) -> bool {
        false
    }

    /// Whether without a reset an observer can see what it saw once an operation of this kind has happened.
    fn leads(&self, _kind: u32, _observer: u32) -> bool {
        true
    }

    fn held(&self) -> Held;
}

/// A walk on a machine's numbered states.
pub struct Numbered<'m> {
    machine: &'m mut dyn Machine,
    state: u32,
}

impl<'m> Numbered<'m> {
    pub fn new(machine: &'m mut dyn Machine) -> Numbered<'m> {
        Numbered { machine, state: 0 }
    }
}

impl Walk for Numbered<'_> {
    fn fits(&mut self, kind: u32) -> Result<bool, PyErr> {
        Ok(self.machine.step(self.state, kind)? != REFUSED)
    }

    fn accepts(&mut self, kind: u32) -> Result<bool, PyErr> {
        self.fits(kind)
    }

    fn take(&mut self, kind: u32) -> Result<(), PyErr> {
        self.state = self.machine.step(self.state, kind)?;
        Ok(())
    }

    fn mark(&self) -> (usize, usize) {
        (self.state as usize, 0)
    }

    fn back(&mut self, (state, _): (usize, usize)) {
        self.state = state as u32;
    }

    fn held(&self) -> Held {
        self.machine.held()
    }
}

#[derive(PartialEq, Eq, Debug)]
pub enum Tried {
    Legal,
    /// No order has more operations before it gets stuck than these.
    Illegal(u32),
    Open,
}

/// How it ended, and how often the walk was asked.
pub struct Trial {
    pub tried: Tried,
    pub steps: u64,
}

/// What it may take; see `search::Limits`.
#[derive(Default)]
pub struct Allowed {
    pub until: Option<Instant>,
    pub memory_bytes: Option<usize>,
}

impl Allowed {
    fn is_used_up(&self, held: Held) -> bool {
        self.memory_bytes.is_some_and(|most| held.now + held.soon > most)
            || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// An operation that was called and is not linearized.
#[derive(Clone, Copy)]
struct Waiting {
    ret: i64,
    kind: u32,
    pure: bool,
}

/// Where another way can be gone.
struct Fork {
    /// The next call.
    at: usize,
    /// The operation to follow, by its place among those that wait.
    turn: usize,
    /// Those that wait, from this place on in `Desk::kept`.
    from: usize,
    mark: (usize, usize),
    done: u32,
}

/// Room that one try after the other takes.
#[derive(Default)]
pub struct Desk {
    /// By return.
    waiting: Vec<Waiting>,
    forks: Vec<Fork>,
    /// Those that waited, at one fork after the other.
    kept: Vec<Waiting>,
}

impl Desk {
    pub fn held_bytes(&self) -> usize {
        std::mem::size_of::<Waiting>() * (self.waiting.capacity() + self.kept.capacity())
            + std::mem::size_of::<Fork>() * self.forks.capacity()
    }
}

struct Straight<'r, W: Walk> {
    walk: &'r mut W,
    raws: &'r [Raw],
    pure: &'r [bool],
    desk: &'r mut Desk,
    foresees: bool,
    /// The next call.
    at: usize,
    /// The first observer and the first reset from some place on.
    observer: Next,
    reset: Next,
    steps: u64,
    done: u32,
    most: u32,
    /// Whether an optional operation was called that might have been used.
    skipped: bool,
}

/// The first operation of a sort from a place on: what was found last.
#[derive(Clone, Copy, Default)]
struct Next {
    from: usize,
    place: usize,
}

impl Next {
    #[inline]
    fn after(&mut self, at: usize, raws: &[Raw], is: impl Fn(&Raw) -> bool) -> usize {
        if at < self.from || at > self.place {
            *self = Next { from: at, place: at };
        } else if self.place > self.from {
            return self.place;
        }
        while raws.get(self.place).is_some_and(|raw| !is(raw)) {
            self.place += 1;
        }
        self.place
    }
}

/// What comes of operations that follow one another, each over before the next was called: they have one order. Open
/// where some may stand in another.
pub fn in_turn(raws: &[Raw], machine: &mut dyn Machine, allowed: &Allowed) -> Result<Trial, PyErr> {
    let mut trial = Trial { tried: Tried::Open, steps: 0 };
    if raws.iter().any(|raw| raw.optional) || raws.windows(2).any(|two| two[0].ret >= two[1].call) {
        return Ok(trial);
    }
    let mut state = 0;
    for (done, raw) in raws.iter().enumerate() {
        trial.steps += 1;
        state = machine.step(state, raw.kind)?;
        if state == REFUSED {
            trial.tried = Tried::Illegal(done as u32);
            return Ok(trial);
        }
        if done % CALLS_PER_LOOK == CALLS_PER_LOOK - 1 && allowed.is_used_up(machine.held()) {
            return Ok(trial);
        }
    }
    trial.tried = Tried::Legal;
    Ok(trial)
}

/// `pure` is by kind; optional operations of pure kinds must have been left out.
pub fn straight<W: Walk>(
    raws: &[Raw],
    pure: &[bool],
    walk: &mut W,
    desk: &mut Desk,
    allowed: &Allowed,
) -> Result<Trial, PyErr> {
    if !raws.is_sorted_by_key(|raw| raw.call) {
        return Ok(Trial { tried: Tried::Open, steps: 0 });
    }
    desk.waiting.clear();
    desk.forks.clear();
    desk.kept.clear();
    let mut way = Straight {
        foresees: walk.foresees(),
        walk,
        raws,
        pure,
        desk,
        at: 0,
        observer: Next::default(),
        reset: Next::default(),
        steps: 0,
        done: 0,
        most: 0,
        skipped: false,
    };
    let tried = way.follow(allowed)?;
    Ok(Trial { tried, steps: way.steps })
}

impl<W: Walk> Straight<'_, W> {
    fn follow(&mut self, allowed: &Allowed) -> Result<Tried, PyErr> {
        let mut retreats = 0;
        loop {
            let next = self.raws.get(self.at);
            let returns = match (self.desk.waiting.first(), next) {
                (Some(first), Some(raw)) => first.ret < raw.call,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return Ok(Tried::Legal),
            };
            if returns {
                let mut turn = 0;
                while !self.take_one(turn)? {
                    self.most = self.most.max(self.done);
                    let Some(fork) = self.desk.forks.pop() else {
                        return Ok(if self.skipped { Tried::Open } else { Tried::Illegal(self.most) });
                    };
                    if retreats == RETREATS_MAX {
                        return Ok(Tried::Open);
                    }
                    retreats += 1;
                    turn = fork.turn;
                    self.return_to(fork);
                }
            } else if let Some(raw) = next {
                self.at += 1;
                if raw.optional {
                    self.skipped = true;
                } else if !self.call(raw)? {
                    return Ok(Tried::Open);
                }
                if self.at % CALLS_PER_LOOK == 0 && allowed.is_used_up(self.held()) {
                    return Ok(Tried::Open);
                }
            }
        }
    }

    /// False when too many wait.
    fn call(&mut self, raw: &Raw) -> Result<bool, PyErr> {
        let pure = self.pure[raw.kind as usize];
        if pure && self.fits(raw.kind)? {
            self.done += 1;
            return Ok(true);
        }
        let after =
            self.desk.waiting.iter().rposition(|other| other.ret <= raw.ret).map_or(0, |last| last + 1);
        self.desk.waiting.insert(after, Waiting { ret: raw.ret, kind: raw.kind, pure });
        Ok(self.desk.waiting.len() <= WAITING_MAX)
    }

    fn fits(&mut self, kind: u32) -> Result<bool, PyErr> {
        self.steps += 1;
        self.walk.fits(kind)
    }

    fn held(&self) -> Held {
        self.walk.held() + Held { now: self.desk.held_bytes(), soon: 0 }
    }

    fn return_to(&mut self, fork: Fork) {
        self.at = fork.at;
        self.desk.waiting.clear();
        self.desk.waiting.extend_from_slice(&self.desk.kept[fork.from..]);
        self.desk.kept.truncate(fork.from);
        self.walk.back(fork.mark);
        self.done = fork.done;
    }

    /// Linearize one of those that wait, from this place among them on. False where none can be.
    fn take_one(&mut self, turn: usize) -> Result<bool, PyErr> {
        let Some(taken) = self.candidate(turn)? else { return Ok(false) };
        if let Some(turn) = self.candidate(taken + 1)? {
            let from = self.desk.kept.len();
            self.desk.kept.extend_from_slice(&self.desk.waiting);
            self.desk.forks.push(Fork { at: self.at, turn, from, mark: self.walk.mark(), done: self.done });
        }
        self.walk.take(self.desk.waiting[taken].kind)?;
        self.desk.waiting.remove(taken);
        self.done += 1;
        let mut at = 0;
        while at < self.desk.waiting.len() {
            if self.desk.waiting[at].pure && self.fits(self.desk.waiting[at].kind)? {
                self.desk.waiting.remove(at);
                self.done += 1;
            } else {
                at += 1;
            }
        }
        Ok(true)
    }

    /// The first of those that wait, from this place among them on, that may come next.
    fn candidate(&mut self, turn: usize) -> Result<Option<usize>, PyErr> {
        for at in turn..self.desk.waiting.len() {
            let Waiting { kind, pure, .. } = self.desk.waiting[at];
            if pure || self.desk.waiting[..at].iter().any(|other| other.kind == kind) {
                continue;
            }
            self.steps += 1;
            if self.walk.accepts(kind)? && (!self.foresees || self.is_promising(at)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// False when after this one a read can no longer see what it saw.
    fn is_promising(&mut self, taken: usize) -> bool {
        let (walk, kind) = (&*self.walk, self.desk.waiting[taken].kind);
        if self.desk.waiting.iter().enumerate().any(|(at, other)| at != taken && walk.resets(other.kind)) {
            return true;
        }
        let reset = self.reset.after(self.at, self.raws, |raw| walk.resets(raw.kind));
        let reset = self.raws.get(reset).map_or(i64::MAX, |raw| raw.call);
        let ahead = self.observer.after(self.at, self.raws, |raw| !raw.optional && walk.observes(raw.kind));
        let ahead = self.raws.get(ahead).map(|raw| Waiting { ret: raw.ret, kind: raw.kind, pure: true });
        let observers =
            self.desk.waiting.iter().chain(&ahead).filter(|other| other.pure && other.ret < reset);
        observers.filter(|other| walk.observes(other.kind)).all(|other| walk.leads(kind, other.kind))
    }
}
