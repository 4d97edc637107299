//! A look at the deadline, and for signals, now and then: reading Python's objects can take long.

use std::time::Instant;

use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;

/// Looks at the deadline and for signals now and then, while Python's objects are read.
pub struct Clock {
    until: Option<Instant>,
    ticks: u32,
}

const TICKS_PER_LOOK: u32 = 1 << 12;

impl Clock {
    pub fn new(until: Option<Instant>) -> Clock {
        Clock { until, ticks: 0 }
    }

    /// An error when time is up, one for which `beside` says None: the caller has a clock of its own.
    pub fn tick(&mut self, py: Python<'_>) -> PyResult<()> {
        self.ticks += 1;
        if self.ticks % TICKS_PER_LOOK != 0 {
            return Ok(());
        }
        self.look(py)
    }

    pub fn look(&self, py: Python<'_>) -> PyResult<()> {
        py.check_signals()?;
        if self.passed() {
            return Err(PyTimeoutError::new_err("the deadline passed"));
        }
        Ok(())
    }

    pub fn passed(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}
