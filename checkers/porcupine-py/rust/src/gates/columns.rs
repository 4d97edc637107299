//! Collections and sets of whole numbers, from columns.

use super::{Entry, NEVER};
use crate::native::{Got, Op};

/// In place of the value where nothing was found inside.
pub const NOTHING: i64 = i64::MIN;

/// The entries, and how many values there are, numbered in their order. None for columns of unequal length, or kinds
/// or times without a meaning. Kinds are: 0 put, 1 take, 2 peek; in a set 0 add, 1 remove, which both did something,
/// 2 seen to be there, 3 seen not to be there.
pub fn entries_of(
    set: bool,
    kinds: &[u8],
    calls: &[i64],
    returns: &[i64],
    values: &[i64],
) -> Option<(Vec<Entry<Op>>, usize)> {
    let count = kinds.len();
    if [calls.len(), returns.len(), values.len()] != [count; 3] {
        return None;
    }
    let ranks = Ranks::of(values);
    let mut entries = Vec::with_capacity(count);
    for place in 0..count {
        let (kind, call, ret, value) = (kinds[place], calls[place], returns[place], values[place]);
        if ret < call || call == NEVER {
            return None;
        }
        let unknown = ret == NEVER;
        let rank = ranks.get(value);
        let told = (!unknown).then_some(true);
        let got = match value {
            _ if unknown => Got::Unknown,
            NOTHING => Got::Empty,
            _ => Got::Value(rank),
        };
        let op = match (set, kind) {
            (false, 1) => Op::Take(got),
            (false, 2) => Op::Look(got),
            (true, 2 | 3) if unknown => Op::Blind,
            _ if value == NOTHING => return None,
            (false, 0) => Op::Put(rank),
            (true, 0) => Op::Insert(rank, told),
            (true, 1) => Op::Remove(rank, told),
            (true, 2) => Op::Has(rank, true),
            (true, 3) => Op::Has(rank, false),
            _ => return None,
        };
        entries.push(Entry { call, ret, op });
    }
    Some((entries, ranks.count))
}

/// Each value's place in their order.
struct Ranks {
    low: i64,
    /// By value, where they lie close together; else empty.
    table: Vec<u32>,
    sorted: Vec<i64>,
    count: usize,
}

impl Ranks {
    fn of(values: &[i64]) -> Ranks {
        let real = || values.iter().copied().filter(|&value| value != NOTHING);
        let (low, high) = (real().min().unwrap_or(0), real().max().unwrap_or(0));
        let span = i128::from(high) - i128::from(low) + 1;
        let mut ranks = Ranks { low, table: Vec::new(), sorted: Vec::new(), count: 0 };
        if span > 8 * values.len() as i128 + 1024 {
            ranks.sorted = real().collect();
            ranks.sorted.sort_unstable();
            ranks.sorted.dedup();
            ranks.count = ranks.sorted.len();
            return ranks;
        }
        ranks.table = vec![0; span as usize];
        real().for_each(|value| ranks.table[(value - low) as usize] = 1);
        let mut sum = 0;
        for entry in &mut ranks.table {
            sum += std::mem::replace(entry, sum);
        }
        ranks.count = sum as usize;
        ranks
    }

    fn get(&self, value: i64) -> u32 {
        if value == NOTHING {
            return 0;
        }
        match self.table.get(value.wrapping_sub(self.low) as usize) {
            Some(&rank) => rank,
            None => self.sorted.partition_point(|&other| other < value) as u32,
        }
    }
}
