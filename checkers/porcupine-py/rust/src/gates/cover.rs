//! Instants at which some value is surely inside: a union of open intervals.

pub struct Cover {
    from: Vec<i64>,
    /// The latest end of an interval so far, whose it is, and the latest of the others.
    reach: Vec<(i64, u32, i64, u32)>,
    whole: Vec<(i64, i64)>,
}

const NOBODY: u32 = u32::MAX;

impl Cover {
    /// From (start, end, stay).
    pub fn new(mut inside: Vec<(i64, i64, u32)>) -> Cover {
        inside.sort_unstable();
        let mut cover =
            Cover { from: Vec::with_capacity(inside.len()), reach: Vec::new(), whole: Vec::new() };
        let (mut best, mut second) = ((i64::MIN, NOBODY), (i64::MIN, NOBODY));
        for (start, end, stay) in inside {
            match cover.whole.last_mut() {
                Some(last) if start < last.1 => last.1 = last.1.max(end),
                _ => cover.whole.push((start, end)),
            }
            if end > best.0 {
                second = best;
                best = (end, stay);
            } else if end > second.0 {
                second = (end, stay);
            }
            cover.from.push(start);
            cover.reach.push((best.0, best.1, second.0, second.1));
        }
        cover
    }

    /// The first instant from here on at which perhaps no value is inside.
    pub fn left_at(&self, instant: i64) -> i64 {
        let at = self.whole.partition_point(|&(from, _)| from < instant);
        if at == 0 {
            instant
        } else {
            instant.max(self.whole[at - 1].1)
        }
    }

    /// A row of stays, without `but`, of which one is inside at each instant of [call, ret].
    pub fn chain(&self, call: i64, ret: i64, but: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut instant = call;
        while instant <= ret {
            let at = self.from.partition_point(|&from| from < instant);
            if at == 0 {
                break;
            }
            let (best, by, second, other) = self.reach[at - 1];
            let (end, stay) = if by == but { (second, other) } else { (best, by) };
            if end <= instant {
                break;
            }
            found.push(stay);
            instant = end;
        }
        found
    }
}
