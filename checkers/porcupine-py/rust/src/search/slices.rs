//! A search that stops and goes on: the two strategies take turns, and what they know outlives a run.

use pyo3::PyErr;

use super::orders::collect;
use super::steady::Steady;
use super::strategies::{Deep, Frame, Watch};
use super::{Core, Final, Foresight, Limits, Outcome, Spare, Table};
use crate::machine::Machine;
use crate::memory::{Held, Memo, Mixed, Rows};
use crate::problem::{Problem, NONE};

/// A search short of memory goes on if letting go of what it does not need gave back this part.
const WORTH_IT: usize = 4;

/// Where a search stands between two runs: everything but what it borrows.
struct Standing<const N: usize> {
    table: Table,
    rows: Rows,
    nodes: Vec<(u32, u32)>,
    foresight: Option<Foresight>,
    steps: u64,
    most: u32,
    best: u32,
    furthest: u32,
    exact: bool,
    finals: Vec<(u32, u32)>,
    partial_work: u64,
    longest: Vec<(u32, u32)>,
    deep: Option<Deep<N>>,
    steady: Steady<N>,
    deep_turn: bool,
    turn_ends: u64,
    turn_steps: u64,
    held: usize,
}

/// A search that can be run in slices, whatever the width of its masks.
pub trait Run: Send + Sync {
    fn run(
        &mut self,
        problem: &Problem,
        machine: &mut dyn Machine,
        limits: &mut Limits,
    ) -> Result<Outcome, PyErr>;
    /// Before the first run: search by place from the beginning, and never depth first. Where a search has a width, it
    /// begins with this one.
    fn by_place(&mut self, width: usize);
    fn steps(&self) -> u64;
    fn most(&self) -> u32;
    fn best(&self, problem: &Problem) -> Vec<u32>;
    fn furthest(&self) -> u32;
    /// Whether no order gets past the return at `furthest`, and one gets there, once there is no order of all.
    fn exact(&self) -> bool;
    fn finals(&self, problem: &Problem) -> Vec<Final>;
    fn partials(&self, problem: &Problem) -> Vec<Vec<u32>>;
    fn held_bytes(&self) -> usize;
    fn forget(&mut self);
    /// Become a search that was not run yet, with the room there is. For one with masks of one word.
    fn renew(&mut self, kinds: usize, target: u32);
}

/// As `search`, in place of another.
pub fn search_in_place_of(
    other: Option<Box<dyn Run>>,
    problem: &Problem,
    kinds: usize,
) -> Option<Box<dyn Run>> {
    match other {
        Some(mut run) if problem.slots <= 64 => {
            run.renew(kinds, problem.returns());
            Some(run)
        }
        _ => search(problem, kinds, problem.returns(), false),
    }
}

/// A search up to `target` returns. None when more operations are open together than masks are wide.
pub fn search(problem: &Problem, kinds: usize, target: u32, partials: bool) -> Option<Box<dyn Run>> {
    Some(match problem.slots.div_ceil(64) {
        0 | 1 => Box::new(Sliced::<1>::new(kinds, target, partials)),
        2 => Box::new(Sliced::<2>::new(kinds, target, partials)),
        3 | 4 => Box::new(Sliced::<4>::new(kinds, target, partials)),
        5..=16 => Box::new(Sliced::<16>::new(kinds, target, partials)),
        _ => return None,
    })
}

struct Sliced<const N: usize> {
    kinds: usize,
    target: u32,
    partials: bool,
    place_alone: bool,
    width: Option<usize>,
    standing: Option<Standing<N>>,
    spare: Spare,
    spare_deep: Option<Deep<N>>,
}

impl<const N: usize> Sliced<N> {
    fn new(kinds: usize, target: u32, partials: bool) -> Self {
        let (spare, spare_deep) = (Spare::default(), None);
        Sliced { kinds, target, partials, place_alone: false, width: None, standing: None, spare, spare_deep }
    }

    fn begin(&mut self, core: &mut Core<N>) -> Result<(Option<Deep<N>>, bool), PyErr> {
        let start = core.start()?;
        if start.e == core.target {
            return Ok((None, true));
        }
        if !core.promising(&start) {
            core.dead_end(&start);
            return Ok((None, false));
        }
        let mut deep = self.spare_deep.take().unwrap_or_else(|| Deep {
            stack: Vec::new(),
            memo: Memo::new(),
            fresh: Vec::new(),
        });
        deep.stack.push(Frame { config: start, cursor: 0, grew: false });
        deep.admit(&start, core);
        Ok((Some(deep), false))
    }
}

impl<const N: usize> Run for Sliced<N> {
    fn run(
        &mut self,
        problem: &Problem,
        machine: &mut dyn Machine,
        limits: &mut Limits,
    ) -> Result<Outcome, PyErr> {
        let (first, spare) = (self.standing.is_none(), std::mem::take(&mut self.spare));
        let mut core = Core::<N>::new(problem, machine, self.kinds, self.target, self.partials, first, spare);
        let (mut deep, mut steady, mut deep_turn, mut turn_ends, mut turn_steps);
        match self.standing.take() {
            None => {
                // Depth first has this many steps to itself before the other begins.
                turn_steps = 50 * u64::from(self.target) + 10_000;
                turn_ends = turn_steps;
                let (made, done) = self.begin(&mut core)?;
                if made.is_none() {
                    self.keep(core, None, Steady::new(None), true, 0, 0);
                    return Ok(if done { Outcome::Ok } else { Outcome::Illegal });
                }
                deep = made.filter(|_| !self.place_alone);
                deep_turn = deep.is_some();
                steady = Steady::new(self.width);
            }
            Some(s) => {
                core.table = s.table;
                core.rows = s.rows;
                core.nodes = s.nodes;
                core.foresight = s.foresight;
                core.steps = s.steps;
                core.most = s.most;
                core.best = s.best;
                core.furthest = s.furthest;
                core.exact = s.exact;
                core.finals = s.finals;
                core.partial_work = s.partial_work;
                core.longest = s.longest;
                deep = s.deep;
                steady = s.steady;
                deep_turn = s.deep_turn;
                turn_ends = s.turn_ends;
                turn_steps = s.turn_steps;
            }
        }
        let mut watch = Watch::default();
        let outcome = loop {
            let mut pause = turn_ends;
            if let Some(steps) = limits.steps {
                if core.steps >= steps {
                    break Ok(Outcome::Pause);
                }
                pause = pause.min(steps);
            }
            let result = match &mut deep {
                Some(deep) if deep_turn => deep.run(&mut core, limits, pause, &mut watch),
                deep => steady.run(&mut core, limits, pause, &mut watch, deep.as_mut(), self.place_alone),
            };
            match result {
                Ok(Outcome::Pause) if core.steps >= turn_ends => {
                    if deep.is_some() {
                        deep_turn = !deep_turn;
                        if !deep_turn && steady.begun() {
                            turn_steps *= 2;
                        }
                    }
                    turn_ends = core.steps + turn_steps;
                }
                Ok(Outcome::Memory) if deep.is_some() => {
                    // By place needs far less: it gets all the room, and the turn.
                    deep = None;
                    deep_turn = false;
                    if !steady.begun() {
                        core.forget_orders();
                    }
                }
                Ok(Outcome::Memory) => {
                    // Configurations that led nowhere may have left much behind.
                    let before = core.held().now;
                    steady.collect_orders(&mut core);
                    if before - core.held().now < before / WORTH_IT {
                        break Ok(Outcome::Memory);
                    }
                }
                other => break other,
            }
        };
        self.keep(core, deep, steady, deep_turn, turn_ends, turn_steps);
        outcome
    }

    fn by_place(&mut self, width: usize) {
        self.place_alone = true;
        self.width = Some(width);
    }

    fn steps(&self) -> u64 {
        self.standing.as_ref().map_or(0, |s| s.steps)
    }

    fn most(&self) -> u32 {
        self.standing.as_ref().map_or(0, |s| s.most)
    }

    fn best(&self, problem: &Problem) -> Vec<u32> {
        self.standing.as_ref().map_or(Vec::new(), |s| unwound(problem, &s.nodes, s.best))
    }

    fn furthest(&self) -> u32 {
        self.standing.as_ref().map_or(0, |s| s.furthest)
    }

    fn exact(&self) -> bool {
        self.standing.as_ref().is_none_or(|s| s.exact)
    }

    fn finals(&self, problem: &Problem) -> Vec<Final> {
        self.standing.as_ref().map_or(Vec::new(), |s| {
            s.finals
                .iter()
                .map(|&(state, node)| Final { state, order: unwound(problem, &s.nodes, node) })
                .collect()
        })
    }

    fn partials(&self, problem: &Problem) -> Vec<Vec<u32>> {
        let Some(s) = &self.standing else { return Vec::new() };
        let mut ends: Vec<(u32, u32)> = s.longest.iter().copied().filter(|&(_, node)| node != NONE).collect();
        if s.best != NONE {
            ends.push((s.most, s.best));
        }
        ends.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        ends.dedup();
        ends.iter().map(|&(_, node)| unwound(problem, &s.nodes, node)).collect()
    }

    fn held_bytes(&self) -> usize {
        self.standing.as_ref().map_or(0, |s| s.held)
    }

    fn forget(&mut self) {
        if let Some(s) = &mut self.standing {
            s.deep = None;
            s.steady = Steady::new(None);
            s.table.flat = Vec::new();
            s.table.rest = Mixed::default();
            s.rows.words = Vec::new();
            s.foresight = None;
            s.keep_what_is_shown();
            s.held = 8 * s.nodes.capacity();
        }
    }

    fn renew(&mut self, kinds: usize, target: u32) {
        if let Some(mut s) = self.standing.take() {
            s.table.flat.clear();
            s.table.rest.clear();
            s.nodes.clear();
            self.spare = Spare { table: s.table, rows: s.rows, nodes: s.nodes, foresight: s.foresight };
            self.spare_deep = s.deep;
        }
        if let Some(deep) = &mut self.spare_deep {
            deep.stack.clear();
            deep.memo.clear();
            deep.fresh.clear();
        }
        self.kinds = kinds;
        self.target = target;
    }
}

impl<const N: usize> Standing<N> {
    /// Let go of the orders that nobody can ask for: all but the longest, those that got stuck, and the longest
    /// with each operation.
    fn keep_what_is_shown(&mut self) {
        let (best, finals, longest) = (&mut self.best, &mut self.finals, &mut self.longest);
        collect(&mut self.nodes, |visit| {
            visit(best);
            finals.iter_mut().chain(longest.iter_mut()).for_each(|(_, node)| visit(node));
        });
    }
}

impl<const N: usize> Sliced<N> {
    fn keep(
        &mut self,
        core: Core<N>,
        deep: Option<Deep<N>>,
        steady: Steady<N>,
        deep_turn: bool,
        turn_ends: u64,
        turn_steps: u64,
    ) {
        let held = core.held() + deep.as_ref().map_or(Held::default(), Deep::held) + steady.held();
        self.standing = Some(Standing {
            table: core.table,
            rows: core.rows,
            nodes: core.nodes,
            foresight: core.foresight,
            steps: core.steps,
            most: core.most,
            best: core.best,
            furthest: core.furthest,
            exact: core.exact,
            finals: core.finals,
            partial_work: core.partial_work,
            longest: core.longest,
            deep,
            steady,
            deep_turn,
            turn_ends,
            turn_steps,
            held: held.now,
        });
    }
}

fn unwound(problem: &Problem, nodes: &[(u32, u32)], mut node: u32) -> Vec<u32> {
    let mut found = Vec::new();
    while node != NONE {
        let (rest, o) = nodes[node as usize];
        found.push(problem.ops[o as usize].source);
        node = rest;
    }
    found.reverse();
    found
}
