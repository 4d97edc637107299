//! Values told apart without a look at their objects: whole numbers, short strings, None, True and False.
//!
//! Two glances of this kind are equal exactly where the values are, but for True and False, which equal 1 and 0. All
//! else is only noted to be there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};

/// The longest string that a glance holds, in bytes of UTF-8.
const SHORT: usize = 15;

// The highest byte: the length of a short string, or one of these.
const WHOLE: u8 = 16;
const NONE: u8 = 17;
const FALSE: u8 = 18;
const TRUE: u8 = 19;
const LONG: u8 = 20;
const OTHER: u8 = 21;
const ABSENT: u8 = 22;

/// The value's 16 bytes, the lower eight first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance(u64, u64);

impl Glance {
    /// No value at all.
    pub const ABSENT: Glance = Glance::marked(ABSENT);

    const fn marked(mark: u8) -> Glance {
        Glance(0, (mark as u64) << 56)
    }

    pub fn of(value: &Bound<'_, PyAny>) -> Glance {
        if let Ok(text) = value.cast_exact::<PyString>() {
            return Glance::of_text(text);
        }
        if value.is_exact_instance_of::<PyInt>() {
            let Ok(whole) = value.extract::<i64>() else { return Glance::marked(OTHER) };
            return Glance(whole as u64, Glance::marked(WHOLE).1);
        }
        if value.is_none() {
            return Glance::marked(NONE);
        }
        match value.cast_exact::<PyBool>() {
            Ok(truth) => Glance::marked(if truth.is_true() { TRUE } else { FALSE }),
            Err(_) => Glance::marked(OTHER),
        }
    }

    fn of_text(text: &Bound<'_, PyString>) -> Glance {
        // A long one is not asked for its UTF-8, which it would keep beside its own form.
        if text.len().unwrap_or(usize::MAX) > SHORT {
            return Glance::marked(LONG);
        }
        match text.to_str() {
            Ok(text) if text.len() <= SHORT => {
                let mut bytes = [0; SHORT + 1];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                bytes[SHORT] = text.len() as u8;
                let number = u128::from_le_bytes(bytes);
                Glance(number as u64, (number >> 64) as u64)
            }
            Ok(_) => Glance::marked(LONG),
            Err(_) => Glance::marked(OTHER), // half of a surrogate pair
        }
    }

    #[inline(always)]
    fn mark(self) -> u8 {
        (self.1 >> 56) as u8
    }

    /// Whether it says all that there is to say of the value.
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        self.mark() <= TRUE
    }

    /// Whether it is a string and no other object, short or long.
    #[inline(always)]
    pub fn is_text(self) -> bool {
        self.mark() <= SHORT as u8 || self.mark() == LONG
    }

    #[inline(always)]
    pub fn whole(self) -> Option<i64> {
        (self.mark() == WHOLE).then_some(self.0 as i64)
    }

    #[inline(always)]
    pub fn truth(self) -> Option<bool> {
        match self.mark() {
            TRUE => Some(true),
            FALSE => Some(false),
            _ => None,
        }
    }

    /// The UTF-8 of a short string, in the given place.
    pub fn text(self, place: &mut [u8; 16]) -> Option<&[u8]> {
        *place = self.number().to_le_bytes();
        place.get(..self.mark() as usize).filter(|bytes| bytes.len() <= SHORT)
    }

    /// Equal for equal glances.
    #[inline(always)]
    pub fn number(self) -> u128 {
        u128::from(self.0) | u128::from(self.1) << 64
    }

    /// Bits to find it by in a table, mixed.
    #[inline(always)]
    pub fn mixed(self) -> u32 {
        ((self.0 ^ self.1.rotate_left(7)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    /// An object equal to the value, of a glance that says all.
    pub fn object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(if let Some(whole) = self.whole() {
            whole.into_pyobject(py)?.into_any()
        } else if let Some(truth) = self.truth() {
            PyBool::new(py, truth).to_owned().into_any()
        } else if let Some(text) = self.text(&mut [0; 16]) {
            PyString::new(py, &String::from_utf8_lossy(text)).into_any()
        } else {
            py.None().into_bound(py)
        })
    }
}

/// A glance that can be exchanged for another. Only who is attached to the interpreter does either.
pub struct GlanceCell([AtomicU64; 2]);

impl GlanceCell {
    pub fn new(Glance(low, high): Glance) -> GlanceCell {
        GlanceCell([AtomicU64::new(low), AtomicU64::new(high)])
    }

    #[inline(always)]
    pub fn get(&self) -> Glance {
        Glance(self.0[0].load(Relaxed), self.0[1].load(Relaxed))
    }

    pub fn set(&self, Glance(low, high): Glance) {
        self.0[0].store(low, Relaxed);
        self.0[1].store(high, Relaxed);
    }
}
