//! Sets to which each element is added, and from which it is removed, at most once: sets.py.

use super::{Answer, Checked, Entry, Stop, NEVER};
use crate::native::Op;
use crate::problem::NONE;

struct Elements<'e> {
    entries: &'e [Entry<Op>],
    add: Vec<u32>,
    remove: Vec<u32>,
    /// (element, whether it was seen in the set, place), in this order.
    seen: Vec<(u32, bool, u32)>,
    reads: Vec<(u32, &'e [u32])>,
}

/// A set of elements below `values`.
pub fn set(entries: &[Entry<Op>], values: usize) -> Answer {
    let mut elements = Elements {
        entries,
        add: vec![NONE; values],
        remove: vec![NONE; values],
        seen: Vec::new(),
        reads: Vec::new(),
    };
    for (place, entry) in entries.iter().enumerate() {
        let place = place as u32;
        match &entry.op {
            Op::Insert(value, Some(false)) => elements.seen.push((*value, true, place)),
            Op::Remove(value, Some(false)) => elements.seen.push((*value, false, place)),
            Op::Insert(value, _) | Op::Remove(value, _) => {
                let adds = matches!(entry.op, Op::Insert(..));
                let doers = if adds { &mut elements.add } else { &mut elements.remove };
                if doers[*value as usize] != NONE {
                    return Answer::DoesNotApply;
                }
                doers[*value as usize] = place;
            }
            Op::Has(value, inside) => elements.seen.push((*value, *inside, place)),
            Op::Members(seen) => elements.reads.push((place, seen)),
            Op::Blind => {}
            _ => return Answer::DoesNotApply,
        }
    }
    if elements.reads.is_empty() {
        return elements.each_alone().into();
    }
    if !elements.seen.is_empty() || elements.remove.iter().any(|&place| place != NONE) {
        return Answer::DoesNotApply;
    }
    elements.by_reads().into()
}

impl Elements<'_> {
    fn each_alone(&mut self) -> Checked<()> {
        self.seen.sort_unstable();
        let mut at = 0;
        for value in 0..self.add.len() {
            let start = at;
            while at < self.seen.len() && self.seen[at].0 == value as u32 {
                at += 1;
            }
            if !self.fits(self.add[value], self.remove[value], &self.seen[start..at]) {
                let seen = self.seen[start..at].iter().map(|&(_, _, place)| place);
                let doers = [self.add[value], self.remove[value]].into_iter().filter(|&place| place != NONE);
                return Err(Stop::Contradiction(doers.chain(seen).collect()));
            }
        }
        Ok(())
    }

    /// Whether one element's operations can be put in order.
    fn fits(&self, add: u32, remove: u32, seen: &[(u32, bool, u32)]) -> bool {
        let removed = remove != NONE;
        let unknown = removed && self.entries[remove as usize].unknown();
        let sure =
            removed && !unknown && matches!(self.entries[remove as usize].op, Op::Remove(_, Some(true)));
        let present = seen.iter().any(|&(_, inside, _)| inside) || sure;
        if add == NONE || (self.entries[add as usize].unknown() && !present) {
            return !present;
        }
        if !removed {
            return self.through(add, NONE, seen, NONE);
        }
        // A remove that does not say whether it found anything may have come before the add.
        self.through(add, remove, seen, NONE)
            || (!sure && self.through(add, NONE, seen, if unknown { NONE } else { remove }))
    }

    /// The same, if this is what it was removed by; `idle` is a remove that found nothing.
    fn through(&self, add: u32, remove: u32, seen: &[(u32, bool, u32)], idle: u32) -> bool {
        let entries = self.entries;
        let came = &entries[add as usize];
        let (mut back, mut last) = (came.ret, came.call);
        for &(_, _, place) in seen.iter().filter(|&&(_, inside, _)| inside) {
            back = back.min(entries[place as usize].ret);
            last = last.max(entries[place as usize].call);
        }
        if remove == NONE {
            last = NEVER;
        } else {
            let went = &entries[remove as usize];
            if went.ret < last {
                return false;
            }
            back = back.min(went.ret);
            last = last.max(went.call);
        }
        let absent = seen.iter().filter(|&&(_, inside, _)| !inside).map(|&(_, _, place)| place);
        back >= came.call
            && absent.chain((idle != NONE).then_some(idle)).all(|place| {
                let entry = &entries[place as usize];
                entry.call <= back || entry.ret >= last
            })
    }

    fn by_reads(&mut self) -> Checked<()> {
        self.reads.sort_by_key(|read| read.1.len());
        let (entries, add) = (self.entries, &self.add);
        let mut group_of = vec![NONE; add.len()];
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut before: &[u32] = &[];
        let mut last_read = NONE;
        for &(place, seen) in &self.reads {
            if last_read == NONE || seen.len() > before.len() {
                for &value in seen {
                    if add[value as usize] == NONE {
                        return Err(self.contradiction(&[place]));
                    }
                    if group_of[value as usize] == NONE {
                        group_of[value as usize] = groups.len() as u32;
                    }
                }
                groups.extend([Vec::new(), Vec::new()]);
            }
            if !within(before, seen) {
                return Err(self.contradiction(&[last_read, place]));
            }
            if let Some(group) = groups.last_mut() {
                group.push(place);
            }
            before = seen;
            last_read = place;
        }
        groups.push(Vec::new());
        let unread = groups.len() as u32 - 1;
        for (value, &place) in add.iter().enumerate() {
            if place != NONE && (group_of[value] != NONE || !entries[place as usize].unknown()) {
                groups[group_of[value].min(unread) as usize].push(place);
            }
        }
        let mut latest = NONE;
        for group in &groups {
            if latest != NONE {
                let called = entries[latest as usize].call;
                if let Some(&place) = group.iter().find(|&&place| entries[place as usize].ret < called) {
                    return Err(self.late(latest, place));
                }
            }
            for &place in group {
                if latest == NONE || entries[place as usize].call > entries[latest as usize].call {
                    latest = place;
                }
            }
        }
        Ok(())
    }

    /// One that returned before another was called that comes first by what the reads saw.
    fn late(&self, called: u32, returned: u32) -> Stop {
        let mut shown = vec![called, returned];
        if let (Op::Insert(one, _), Op::Insert(other, _)) =
            (&self.entries[called as usize].op, &self.entries[returned as usize].op)
        {
            let between = self
                .reads
                .iter()
                .find(|(_, seen)| seen.binary_search(one).is_ok() && seen.binary_search(other).is_err());
            shown.extend(between.map(|read| read.0));
        }
        self.contradiction(&shown)
    }

    /// These, and who added what the reads among them saw.
    fn contradiction(&self, places: &[u32]) -> Stop {
        let mut found = places.to_vec();
        for &place in places {
            if let Op::Members(seen) = &self.entries[place as usize].op {
                found.extend(seen.iter().map(|&value| self.add[value as usize]).filter(|&p| p != NONE));
            }
        }
        found.sort_unstable();
        found.dedup();
        Stop::Contradiction(found)
    }
}

/// Whether every element of the first is in the second; both are sorted.
fn within(less: &[u32], more: &[u32]) -> bool {
    let mut rest = more.iter();
    less.iter().all(|one| rest.any(|other| other == one))
}
