//! Parts of a representation that a client asks for (RFC 9110 §14).
//!
//! Owns the syntax of `Range` and its bounds. Must not know what the parts are of.

use std::ops::Range;

/// What `Range` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// It is ignored: another unit, malformed, or asks for too much.
    Whole,
    One(Range<u64>),
    /// In the order of the request; no two overlap.
    Several(Vec<Range<u64>>),
    /// No part of it is there: 416.
    Unsatisfiable,
}

/// The parts of `size` bytes that a `Range` field asks for.
///
/// More than [`RANGES_MOST`] ranges, or more bytes in all than there are, are an attack or a
/// mistake, and what §14.2 lets a server ignore.
pub(super) fn parse(field: &[u8], size: u64) -> Ranges {
    // Clients that always ask for a first part would get an error for an empty file.
    let Some(set) = byte_ranges(field).filter(|_| size > 0) else { return Ranges::Whole };
    let (mut parts, mut specs, mut sum) = (Parts::default(), 0, 0_u64);
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|s| !s.is_empty()) {
        specs += 1;
        let Some(part) = part(spec, size).filter(|_| specs <= RANGES_MOST) else {
            return Ranges::Whole;
        };
        sum = sum.saturating_add(part.end - part.start);
        parts.add(part);
    }
    match parts.as_slice() {
        _ if specs == 0 || sum > size => Ranges::Whole,
        [] => Ranges::Unsatisfiable,
        [one] => Ranges::One(one.clone()),
        several => Ranges::Several(several.to_vec()),
    }
}

/// At most so many ranges are looked at.
const RANGES_MOST: usize = 16;

/// Parts nearer to each other than this are sent as one: a part's head takes more (§15.3.7.2).
const GAP: u64 = 80;

fn byte_ranges(field: &[u8]) -> Option<&[u8]> {
    let field = field.trim_ascii();
    let (unit, set) = field.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// `None` if it is malformed; an empty part if it is not there.
fn part(spec: &[u8], size: u64) -> Option<Range<u64>> {
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first, last) {
        ([], suffix) => Some(size.saturating_sub(number(suffix)?)..size),
        (first, []) => Some(number(first)?.min(size)..size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            let end = last.saturating_add(1).min(size);
            (first <= last).then_some(first.min(end)..end)
        }
    }
}

/// Numbers that are too large count as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    is_number.then(|| digits.iter().fold(0, add))
}

/// On the stack: one range, the usual number, allocates nothing.
#[derive(Default)]
struct Parts {
    parts: [Range<u64>; RANGES_MOST],
    len: usize,
}

impl Parts {
    fn as_slice(&self) -> &[Range<u64>] {
        &self.parts[..self.len]
    }

    /// Joins it with all that it touches, in the place of the first of them.
    fn add(&mut self, mut part: Range<u64>) {
        if part.is_empty() {
            return;
        }
        let mut place = self.len;
        while let Some(at) = self.as_slice().iter().position(|other| are_near(other, &part)) {
            let other = &self.parts[at];
            part = other.start.min(part.start)..other.end.max(part.end);
            place = place.min(at);
            self.parts[at..self.len].rotate_left(1);
            self.len -= 1;
        }
        self.len += 1;
        self.parts[place..self.len].rotate_right(1);
        self.parts[place] = part;
    }
}

fn are_near(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start <= other.end.saturating_add(GAP) && other.start <= one.end.saturating_add(GAP)
}

#[cfg(test)]
mod tests {
    use super::Ranges::{One, Several, Unsatisfiable, Whole};
    use super::*;

    fn of_1000(field: &str) -> Ranges {
        parse(field.as_bytes(), 1000)
    }

    #[test]
    fn one_range_rfc_9110_14_1_2() {
        for (field, part) in [
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1000),
            ("bytes=-500", 500..1000),
            ("bytes=-2000", 0..1000),
            ("bytes=900-", 900..1000),
            ("bytes=0-0", 0..1),
            ("bytes=-1", 999..1000),
            ("bytes=0-", 0..1000),
            ("bytes=999-5000", 999..1000),
            ("bytes=0-99999999999999999999999", 0..1000),
            ("BYTES=1-2", 1..3),
            (" bytes= 1-2 , ", 1..3),
            ("bytes=2000-3000,1-2", 1..3),
        ] {
            assert_eq!(of_1000(field), One(part), "{field}");
        }
    }

    #[test]
    fn what_is_not_there_rfc_9110_15_5_17() {
        for field in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-,-0"] {
            assert_eq!(of_1000(field), Unsatisfiable, "{field}");
        }
        assert_eq!(of_1000("bytes=99999999999999999999999-"), Unsatisfiable);
        assert_eq!(parse(b"bytes=0-", 0), Whole, "an empty file is no error");
    }

    #[test]
    fn what_is_malformed_is_ignored_rfc_9110_14_2() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=1-2,x",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1 - 2",
            "lines=0-1",
            "bytes =0-1",
            "bytes=0-1;2-3",
            "bytes=0x1-2",
        ] {
            assert_eq!(of_1000(field), Whole, "{field}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order_rfc_9110_15_3_7_2() {
        assert_eq!(of_1000("bytes=500-509,0-9"), Several(vec![500..510, 0..10]));
        assert_eq!(of_1000("bytes=0-0,-1"), Several(vec![0..1, 999..1000]));
        assert_eq!(of_1000("bytes=0-9,2000-,200-209"), Several(vec![0..10, 200..210]));
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(of_1000("bytes=0-99,50-149"), One(0..150));
        assert_eq!(of_1000("bytes=0-9,10-19"), One(0..20));
        assert_eq!(of_1000("bytes=0-9,40-49"), One(0..50));
        assert_eq!(
            of_1000("bytes=600-609,0-9,300-309,290-299"),
            Several(vec![600..610, 0..10, 290..310])
        );
        assert_eq!(of_1000("bytes=0-9,300-309,150-159,80-230"), One(0..310));
    }

    #[test]
    fn too_much_is_ignored_rfc_9110_17_15() {
        let many = |count: usize| {
            let specs: Vec<_> =
                (0..count).map(|nth| format!("{}-{}", nth * 200, nth * 200)).collect();
            parse(format!("bytes={}", specs.join(",")).as_bytes(), 1_000_000)
        };
        assert!(matches!(many(16), Several(parts) if parts.len() == 16));
        assert_eq!(many(17), Whole);
        assert_eq!(of_1000("bytes=0-,0-"), Whole, "more than there is");
        assert_eq!(of_1000("bytes=0-499,0-499"), One(0..500));
    }

    #[test]
    fn parts_are_within_and_apart_whatever_is_asked() {
        let spec = "([0-9]{0,4}-[0-9]{0,4}|-[0-9]{1,21}|x)";
        proptest::proptest!(|(
            specs in proptest::collection::vec(spec, 0..20),
            size in 0_u64..5000,
        )| {
            let parts = match parse(format!("bytes={}", specs.join(",")).as_bytes(), size) {
                One(part) => vec![part],
                Several(parts) => parts,
                Whole | Unsatisfiable => Vec::new(),
            };
            assert!(parts.len() <= RANGES_MOST);
            for (nth, part) in parts.iter().enumerate() {
                assert!(part.start < part.end && part.end <= size);
                assert!(parts[..nth].iter().all(|other| !are_near(other, part)));
            }
        });
    }
}
