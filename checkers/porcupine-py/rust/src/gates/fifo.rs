//! First-in first-out queues: fifo.py.

use super::stays::{Stay, Stays};
use super::{Checked, NEVER};

/// Stays in the order of one of their instants, of which only those that are left count.
struct Rest {
    order: Vec<(i64, u32)>,
    top: usize,
    second: usize,
}

impl Rest {
    fn new(stays: &[Stay], instant: impl Fn(&Stay) -> i64) -> Rest {
        let mut order: Vec<(i64, u32)> =
            stays.iter().enumerate().map(|(number, stay)| (instant(stay), number as u32)).collect();
        order.sort_unstable();
        Rest { order, top: 0, second: 1 }
    }

    fn settle(&mut self, gone: &[bool]) {
        let count = self.order.len();
        while self.top < count && gone[self.order[self.top].1 as usize] {
            self.top += 1;
        }
        self.second = self.second.max(self.top + 1);
        while self.second < count && gone[self.order[self.second].1 as usize] {
            self.second += 1;
        }
    }

    fn first_but(&self, stay: u32) -> Option<(i64, u32)> {
        [self.top, self.second]
            .into_iter()
            .filter_map(|place| self.order.get(place).copied())
            .find(|entry| entry.1 != stay)
    }
}

pub fn check(stays: &Stays) -> Checked<()> {
    let all = &stays.all;
    let count = all.len();
    let mut came = Rest::new(all, |s| s.first);
    let mut seen = Rest::new(all, |s| s.found);
    let mut by_put = Rest::new(all, |s| s.put_call);
    let mut by_last = Rest::new(all, |s| s.last);
    let mut gone = vec![false; count];
    let mut free = vec![0u8; count];
    let mut ready: Vec<u32> = Vec::new();
    for _ in 0..count {
        came.settle(&gone);
        seen.settle(&gone);
        let mut grant = |stay: u32, bit: u8| {
            let bits = &mut free[stay as usize];
            if *bits & bit == 0 {
                *bits |= bit;
                if *bits == 3 {
                    ready.push(stay);
                }
            }
        };
        let least = came.order[came.top].0;
        while by_put.top < count && by_put.order[by_put.top].0 <= least {
            grant(by_put.order[by_put.top].1, 1);
            by_put.top += 1;
        }
        let (least, top) = seen.order[seen.top];
        while by_last.top < count {
            let (last, stay) = by_last.order[by_last.top];
            if !gone[stay as usize] {
                if last > least {
                    break;
                }
                grant(stay, 2);
            }
            by_last.top += 1;
        }
        if all[top as usize].last <= seen.first_but(top).map_or(NEVER, |other| other.0) {
            grant(top, 2);
        }
        let Some(stay) = ready.pop() else {
            let left = gone.iter().position(|gone| !gone).unwrap_or(0) as u32;
            return Err(stays.contradiction(&circle(all, &came, &seen, left), &[]));
        };
        gone[stay as usize] = true;
    }
    Ok(())
}

/// From a stay that is left back along those that must come before it, until they repeat.
fn circle(all: &[Stay], came: &Rest, seen: &Rest, mut stay: u32) -> Vec<u32> {
    let mut path: Vec<u32> = Vec::new();
    while !path.contains(&stay) {
        path.push(stay);
        let (first, before) = came.order[came.top];
        stay = if first < all[stay as usize].put_call {
            before
        } else {
            seen.first_but(stay).map_or(stay, |other| other.1)
        };
    }
    path
}
