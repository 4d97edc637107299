//! Priority queues, the least value first: priority.py.

use super::cover::Cover;
use super::stays::Stays;
use super::Checked;
use crate::problem::NONE;

/// Instants at which nothing so far is surely inside, by place: each leads to the next that is open.
struct Open {
    instants: Vec<i64>,
    next: Vec<u32>,
}

impl Open {
    fn end_of(&mut self, mut place: usize) -> usize {
        let mut end = place;
        while self.next[end] as usize != end {
            end = self.next[end] as usize;
        }
        while self.next[place] as usize != end && place != end {
            place = std::mem::replace(&mut self.next[place], end as u32) as usize;
        }
        end
    }

    /// Whether some instant of [call, ret] is open.
    fn some(&mut self, call: i64, ret: i64) -> bool {
        let place = self.instants.partition_point(|&other| other < call);
        let place = self.end_of(place);
        self.instants.get(place).is_some_and(|&instant| instant <= ret)
    }

    fn cover(&mut self, start: i64, end: i64) {
        let mut place = self.instants.partition_point(|&other| other <= start);
        loop {
            place = self.end_of(place);
            if self.instants.get(place).is_none_or(|&instant| instant >= end) {
                return;
            }
            self.next[place] = place as u32 + 1;
        }
    }
}

pub fn check(stays: &Stays) -> Checked<()> {
    let entries = stays.entries;
    let mut instants: Vec<i64> = stays.all.iter().flat_map(|s| [s.first, s.last, s.put_call]).collect();
    let heads = stays.all.iter().map(|s| s.take).filter(|&take| take != NONE);
    for place in heads.chain(stays.looks.iter().map(|look| look.1)) {
        instants.extend([entries[place as usize].call, entries[place as usize].ret]);
    }
    instants.sort_unstable();
    instants.dedup();
    let count = instants.len() as u32;
    let mut open = Open { instants, next: (0..=count).collect() };
    // Stays stand in the order of their values, and looks in that of their stays.
    let mut at = 0;
    for (number, stay) in stays.all.iter().enumerate() {
        let number = number as u32;
        let end = if stay.take == NONE { i64::MAX } else { entries[stay.take as usize].ret };
        let mut hidden = None;
        if stay.take != NONE && !open.some(stay.last, end) {
            hidden = Some((stay.last, end));
        }
        while at < stays.looks.len() && stays.looks[at].0 == number {
            let look = &entries[stays.looks[at].1 as usize];
            let (call, ret) = (look.call.max(stay.put_call), look.ret.min(end));
            if hidden.is_none() && !open.some(call, ret) {
                hidden = Some((call, ret));
            }
            at += 1;
        }
        if let Some((call, ret)) = hidden {
            let smaller = stays.inside().into_iter().filter(|entry| entry.2 < number).collect();
            let mut chain = Cover::new(smaller).chain(call, ret, NONE);
            chain.push(number);
            return Err(stays.contradiction(&chain, &[]));
        }
        if stay.first < stay.last {
            open.cover(stay.first, stay.last);
        }
    }
    Ok(())
}
