//! The search: Wing and Gong's with Lowe's memory, on configurations that do not grow with the history.
//!
//! A configuration is (e, state, taken, used): every completed operation that returned before place `e`
//! is linearized, `taken` says which of those open at `e` are, `used` which optional ones were. Branches
//! are opened only at a return whose operation is not linearized yet, which loses nothing: every
//! operation can be moved up to just before the next return. Reductions, each by an exchange argument:
//! - R1: an open operation of a pure kind that fits is linearized at once, without an alternative;
//! - R2: optional operations of pure kinds are left out (the caller did so);
//! - R3: of open operations of one kind the one that returns first goes first, of optional ones the one
//!   that was called first;
//! - R4: of two configurations alike but for `used`, one that used a subset can do all the other can;
//! - R5: an optional operation is not used where it leaves the state as it is;
//! - R6: an optional operation that leads to a state from any is not used where one is left that leads there from
//!   this state and only some: whatever comes after, the two can change places. For the same reason R4 lets one that
//!   is left and leads there from any stand in for one that does not.
//!
//! Two strategies take turns: depth first, which is quick to find an order, and one that goes by place, which is
//! quick to find that there is none and forgets each place as it leaves it. The latter is thrift.rs where each optional
//! operation sets a state, as those of registers do (it finds orders, too, where depth first squanders what it will need,
//! and has a reduction R7 of its own); elsewhere it is Wide. Before it goes over all places, window.rs looks at those
//! before the one at which depth first is stuck.

mod orders;
mod slices;
mod steady;
mod strategies;
mod thrift;
mod window;

use std::time::Instant;

use pyo3::PyErr;

use crate::machine::{Machine, Role, REFUSED};
use crate::memory::{growth_bytes, push, table_bytes, Bits, Cover, Held, Mixed, Rows};
use crate::problem::{Problem, Ready, NONE};

pub use slices::{search, search_in_place_of, Run};

const FINALS_MAX: usize = 10;
/// States that are looked at for whether several optional operations set them.
const COVERS_MAX: usize = 16;
/// States times kinds up to which transitions are kept in a flat table.
const FLAT_MAX: usize = 1 << 20;
const PARTIAL_WORK_MAX: u64 = 4_000_000;
const UNSEEN: u32 = u32::MAX - 1;

#[derive(Clone, Copy)]
struct Config<const N: usize> {
    e: u32,
    state: u32,
    used: u32,
    node: u32,
    depth: u32,
    taken: Bits<N>,
}

/// The room that a search took, for another.
#[derive(Default)]
struct Spare {
    table: Table,
    rows: Rows,
    nodes: Vec<(u32, u32)>,
    foresight: Option<Foresight>,
}

/// Transitions met.
#[derive(Default)]
struct Table {
    kinds: usize,
    direct: bool,
    flat: Vec<u32>,
    rest: Mixed<u64, u32>,
}

/// Which gets bind the future of a state that only grows, and which operations could free it.
#[derive(Default)]
struct Foresight {
    /// By place: the next place at or after it of an observer, or NONE.
    observer: Vec<u32>,
    /// Resets by `opens`, and the furthest place up to each.
    resets: Vec<u32>,
    reach: Vec<u32>,
}

/// Where the search could not get past the failing return.
#[derive(Clone)]
pub struct Final {
    pub state: u32,
    pub order: Vec<u32>,
}

pub enum Outcome {
    Ok,
    Illegal,
    /// The steps are used up.
    Pause,
    Timeout,
    Memory,
}

pub struct Limits<'a> {
    /// The number of steps at which to pause.
    pub steps: Option<u64>,
    pub until: Option<Instant>,
    pub memory_bytes: Option<usize>,
    /// What the whole process may come to, if the search itself holds more than half of what it may.
    pub ceiling_bytes: Option<usize>,
    /// Called some times a second at most; an error ends the run.
    pub pulse: &'a mut dyn FnMut() -> Result<(), PyErr>,
}

/// What both strategies share.
struct Core<'p, const N: usize> {
    problem: &'p Problem,
    machine: &'p mut dyn Machine,
    table: Table,
    rows: Rows,
    /// The orders met, newest operation first: (the rest, the operation).
    nodes: Vec<(u32, u32)>,
    foresight: Option<Foresight>,
    target: u32,
    steps: u64,
    most: u32,
    best: u32,
    furthest: u32,
    /// Whether `furthest` is as far as an order can get, once there is none.
    exact: bool,
    finals: Vec<(u32, u32)>,
    partials: bool,
    partial_work: u64,
    longest: Vec<(u32, u32)>,
}

impl<'p, const N: usize> Core<'p, N> {
    fn new(
        problem: &'p Problem,
        machine: &'p mut dyn Machine,
        kinds: usize,
        target: u32,
        partials: bool,
        first: bool,
        spare: Spare,
    ) -> Self {
        let direct = machine.direct();
        let mut rows = spare.rows.renewed(problem.optional.len());
        if first {
            rows.covers = covers(problem, machine, rows.width);
        }
        let foresight = (first && machine.grows())
            .then(|| Foresight::new(spare.foresight.unwrap_or_default(), problem, machine, target));
        Core {
            problem,
            table: Table { kinds, direct, ..spare.table },
            machine,
            rows,
            nodes: spare.nodes,
            foresight,
            target,
            steps: 0,
            most: 0,
            best: NONE,
            furthest: 0,
            exact: true,
            finals: Vec::new(),
            partials,
            partial_work: 0,
            longest: if partials && first { vec![(0, NONE); problem.ops.len()] } else { Vec::new() },
        }
    }

    /// Start the record of orders anew, with the longest one alone.
    fn forget_orders(&mut self) {
        self.longest.iter_mut().for_each(|known| *known = (0, NONE));
        self.finals.clear();
        let best = &mut self.best;
        orders::collect(&mut self.nodes, |visit| visit(best));
        let covers = std::mem::take(&mut self.rows.covers);
        self.rows = Rows { covers, ..Rows::new(self.problem.optional.len()) };
    }

    /// Let go of the orders that lead nowhere and that nobody will ask for; `others` shows the ends of those that a
    /// strategy goes on from.
    fn collect_orders(&mut self, mut others: impl FnMut(&mut dyn FnMut(&mut u32))) {
        let (best, finals, longest) = (&mut self.best, &mut self.finals, &mut self.longest);
        orders::collect(&mut self.nodes, |visit| {
            visit(best);
            finals.iter_mut().chain(longest.iter_mut()).for_each(|(_, node)| visit(node));
            others(visit);
        });
    }

    #[inline(always)]
    fn step(&mut self, state: u32, kind: u32) -> Result<u32, PyErr> {
        self.steps += 1;
        if self.table.direct {
            return self.machine.step(state, kind);
        }
        let at = state as usize * self.table.kinds + kind as usize;
        if at < FLAT_MAX {
            if at >= self.table.flat.len() {
                let rows = (state as usize + 1).next_power_of_two() * self.table.kinds;
                self.table.flat.resize(rows.min(FLAT_MAX).max(at + 1), UNSEEN);
            }
            let known = self.table.flat[at];
            if known != UNSEEN {
                return Ok(known);
            }
            let reached = self.machine.step(state, kind)?;
            self.table.flat[at] = reached;
            return Ok(reached);
        }
        let key = u64::from(state) << 32 | u64::from(kind);
        if let Some(&known) = self.table.rest.get(&key) {
            return Ok(known);
        }
        let reached = self.machine.step(state, kind)?;
        self.table.rest.insert(key, reached);
        Ok(reached)
    }

    fn start(&mut self) -> Result<Config<N>, PyErr> {
        let mut config = Config { e: 0, state: 0, used: 0, node: NONE, depth: 0, taken: Bits::EMPTY };
        self.settle(&mut config)?;
        self.note_depth(&config);
        Ok(config)
    }

    #[inline(always)]
    fn extend(&mut self, config: &mut Config<N>, operation: u32) {
        push(&mut self.nodes, (config.node, operation));
        config.node = self.nodes.len() as u32 - 1;
        config.depth += 1;
    }

    fn note_depth(&mut self, config: &Config<N>) {
        if config.depth > self.most || self.best == NONE {
            self.most = config.depth;
            self.best = config.node;
        }
    }

    /// Linearize what is pure and fits, and pass every return that is linearized.
    #[inline(always)]
    fn settle(&mut self, config: &mut Config<N>) -> Result<(), PyErr> {
        let problem = self.problem;
        let mut scanned = 0; // Those that opened before this place were asked already.
        loop {
            while config.e < self.target {
                let slot = problem.ops[problem.by_return[config.e as usize] as usize].bit;
                if !config.taken.has(slot) {
                    break;
                }
                config.taken.clear(slot);
                config.e += 1;
            }
            if config.e == self.target {
                return Ok(());
            }
            let first = problem.by_return[config.e as usize];
            for &o in problem.open_pure(config.e) {
                let Ready { opens, bit, kind, .. } = problem.ops[o as usize];
                if opens > config.e || opens < scanned || config.taken.has(bit) {
                    continue;
                }
                if self.step(config.state, kind)? != REFUSED {
                    config.taken.set(bit);
                    self.extend(config, o);
                }
            }
            scanned = config.e + 1;
            if !config.taken.has(problem.ops[first as usize].bit) {
                return Ok(());
            }
        }
    }

    /// The next completed operation to try from a configuration.
    #[inline(always)]
    fn required(&self, config: &Config<N>, cursor: &mut u32) -> Option<u32> {
        let problem = self.problem;
        let open = problem.open_other(config.e);
        'open: while (*cursor as usize) < open.len() {
            let o = open[*cursor as usize];
            *cursor += 1;
            let Ready { opens, bit, before, .. } = problem.ops[o as usize];
            if opens > config.e || config.taken.has(bit) {
                continue;
            }
            let mut other = before;
            while other != NONE {
                let Ready { opens, place, bit, before, .. } = problem.ops[other as usize];
                if place < config.e {
                    break;
                }
                if opens <= config.e && !config.taken.has(bit) {
                    continue 'open;
                }
                other = before;
            }
            return Some(o);
        }
        None
    }

    /// The next operation to try from a configuration: (operation, whether it is optional).
    #[inline(always)]
    fn candidate(&self, config: &Config<N>, cursor: &mut u32) -> Option<(u32, bool)> {
        if let Some(o) = self.required(config, cursor) {
            return Some((o, false));
        }
        let problem = self.problem;
        let open = problem.open_other(config.e).len() as u32;
        let optional = problem.optional_open(config.e);
        let mut at = *cursor - open;
        while at < optional {
            let o = problem.optional[at as usize];
            at += 1;
            if self.rows.has(config.used, at - 1) {
                continue;
            }
            let other = problem.ops[o as usize].before;
            if other != NONE && !self.rows.has(config.used, problem.ops[other as usize].bit) {
                continue;
            }
            *cursor = open + at;
            return Some((o, true));
        }
        *cursor = open + optional;
        None
    }

    /// The configuration one operation leads to, settled; None where it is refused or useless.
    fn child(&mut self, config: &Config<N>, o: u32, optional: bool) -> Result<Option<Config<N>>, PyErr> {
        let reached = self.step(config.state, self.problem.ops[o as usize].kind)?;
        if reached == REFUSED || (optional && reached == config.state) {
            return Ok(None);
        }
        let mut next = *config;
        next.state = reached;
        let bit = self.problem.ops[o as usize].bit;
        if optional && self.outdone(config, bit, reached)? {
            return Ok(None);
        }
        if optional {
            next.used = self.rows.with(config.used, bit);
        } else {
            next.taken.set(bit);
        }
        self.extend(&mut next, o);
        self.settle(&mut next)?;
        if !self.promising(&next) {
            return Ok(None);
        }
        Ok(Some(next))
    }

    /// Whether an optional operation that leads to a state from any is better kept (R6).
    fn outdone(&mut self, config: &Config<N>, bit: u32, reached: u32) -> Result<bool, PyErr> {
        let open = self.problem.optional_open(config.e);
        let (word, mask) = ((bit >> 6) as usize, 1 << (bit & 63));
        let Some(group) = self.rows.covers.iter().position(|cover| cover.any[word] & mask != 0) else {
            return Ok(false);
        };
        for word in 0..open.div_ceil(64) {
            let used = self.rows.row(config.used)[word as usize];
            let mut left = self.rows.covers[group].some[word as usize] & !used;
            while left != 0 {
                let other = word * 64 + left.trailing_zeros();
                left &= left - 1;
                if other >= open {
                    break;
                }
                let kind = self.problem.ops[self.problem.optional[other as usize] as usize].kind;
                if self.step(config.state, kind)? == reached {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Note the full order.
    fn arrived(&mut self, config: &Config<N>) -> Outcome {
        self.most = config.depth;
        self.best = config.node;
        Outcome::Ok
    }

    /// Forget the last configuration made: it is not new.
    fn back_to(&mut self, nodes: usize, words: usize) {
        self.nodes.truncate(nodes);
        self.rows.words.truncate(words);
    }

    /// False when the next read of a state that only grows can no longer see what it saw.
    fn promising(&self, config: &Config<N>) -> bool {
        let Some(foresight) = &self.foresight else { return true };
        let problem = self.problem;
        let mut e = config.e;
        let observer = loop {
            if e >= self.target {
                return true;
            }
            e = foresight.observer[e as usize];
            if e == NONE {
                return true;
            }
            let o = problem.by_return[e as usize];
            if problem.ops[o as usize].opens > config.e || !config.taken.has(problem.ops[o as usize].bit) {
                break o;
            }
            e += 1;
        };
        let seen = problem.ops[observer as usize].kind;
        if self.machine.may_become(config.state, seen) {
            return true;
        }
        let mut at = foresight.resets.partition_point(|&r| problem.ops[r as usize].opens <= e);
        while at > 0 && foresight.reach[at - 1] >= config.e {
            at -= 1;
            let r = foresight.resets[at] as usize;
            let gone = if problem.ops[r].place == NONE {
                self.rows.has(config.used, problem.ops[r].bit)
            } else {
                problem.ops[r].place < config.e
                    || (problem.ops[r].opens <= config.e && config.taken.has(problem.ops[r].bit))
            };
            if !gone && self.machine.sets_out(problem.ops[r].kind, seen) {
                return true;
            }
        }
        false
    }

    /// Note a configuration from which there is no way on.
    fn dead_end(&mut self, config: &Config<N>) {
        if config.e > self.furthest {
            self.furthest = config.e;
            self.finals.clear();
        }
        if config.e == self.furthest && self.finals.len() < FINALS_MAX {
            self.finals.push((config.state, config.node));
        }
        if self.partials && (self.partial_work < PARTIAL_WORK_MAX || config.depth == self.most) {
            self.partial_work += u64::from(config.depth);
            let mut node = config.node;
            while node != NONE {
                let (rest, o) = self.nodes[node as usize];
                if self.longest[o as usize].0 < config.depth {
                    self.longest[o as usize] = (config.depth, config.node);
                }
                node = rest;
            }
        }
    }

    fn held(&self) -> Held {
        let now = 8 * self.nodes.capacity()
            + 8 * self.rows.words.capacity()
            + 4 * self.table.flat.capacity()
            + table_bytes(&self.table.rest)
            + 8 * self.longest.capacity()
            + self.problem.held_bytes();
        Held { now, soon: growth_bytes(&self.table.rest) } + self.machine.held()
    }
}

/// Which optional operations set the same state, where some do from any state and some do not.
fn covers(problem: &Problem, machine: &dyn Machine, width: usize) -> Vec<Cover> {
    let mut found: Vec<(u32, Cover)> = Vec::new();
    for (position, &o) in problem.optional.iter().enumerate() {
        let Some((state, from_any)) = machine.sets(problem.ops[o as usize].kind) else { continue };
        let at = found.iter().position(|(known, _)| *known == state).unwrap_or_else(|| {
            if found.len() < COVERS_MAX {
                found.push((state, Cover { any: vec![0; width], some: vec![0; width] }));
            }
            found.len() - 1
        });
        let (known, cover) = &mut found[at];
        if *known == state {
            let goal = if from_any { &mut cover.any } else { &mut cover.some };
            goal[position / 64] |= 1 << (position % 64);
        }
    }
    let both = |cover: &Cover| [&cover.any, &cover.some].iter().all(|mask| mask.iter().any(|&w| w != 0));
    found.into_iter().map(|(_, cover)| cover).filter(both).collect()
}

impl Foresight {
    /// In place of another.
    fn new(other: Foresight, problem: &Problem, machine: &dyn Machine, target: u32) -> Foresight {
        let Foresight { mut observer, mut resets, mut reach } = other;
        observer.clear();
        observer.resize(target as usize, NONE);
        let mut next = NONE;
        for e in (0..target).rev() {
            let o = problem.by_return[e as usize] as usize;
            if machine.role(problem.ops[o].kind) == Role::Observer {
                next = e;
            }
            observer[e as usize] = next;
        }
        resets.clear();
        resets.extend(
            (0..problem.ops.len() as u32)
                .filter(|&o| machine.role(problem.ops[o as usize].kind) == Role::Reset),
        );
        resets.sort_by_key(|&o| problem.ops[o as usize].opens);
        let mut far = 0;
        reach.clear();
        reach.extend(resets.iter().map(|&o| {
            far = far.max(problem.ops[o as usize].place); // NONE, of an optional one, is the furthest.
            far
        }));
        Foresight { observer, resets, reach }
    }
}
