//! What takes turns with depth first: now and then a look back, and else a search by place.

use std::collections::BTreeMap;

use pyo3::PyErr;

use super::strategies::{Deep, Place, Watch, Wide};
use super::thrift::{Thrift, WIDTH};
use super::window::WINDOWS;
use super::{Core, Held, Limits, Outcome};

/// Places from which a search looks back, one after the other.
const SUSPECTS_MAX: u32 = 4;

enum ByPlace<const N: usize> {
    Wide(Wide<N>),
    Thrift(Thrift<N>),
}

pub(super) struct Steady<const N: usize> {
    by_place: Option<ByPlace<N>>,
    look: Option<Thrift<N>>,
    /// The place from which is looked back, and how often that was done.
    suspect: Option<u32>,
    looks: usize,
    suspects: u32,
    /// Where a search has a width, it begins with this one.
    width: usize,
}

impl<const N: usize> Steady<N> {
    pub(super) fn new(width: Option<usize>) -> Self {
        Steady {
            by_place: None,
            look: None,
            suspect: None,
            looks: 0,
            suspects: 0,
            width: width.unwrap_or(WIDTH),
        }
    }

    /// Whether the search by place has begun.
    pub(super) fn begun(&self) -> bool {
        self.by_place.is_some()
    }

    /// `alone`: nothing was searched depth first.
    pub(super) fn run(
        &mut self,
        core: &mut Core<N>,
        limits: &mut Limits,
        pause: u64,
        watch: &mut Watch,
        mut deep: Option<&mut Deep<N>>,
        alone: bool,
    ) -> Result<Outcome, PyErr> {
        // Back from where depth first is stuck now; where that is not tried, from the last place.
        let suspect = if alone { core.target - 1 } else { core.furthest };
        if self.look.is_none() && self.suspect != Some(suspect) {
            self.suspect = Some(suspect);
            self.looks = 0;
            self.suspects += 1;
        }
        while self.looks < WINDOWS.len() && self.suspects <= SUSPECTS_MAX {
            let Some(look) = &mut self.look else {
                self.look = Thrift::look_back(core, suspect, WINDOWS[self.looks].min(self.width as u32))?;
                if self.look.is_none() {
                    self.looks += 1;
                }
                continue;
            };
            let outcome = look.run(core, limits, pause, watch, deep.as_deref_mut())?;
            if !look.spent {
                return Ok(outcome);
            }
            self.look = None;
            self.looks += 1;
        }
        if self.by_place.is_none() {
            self.by_place = Some(match Thrift::new(core, self.width)? {
                Some(thrift) => ByPlace::Thrift(thrift),
                None => ByPlace::Wide(Self::wide(core)?),
            });
        }
        match &mut self.by_place {
            Some(ByPlace::Thrift(thrift)) => thrift.run(core, limits, pause, watch, deep),
            Some(ByPlace::Wide(wide)) => {
                wide.run(core, limits, pause, watch, deep.map_or(Held::default(), |deep| deep.held()))
            }
            None => Ok(Outcome::Pause),
        }
    }

    fn wide(core: &mut Core<N>) -> Result<Wide<N>, PyErr> {
        let start = core.start()?;
        let mut place = Place::new();
        place.memo.admit((start.state, start.taken), 0, &core.rows);
        place.configs.push(start);
        place.grew.push(false);
        Ok(Wide { places: BTreeMap::from([(start.e, place)]) })
    }

    /// When nobody searches depth first any more.
    pub(super) fn collect_orders(&mut self, core: &mut Core<N>) {
        self.look = None; // Its orders lead nowhere.
        match &mut self.by_place {
            Some(ByPlace::Wide(wide)) => wide.collect_orders(core),
            Some(ByPlace::Thrift(thrift)) => thrift.collect_orders(core, None),
            None => core.collect_orders(|_| ()),
        }
    }

    pub(super) fn held(&self) -> Held {
        let by_place = match &self.by_place {
            Some(ByPlace::Wide(wide)) => wide.held(),
            Some(ByPlace::Thrift(thrift)) => thrift.held(),
            None => Held::default(),
        };
        by_place + self.look.as_ref().map_or(Held::default(), Thrift::held)
    }
}
