//! What a request asks of files, besides the name of one.
//!
//! Owns the fields that select, condition or cut the answer. Must not know what is answered.

use std::borrow::Cow;

/// A request, as far as an answer depends on it. Borrowed while nothing has to be waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Cow<'a, str>,
    /// The whole path, for redirects: clean, percent-encoded, starting with `/`.
    pub(crate) original_path: Cow<'a, str>,
    pub(crate) query: Option<Cow<'a, str>>,
    /// Sixteen characters that nobody could know when the file was written.
    pub(crate) boundary: [u8; 16],
    pub(crate) fields: AskFields<'a>,
}

/// The values of the fields that matter, by name. Several lines of a list are one value, joined
/// by commas (RFC 9110 §5.3).
#[derive(Clone, Debug, Default)]
pub(crate) struct AskFields<'a> {
    pub(crate) accept_encoding: Value<'a>,
    pub(crate) if_match: Value<'a>,
    pub(crate) if_none_match: Value<'a>,
    pub(crate) if_modified_since: Value<'a>,
    pub(crate) if_unmodified_since: Value<'a>,
    pub(crate) if_range: Value<'a>,
    pub(crate) range: Value<'a>,
}

/// `None`: the field was not sent.
type Value<'a> = Option<Cow<'a, [u8]>>;

impl Ask<'_> {
    /// The same in memory of its own.
    pub(super) fn into_owned(self) -> Ask<'static> {
        Ask {
            method: Cow::Owned(self.method.into_owned()),
            original_path: Cow::Owned(self.original_path.into_owned()),
            query: self.query.map(|query| Cow::Owned(query.into_owned())),
            boundary: self.boundary,
            fields: self.fields.into_owned(),
        }
    }
}

impl<'a> AskFields<'a> {
    /// Takes note of a field line. Allocates only where a list has several lines.
    pub(crate) fn add(&mut self, name: &str, value: &'a [u8]) {
        let Some(slot) = self.slot(name) else { return };
        match slot {
            None => *slot = Some(Cow::Borrowed(value)),
            Some(earlier) => {
                let joined = earlier.to_mut();
                joined.extend_from_slice(b", ");
                joined.extend_from_slice(value);
            }
        }
    }

    fn slot(&mut self, name: &str) -> Option<&mut Value<'a>> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            5 if is("Range") => Some(&mut self.range),
            8 if is("If-Match") => Some(&mut self.if_match),
            8 if is("If-Range") => Some(&mut self.if_range),
            13 if is("If-None-Match") => Some(&mut self.if_none_match),
            15 if is("Accept-Encoding") => Some(&mut self.accept_encoding),
            17 if is("If-Modified-Since") => Some(&mut self.if_modified_since),
            19 if is("If-Unmodified-Since") => Some(&mut self.if_unmodified_since),
            _ => None,
        }
    }

    fn into_owned(self) -> AskFields<'static> {
        let own = |value: Value<'a>| value.map(|value| Cow::Owned(value.into_owned()));
        AskFields {
            accept_encoding: own(self.accept_encoding),
            if_match: own(self.if_match),
            if_none_match: own(self.if_none_match),
            if_modified_since: own(self.if_modified_since),
            if_unmodified_since: own(self.if_unmodified_since),
            if_range: own(self.if_range),
            range: own(self.range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list_are_one_value_rfc_9110_5_3() {
        let mut fields = AskFields::default();
        for (name, value) in [("if-none-match", "\"a\""), ("X", "y"), ("IF-NONE-MATCH", "\"b\"")] {
            fields.add(name, value.as_bytes());
        }
        assert_eq!(fields.if_none_match.as_deref(), Some(&b"\"a\", \"b\""[..]));
        assert!(fields.range.is_none());
    }
}
