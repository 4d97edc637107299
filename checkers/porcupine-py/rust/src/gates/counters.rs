//! Counters whose adds tell the sum, as registers: counters.py.

use super::{Answer, Entry};
use crate::memory::Mixed;
use crate::native::Op;
use crate::zones::{self, Columns};

/// Amounts by time, to be summed up to any instant.
struct Sums {
    times: Vec<i64>,
    sums: Vec<i64>,
}

impl Sums {
    fn new(mut amounts: Vec<(i64, i64)>) -> Sums {
        amounts.sort_unstable();
        let mut sums = vec![0i64];
        let mut sum = 0i64;
        for &(_, amount) in &amounts {
            sum = sum.saturating_add(amount);
            sums.push(sum);
        }
        Sums { times: amounts.into_iter().map(|(time, _)| time).collect(), sums }
    }

    fn before(&self, instant: i64) -> i64 {
        self.sums[self.times.partition_point(|&time| time < instant)]
    }

    fn until(&self, instant: i64) -> i64 {
        self.sums[self.times.partition_point(|&time| time <= instant)]
    }
}

/// A counter that begins at `initial`; amounts and sums are far from the ends of their range.
pub fn counter(entries: &[Entry<Op>], initial: i64) -> Answer {
    let (mut told, mut sure) = (true, true);
    let (mut done, mut called): ([Vec<_>; 2], [Vec<_>; 2]) = Default::default();
    let mut seen: Vec<(i64, i64, i64, i64)> = Vec::new();
    for entry in entries {
        let (call, ret, unknown) = (entry.call, entry.ret, entry.unknown());
        let amount = match entry.op {
            Op::Add(amount) => {
                sure = sure && !unknown;
                told = told && unknown;
                amount
            }
            Op::AddGet(amount, sum) => {
                seen.push((call, ret, sum - amount, amount));
                amount
            }
            Op::Count(sum) => {
                seen.push((call, ret, sum, 0));
                0
            }
            Op::Blind => 0,
            _ => return Answer::DoesNotApply,
        };
        if amount != 0 {
            let less = usize::from(amount < 0);
            done[less].push((ret, amount));
            called[less].push((call, amount));
        }
    }
    let [more_done, less_done] = done.map(Sums::new);
    let [more_called, less_called] = called.map(Sums::new);
    let fits = seen.iter().all(|&(call, ret, sum, own)| {
        let least = initial + more_done.before(call) + less_called.until(ret) - own.min(0);
        let most = initial + less_done.before(call) + more_called.until(ret) - own.max(0);
        (least..=most).contains(&sum)
    });
    if !fits {
        return Answer::Illegal(Vec::new());
    }
    if !told {
        return Answer::DoesNotApply;
    }
    let mut slots: Mixed<i64, u32> = Mixed::default();
    slots.insert(initial, 0);
    let mut slot = |sum: i64| -> u32 {
        let made = slots.len() as u32;
        *slots.entry(sum).or_insert(made)
    };
    let numbered: Vec<(i64, i64, u32, u32)> =
        seen.iter().map(|&(call, ret, sum, own)| (call, ret, slot(sum), slot(sum + own))).collect();
    let mut columns = Columns::of(slots.len());
    for (call, ret, before, after) in numbered {
        if before == after {
            columns.read(call, ret, before);
        } else {
            columns.swap(call, ret, before, after);
        }
    }
    match zones::judge(&columns).into() {
        Answer::Illegal(_) if !sure => Answer::DoesNotApply,
        answer => answer,
    }
}
