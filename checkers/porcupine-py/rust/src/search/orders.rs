//! The orders met, kept as one list of nodes: (the rest of the order, its last operation).
//!
//! A node stands after the rest of its order. Every configuration ever made has one, so that most lead
//! nowhere any more; `collect` lets go of these, and needs two bits a node to do it.

use crate::problem::NONE;

/// Keep the nodes of orders that somebody still points at. `each_end` shows every such pointer, twice: at
/// first to be read, then to be brought up to date.
pub(super) fn collect(nodes: &mut Vec<(u32, u32)>, mut each_end: impl FnMut(&mut dyn FnMut(&mut u32))) {
    let mut wanted = vec![0u64; nodes.len().div_ceil(64)];
    each_end(&mut |end| {
        let mut node = *end;
        while node != NONE && wanted[node as usize / 64] >> (node % 64) & 1 == 0 {
            wanted[node as usize / 64] |= 1 << (node % 64);
            node = nodes[node as usize].0;
        }
    });
    let mut before = Vec::with_capacity(wanted.len());
    let mut count = 0u32;
    for word in &wanted {
        before.push(count);
        count += word.count_ones();
    }
    let moved = |node: u32| {
        if node == NONE {
            return NONE;
        }
        let word = wanted[node as usize / 64];
        before[node as usize / 64] + (word & ((1 << (node % 64)) - 1)).count_ones()
    };
    let mut kept = 0;
    for at in 0..nodes.len() {
        if wanted[at / 64] >> (at % 64) & 1 == 1 {
            let (rest, operation) = nodes[at];
            nodes[kept] = (moved(rest), operation);
            kept += 1;
        }
    }
    nodes.truncate(kept);
    nodes.shrink_to_fit();
    each_end(&mut |end| *end = moved(*end));
}
