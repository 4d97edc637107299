//! Stacks: lifo.py.

use super::cover::Cover;
use super::segments::{Counts, Ends};
use super::stays::Stays;
use super::{Checked, Stop, NEVER};
use crate::problem::NONE;

const ROUNDS_PER_LOOK: u32 = 1 << 16;

/// One operation with the least interval it can have beside others of its value.
#[derive(Clone, Copy)]
struct Piece {
    call: i64,
    ret: i64,
    stay: u32,
    look: bool,
}

fn pieces_of(stays: &Stays) -> Vec<Piece> {
    let mut found = Vec::with_capacity(stays.entries.len());
    let mut at = 0;
    for (number, stay) in stays.all.iter().enumerate() {
        let number = number as u32;
        let end = if stay.take == NONE { NEVER } else { stays.entries[stay.take as usize].ret };
        found.push(Piece { call: stay.put_call, ret: stay.first, stay: number, look: false });
        // Looks of stays that were dropped have none; the rest stand in the order of their stays.
        while at < stays.looks.len() && stays.looks[at].0 == number {
            let entry = &stays.entries[stays.looks[at].1 as usize];
            found.push(Piece {
                call: entry.call.max(stay.put_call),
                ret: entry.ret.min(end),
                stay: number,
                look: true,
            });
            at += 1;
        }
        if stay.take != NONE {
            found.push(Piece { call: stay.last, ret: end, stay: number, look: false });
        }
    }
    found
}

pub fn check(stays: &Stays, late: &dyn Fn() -> bool) -> Checked<()> {
    let mut pieces = pieces_of(stays);
    pieces.sort_unstable_by_key(|piece| piece.call);
    let mut instants: Vec<i64> = pieces.iter().flat_map(|p| [p.call, p.ret]).collect();
    instants.sort_unstable();
    instants.dedup();
    let place = |instant: i64| instants.partition_point(|&other| other < instant);
    let ranges: Vec<(usize, usize)> = stays
        .all
        .iter()
        .map(|s| if s.first < s.last { (place(s.first) + 1, place(s.last)) } else { (0, 0) })
        .collect();
    // Looks may be where their own value is inside, if it is the only one.
    let mut lookers: Vec<u32> =
        (0..pieces.len() as u32).filter(|&number| pieces[number as usize].look).collect();
    lookers.sort_by_key(|&number| pieces[number as usize].stay);
    let mut alone = Counts::new(instants.len());
    let mut with_own = (!lookers.is_empty()).then(|| Counts::new(instants.len()));
    let mut every = Ends::new(&pieces.iter().map(|p| p.ret).collect::<Vec<i64>>());
    let mut own = Ends::new(&lookers.iter().map(|&n| pieces[n as usize].ret).collect::<Vec<i64>>());
    for (stay, &(start, end)) in ranges.iter().enumerate() {
        alone.cover(start, end, 1, stay as u64 + 1);
        if let Some(counts) = &mut with_own {
            counts.cover(start, end, 1, stay as u64 + 1);
        }
    }
    let mut left = vec![0u32; stays.all.len()];
    for piece in &pieces {
        left[piece.stay as usize] += 1;
    }
    let mut gone = vec![false; pieces.len()];
    let mut remaining = stays.all.len();
    let mut taken: Vec<usize> = Vec::new();
    let mut rounds = 0u32;
    loop {
        rounds = rounds.wrapping_add(1);
        if rounds % ROUNDS_PER_LOOK == 0 && late() {
            return Err(Stop::Late);
        }
        if let Some(at) = alone.pop(0) {
            let stop = pieces.partition_point(|piece| piece.call <= instants[at]);
            every.take(0, stop, instants[at], &mut taken);
        } else if let Some(at) = with_own.as_mut().and_then(|counts| counts.pop(1)) {
            let Some(stay) = with_own.as_ref().map_or(0, |counts| counts.only(at)).checked_sub(1) else {
                continue;
            };
            let key = |n: &u32| (u64::from(pieces[*n as usize].stay), pieces[*n as usize].call);
            let start = lookers.partition_point(|n| key(n).0 < stay);
            let stop = lookers.partition_point(|n| key(n) <= (stay, instants[at]));
            own.take(start, stop, instants[at], &mut taken);
            for number in &mut taken {
                *number = lookers[*number] as usize;
            }
        } else {
            break;
        }
        for &number in &taken {
            if std::mem::replace(&mut gone[number], true) {
                continue;
            }
            let stay = pieces[number].stay as usize;
            left[stay] -= 1;
            if left[stay] == 0 {
                remaining -= 1;
                let (start, end) = ranges[stay];
                alone.cover(start, end, -1, stay as u64 + 1);
                if let Some(counts) = &mut with_own {
                    counts.cover(start, end, -1, stay as u64 + 1);
                }
            }
        }
    }
    if remaining == 0 {
        return Ok(());
    }
    Err(stays.contradiction(&stuck(stays, &pieces, &gone), &[]))
}

/// Stays of which none can be at the bottom: from any one along those that are inside instead.
fn stuck(stays: &Stays, pieces: &[Piece], gone: &[bool]) -> Vec<u32> {
    let mut blocked = vec![NONE; stays.all.len()];
    for (number, piece) in pieces.iter().enumerate() {
        if !gone[number] && blocked[piece.stay as usize] == NONE {
            blocked[piece.stay as usize] = number as u32;
        }
    }
    let inside = stays.inside().into_iter().filter(|entry| blocked[entry.2 as usize] != NONE).collect();
    let cover = Cover::new(inside);
    let mut kept = vec![false; stays.all.len()];
    let mut found = Vec::new();
    let mut todo: Vec<u32> =
        (0..stays.all.len() as u32).filter(|&stay| blocked[stay as usize] != NONE).take(1).collect();
    while let Some(stay) = todo.pop() {
        if std::mem::replace(&mut kept[stay as usize], true) {
            continue;
        }
        found.push(stay);
        let piece = pieces[blocked[stay as usize] as usize];
        todo.extend(cover.chain(piece.call, piece.ret, if piece.look { stay } else { NONE }));
    }
    found
}
