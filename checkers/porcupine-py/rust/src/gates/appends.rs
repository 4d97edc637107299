//! Strings and lists to which distinct tokens are appended, as registers: appends.py.

use std::hash::Hash;

use super::{Answer, Entry};
use crate::memory::Mixed;
use crate::native::Grow;
use crate::problem::NONE;
use crate::zones::{self, Columns};

/// A sequence that begins as `initial`.
pub fn appends<T: Copy + Ord + Hash>(entries: &[Entry<Grow<T>>], initial: &[T]) -> Answer {
    let mut tokens: Mixed<&[T], u32> = Mixed::default();
    let mut puts = vec![false];
    for entry in entries {
        if let Grow::Put(token) | Grow::Append(token) = &entry.op {
            if token.is_empty() || tokens.insert(token, puts.len() as u32).is_some() {
                return Answer::DoesNotApply;
            }
            puts.push(matches!(entry.op, Grow::Put(_)));
        }
    }
    let mut ordered: Vec<&[T]> = tokens.keys().copied().collect();
    if !initial.is_empty() {
        ordered.push(initial);
    }
    ordered.sort_unstable();
    if ordered.windows(2).any(|pair| pair[1].starts_with(pair[0])) {
        return Answer::DoesNotApply;
    }
    let mut lengths: Vec<usize> = tokens.keys().map(|token| token.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut parsed = Parsed { tokens, puts, lengths, before: Vec::new(), after: Vec::new() };
    parsed.before = vec![NONE; parsed.puts.len()];
    parsed.after = parsed.before.clone();
    let Some(last) = parsed.parse(entries, initial) else { return Answer::Illegal(Vec::new()) };
    let mut columns = Columns::of(parsed.puts.len());
    let mut written = 0;
    for (place, entry) in entries.iter().enumerate() {
        match entry.op {
            Grow::Blind => {}
            Grow::Get(_) if entry.unknown() => {}
            Grow::Get(_) => columns.read(entry.call, entry.ret, last[place]),
            Grow::Put(_) | Grow::Append(_) => {
                written += 1;
                match parsed.before[written as usize] {
                    NONE => columns.write(entry.call, entry.ret, written),
                    source => columns.swap(entry.call, entry.ret, source, written),
                }
            }
        }
    }
    zones::judge(&columns).into()
}

/// Tokens by number, in the order of their writers; 0 is what there was at first.
struct Parsed<'e, T> {
    tokens: Mixed<&'e [T], u32>,
    puts: Vec<bool>,
    lengths: Vec<usize>,
    before: Vec<u32>,
    after: Vec<u32>,
}

impl<T: Copy + Ord + Hash> Parsed<'_, T> {
    /// By place of a read, the last token it saw. None where reads show what cannot be.
    fn parse(&mut self, entries: &[Entry<Grow<T>>], initial: &[T]) -> Option<Vec<u32>> {
        let mut found = vec![0; entries.len()];
        let (mut known, mut last): (&[T], u32) = (initial, 0);
        for (place, entry) in entries.iter().enumerate() {
            let Grow::Get(seen) = &entry.op else { continue };
            if entry.unknown() {
                continue;
            }
            let (mut at, mut token) = if seen.starts_with(known) {
                (known.len(), last)
            } else if seen.starts_with(initial) {
                (initial.len(), 0)
            } else {
                (0, NONE)
            };
            while at < seen.len() {
                let (after, end) = self.next(seen, at)?;
                if self.puts[after as usize] {
                    if at != 0 {
                        return None;
                    }
                } else if token == NONE || !self.follow(token, after) {
                    return None;
                }
                (at, token) = (end, after);
            }
            if token == NONE {
                return None;
            }
            found[place] = token;
            (known, last) = (seen, token);
        }
        Some(found)
    }

    fn next(&self, seen: &[T], at: usize) -> Option<(u32, usize)> {
        let fits = self.lengths.iter().take_while(|&&length| at + length <= seen.len());
        fits.filter_map(|&length| self.tokens.get(&seen[at..at + length]).map(|&t| (t, at + length))).next()
    }

    fn follow(&mut self, before: u32, token: u32) -> bool {
        let (source, next) = (&mut self.before[token as usize], &mut self.after[before as usize]);
        if (*source != NONE && *source != before) || (*next != NONE && *next != token) {
            return false;
        }
        (*source, *next) = (before, token);
        true
    }
}
