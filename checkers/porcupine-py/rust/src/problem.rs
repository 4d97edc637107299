//! A history made ready for the search: who is open when, as flat arrays, in one pass over its calls.
//!
//! Time is counted in returns: place `e` is that of the `e`-th return of a completed operation. An
//! operation may come next in a configuration at `e` from `opens` on (it was called no later than
//! that return), and a completed one up to its own `place`. Completed operations have a slot, free
//! again once they have returned, so that a mask of slots is as wide as the history is concurrent.

pub const NONE: u32 = u32::MAX;

/// What is open is listed for blocks of places; a history for which these lists would be longer than this is too
/// concurrent for them, and left to the search in Python.
const OPEN_MAX: usize = 40_000_000;
/// Places that share a list of what is open. With more of them lists are shorter, and the search passes over more
/// that opens later.
const BLOCK: usize = 8;
/// The widest masks of slots that the search has.
pub const SLOTS_MAX: u32 = 16 * 64;

/// One operation that counts. `kind` is equal for operations that do the same in every state.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    pub call: i64,
    /// Not looked at when the operation is optional.
    pub ret: i64,
    pub optional: bool,
    pub kind: u32,
    /// Its place in the history, for the caller.
    pub source: u32,
}

/// One operation, ready. They are numbered in the order of their calls.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub kind: u32,
    pub source: u32,
    pub opens: u32,
    /// The place of its return; NONE for an optional operation.
    pub place: u32,
    /// The slot of a completed operation, the position among the optional ones of an optional one.
    pub bit: u32,
    /// The operation of its kind that is to be used before it, or NONE: for a completed one the last
    /// that returns before it, for an optional one the last that was called before it.
    pub before: u32,
}

#[derive(Default)]
pub struct Problem {
    pub ops: Vec<Ready>,
    pub by_return: Vec<u32>,
    /// Optional operations by call.
    pub optional: Vec<u32>,
    /// How many of `optional` may be used at each place; empty where there are none.
    optional_open: Vec<u32>,
    pub slots: usize,
    open_pure: Lists,
    open_other: Lists,
    desk: Desk,
}

/// What is only needed while a history is made ready, kept for the next one.
#[derive(Default)]
struct Desk {
    calls: Vec<(i64, u32)>,
    waiting: Waiting,
    free: Vec<u32>,
    /// The last of each kind: completed ones by return, optional ones by call.
    last: Vec<u32>,
    last_optional: Vec<u32>,
}

/// Completed operations that were called and have not returned, by return; of those that return together, the one
/// that was called first counts as the first.
#[derive(Default)]
struct Waiting {
    all: Vec<Called>,
    from: usize,
}

#[derive(Clone, Copy)]
struct Called {
    ret: i64,
    operation: u32,
    pure: bool,
}

impl Waiting {
    fn clear(&mut self) {
        self.all.clear();
        self.from = 0;
    }

    #[inline]
    fn first(&self) -> Option<Called> {
        self.all.get(self.from).copied()
    }

    fn left(&self) -> &[Called] {
        &self.all[self.from..]
    }

    #[inline]
    fn add(&mut self, called: Called) {
        // Those that left stand before the others until they are as many as these.
        if 2 * self.from > self.all.len() + 64 {
            self.all.drain(..self.from);
            self.from = 0;
        }
        let mut at = self.all.len();
        self.all.push(called);
        // Those called last mostly return last.
        while at > self.from && self.all[at - 1].ret > called.ret {
            self.all[at] = self.all[at - 1];
            at -= 1;
        }
        self.all[at] = called;
    }
}

/// For each place who of one sort is open there, by return, and besides who opens later in its block of places.
#[derive(Default)]
struct Lists {
    /// By place.
    from: Vec<u32>,
    /// By block.
    to: Vec<u32>,
    all: Vec<u32>,
}

impl Lists {
    fn clear(&mut self, places: usize) {
        self.from.clear();
        self.from.reserve(places);
        self.to.clear();
        self.to.reserve(places / BLOCK + 1);
        self.all.clear();
        self.all.reserve(places);
    }

    #[inline]
    fn at(&self, e: u32) -> &[u32] {
        &self.all[self.from[e as usize] as usize..self.to[e as usize / BLOCK] as usize]
    }
}

impl Problem {
    /// None when the history is too concurrent. `pure` is by kind; optional operations of a pure kind
    /// must have been left out.
    pub fn new(raws: &[Raw], kinds: usize, pure_kind: &[bool]) -> Option<Problem> {
        Problem::within(raws, kinds, pure_kind, None)
    }

    /// As `new`, also None when its lists would take more than `room_bytes`.
    pub fn within(
        raws: &[Raw],
        kinds: usize,
        pure_kind: &[bool],
        room_bytes: Option<usize>,
    ) -> Option<Problem> {
        let mut problem = Problem::default();
        let fits = problem.refill(raws, kinds, pure_kind, room_bytes);
        problem.desk = Desk::default();
        fits.then_some(problem)
    }

    /// As `within`, in place of the history that this was of; false stands for None.
    pub fn refill(
        &mut self,
        raws: &[Raw],
        kinds: usize,
        pure_kind: &[bool],
        room_bytes: Option<usize>,
    ) -> bool {
        self.clear(raws.len(), kinds);
        let most = room_bytes.map_or(OPEN_MAX, |room| OPEN_MAX.min(room / 4));
        if raws.is_sorted_by_key(|raw| raw.call) {
            return self.fill(raws.iter(), pure_kind, most);
        }
        let mut calls = std::mem::take(&mut self.desk.calls);
        calls.clear();
        calls.extend(raws.iter().enumerate().map(|(at, raw)| (raw.call, at as u32)));
        in_order(&mut calls);
        let fits = self.fill(calls.iter().map(|&(_, at)| &raws[at as usize]), pure_kind, most);
        self.desk.calls = calls;
        fits
    }

    fn clear(&mut self, count: usize, kinds: usize) {
        for list in [&mut self.optional, &mut self.optional_open, &mut self.desk.free] {
            list.clear();
        }
        self.ops.clear();
        self.ops.reserve(count);
        self.by_return.clear();
        self.by_return.reserve(count);
        self.open_pure.clear(count);
        self.open_other.clear(count);
        self.slots = 0;
        self.desk.waiting.clear();
        for last in [&mut self.desk.last, &mut self.desk.last_optional] {
            last.clear();
            last.resize(kinds, NONE);
        }
    }

    /// From operations by call. False when more than `most` would have to be listed, or masks would be too wide.
    fn fill<'r>(&mut self, raws: impl Iterator<Item = &'r Raw>, pure_kind: &[bool], most: usize) -> bool {
        for &Raw { call, ret, optional, kind, source } in raws {
            while self.desk.waiting.first().is_some_and(|first| first.ret < call) {
                self.pass();
            }
            let (operation, opens) = (self.ops.len() as u32, self.by_return.len() as u32);
            let mut ready = Ready { kind, source, opens, place: NONE, bit: 0, before: NONE };
            if optional {
                ready.bit = self.optional.len() as u32;
                ready.before = std::mem::replace(&mut self.desk.last_optional[kind as usize], operation);
                if self.optional.is_empty() {
                    self.optional_open.resize(self.by_return.len(), 0);
                }
                self.optional.push(operation);
            } else {
                ready.bit = self.desk.free.pop().unwrap_or_else(|| {
                    self.slots += 1;
                    self.slots as u32 - 1
                });
                if ready.bit == SLOTS_MAX || self.open_pure.all.len() + self.open_other.all.len() > most {
                    return false;
                }
                self.desk.waiting.add(Called { ret, operation, pure: pure_kind[kind as usize] });
            }
            self.ops.push(ready);
        }
        while self.desk.waiting.first().is_some() {
            self.pass();
        }
        if self.by_return.len() % BLOCK != 0 {
            self.end_block();
        }
        self.open_pure.all.len() + self.open_other.all.len() <= most
    }

    /// The next return: all that were called no later are known.
    #[inline]
    fn pass(&mut self) {
        let Some(Called { operation, pure, .. }) = self.desk.waiting.first() else { return };
        self.desk.waiting.from += 1;
        let ready = &mut self.ops[operation as usize];
        ready.place = self.by_return.len() as u32;
        ready.before = std::mem::replace(&mut self.desk.last[ready.kind as usize], operation);
        self.desk.free.push(ready.bit);
        self.by_return.push(operation);
        if !self.optional.is_empty() {
            self.optional_open.push(self.optional.len() as u32);
        }
        self.open_pure.from.push(self.open_pure.all.len() as u32);
        self.open_other.from.push(self.open_other.all.len() as u32);
        let list = if pure { &mut self.open_pure } else { &mut self.open_other };
        list.all.push(operation);
        if self.by_return.len() % BLOCK == 0 {
            self.end_block();
        }
    }

    /// Those that return in this block are listed; those that are open beyond it follow.
    fn end_block(&mut self) {
        for &Called { operation, pure, .. } in self.desk.waiting.left() {
            let list = if pure { &mut self.open_pure } else { &mut self.open_other };
            list.all.push(operation);
        }
        for list in [&mut self.open_pure, &mut self.open_other] {
            list.to.push(list.all.len() as u32);
        }
    }

    pub fn returns(&self) -> u32 {
        self.by_return.len() as u32
    }

    /// How many of `optional` may be used at `e`.
    pub fn optional_open(&self, e: u32) -> u32 {
        self.optional_open.get(e as usize).copied().unwrap_or(0)
    }

    /// Completed operations of pure kinds that are open at `e`, by return; and some that only open later.
    pub fn open_pure(&self, e: u32) -> &[u32] {
        self.open_pure.at(e)
    }

    /// Other completed operations that are open at `e`, by return; and some that only open later.
    pub fn open_other(&self, e: u32) -> &[u32] {
        self.open_other.at(e)
    }

    pub fn held_bytes(&self) -> usize {
        4 * (self.open_pure.all.len() + self.open_other.all.len()) + 48 * self.ops.len()
    }
}

/// Moves that putting in order one by one may take, for each item.
const MOVES: usize = 24;

/// Sort by time; equal times stay as they are. Times of a history mostly are in order, or not far from it: as far as
/// operations overlap.
fn in_order(times: &mut [(i64, u32)]) {
    let mut moves = MOVES * times.len();
    for at in 1..times.len() {
        let item = times[at];
        let mut to = at;
        while to > 0 && times[to - 1].0 > item.0 {
            times[to] = times[to - 1];
            to -= 1;
        }
        times[to] = item;
        if moves < at - to {
            times.sort_by_key(|&(time, _)| time);
            return;
        }
        moves -= at - to;
    }
}
