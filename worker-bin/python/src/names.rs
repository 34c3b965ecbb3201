//! The environ's names for request fields, with the values that they had last.
//!
//! Owns the translation from field names to CGI's (RFC 3875 §4.1.18) and its memory, which is
//! bounded: clients choose the names.

use crate::latin1;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Names that were seen, found again without making a string.
pub(crate) struct Names {
    names: Vec<Name>,
    /// Places in `names` by the hash of the field's name, one more than the place.
    slots: Vec<u16>,
    round: u64,
}

/// What is known of a name.
pub(crate) struct Name {
    field: Box<str>,
    /// Applications are told of it.
    pub(crate) is_passed_on: bool,
    pub(crate) key: Py<PyString>,
    pub(crate) value: Memo,
    round: u64,
    /// Parts are joined by this (RFC 9110 §5.3, RFC 9113 §8.2.3).
    pub(crate) separator: &'static [u8],
}

/// A string that is likely to come again.
#[derive(Default)]
pub(crate) struct Memo {
    bytes: Vec<u8>,
    string: Option<Py<PyString>>,
}

impl Memo {
    /// The string of these bytes.
    pub(crate) fn string<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        if let Some(string) = self.string.as_ref().filter(|_| self.bytes == bytes) {
            return Ok(string.bind(py).clone());
        }
        let string = latin1::decode(py, bytes)?;
        if bytes.len() <= MEMO_MOST {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            self.string = Some(string.clone().unbind());
        }
        Ok(string)
    }
}

impl Names {
    pub(crate) fn new() -> Names {
        Names { names: Vec::new(), slots: vec![0; SLOTS], round: 0 }
    }

    /// Another request.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
    }

    /// What is known of this name, and whether this request has had it before. None: there are
    /// too many names.
    pub(crate) fn find(&mut self, py: Python<'_>, field: &str) -> Option<(&mut Name, bool)> {
        let mut slot = hash(field) % SLOTS;
        let place = loop {
            match self.slots[slot] {
                0 => break self.add(py, field, slot)?,
                place if self.names[usize::from(place) - 1].is(field) => {
                    break usize::from(place) - 1;
                }
                _ => slot = (slot + 1) % SLOTS,
            }
        };
        let name = &mut self.names[place];
        let is_known = std::mem::replace(&mut name.round, self.round) == self.round;
        Some((name, is_known))
    }

    fn add(&mut self, py: Python<'_>, field: &str, slot: usize) -> Option<usize> {
        if self.names.len() == NAMES_MOST {
            return None;
        }
        self.names.push(Name {
            field: field.into(),
            is_passed_on: is_passed_on(field),
            key: PyString::intern(py, &key(field)).unbind(),
            value: Memo::default(),
            round: 0,
            separator: separator(field),
        });
        self.slots[slot] = u16::try_from(self.names.len()).ok()?;
        Some(self.names.len() - 1)
    }
}

impl Name {
    fn is(&self, field: &str) -> bool {
        *self.field == *field || self.field.eq_ignore_ascii_case(field)
    }
}

/// Of two names that come to the same key one could pose as the other; `Proxy` would pose as a
/// variable of the process (httpoxy). Content has its length from us.
pub(crate) fn is_passed_on(name: &str) -> bool {
    let is = |other| name.eq_ignore_ascii_case(other);
    let is_framing = is("content-length") || is("transfer-encoding");
    !name.contains('_') && !is_framing && !is("proxy")
}

/// The environ's name for a field.
pub(crate) fn key(field: &str) -> String {
    let upper = field.bytes().map(|byte| match byte {
        b'-' => '_',
        byte => char::from(byte.to_ascii_uppercase()),
    });
    match field {
        _ if field.eq_ignore_ascii_case("content-type") => "CONTENT_TYPE".into(),
        _ => "HTTP_".chars().chain(upper).collect(),
    }
}

pub(crate) fn separator(field: &str) -> &'static [u8] {
    if field.eq_ignore_ascii_case("cookie") { b"; " } else { b"," }
}

/// FNV-1a, in one case. The table is never more than half full, whoever chooses the names.
fn hash(field: &str) -> usize {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193);
    field.bytes().fold(0x811c_9dc5, step) as usize
}

const NAMES_MOST: usize = 256;
const SLOTS: usize = 1024;
/// Bytes.
const MEMO_MOST: usize = 512;
