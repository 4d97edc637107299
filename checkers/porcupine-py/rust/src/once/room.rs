//! Room that outlives a check: to ask for memory would take a small history longer than to judge it.

use std::sync::Mutex;

use super::{Lot, Motor, Open, Part};
use crate::codes::{Codes, TextCode};
use crate::machine::Machine;
use crate::problem::Raw;
use crate::reader::ReaderRoom;
use crate::search::Run;

/// What is kept for the next check: at most so many parts' room, and no more than this for each of its tables.
const SPARES_MAX: usize = 2;
const SPARE_BYTES: usize = 1 << 19;

/// Room that one part after the other takes.
#[derive(Default)]
pub(super) struct Spare {
    pub(super) part: Box<Part>,
    pub(super) run: Option<Box<dyn Run>>,
}

impl Spare {
    fn small(&self) -> bool {
        let Part { raws, pure, motor, problem, desk, .. } = &*self.part;
        let held = [
            std::mem::size_of::<Raw>() * raws.capacity(),
            pure.capacity(),
            match motor {
                Motor::Text(text) => text.held().now,
                Motor::List(_) | Motor::Other(_) => 0,
            },
            problem.held_bytes(),
            desk.held_bytes(),
            self.run.as_ref().map_or(0, |run| run.held_bytes()),
        ];
        held.iter().all(|&bytes| bytes <= SPARE_BYTES)
    }
}

/// What one check leaves to the next.
#[derive(Default)]
pub(super) struct Room {
    pub(super) spares: Vec<Spare>,
    pub(super) reader: ReaderRoom,
    pub(super) codes: Codes,
    /// A part's kinds of operations, by their codes.
    pub(super) met: Vec<TextCode>,
    /// Operations that count; what they do is not read yet.
    pub(super) raws: Vec<Raw>,
    /// The place of the next of the same part, or NONE.
    pub(super) after: Vec<u32>,
    pub(super) lots: Vec<Lot>,
}

static ROOM: Mutex<Option<Box<Room>>> = Mutex::new(None);

impl Room {
    pub(super) fn take() -> Box<Room> {
        ROOM.try_lock().ok().and_then(|mut kept| kept.take()).unwrap_or_default()
    }

    pub(super) fn keep(mut self: Box<Room>) {
        self.spares.retain(Spare::small);
        self.spares.truncate(SPARES_MAX);
        let held = [
            self.reader.held_bytes(),
            self.codes.held_bytes(),
            8 * self.met.capacity(),
            std::mem::size_of::<Raw>() * self.raws.capacity(),
            4 * self.after.capacity(),
            std::mem::size_of::<Lot>() * self.lots.capacity(),
        ];
        if held.iter().all(|&bytes| bytes <= SPARE_BYTES) {
            if let Ok(mut kept) = ROOM.try_lock() {
                *kept = Some(self);
            }
        }
    }

    pub(super) fn leave(&mut self, open: Open) {
        let Open { part, run } = open;
        self.take_back(Spare { part, run: Some(run) });
    }

    pub(super) fn take_back(&mut self, mut spare: Spare) {
        if !matches!(spare.part.motor, Motor::Text(_)) {
            spare.part.motor = Motor::Text(crate::native::Sequence::empty());
        }
        self.spares.push(spare);
    }
}
