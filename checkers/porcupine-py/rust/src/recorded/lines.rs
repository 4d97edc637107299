//! One line of Driftline's history of registers, as an event. What is out of the ordinary is none.

/// A number of so many digits fits into 64 bits.
const DIGITS_MAX: usize = 18;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Invoke,
    Ok,
    Fail,
    Info,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Read,
    Write,
    Swap,
}

/// A register's value; None is null.
pub type Held = Option<i64>;

#[derive(Clone, Copy)]
pub enum Value {
    Plain(Held),
    Swap { from: Held, to: Held, swapped: Option<bool>, saw: Option<Held> },
}

pub struct Event<'a> {
    pub index: i64,
    pub time: i64,
    pub end: End,
    pub process: i64,
    pub op: i64,
    pub does: Does,
    pub key: Option<&'a [u8]>,
    pub value: Value,
    pub local: bool,
}

/// A place in the lines. What each method reads is gone past; None where something else stands there.
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    /// The event of one line, with its end.
    pub fn event(&mut self) -> Option<Event<'a>> {
        let mut event = Event {
            index: 0,
            time: 0,
            end: End::Invoke,
            process: 0,
            op: 0,
            does: Does::Read,
            key: None,
            value: Value::Plain(None),
            local: false,
        };
        let mut met = 0u32;
        self.take(b'{')?;
        loop {
            let name = self.name()?;
            let bit = match name {
                b"index" => {
                    event.index = self.number()?;
                    1
                }
                b"time" => {
                    event.time = self.number()?;
                    2
                }
                b"type" => {
                    event.end = match self.text()? {
                        b"invoke" => End::Invoke,
                        b"ok" => End::Ok,
                        b"fail" => End::Fail,
                        b"info" => End::Info,
                        _ => return None,
                    };
                    4
                }
                b"process" => {
                    event.process = self.number()?;
                    8
                }
                b"op" => {
                    event.op = self.number()?;
                    16
                }
                b"f" => {
                    event.does = match self.text()? {
                        b"read" => Does::Read,
                        b"write" => Does::Write,
                        b"cas" => Does::Swap,
                        _ => return None,
                    };
                    32
                }
                b"key" => {
                    event.key = self.or_null(Self::text)?;
                    64
                }
                b"value" => {
                    event.value = self.value()?;
                    128
                }
                b"mode" => {
                    event.local = self.or_null(Self::text)? == Some(b"local");
                    256
                }
                b"node" => {
                    self.or_null(Self::text)?;
                    512
                }
                b"error" => {
                    self.or_null(Self::prose)?;
                    1024
                }
                b"term" => {
                    self.or_null(Self::number)?;
                    2048
                }
                b"log_index" => {
                    self.or_null(Self::number)?;
                    4096
                }
                b"final" => {
                    self.truth()?;
                    8192
                }
                _ => return None,
            };
            if met & bit != 0 {
                return None;
            }
            met |= bit;
            if !self.more()? {
                break;
            }
        }
        self.take(b'\n')?;
        // The first six fields have no default.
        (met & 63 == 63).then_some(event)
    }

    fn value(&mut self) -> Option<Value> {
        self.spaces();
        if self.peek()? != b'{' {
            return self.held().map(Value::Plain);
        }
        self.at += 1;
        let (mut from, mut to, mut saw, mut swapped) = (None, None, None, None);
        loop {
            let again = match self.name()? {
                b"from" => from.replace(self.held()?).is_some(),
                b"to" => to.replace(self.held()?).is_some(),
                b"saw" => saw.replace(self.held()?).is_some(),
                b"swapped" => swapped.replace(self.truth()?).is_some(),
                _ => return None,
            };
            if again {
                return None;
            }
            if !self.more()? {
                return Some(Value::Swap { from: from?, to: to?, swapped, saw });
            }
        }
    }

    fn held(&mut self) -> Option<Held> {
        self.or_null(Self::number)
    }

    fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        self.spaces();
        if self.peek()? == b'n' {
            return self.word(b"null").map(|()| None);
        }
        read(self).map(Some)
    }

    fn truth(&mut self) -> Option<bool> {
        self.spaces();
        if self.peek()? == b't' {
            return self.word(b"true").map(|()| true);
        }
        self.word(b"false").map(|()| false)
    }

    /// A whole number, and not the beginning of another one.
    fn number(&mut self) -> Option<i64> {
        self.spaces();
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let begin = self.at;
        let mut number = 0i64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - begin == DIGITS_MAX {
                return None;
            }
            number = 10 * number + i64::from(digit - b'0');
            self.at += 1;
        }
        let digits = self.at - begin;
        let leading = digits > 1 && self.bytes[begin] == b'0';
        if digits == 0 || leading || matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        Some(if negative { -number } else { number })
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.spaces();
        self.take(b'"')?;
        let begin = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' | 0..=31 => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(&self.bytes[begin..self.at - 1])
    }

    /// A string that nobody here asks for.
    fn prose(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    if !matches!(self.peek()?, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') {
                        return None;
                    }
                }
                0..=31 => return None,
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        Some(())
    }

    /// A field's name and its colon.
    fn name(&mut self) -> Option<&'a [u8]> {
        let name = self.text()?;
        self.spaces();
        self.take(b':')?;
        Some(name)
    }

    /// Whether another field follows.
    fn more(&mut self) -> Option<bool> {
        self.spaces();
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let found = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        found.then_some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.at += 1;
        found.then_some(())
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}
