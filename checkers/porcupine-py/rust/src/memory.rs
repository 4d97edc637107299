//! What the search remembers: masks, sets of used operations, and the configurations it has met.
//!
//! What is counted against a memory limit is what the process grows by. A list is as large as its capacity, so
//! that large ones grow by an eighth and not to the double (the system moves their pages, and copies nothing). A
//! hash table stands twice in memory while it grows, so that what this will take is counted before it does.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::problem::NONE;

/// Past this length a list of incomparable `used` sets is not lengthened: that only costs pruning.
const RIVALS_MAX: u32 = 1024;

/// A multiplicative hasher for small keys of numbers.
#[derive(Default, Clone, Copy)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let little = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let words = bytes.chunks_exact(8);
        let rest = words.remainder();
        words.for_each(|word| self.write_u64(little(word)));
        if !rest.is_empty() {
            self.write_u64(little(rest));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

pub type Mixed<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Bytes held, and what a table will take besides while it grows, if it is about to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Held {
    pub now: usize,
    pub soon: usize,
}

impl std::ops::Add for Held {
    type Output = Held;

    fn add(self, other: Held) -> Held {
        Held { now: self.now + other.now, soon: self.soon + other.soon }
    }
}

/// From this length on a list grows by an eighth.
const LONG: usize = 1 << 15;
/// Smaller tables are not looked at for whether they are about to grow.
const CROWDED_MIN: usize = 1 << 12;

/// Append, and take a little more room at a time than `push` when the list is long.
pub fn push<T>(list: &mut Vec<T>, item: T) {
    make_room(list, 1);
    list.push(item);
}

pub fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more && list.len() >= LONG {
        list.reserve_exact(more.max(list.len() / 8));
    }
}

/// What a table takes now.
pub fn table_bytes<K, V>(table: &Mixed<K, V>) -> usize {
    table.capacity() / 7 * 8 * (std::mem::size_of::<(K, V)>() + 1)
}

/// What a table takes besides while it grows, if it soon will: the new one has twice the room.
pub fn growth_bytes<K, V>(table: &Mixed<K, V>) -> usize {
    let capacity = table.capacity();
    if capacity >= CROWDED_MIN && table.len() > capacity - capacity / 8 {
        2 * table_bytes(table)
    } else {
        0
    }
}

/// A mask of slots of fixed width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits<const N: usize>([u64; N]);

impl<const N: usize> std::hash::Hash for Bits<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for &word in &self.0 {
            state.write_u64(word);
        }
    }
}

impl<const N: usize> Bits<N> {
    pub const EMPTY: Bits<N> = Bits([0; N]);

    pub fn has(&self, bit: u32) -> bool {
        self.0[(bit >> 6) as usize] >> (bit & 63) & 1 == 1
    }

    pub fn set(&mut self, bit: u32) {
        self.0[(bit >> 6) as usize] |= 1 << (bit & 63);
    }

    pub fn clear(&mut self, bit: u32) {
        self.0[(bit >> 6) as usize] &= !(1 << (bit & 63));
    }

    /// Those that are among the others, and those that are not.
    pub fn apart(&self, other: &Bits<N>) -> (Bits<N>, Bits<N>) {
        let (mut among, mut rest) = (*self, *self);
        among.0.iter_mut().zip(&other.0).for_each(|(mine, more)| *mine &= more);
        rest.0.iter_mut().zip(&other.0).for_each(|(mine, more)| *mine &= !more);
        (among, rest)
    }

    /// Whether all of these are among the others.
    pub fn within(&self, other: &Bits<N>) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, more)| mine & !more == 0)
    }
}

/// Sets of used optional operations, as numbers of rows of one array; row 0 is the empty set.
#[derive(Default)]
pub struct Rows {
    pub width: usize,
    pub words: Vec<u64>,
    pub covers: Vec<Cover>,
}

/// Optional operations that lead to one state: from any state, and those that do so from some only.
#[derive(Clone)]
pub struct Cover {
    pub any: Vec<u64>,
    pub some: Vec<u64>,
}

impl Rows {
    pub fn new(optional: usize) -> Rows {
        let width = optional.div_ceil(64);
        Rows { width, words: vec![0; width], covers: Vec::new() }
    }

    /// As `new`, with the room there is.
    pub fn renewed(self, optional: usize) -> Rows {
        let (width, mut words) = (optional.div_ceil(64), self.words);
        words.clear();
        words.resize(width, 0);
        Rows { width, words, covers: Vec::new() }
    }

    pub fn row(&self, id: u32) -> &[u64] {
        &self.words[id as usize * self.width..(id as usize + 1) * self.width]
    }

    pub fn has(&self, id: u32, bit: u32) -> bool {
        self.words[id as usize * self.width + (bit >> 6) as usize] >> (bit & 63) & 1 == 1
    }

    pub fn with(&mut self, id: u32, bit: u32) -> u32 {
        let from = id as usize * self.width;
        let made = (self.words.len() / self.width) as u32;
        make_room(&mut self.words, self.width);
        self.words.extend_from_within(from..from + self.width);
        self.words[made as usize * self.width + (bit >> 6) as usize] |= 1 << (bit & 63);
        made
    }

    /// Whether who has used `small` can do all that who has used `large` can: what the one has left stands in for what
    /// the other has left. What sets a state from any other stands in for what sets it from some.
    pub fn within(&self, small: u32, large: u32) -> bool {
        if small == large {
            return true;
        }
        let (small, large) = (self.row(small), self.row(large));
        if small.iter().zip(large).all(|(s, l)| s & !l == 0) {
            return true;
        }
        let beyond = |word: usize| {
            self.covers.iter().fold(small[word] & !large[word], |left, cover| left & !cover.some[word])
        };
        if self.covers.is_empty() || (0..self.width).any(|word| beyond(word) != 0) {
            return false;
        }
        self.covers.iter().all(|cover| {
            let (mut wanted, mut stand_in) = (0, 0);
            for (word, (s, l)) in small.iter().zip(large).enumerate() {
                wanted += (s & !l & cover.some[word]).count_ones();
                stand_in += (l & !s & cover.any[word]).count_ones();
            }
            wanted <= stand_in
        })
    }
}

/// The configurations met, by all but `used`, and under each a list of `used`, none within another.
pub struct Memo<K> {
    first: Mixed<K, u32>,
    entries: Vec<(u32, u32)>,
}

impl<K: std::hash::Hash + Eq + Copy> Memo<K> {
    pub fn new() -> Memo<K> {
        Memo { first: Mixed::default(), entries: Vec::new() }
    }

    /// Begin anew, and keep the room.
    pub fn clear(&mut self) {
        self.first.clear();
        self.entries.clear();
    }

    /// Whether it was noted, where nothing but the key tells configurations apart.
    pub fn knows(&self, key: &K) -> bool {
        self.first.contains_key(key)
    }

    /// Note it, where nothing but the key tells configurations apart.
    pub fn note(&mut self, key: K) {
        self.first.insert(key, NONE);
    }

    /// Note a configuration. False when one that can do as much is known.
    pub fn admit(&mut self, key: K, used: u32, rows: &Rows) -> bool {
        if rows.width == 0 {
            return self.first.insert(key, NONE).is_none();
        }
        let made = self.entries.len() as u32;
        match self.first.entry(key) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(made);
                push(&mut self.entries, (used, NONE));
                true
            }
            std::collections::hash_map::Entry::Occupied(mut slot) => {
                let head = *slot.get();
                let mut at = head;
                let mut length = 0;
                let mut outdone = NONE;
                while at != NONE {
                    let (known, next) = self.entries[at as usize];
                    if rows.within(known, used) {
                        return false;
                    }
                    if outdone == NONE && rows.within(used, known) {
                        outdone = at;
                    }
                    length += 1;
                    at = next;
                }
                if outdone != NONE {
                    self.entries[outdone as usize].0 = used;
                } else if length < RIVALS_MAX {
                    slot.insert(made);
                    push(&mut self.entries, (used, head));
                }
                true
            }
        }
    }

    /// Whether this very configuration still stands, and was not replaced by a better one.
    pub fn stands(&self, key: &K, used: u32) -> bool {
        let mut at = self.first.get(key).copied().unwrap_or(NONE);
        let mut length = 0;
        while at != NONE {
            let (known, next) = self.entries[at as usize];
            if known == used {
                return true;
            }
            length += 1;
            at = next;
        }
        length >= RIVALS_MAX || length == 0
    }

    pub fn held_bytes(&self) -> usize {
        table_bytes(&self.first) + 8 * self.entries.capacity()
    }

    pub fn growth_bytes(&self) -> usize {
        growth_bytes(&self.first)
    }
}
