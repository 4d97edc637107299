//! A history made ready for the search: who is open when, as flat arrays.
//!
//! Time is counted in returns: place `e` is that of the `e`-th return of a completed operation. An
//! operation may come next in a configuration at `e` from `opens` on (it was called no later than
//! that return), and a completed one up to its own `place`. Completed operations have a slot, free
//! again once they have returned, so that a mask of slots is as wide as the history is concurrent.

pub const NONE: u32 = u32::MAX;

/// Lists of what is open at each return are kept in full; a history for which they would be longer
/// than this is too concurrent for them, and left to the search in Python.
const OPEN_MAX: usize = 40_000_000;

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

#[derive(Default)]
pub struct Problem {
    pub kind: Vec<u32>,
    pub source: Vec<u32>,
    pub opens: Vec<u32>,
    /// The place of its return; NONE for an optional operation.
    pub place: Vec<u32>,
    /// The slot of a completed operation, the position among the optional ones of an optional one.
    pub bit: Vec<u32>,
    /// The operation of its kind that is to be used before it, or NONE: for a completed one the last
    /// that returns before it, for an optional one the last that was called before it.
    pub before: Vec<u32>,
    pub pure: Vec<bool>,
    pub by_return: Vec<u32>,
    /// Optional operations by call.
    pub optional: Vec<u32>,
    /// How many of `optional` may be used at each place.
    pub optional_open: Vec<u32>,
    pub slots: usize,
    open_pure: Lists,
    open_other: Lists,
    desk: Desk,
}

/// What is only needed while a history is made ready, kept for the next one.
#[derive(Default)]
struct Desk {
    calls: Vec<(i64, u32)>,
    optional_calls: Vec<(i64, u32)>,
    backs: Vec<(i64, u32)>,
    free: Vec<u32>,
    last: Vec<u32>,
    open: [Vec<u32>; 2],
}

/// One list for each place, end to end.
#[derive(Default)]
struct Lists {
    from: Vec<u32>,
    all: Vec<u32>,
}

impl Lists {
    fn clear(&mut self, places: usize, total: usize) {
        self.from.clear();
        self.from.reserve(places + 1);
        self.from.push(0);
        self.all.clear();
        self.all.reserve(total);
    }

    fn at(&self, e: u32) -> &[u32] {
        &self.all[self.from[e as usize] as usize..self.from[e as usize + 1] as usize]
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
        let count = raws.len();
        let Desk { calls, optional_calls, backs, free, last, .. } = &mut self.desk;
        calls.clear();
        calls.reserve(count);
        optional_calls.clear();
        for (o, raw) in raws.iter().enumerate() {
            let goal = if raw.optional { &mut *optional_calls } else { &mut *calls };
            goal.push((raw.call, o as u32));
        }
        in_order(calls);
        in_order(optional_calls);
        // Of those that return together, the one that was called first counts as the first.
        renew(backs, calls.iter().map(|&(_, o)| (raws[o as usize].ret, o)));
        in_order(backs);
        let returns = backs.len();

        let (place, opens, bit) = (&mut self.place, &mut self.opens, &mut self.bit);
        place.clear();
        place.resize(count, NONE);
        for (e, &(_, o)) in backs.iter().enumerate() {
            place[o as usize] = e as u32;
        }
        opens.clear();
        opens.resize(count, 0u32);
        bit.clear();
        bit.resize(count, 0u32);
        let mut slots = 0;
        free.clear();
        let mut passed = 0;
        let (mut total, mut total_pure) = (0usize, 0usize);
        for &(call, o) in calls.iter() {
            let o = o as usize;
            while backs[passed].0 < call {
                free.push(bit[backs[passed].1 as usize]);
                passed += 1;
            }
            opens[o] = passed as u32;
            bit[o] = free.pop().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            });
            let length = place[o] as usize - passed + 1;
            total += length;
            if pure_kind[raws[o].kind as usize] {
                total_pure += length;
            }
        }
        if total > room_bytes.map_or(OPEN_MAX, |room| OPEN_MAX.min(room / 4)) {
            return false;
        }
        let mut passed = 0;
        for (position, &(call, o)) in optional_calls.iter().enumerate() {
            while passed < returns && backs[passed].0 < call {
                passed += 1;
            }
            opens[o as usize] = passed as u32;
            bit[o as usize] = position as u32;
        }

        let before = &mut self.before;
        before.clear();
        before.resize(count, NONE);
        for members in [&*backs, &*optional_calls] {
            if members.is_empty() {
                continue;
            }
            last.clear();
            last.resize(kinds, NONE);
            for &(_, o) in members.iter() {
                let kind = raws[o as usize].kind as usize;
                before[o as usize] = last[kind];
                last[kind] = o;
            }
        }

        self.optional_open.clear();
        self.optional_open.resize(returns, 0u32);
        if !optional_calls.is_empty() {
            let mut reached = 0;
            for (e, open) in self.optional_open.iter_mut().enumerate() {
                while reached < optional_calls.len() && opens[optional_calls[reached].1 as usize] <= e as u32
                {
                    reached += 1;
                }
                *open = reached as u32;
            }
        }

        renew(&mut self.kind, raws.iter().map(|r| r.kind));
        renew(&mut self.source, raws.iter().map(|r| r.source));
        renew(&mut self.pure, raws.iter().map(|r| pure_kind[r.kind as usize]));
        renew(&mut self.by_return, backs.iter().map(|&(_, o)| o));
        renew(&mut self.optional, optional_calls.iter().map(|&(_, o)| o));
        self.slots = slots as usize;
        self.open_pure.clear(returns, total_pure);
        self.open_other.clear(returns, total - total_pure);
        self.list_open();
        true
    }

    pub fn returns(&self) -> u32 {
        self.by_return.len() as u32
    }

    /// Completed operations of pure kinds that are open at `e`, by return.
    pub fn open_pure(&self, e: u32) -> &[u32] {
        self.open_pure.at(e)
    }

    /// Other completed operations that are open at `e`, by return.
    pub fn open_other(&self, e: u32) -> &[u32] {
        self.open_other.at(e)
    }

    pub fn held_bytes(&self) -> usize {
        4 * (self.open_pure.all.len() + self.open_other.all.len()) + 48 * self.kind.len()
    }

    /// Note for each place who is open there, in the order of returns.
    fn list_open(&mut self) {
        let Desk { calls, open, .. } = &mut self.desk;
        open.iter_mut().for_each(Vec::clear);
        let mut next = 0;
        for e in 0..self.by_return.len() {
            while next < calls.len() && self.opens[calls[next].1 as usize] <= e as u32 {
                let o = calls[next].1;
                next += 1;
                let open = &mut open[usize::from(self.pure[o as usize])];
                let place = self.place[o as usize];
                // Those called last mostly return last.
                let mut at = open.len();
                while at > 0 && self.place[open[at - 1] as usize] > place {
                    at -= 1;
                }
                open.insert(at, o);
            }
            for (goal, open) in [&mut self.open_other, &mut self.open_pure].into_iter().zip(&*open) {
                goal.all.extend_from_slice(open);
                goal.from.push(goal.all.len() as u32);
            }
            // The lists stand in the order of returns, so the one that leaves stands first.
            let gone = self.by_return[e];
            open[usize::from(self.pure[gone as usize])].remove(0);
        }
    }
}

/// Fill a list anew, with the room it has.
fn renew<T>(list: &mut Vec<T>, items: impl Iterator<Item = T>) {
    list.clear();
    list.extend(items);
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
