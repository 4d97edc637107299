//! Two trees over an array: segments.py.

pub struct Counts {
    base: usize,
    add: Vec<i32>,
    name: Vec<u64>,
    least: Vec<i32>,
}

const DONE: i32 = i32::MAX / 2;

impl Counts {
    /// Places, each covered by the intervals [start, end) with the names 1, 2, 3 ...
    pub fn new(places: usize) -> Counts {
        let base = places.max(1).next_power_of_two();
        let mut least = vec![0; 2 * base];
        least[base + places..].fill(DONE);
        for node in (1..base).rev() {
            least[node] = least[2 * node].min(least[2 * node + 1]);
        }
        Counts { base, add: vec![0; 2 * base], name: vec![0; 2 * base], least }
    }

    /// Cover places start to end - 1 once more (by 1) or less (by -1), with an interval of this name.
    pub fn cover(&mut self, start: usize, end: usize, by: i32, name: u64) {
        if start >= end {
            return;
        }
        let (mut left, mut right) = (start + self.base, end + self.base - 1);
        let (low, high) = (left, right);
        let name = if by > 0 { name } else { name.wrapping_neg() };
        while left <= right {
            if left & 1 == 1 {
                self.put(left, by, name);
                left += 1;
            }
            if right & 1 == 0 {
                self.put(right, by, name);
                right -= 1;
            }
            left >>= 1;
            right >>= 1;
        }
        self.mend(low);
        self.mend(high);
    }

    fn put(&mut self, node: usize, by: i32, name: u64) {
        self.add[node] += by;
        self.name[node] = self.name[node].wrapping_add(name);
        self.least[node] += by;
    }

    fn mend(&mut self, mut node: usize) {
        node >>= 1;
        while node > 0 {
            self.least[node] = self.least[2 * node].min(self.least[2 * node + 1]) + self.add[node];
            node >>= 1;
        }
    }

    /// A place that is covered at most so often, never to be given again.
    pub fn pop(&mut self, most: i32) -> Option<usize> {
        if self.least[1] > most {
            return None;
        }
        let (mut node, mut left) = (1, most);
        while node < self.base {
            left -= self.add[node];
            node = 2 * node + usize::from(self.least[2 * node] > left);
        }
        self.least[node] = DONE;
        self.mend(node);
        Some(node - self.base)
    }

    /// The name of the one interval that covers a place; 0 when none does.
    pub fn only(&self, place: usize) -> u64 {
        let (mut node, mut name) = (place + self.base, 0u64);
        while node > 0 {
            name = name.wrapping_add(self.name[node]);
            node >>= 1;
        }
        name
    }
}

pub struct Ends {
    base: usize,
    most: Vec<i64>,
}

impl Ends {
    pub fn new(ends: &[i64]) -> Ends {
        let base = ends.len().max(1).next_power_of_two();
        let mut most = vec![i64::MIN; 2 * base];
        most[base..base + ends.len()].copy_from_slice(ends);
        for node in (1..base).rev() {
            most[node] = most[2 * node].max(most[2 * node + 1]);
        }
        Ends { base, most }
    }

    /// Take out all in [start, stop) that end at `reach` or later, into `found`.
    pub fn take(&mut self, start: usize, stop: usize, reach: i64, found: &mut Vec<usize>) {
        found.clear();
        if start >= stop {
            return;
        }
        let (mut left, mut right) = (start + self.base, stop + self.base - 1);
        while left <= right {
            if left & 1 == 1 {
                self.take_below(left, reach, found);
                left += 1;
            }
            if right & 1 == 0 {
                self.take_below(right, reach, found);
                right -= 1;
            }
            left >>= 1;
            right >>= 1;
        }
    }

    fn take_below(&mut self, mut node: usize, reach: i64, found: &mut Vec<usize>) {
        if self.most[node] < reach {
            return;
        }
        self.walk(node, reach, found);
        node >>= 1;
        while node > 0 {
            self.most[node] = self.most[2 * node].max(self.most[2 * node + 1]);
            node >>= 1;
        }
    }

    /// Take out below one node, which is right again afterwards.
    fn walk(&mut self, node: usize, reach: i64, found: &mut Vec<usize>) {
        if self.most[node] < reach {
            return;
        }
        if node >= self.base {
            found.push(node - self.base);
            self.most[node] = i64::MIN;
            return;
        }
        self.walk(2 * node, reach, found);
        self.walk(2 * node + 1, reach, found);
        self.most[node] = self.most[2 * node].max(self.most[2 * node + 1]);
    }
}
