//! Numbers for states, which lie end to end in one array.
//!
//! A state is found by a digest that is taken word by word. What it came to at the last full word is kept, so that the
//! digest of a state that begins as another does goes on from there.

use crate::memory::{growth_bytes, make_room, push, table_bytes, Held, Mixed};
use crate::problem::NONE;

/// What states are made of.
pub trait Piece: Copy + Eq {
    /// How many of them a word holds.
    const PER_WORD: usize;

    /// So many of them, or fewer, as a word.
    fn word(pieces: &[Self]) -> u64;
}

impl Piece for u8 {
    const PER_WORD: usize = 8;

    #[inline]
    fn word(pieces: &[u8]) -> u64 {
        let half = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&pieces[at..at + 4]);
            u64::from(u32::from_le_bytes(bytes))
        };
        match pieces.len() {
            8 => half(0) | half(4) << 32,
            count @ 4..8 => half(0) | half(count - 4) << (8 * (count - 4)),
            _ => pieces.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        }
    }
}

impl Piece for u32 {
    const PER_WORD: usize = 2;

    #[inline]
    fn word(pieces: &[u32]) -> u64 {
        pieces.iter().rev().fold(0, |word, &piece| word << 32 | u64::from(piece))
    }
}

#[inline]
fn mixed(digest: u64, word: u64) -> u64 {
    (digest.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Clone, Copy)]
struct Known {
    /// Its place in the array.
    from: usize,
    to: usize,
    /// The digest of its full words.
    words: u64,
    /// The next of the same digest, or NONE.
    next: u32,
}

impl Known {
    /// How many of its pieces are in full words.
    fn in_words<T: Piece>(&self) -> usize {
        let count = self.to - self.from;
        count - count % T::PER_WORD
    }
}

pub struct Interner<T> {
    all: Vec<T>,
    known: Vec<Known>,
    first: Mixed<u64, u32>,
    /// The state that was numbered last by itself.
    last: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { all: Vec::new(), known: Vec::new(), first: Mixed::default(), last: NONE }
    }
}

impl<T: Piece> Interner<T> {
    /// Begin anew, and keep the room.
    pub fn clear(&mut self) {
        self.all.clear();
        self.known.clear();
        self.first.clear();
        self.last = NONE;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    pub fn get(&self, id: u32) -> &[T] {
        let Known { from, to, .. } = self.known[id as usize];
        &self.all[from..to]
    }

    /// The number of a state.
    #[inline]
    pub fn number(&mut self, state: &[T]) -> u32 {
        let (mut done, mut words) = (0, 0);
        if let Some(last) = self.known.get(self.last as usize) {
            // States seen one after the other mostly begin alike.
            let count = last.in_words::<T>();
            if state.get(..count).is_some_and(|begins| *begins == self.all[last.from..last.from + count]) {
                (done, words) = (count, last.words);
            }
        }
        let (words, digest) = digests(words, &state[done..], state.len());
        self.last = self.entered(words, digest, Some(state));
        self.last
    }

    /// The number of a state with something appended.
    pub fn number_longer(&mut self, id: u32, tail: &[T]) -> u32 {
        let before = self.known[id as usize];
        let (from, done) = (self.all.len(), before.in_words::<T>());
        make_room(&mut self.all, before.to - before.from + tail.len());
        self.all.extend_from_within(before.from..before.to);
        self.all.extend_from_slice(tail);
        let (words, digest) = digests(before.words, &self.all[from + done..], self.all.len() - from);
        self.entered(words, digest, None)
    }

    /// The number of a state by its digest. Without one it is what lies beyond all others, where it stays if it is new.
    #[inline]
    fn entered(&mut self, words: u64, digest: u64, state: Option<&[T]>) -> u32 {
        let made = self.known.len() as u32;
        let from = self.known.last().map_or(0, |last| last.to);
        let head = self.first.entry(digest).or_insert(made);
        let mut at = *head;
        while at != made && at != NONE {
            let known = self.known[at as usize];
            if self.all[known.from..known.to] == *state.unwrap_or(&self.all[from..]) {
                self.all.truncate(from);
                return at;
            }
            at = known.next;
        }
        let next = if *head == made { NONE } else { std::mem::replace(head, made) };
        if let Some(state) = state {
            make_room(&mut self.all, state.len());
            self.all.extend_from_slice(state);
        }
        push(&mut self.known, Known { from, to: self.all.len(), words, next });
        made
    }

    pub fn held(&self) -> Held {
        let now = self.all.capacity() * std::mem::size_of::<T>()
            + self.known.capacity() * std::mem::size_of::<Known>()
            + table_bytes(&self.first);
        Held { now, soon: growth_bytes(&self.first) }
    }
}

/// The digest of all full words, and that of the whole, of a state of `count` pieces of which `rest` are to be added.
#[inline]
fn digests<T: Piece>(mut words: u64, rest: &[T], count: usize) -> (u64, u64) {
    let full = rest.chunks_exact(T::PER_WORD);
    let beyond = T::word(full.remainder());
    for word in full {
        words = mixed(words, T::word(word));
    }
    (words, mixed(mixed(words, beyond), count as u64))
}
