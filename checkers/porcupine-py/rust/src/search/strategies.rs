//! Two orders in which configurations are taken: depth first, and by place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pyo3::PyErr;

use super::{Config, Core, Held, Limits, Outcome};
use crate::memory::{push, Bits, Memo};
use crate::resident::resident_bytes;

/// How many configurations are tried between two looks at the limits. One may have to be compared with some
/// hundred others, so that this is a millisecond at most.
const TRIES_PER_LOOK: u32 = 256;
/// Orders, states and the rest are told apart by numbers of 32 bits, which these many bytes of them come to.
const INDEXED_BYTES: usize = 24 << 30;
const PULSE: Duration = Duration::from_millis(20);
/// How often the system is asked for the process' size: a hundredth of the time goes into that.
const MEASURE: Duration = Duration::from_millis(3);

pub(super) struct Frame<const N: usize> {
    pub(super) config: Config<N>,
    pub(super) cursor: u32,
    pub(super) grew: bool,
}

/// Depth first.
pub(super) struct Deep<const N: usize> {
    pub(super) stack: Vec<Frame<N>>,
    pub(super) memo: Memo<(u32, u32, Bits<N>)>,
    /// Empty but while optional operations are tried.
    pub(super) fresh: Vec<Config<N>>,
}

/// By place: all of one place before any of a later one.
pub(super) struct Wide<const N: usize> {
    pub(super) places: BTreeMap<u32, Place<N>>,
}

pub(super) struct Place<const N: usize> {
    pub(super) configs: Vec<Config<N>>,
    pub(super) grew: Vec<bool>,
    pub(super) memo: Memo<(u32, Bits<N>)>,
    pub(super) at: usize,
    pub(super) cursor: u32,
}

impl<const N: usize> Place<N> {
    pub(super) fn new() -> Self {
        Place { configs: Vec::new(), grew: Vec::new(), memo: Memo::new(), at: 0, cursor: 0 }
    }
}

/// A look at the limits, once in a while.
#[derive(Default)]
pub(super) struct Watch {
    tries: u32,
    /// When signals were looked for, or else the first look.
    pulsed: Option<Instant>,
    measured: Option<Instant>,
}

impl Watch {
    pub(super) fn look(
        &mut self,
        limits: &mut Limits,
        held: impl Fn() -> Held,
    ) -> Result<Option<Outcome>, PyErr> {
        self.tries += 1;
        if self.tries < TRIES_PER_LOOK {
            return Ok(None);
        }
        self.tries = 0;
        let now = Instant::now();
        if limits.until.is_some_and(|until| now >= until) {
            return Ok(Some(Outcome::Timeout));
        }
        if now.duration_since(*self.pulsed.get_or_insert(now)) >= PULSE {
            self.pulsed = Some(now);
            (limits.pulse)()?;
        }
        let most = limits.memory_bytes.map_or(INDEXED_BYTES, |most| most.min(INDEXED_BYTES));
        let held = held();
        if held.now + held.soon > most {
            return Ok(Some(Outcome::Memory));
        }
        // The process may have grown by what others took: so the search's own share has to be large too.
        let since = now.duration_since(*self.measured.get_or_insert(now));
        let due = held.now > most / 2 && since >= MEASURE;
        if let (true, Some(ceiling)) = (due, limits.ceiling_bytes) {
            self.measured = Some(now);
            if resident_bytes().is_some_and(|resident| resident + held.soon > ceiling) {
                return Ok(Some(Outcome::Memory));
            }
        }
        Ok(None)
    }
}

impl<const N: usize> Deep<N> {
    pub(super) fn admit(&mut self, made: &Config<N>, core: &Core<N>) -> bool {
        let key = (made.e, made.state, made.taken);
        if core.rows.width == 0 {
            // None that is still followed can be met again, for it grows all the way: they are noted as they are left.
            return !self.memo.knows(&key);
        }
        self.memo.admit(key, made.used, &core.rows)
    }

    /// Leave the configuration that was followed last, with nothing left to try.
    fn leave(&mut self, core: &Core<N>) {
        if let (Some(Frame { config, .. }), 0) = (self.stack.pop(), core.rows.width) {
            self.memo.note((config.e, config.state, config.taken));
        }
    }

    pub(super) fn run(
        &mut self,
        core: &mut Core<N>,
        limits: &mut Limits,
        pause: u64,
        watch: &mut Watch,
    ) -> Result<Outcome, PyErr> {
        loop {
            let depth = self.stack.len();
            let Some(top) = self.stack.last_mut() else { return Ok(Outcome::Illegal) };
            let config = top.config;
            if top.cursor == 0
                && core.rows.width > 0
                && !self.memo.stands(&(config.e, config.state, config.taken), config.used)
            {
                self.stack.pop(); // Something better was met since.
                continue;
            }
            let Some((o, optional)) = core.candidate(&config, &mut top.cursor) else {
                if !top.grew {
                    core.dead_end(&config);
                }
                self.leave(core);
                continue;
            };
            if optional {
                // All of them are noted before one is followed: what uses one alone then rules out what
                // uses another besides.
                let mut next = Some(o);
                while let Some(o) = next {
                    watch.tries += 1;
                    let (nodes, words) = (core.nodes.len(), core.rows.words.len());
                    match core.child(&config, o, true)? {
                        Some(made) if made.e == core.target => return Ok(core.arrived(&made)),
                        Some(made) if self.admit(&made, core) => push(&mut self.fresh, made),
                        _ => core.back_to(nodes, words),
                    }
                    next = core.candidate(&config, &mut self.stack[depth - 1].cursor).map(|(o, _)| o);
                }
                if self.fresh.is_empty() {
                    continue;
                }
                self.stack.pop();
                for made in self.fresh.drain(..).rev() {
                    core.note_depth(&made);
                    push(&mut self.stack, Frame { config: made, cursor: 0, grew: false });
                }
            } else {
                let (nodes, words) = (core.nodes.len(), core.rows.words.len());
                match core.child(&config, o, false)? {
                    Some(made) if made.e == core.target => return Ok(core.arrived(&made)),
                    Some(made) if self.admit(&made, core) => {
                        self.stack[depth - 1].grew = true;
                        core.note_depth(&made);
                        push(&mut self.stack, Frame { config: made, cursor: 0, grew: false });
                    }
                    _ => core.back_to(nodes, words),
                }
            }
            if core.steps >= pause {
                return Ok(Outcome::Pause);
            }
            let mine = &*self;
            if let Some(outcome) = watch.look(limits, || core.held() + mine.held())? {
                return Ok(outcome);
            }
        }
    }

    pub(super) fn held(&self) -> Held {
        let now = self.memo.held_bytes()
            + self.stack.capacity() * std::mem::size_of::<Frame<N>>()
            + self.fresh.capacity() * std::mem::size_of::<Config<N>>();
        Held { now, soon: self.memo.growth_bytes() }
    }
}

impl<const N: usize> Wide<N> {
    pub(super) fn collect_orders(&mut self, core: &mut Core<N>) {
        let places = &mut self.places;
        core.collect_orders(|visit| {
            for place in places.values_mut() {
                place.configs.iter_mut().for_each(|config| visit(&mut config.node));
            }
        });
    }

    /// Seldom are two tables about to grow at once: what the largest of them will take is `soon`.
    pub(super) fn held(&self) -> Held {
        let config = std::mem::size_of::<Config<N>>();
        let held = |p: &Place<N>| p.configs.capacity() * config + p.grew.capacity() + p.memo.held_bytes();
        Held {
            now: self.places.values().map(held).sum(),
            soon: self.places.values().map(|p| p.memo.growth_bytes()).max().unwrap_or(0),
        }
    }

    pub(super) fn run(
        &mut self,
        core: &mut Core<N>,
        limits: &mut Limits,
        pause: u64,
        watch: &mut Watch,
        others: Held,
    ) -> Result<Outcome, PyErr> {
        loop {
            let Some(mut entry) = self.places.first_entry() else { return Ok(Outcome::Illegal) };
            let e = *entry.key();
            let place = entry.get_mut();
            if place.at == place.configs.len() {
                // Only what leads nowhere is a final, and only if nothing came further.
                for (config, grew) in place.configs.iter().zip(&place.grew) {
                    if !grew {
                        core.dead_end(config);
                    }
                }
                entry.remove();
                continue;
            }
            let config = place.configs[place.at];
            if place.cursor == 0
                && core.rows.width > 0
                && !place.memo.stands(&(config.state, config.taken), config.used)
            {
                place.grew[place.at] = true;
                place.at += 1;
                continue;
            }
            let Some((o, optional)) = core.candidate(&config, &mut place.cursor) else {
                place.at += 1;
                place.cursor = 0;
                continue;
            };
            let (nodes, words) = (core.nodes.len(), core.rows.words.len());
            match core.child(&config, o, optional)? {
                None => core.back_to(nodes, words),
                Some(next) if next.e == core.target => return Ok(core.arrived(&next)),
                Some(next) => {
                    let at = place.at;
                    let goal = if next.e == e {
                        place
                    } else {
                        self.places.entry(next.e).or_insert_with(Place::new)
                    };
                    let new = goal.memo.admit((next.state, next.taken), next.used, &core.rows);
                    if new {
                        core.note_depth(&next);
                        push(&mut goal.configs, next);
                        push(&mut goal.grew, false);
                        if let Some(place) = self.places.get_mut(&e) {
                            place.grew[at] = true;
                        }
                    } else {
                        core.back_to(nodes, words);
                    }
                }
            }
            if core.steps >= pause {
                return Ok(Outcome::Pause);
            }
            let mine = &*self;
            if let Some(outcome) = watch.look(limits, || core.held() + mine.held() + others)? {
                return Ok(outcome);
            }
        }
    }
}
