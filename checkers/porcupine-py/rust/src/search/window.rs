//! A look at the places before the one that depth first does not get past: mostly that is where the contradiction is.
//!
//! A history is illegal if no configuration that there could be some places before gets past that one, whether there is an
//! order that leads to it or not. So the search begins there with all of them: each state that the object may be in, with
//! each set of the open operations that are not pure. For all others the most favourable will do: every open pure
//! operation is linearized (R7), no optional one is used (R4), and what is used may be used again, as in thrift.rs. This
//! takes a time that does not depend on the length of the history. It says "illegal", or nothing.

use pyo3::PyErr;

use super::thrift::{supplies, Stop, Thrift};
use super::{Config, Core};
use crate::memory::Bits;
use crate::problem::NONE;

/// Places to go back, at first and then; up to twice as many where fewer operations are open then.
pub(super) const WINDOWS: [u32; 3] = [24, 96, 384];
/// What one look may take.
const STEPS_MAX: u64 = 400_000;
/// Configurations to begin with: with more of them there is no look.
const STARTS_MAX: usize = 1 << 13;

impl<const N: usize> Thrift<N> {
    /// A look at so many places before `suspect`. None where there is nothing to be gained, or that is not known.
    pub(super) fn look_back(core: &mut Core<N>, suspect: u32, window: u32) -> Result<Option<Self>, PyErr> {
        let problem = core.problem;
        let back = suspect.saturating_sub(2 * window)..=suspect.saturating_sub(window);
        let opens_at =
            |e: u32| problem.open_other(e).iter().filter(|&&o| problem.ops[o as usize].opens <= e).count();
        let Some(from) = back.rev().min_by_key(|&e| opens_at(e)) else { return Ok(None) };
        let Some(states) = core.machine.states() else { return Ok(None) };
        let Some((supplies, supply_of)) = supplies(problem, core.machine) else { return Ok(None) };
        let open = |list: &[u32]| -> Vec<u32> {
            let bits = list.iter().map(|&o| problem.ops[o as usize]).filter(|ready| ready.opens <= from);
            bits.map(|ready| ready.bit).collect()
        };
        let (others, pure) = (open(problem.open_other(from)), open(problem.open_pure(from)));
        if others.len() >= usize::BITS as usize || states.len() > STARTS_MAX >> others.len() {
            return Ok(None);
        }
        let called = &problem.optional[..problem.optional_open(suspect) as usize];
        let settable = |state: &u32| {
            called.iter().any(|&o| core.machine.sets(problem.ops[o as usize].kind) == Some((*state, true)))
        };
        if states.iter().all(settable) {
            return Ok(None); // Then everything can be explained.
        }
        let mut seen = Bits::<N>::EMPTY;
        pure.iter().for_each(|&bit| seen.set(bit));
        let mut made = Thrift::of(supplies, supply_of, usize::MAX);
        made.end = suspect + 1;
        made.looks_back = true;
        made.give_up = core.steps + STEPS_MAX;
        for &state in &states {
            for chosen in 0..1usize << others.len() {
                let mut taken = seen;
                for (at, &bit) in others.iter().enumerate() {
                    if chosen >> at & 1 == 1 {
                        taken.set(bit);
                    }
                }
                let mut config = Config { e: from, state, used: 0, node: NONE, depth: 0, taken };
                let (nodes, words) = (core.nodes.len(), core.rows.words.len());
                core.settle(&mut config)?;
                config.node = NONE;
                core.back_to(nodes, words);
                let stop = made.places.entry(config.e.min(made.end));
                let stop = stop.or_insert_with(|| Stop::new(config.e.min(suspect + 1), problem));
                stop.admit(config, (1, 0), &made.made, &made.supplies);
            }
        }
        Ok(Some(made))
    }
}
