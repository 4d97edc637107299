//! Each value's stay in a collection, from its put to its take: stays.py.

use super::cover::Cover;
use super::{Checked, Entry, Stop, NEVER};
use crate::native::{Got, Op};
use crate::problem::NONE;

#[derive(Clone, Copy, Debug)]
pub struct Stay {
    /// Places of its put and its take, or NONE.
    pub put: u32,
    pub take: u32,
    pub put_call: i64,
    /// The first of all returns and the last of all calls.
    pub first: i64,
    pub last: i64,
    /// The first return of those that found the value in its place.
    pub found: i64,
}

pub struct Stays<'e> {
    pub entries: &'e [Entry<Op>],
    pub all: Vec<Stay>,
    /// (stay, place of a look), in this order.
    pub looks: Vec<(u32, u32)>,
    pub empties: Vec<u32>,
    /// A take of unknown outcome may have taken any value.
    pub unsure: bool,
}

/// The stays, of values below `values`; stops where values are not distinct, or for what is wrong with one alone.
pub fn of(entries: &[Entry<Op>], values: usize) -> Checked<Stays<'_>> {
    let mut put = vec![NONE; values];
    let mut stays = Stays { entries, all: Vec::new(), looks: Vec::new(), empties: Vec::new(), unsure: false };
    let mut heads: Vec<(u32, u32, bool)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let place = place as u32;
        match entry.op {
            Op::Put(value) => {
                if put[value as usize] != NONE {
                    return Err(Stop::DoesNotApply);
                }
                put[value as usize] = place;
            }
            Op::Take(_) if entry.unknown() => stays.unsure = true,
            Op::Look(_) if entry.unknown() => {}
            Op::Take(Got::Empty) | Op::Look(Got::Empty) => stays.empties.push(place),
            Op::Take(Got::Value(value)) => heads.push((place, value, true)),
            Op::Look(Got::Value(value)) => heads.push((place, value, false)),
            Op::Look(Got::Unknown) => {}
            _ => return Err(Stop::DoesNotApply),
        }
    }
    let mut take = vec![NONE; values];
    for &(place, value, takes) in &heads {
        let putter = put[value as usize];
        if putter == NONE {
            return Err(Stop::Contradiction(vec![place]));
        }
        if entries[place as usize].ret < entries[putter as usize].call {
            return Err(Stop::Contradiction(vec![place, putter]));
        }
        if !takes {
            stays.looks.push((value, place));
        } else if take[value as usize] == NONE {
            take[value as usize] = place;
        } else {
            return Err(Stop::Contradiction(vec![take[value as usize], place, putter]));
        }
    }
    stays.looks.sort_unstable();
    stays.settle(&put, &take)?;
    Ok(stays)
}

impl Stays<'_> {
    fn settle(&mut self, put: &[u32], take: &[u32]) -> Checked<()> {
        let entries = self.entries;
        let mut at = 0;
        for (value, (&putter, &taker)) in put.iter().zip(take).enumerate() {
            let start = at;
            while at < self.looks.len() && self.looks[at].0 == value as u32 {
                at += 1;
            }
            if putter == NONE || (entries[putter as usize].unknown() && taker == NONE && start == at) {
                continue;
            }
            let came = &entries[putter as usize];
            let (mut found, mut last) = (NEVER, came.call);
            let mut last_place = putter;
            let number = self.all.len() as u32;
            for look in &mut self.looks[start..at] {
                look.0 = number;
                let entry = &entries[look.1 as usize];
                found = found.min(entry.ret);
                if entry.call > last {
                    (last, last_place) = (entry.call, look.1);
                }
            }
            if taker == NONE {
                last = NEVER;
            } else {
                let left = &entries[taker as usize];
                if left.ret < last {
                    return Err(Stop::Contradiction(vec![taker, last_place, putter]));
                }
                found = found.min(left.ret);
                last = last.max(left.call);
            }
            self.all.push(Stay {
                put: putter,
                take: taker,
                put_call: came.call,
                first: found.min(came.ret),
                last,
                found,
            });
        }
        Ok(())
    }

    /// Whether each operation that found nothing has an instant at which no value need be inside.
    pub fn cuts(&self) -> Checked<()> {
        if self.empties.is_empty() {
            return Ok(());
        }
        let cover = Cover::new(self.inside());
        for &place in &self.empties {
            let Entry { call, ret, .. } = self.entries[place as usize];
            if cover.left_at(call) > ret {
                return Err(self.contradiction(&cover.chain(call, ret, NONE), &[place]));
            }
        }
        Ok(())
    }

    /// (from, to, stay) where a value is surely inside.
    pub fn inside(&self) -> Vec<(i64, i64, u32)> {
        let numbered = self.all.iter().enumerate();
        numbered.filter(|(_, s)| s.first < s.last).map(|(n, s)| (s.first, s.last, n as u32)).collect()
    }

    pub fn looks_of(&self, stay: u32) -> &[(u32, u32)] {
        let start = self.looks.partition_point(|look| look.0 < stay);
        let end = self.looks.partition_point(|look| look.0 <= stay);
        &self.looks[start..end]
    }

    /// All operations of these stays, and some more.
    pub fn contradiction(&self, stays: &[u32], more: &[u32]) -> Stop {
        let mut found = more.to_vec();
        for &number in stays {
            let stay = &self.all[number as usize];
            found.push(stay.put);
            found.extend(self.looks_of(number).iter().map(|look| look.1));
            if stay.take != NONE {
                found.push(stay.take);
            }
        }
        found.sort_unstable();
        found.dedup();
        Stop::Contradiction(found)
    }
}
