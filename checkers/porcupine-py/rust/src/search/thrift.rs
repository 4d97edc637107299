//! By place, and sparing: which optional operations are used up is not remembered before that matters.
//!
//! Wide keeps, of configurations alike but for the optional operations that they used, all that are not outdone
//! (R4). With some twenty kinds of optional operations these are too many to keep, though most kinds are never
//! short. So the first pass keeps no account of any kind: it takes the configurations of a place in the order of how
//! many operations they used, and lets an operation of unknown outcome be used *again* when all of its kind are used
//! up. That is a relaxation: every order of the history is one of the relaxed history. So
//! - an order that reaches the end and used nothing twice is an order of the history;
//! - where no configuration is left, not even one that used something twice, there is none, and the history is illegal;
//! - else the kinds that the best order at the end used twice are kept account of from now on, and the next pass
//!   cannot do that. At the latest when all kinds are kept account of a pass tells, as Wide would.
//!
//! This is the refinement of an abstraction by its counterexamples (Clarke, Grumberg, Jha, Lu, Veith, CAV 2000), with
//! Lagrange's view of a shortest path with scarce resources: price first, budget when it is broken.
//!
//! Besides, a pass looks at so many configurations of a place only, the cheapest. If it left out some and finds
//! nothing, it was too narrow and is done again, wider. It finds most orders, for who squanders nothing seldom runs short.
//!
//! Two configurations of one place are compared when state and linearized operations that are not pure are the same.
//! One of them stands for both when it has linearized all the pure operations that the other has (R7: what follows the
//! other, without these, follows it too, since they change nothing), used no more of each kind that is kept
//! account of (R4, and R6's stand-ins) and no more in all. The last costs no verdict, and keeps what is cheap.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use pyo3::PyErr;

use super::strategies::{Deep, Watch};
use super::{Config, Core, Held, Limits, Outcome};
use crate::machine::{Machine, REFUSED};
use crate::memory::{make_room, push, table_bytes, Bits, Mixed};
use crate::problem::{Problem, NONE};

/// Configurations of a place that the first pass looks at; each pass that was too narrow is followed by a wider one.
pub(super) const WIDTH: usize = 256;
const WIDER: usize = 8;
/// Kinds of optional operations, and operations of one kind: more are left to Wide.
const KINDS_MAX: usize = 512;
const OF_A_KIND_MAX: usize = u16::MAX as usize;
/// The mark of an operation in an order that was used once more than there are.
const AGAIN: u32 = 1 << 31;
/// Orders that lead nowhere are let go when there are twice as many as were left the last time, and so many more.
const ORDERS: usize = 1 << 20;

/// Optional operations of one kind, by call.
pub(super) struct Supply {
    kind: u32,
    operations: Vec<u32>,
    sets: u32,
    from_any: bool,
    /// Whether configurations are told apart by how many of them they used.
    tracked: bool,
    /// How many were called up to the place at which the search stands.
    called: u16,
}

struct Entry<const N: usize> {
    config: Config<N>,
    price: Price,
    /// The next with the same state and the same operations taken.
    next: u32,
    stands: bool,
    grew: bool,
}

/// How often something was used again, and how many optional operations were used.
pub(super) type Price = (u32, u32);

pub(super) struct Stop<const N: usize> {
    /// The open operations of pure kinds.
    pure: Bits<N>,
    entries: Vec<Entry<N>>,
    /// How many of each kind each entry used.
    used: Vec<u16>,
    first: Mixed<(u32, Bits<N>), u32>,
    queue: BinaryHeap<Reverse<(Price, u32)>>,
    looked_at: usize,
    at: u32,
    cursor: u32,
}

pub(super) struct Thrift<const N: usize> {
    pub(super) supplies: Vec<Supply>,
    /// By position among the optional operations.
    supply_of: Vec<u32>,
    counted: u32,
    pub(super) places: BTreeMap<u32, Stop<N>>,
    width: usize,
    dropped: bool,
    /// The place the pass has come to.
    last: u32,
    orders: usize,
    /// What the next configuration would have used.
    pub(super) made: Vec<u16>,
    /// The place to come to.
    pub(super) end: u32,
    /// Whether this is but a look back, see window.rs: then no configuration belongs to an order.
    pub(super) looks_back: bool,
    /// The step at which the look back is given up, and whether it found nothing.
    pub(super) give_up: u64,
    pub(super) spent: bool,
}

impl<const N: usize> Stop<N> {
    pub(super) fn new(e: u32, problem: &Problem) -> Self {
        let mut pure = Bits::EMPTY;
        if e < problem.returns() {
            let open = problem.open_pure(e).iter().map(|&o| problem.ops[o as usize]);
            open.filter(|ready| ready.opens <= e).for_each(|ready| pure.set(ready.bit));
        }
        Stop {
            pure,
            entries: Vec::new(),
            used: Vec::new(),
            first: Mixed::default(),
            queue: BinaryHeap::new(),
            looked_at: 0,
            at: NONE,
            cursor: 0,
        }
    }

    fn used(&self, at: u32, kinds: usize) -> &[u16] {
        &self.used[at as usize * kinds..(at as usize + 1) * kinds]
    }

    /// Note a configuration. False when one that can do as much, no dearer, is known.
    pub(super) fn admit(
        &mut self,
        config: Config<N>,
        price: Price,
        used: &[u16],
        supplies: &[Supply],
    ) -> bool {
        let (seen, rest) = config.taken.apart(&self.pure);
        let key = (config.state, rest);
        let head = self.first.get(&key).copied().unwrap_or(NONE);
        let mut at = head;
        while at != NONE {
            let known = &self.entries[at as usize];
            let next = known.next;
            if known.stands {
                let theirs = self.used(at, supplies.len());
                let known_seen = known.config.taken.apart(&self.pure).0;
                if known.price <= price && seen.within(&known_seen) && within(theirs, used, supplies) {
                    return false;
                }
                if price <= known.price && known_seen.within(&seen) && within(used, theirs, supplies) {
                    self.entries[at as usize].stands = false;
                }
            }
            at = next;
        }
        let made = self.entries.len() as u32;
        self.first.insert(key, made);
        push(&mut self.entries, Entry { config, price, next: head, stands: true, grew: false });
        make_room(&mut self.used, used.len());
        self.used.extend_from_slice(used);
        self.queue.push(Reverse((price, made)));
        true
    }

    /// The configuration to go on with; None when there is no more, or the width is reached.
    fn current(&mut self, width: usize, dropped: &mut bool) -> Option<u32> {
        if self.at != NONE {
            return Some(self.at);
        }
        while let Some(Reverse((_, at))) = self.queue.pop() {
            if !self.entries[at as usize].stands {
                continue;
            }
            if self.looked_at == width {
                *dropped = true;
                return None;
            }
            self.looked_at += 1;
            self.at = at;
            self.cursor = 0;
            return Some(at);
        }
        None
    }
}

/// Whether who has used `small` can do all that who has used `large` can, as far as accounts are kept; as Rows::within.
fn within(small: &[u16], large: &[u16], supplies: &[Supply]) -> bool {
    let mut short = false;
    for (lane, supply) in supplies.iter().enumerate() {
        if supply.tracked && small[lane] > large[lane] {
            if supply.from_any {
                return false;
            }
            short = true;
        }
    }
    !short
        || supplies.iter().enumerate().all(|(lane, supply)| {
            if !supply.tracked || small[lane] <= large[lane] {
                return true;
            }
            // Of all that set this value, there must be as many more left that do so from any other.
            let (mut wanted, mut stand_in) = (0, 0);
            for (lane, other) in supplies.iter().enumerate() {
                if other.tracked && other.sets == supply.sets {
                    if other.from_any {
                        stand_in += large[lane].saturating_sub(small[lane]);
                    } else {
                        wanted += small[lane].saturating_sub(large[lane]);
                    }
                }
            }
            wanted <= stand_in
        })
}

impl<const N: usize> Thrift<N> {
    /// None where it does not apply: without optional operations, or where one may lead to states without end.
    pub(super) fn new(core: &mut Core<N>, width: usize) -> Result<Option<Self>, PyErr> {
        let Some((supplies, supply_of)) = supplies(core.problem, core.machine) else { return Ok(None) };
        if supplies.is_empty() {
            return Ok(None);
        }
        let mut made = Thrift::of(supplies, supply_of, width);
        made.end = core.target;
        made.begin(core)?;
        Ok(Some(made))
    }

    pub(super) fn of(supplies: Vec<Supply>, supply_of: Vec<u32>, width: usize) -> Self {
        Thrift {
            made: vec![0; supplies.len()],
            supplies,
            supply_of,
            counted: 0,
            places: BTreeMap::new(),
            width,
            dropped: false,
            last: NONE,
            orders: ORDERS,
            end: 0,
            looks_back: false,
            give_up: u64::MAX,
            spent: false,
        }
    }

    /// Begin a pass.
    fn begin(&mut self, core: &mut Core<N>) -> Result<(), PyErr> {
        self.places.clear();
        self.supplies.iter_mut().for_each(|supply| supply.called = 0);
        self.counted = 0;
        self.dropped = false;
        self.last = NONE;
        let start = core.start()?;
        let mut stop = Stop::new(start.e, core.problem);
        self.made.fill(0);
        stop.admit(start, (0, 0), &self.made, &self.supplies);
        self.places.insert(start.e, stop);
        Ok(())
    }

    fn come_to(&mut self, e: u32, problem: &Problem) {
        self.last = e;
        while self.counted < problem.optional_open(e) {
            self.supplies[self.supply_of[self.counted as usize] as usize].called += 1;
            self.counted += 1;
        }
    }

    pub(super) fn run(
        &mut self,
        core: &mut Core<N>,
        limits: &mut Limits,
        pause: u64,
        watch: &mut Watch,
        mut deep: Option<&mut Deep<N>>,
    ) -> Result<Outcome, PyErr> {
        let kinds = self.supplies.len();
        loop {
            let Some(mut entry) = self.places.first_entry() else {
                if !self.dropped {
                    core.exact = core.furthest == self.last;
                    return Ok(Outcome::Illegal);
                }
                self.width = self.width.saturating_mul(WIDER);
                self.begin(core)?;
                continue;
            };
            let e = *entry.key();
            if self.looks_back && (e == self.end || core.steps >= self.give_up) {
                self.spent = true;
                return Ok(Outcome::Pause);
            }
            if e == self.end {
                let best = entry.get().entries.iter().min_by_key(|entry| entry.price);
                let node = best.map_or(NONE, |entry| entry.config.node);
                self.keep_account(core, node);
                self.begin(core)?;
                continue;
            }
            if e != self.last {
                self.come_to(e, core.problem);
                continue;
            }
            let stop = entry.get_mut();
            let Some(at) = stop.current(self.width, &mut self.dropped) else {
                for entry in
                    stop.entries.iter().filter(|entry| entry.price.0 == 0 && !entry.grew && entry.stands)
                {
                    core.dead_end(&entry.config);
                }
                entry.remove();
                if core.nodes.len() > self.orders && !self.looks_back {
                    self.collect_orders(core, deep.as_deref_mut());
                    self.orders = 2 * core.nodes.len() + ORDERS;
                }
                continue;
            };
            let config = stop.entries[at as usize].config;
            let mut price = stop.entries[at as usize].price;
            let open = core.problem.open_other(e).len() as u32;
            let (nodes, words) = (core.nodes.len(), core.rows.words.len());
            let mut next = config;
            self.made.copy_from_slice(stop.used(at, kinds));
            let made = match core.required(&config, &mut stop.cursor) {
                Some(o) => {
                    let ready = core.problem.ops[o as usize];
                    next.state = core.step(config.state, ready.kind)?;
                    next.taken.set(ready.bit);
                    core.extend(&mut next, o);
                    next.state != REFUSED
                }
                None => {
                    let lane = (stop.cursor - open) as usize;
                    if lane == kinds {
                        stop.at = NONE;
                        continue;
                    }
                    stop.cursor += 1;
                    let supply = &self.supplies[lane];
                    let used = self.made[lane];
                    let left = used < supply.called;
                    if supply.called == 0 || (!left && supply.tracked) {
                        continue;
                    }
                    next.state = core.step(config.state, supply.kind)?;
                    price.1 += u32::from(!self.looks_back);
                    if left {
                        self.made[lane] += 1;
                        core.extend(&mut next, supply.operations[used as usize]);
                    } else {
                        price.0 += u32::from(!self.looks_back);
                        core.extend(&mut next, supply.operations[0] | AGAIN);
                    }
                    next.state != REFUSED
                        && next.state != config.state
                        && !outdone(core, &self.supplies, supply, &config, &self.made)?
                }
            };
            if made {
                core.settle(&mut next)?;
                if next.e == core.target && price.0 == 0 {
                    return Ok(core.arrived(&next));
                }
            }
            let goal = if !made || next.e == e {
                stop
            } else {
                let goal = next.e.min(self.end);
                self.places.entry(goal).or_insert_with(|| Stop::new(goal, core.problem))
            };
            if self.looks_back {
                next.node = NONE;
                core.back_to(nodes, words);
            }
            if made && goal.admit(next, price, &self.made, &self.supplies) {
                if price.0 == 0 {
                    core.note_depth(&next);
                }
                if let Some(stop) = self.places.get_mut(&e) {
                    stop.entries[at as usize].grew = true;
                }
            } else {
                core.back_to(nodes, words);
            }
            if core.steps >= pause {
                return Ok(Outcome::Pause);
            }
            let (mine, others) = (&*self, deep.as_deref().map_or(Held::default(), Deep::held));
            if let Some(outcome) = watch.look(limits, || core.held() + mine.held() + others)? {
                return Ok(outcome);
            }
        }
    }

    /// Keep account of the kinds that this order used again.
    fn keep_account(&mut self, core: &Core<N>, mut node: u32) {
        while node != NONE {
            let (rest, operation) = core.nodes[node as usize];
            if operation & AGAIN != 0 {
                let position = core.problem.ops[(operation & !AGAIN) as usize].bit;
                self.supplies[self.supply_of[position as usize] as usize].tracked = true;
            }
            node = rest;
        }
    }

    pub(super) fn collect_orders(&mut self, core: &mut Core<N>, deep: Option<&mut Deep<N>>) {
        let stack = deep.map_or(&mut [][..], |deep| &mut deep.stack[..]);
        let places = &mut self.places;
        core.collect_orders(|visit| {
            stack.iter_mut().for_each(|frame| visit(&mut frame.config.node));
            for stop in places.values_mut() {
                stop.entries.iter_mut().for_each(|entry| visit(&mut entry.config.node));
            }
        });
    }

    pub(super) fn held(&self) -> Held {
        let entry = std::mem::size_of::<Entry<N>>();
        let held = |stop: &Stop<N>| {
            stop.entries.capacity() * entry
                + 2 * stop.used.capacity()
                + 16 * stop.queue.capacity()
                + table_bytes(&stop.first)
        };
        Held { now: self.places.values().map(held).sum(), soon: 0 }
    }
}

/// As Core::outdone (R6): whether one is left that leads to the same state, and not from any.
fn outdone<const N: usize>(
    core: &mut Core<N>,
    supplies: &[Supply],
    supply: &Supply,
    config: &Config<N>,
    used: &[u16],
) -> Result<bool, PyErr> {
    if !supply.from_any {
        return Ok(false);
    }
    for (lane, other) in supplies.iter().enumerate() {
        if !other.from_any
            && other.sets == supply.sets
            && used[lane] < other.called
            && core.step(config.state, other.kind)? == supply.sets
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The optional operations by kind, and the kind of each. None where this search does not apply.
pub(super) fn supplies(problem: &Problem, machine: &dyn Machine) -> Option<(Vec<Supply>, Vec<u32>)> {
    let mut lanes: Mixed<u32, u32> = Mixed::default();
    let mut supplies: Vec<Supply> = Vec::new();
    let mut supply_of = Vec::with_capacity(problem.optional.len());
    for &o in &problem.optional {
        let kind = problem.ops[o as usize].kind;
        let (sets, from_any) = machine.sets(kind)?;
        let lane = *lanes.entry(kind).or_insert(supplies.len() as u32);
        if lane as usize == supplies.len() {
            let operations = Vec::new();
            supplies.push(Supply { kind, operations, sets, from_any, tracked: false, called: 0 });
        }
        let operations = &mut supplies[lane as usize].operations;
        operations.push(o);
        if operations.len() > OF_A_KIND_MAX || supplies.len() > KINDS_MAX {
            return None;
        }
        supply_of.push(lane);
    }
    Some((supplies, supply_of))
}
