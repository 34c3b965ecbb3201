//! Names of requests: in logs, in errors, on the way through several servers.
//!
//! Owns their form. Must not know who asks.

use super::world::ascii;
use crate::http::REQUEST_ID_BYTES;

/// An id of our own, or one that a trusted proxy has given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId {
    bytes: [u8; REQUEST_ID_BYTES],
    len: u8,
}

/// Hexadecimal ids: unique in the process, not to be guessed from one another.
pub(crate) struct RequestIds(u64);

impl RequestId {
    /// What is no request has this one.
    pub(crate) const NONE: RequestId = RequestId { bytes: [b'0'; REQUEST_ID_BYTES], len: 16 };

    /// The id that somebody else has given; cut off if it is longer than such ids may be.
    pub(crate) fn given(id: &str) -> RequestId {
        let len = id.len().min(REQUEST_ID_BYTES);
        let mut bytes = [0; REQUEST_ID_BYTES];
        bytes[..len].copy_from_slice(&id.as_bytes()[..len]);
        RequestId { bytes, len: len as u8 }
    }

    pub(crate) fn as_str(&self) -> &str {
        ascii(self.as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl RequestIds {
    pub(crate) fn new(seed: u64) -> RequestIds {
        RequestIds(seed)
    }

    /// splitmix64: a bijection of a counter, so ids repeat only after 2⁶⁴ requests.
    pub(crate) fn next(&mut self) -> RequestId {
        let mut id = RequestId { bytes: [0; REQUEST_ID_BYTES], len: 16 };
        id.bytes[..16].copy_from_slice(&self.next_digits());
        id
    }

    pub(crate) fn next_digits(&mut self) -> [u8; 16] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let mut digits = [0; 16];
        digits[..8].copy_from_slice(&hexadecimal((mixed >> 32) as u32));
        digits[8..].copy_from_slice(&hexadecimal(mixed as u32));
        digits
    }
}

/// All eight digits at once: each four bits get a byte, then what makes it a digit or a letter.
fn hexadecimal(number: u32) -> [u8; 8] {
    let mut bytes = u64::from(number);
    bytes = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    bytes = (bytes | bytes << 8) & 0x00ff_00ff_00ff_00ff;
    bytes = (bytes | bytes << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((bytes + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let (zeros, from_nine_to_a) = (0x3030_3030_3030_3030, u64::from(b'a' - b'9' - 1));
    (bytes + zeros + letters * from_nine_to_a).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_digits_and_differ() {
        let mut ids = RequestIds::new(7);
        let (one, two) = (ids.next(), ids.next());
        assert_ne!(one.as_str(), two.as_str());
        assert!(one.as_str().len() == 16 && one.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 0x0123_4567, 0x89ab_cdef, 0x9a9a_a9a9, u32::MAX] {
            assert_eq!(hexadecimal(number), *format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn given_ids_stay_as_they_are() {
        assert_eq!(RequestId::given("Root=1-5f").as_str(), "Root=1-5f");
        assert_eq!(RequestId::given(&"x".repeat(99)).as_str(), "x".repeat(REQUEST_ID_BYTES));
        assert_eq!(RequestId::NONE.as_str(), "0".repeat(16));
    }
}
