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
}

/// One list for each place, end to end.
struct Lists {
    from: Vec<u32>,
    all: Vec<u32>,
}

impl Lists {
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
        let count = raws.len();
        let mut by_call: Vec<u32> = (0..count as u32).filter(|&o| !raws[o as usize].optional).collect();
        by_call.sort_by_key(|&o| raws[o as usize].call);
        // Of those that return together, the one that was called first counts as the first.
        let mut by_return = by_call.clone();
        by_return.sort_by_key(|&o| raws[o as usize].ret);
        let mut optional: Vec<u32> = (0..count as u32).filter(|&o| raws[o as usize].optional).collect();
        optional.sort_by_key(|&o| raws[o as usize].call);
        let returns = by_return.len();

        let mut place = vec![NONE; count];
        for (e, &o) in by_return.iter().enumerate() {
            place[o as usize] = e as u32;
        }
        let mut opens = vec![0u32; count];
        for members in [&by_call, &optional] {
            let mut e = 0;
            for &o in members.iter() {
                while e < returns && raws[by_return[e] as usize].ret < raws[o as usize].call {
                    e += 1;
                }
                opens[o as usize] = e as u32;
            }
        }

        let mut bit = vec![0u32; count];
        let mut slots = 0;
        let mut free: Vec<u32> = Vec::new();
        let mut passed = 0;
        let mut total = 0usize;
        for &o in &by_call {
            while passed < opens[o as usize] {
                free.push(bit[by_return[passed as usize] as usize]);
                passed += 1;
            }
            bit[o as usize] = free.pop().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            });
            total += (place[o as usize] - opens[o as usize] + 1) as usize;
        }
        if total > room_bytes.map_or(OPEN_MAX, |room| OPEN_MAX.min(room / 4)) {
            return None;
        }
        for (position, &o) in optional.iter().enumerate() {
            bit[o as usize] = position as u32;
        }

        let mut before = vec![NONE; count];
        for members in [&by_return, &optional] {
            let mut last = vec![NONE; kinds];
            for &o in members.iter() {
                let kind = raws[o as usize].kind as usize;
                before[o as usize] = last[kind];
                last[kind] = o;
            }
        }

        let kind: Vec<u32> = raws.iter().map(|r| r.kind).collect();
        let pure: Vec<bool> = raws.iter().map(|r| pure_kind[r.kind as usize]).collect();
        let mut optional_open = vec![0u32; returns];
        let mut reached = 0;
        for (e, open) in optional_open.iter_mut().enumerate() {
            while reached < optional.len() && opens[optional[reached] as usize] <= e as u32 {
                reached += 1;
            }
            *open = reached as u32;
        }

        let mut problem = Problem {
            kind,
            source: raws.iter().map(|r| r.source).collect(),
            opens,
            place,
            bit,
            before,
            pure,
            by_return,
            optional,
            optional_open,
            slots: slots as usize,
            open_pure: Lists { from: Vec::new(), all: Vec::new() },
            open_other: Lists { from: Vec::new(), all: Vec::new() },
        };
        problem.open_pure = problem.lists(&by_call, true);
        problem.open_other = problem.lists(&by_call, false);
        Some(problem)
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

    fn lists(&self, by_call: &[u32], pure: bool) -> Lists {
        let mut found = Lists { from: Vec::with_capacity(self.by_return.len() + 1), all: Vec::new() };
        let mut open: Vec<u32> = Vec::new();
        let mut next = 0;
        found.from.push(0);
        for e in 0..self.returns() {
            while next < by_call.len() && self.opens[by_call[next] as usize] <= e {
                let o = by_call[next];
                next += 1;
                if self.pure[o as usize] == pure {
                    let at = open.partition_point(|&p| self.place[p as usize] < self.place[o as usize]);
                    open.insert(at, o);
                }
            }
            found.all.extend_from_slice(&open);
            found.from.push(found.all.len() as u32);
            // The lists stand in the order of returns, so the one that leaves stands first.
            if open.first() == Some(&self.by_return[e as usize]) {
                open.remove(0);
            }
        }
        found
    }
}
