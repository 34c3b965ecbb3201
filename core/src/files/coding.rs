//! Content codings that a file may lie ready in (RFC 9110 §8.4, §12.5.3).
//!
//! Owns their names and which of them a client prefers. Must not know which there are.

/// In which form a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    #[default]
    Identity,
    Brotli,
    Zstandard,
    Gzip,
}

/// Codings to look for, the best first; none at all, if the file itself is wanted.
pub(super) type Preferences = [Option<Coding>; CODINGS.len()];

/// Of equal weight the one that is usually the smallest comes first.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstandard, Coding::Gzip];

impl Coding {
    /// As `Content-Encoding` says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Brotli => "br",
            Coding::Zstandard => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What the name of a file in this coding has behind that of the file itself.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Coding::Identity => "",
            Coding::Brotli => ".br",
            Coding::Zstandard => ".zst",
            Coding::Gzip => ".gz",
        }
    }

    fn is_named(self, name: &[u8]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        is(self.name()) || self == Coding::Gzip && is("x-gzip")
    }
}

/// What an `Accept-Encoding` prefers to the file itself. Without the field any coding would do,
/// but who does not ask may not be able to decode.
pub(super) fn preferences(accept_encoding: Option<&[u8]>) -> Preferences {
    let Some(field) = accept_encoding else { return Preferences::default() };
    // Not named, the file itself is what remains when nothing else is there.
    let least = named_weight(field, Coding::Identity).unwrap_or(1).max(1);
    let mut weighted = CODINGS.map(|coding| (weight(field, coding), coding));
    weighted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weighted.map(|(weight, coding)| (weight >= least).then_some(coding))
}

/// In thousandths; 0 is not acceptable.
fn weight(field: &[u8], coding: Coding) -> u16 {
    named_weight(field, coding).or_else(|| find(field, |name| name == b"*")).unwrap_or(0)
}

fn named_weight(field: &[u8], coding: Coding) -> Option<u16> {
    find(field, |name| coding.is_named(name))
}

fn find(field: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<u16> {
    field.split(|&byte| byte == b',').find_map(|item| {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        is_it(parts.next().unwrap_or_default()).then(|| parts.find_map(quality).unwrap_or(1000))
    })
}

/// `q=` and a number from 0 to 1 with at most three decimals (§12.4.2); what is no number is 0.
fn quality(parameter: &[u8]) -> Option<u16> {
    let (b'q' | b'Q', b'=', value) = split_two(parameter)? else { return None };
    let (whole, decimals) = value.split_first()?;
    let decimals = decimals.strip_prefix(b".").unwrap_or(decimals);
    let is_number = decimals.len() <= 3 && decimals.iter().all(u8::is_ascii_digit);
    let thousandths = (0..3).fold(0, |sum, place| {
        sum * 10 + decimals.get(place).map_or(0, |digit| u16::from(digit.wrapping_sub(b'0')))
    });
    Some(match whole {
        b'1' if is_number => 1000,
        b'0' if is_number => thousandths,
        _ => 0,
    })
}

fn split_two(bytes: &[u8]) -> Option<(u8, u8, &[u8])> {
    let [first, second, rest @ ..] = bytes else { return None };
    Some((*first, *second, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(field: &str) -> String {
        let found = preferences(Some(field.as_bytes()));
        found.into_iter().flatten().map(Coding::name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn acceptable_codings_in_order_rfc_9110_12_5_3() {
        for (field, expected) in [
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("gzip", "gzip"),
            ("X-GZIP", "gzip"),
            ("br;q=0.5, gzip;q=0.8", "gzip br"),
            ("br ; q=0.001 , gzip;Q=1.000", "gzip br"),
            ("*", "br zstd gzip"),
            ("*;q=0.5, zstd", "zstd br gzip"),
            ("*, br;q=0", "zstd gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=0.000, *;q=0", ""),
            ("", ""),
            ("identity", ""),
            ("identity, gzip;q=0.9, br", "br"),
            ("identity;q=0.5, gzip;q=0.9, br;q=0.1", "gzip"),
            ("identity;q=0, gzip", "gzip"),
            ("gzip;q=2, br;q=x, zstd;q=-1", ""),
            ("gzipped, brr", ""),
        ] {
            assert_eq!(preferred(field), expected, "{field}");
        }
        assert_eq!(preferences(None), Preferences::default());
    }
}
