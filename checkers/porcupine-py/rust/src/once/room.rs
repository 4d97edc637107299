//! Room that outlives a check: to ask for memory would take a small history longer than to judge it.

use std::sync::Mutex;

use super::{Motor, Open, Read};
use crate::codes::{Codes, TextCode};
use crate::machine::Machine;
use crate::native::Sequence;
use crate::problem::{Problem, Raw};
use crate::search::Run;
use crate::values::ValuesRoom;

/// What is kept for the next check: at most so many parts' room, and no more than this for each of its tables.
const SPARES_MAX: usize = 2;
const SPARE_BYTES: usize = 1 << 17;

/// Room that one part after the other takes.
#[derive(Default)]
pub(super) struct Spare {
    pub(super) raws: Vec<Raw>,
    pub(super) pure: Vec<bool>,
    pub(super) text: Option<Sequence<u8>>,
    pub(super) problem: Problem,
    pub(super) run: Option<Box<dyn Run>>,
}

impl Spare {
    fn small(&self) -> bool {
        let held = [
            std::mem::size_of::<Raw>() * self.raws.capacity(),
            self.pure.capacity(),
            self.text.as_ref().map_or(0, |text| text.held().now),
            self.problem.held_bytes(),
            self.run.as_ref().map_or(0, |run| run.held_bytes()),
        ];
        held.iter().all(|&bytes| bytes <= SPARE_BYTES)
    }
}

/// What one check leaves to the next.
#[derive(Default)]
pub(super) struct Room {
    pub(super) spares: Vec<Spare>,
    pub(super) values: ValuesRoom,
    pub(super) codes: Codes,
    pub(super) text_ops: Vec<TextCode>,
}

static ROOM: Mutex<Option<Room>> = Mutex::new(None);

impl Room {
    pub(super) fn take() -> Room {
        ROOM.try_lock().ok().and_then(|mut kept| kept.take()).unwrap_or_default()
    }

    pub(super) fn keep(mut self) {
        self.spares.retain(Spare::small);
        self.spares.truncate(SPARES_MAX);
        let held = [self.values.held_bytes(), self.codes.held_bytes(), 8 * self.text_ops.capacity()];
        if held.iter().all(|&bytes| bytes <= SPARE_BYTES) {
            if let Ok(mut kept) = ROOM.try_lock() {
                *kept = Some(self);
            }
        }
    }

    pub(super) fn leave(&mut self, open: Open) {
        let Open { read: Read { raws, pure, motor, .. }, problem, run } = open;
        let text = match motor {
            Motor::Text(text) => Some(text),
            Motor::Other(_) => None,
        };
        self.spares.push(Spare { raws, pure, text, problem, run: Some(run) });
    }
}
