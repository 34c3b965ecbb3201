//! Classes of bytes, and the little that is needed to write a head.
//!
//! Owns the table of byte classes. Must not know which field or element a byte belongs to.

/// Whether these bytes are a token (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Whether these bytes may be a field value: HTAB, SP, visible ASCII, obs-text (RFC 9110 §5.5).
/// White space around it is the caller's to trim.
pub fn is_field_value(bytes: &[u8]) -> bool {
    all(bytes, VALUE)
}

/// Of how many bytes the longest beginning is all of these classes.
pub(super) fn span(bytes: &[u8], classes: u8) -> usize {
    bytes.iter().position(|&b| !is(b, classes)).unwrap_or(bytes.len())
}

/// Whether every byte is of one of these classes.
pub(super) fn all(bytes: &[u8], classes: u8) -> bool {
    bytes.iter().all(|&b| is(b, classes))
}

/// Whether this byte is of one of these classes.
#[inline]
pub(super) fn is(byte: u8, classes: u8) -> bool {
    CLASSES[usize::from(byte)] & classes != 0
}

/// The value of a hexadecimal digit.
#[inline]
pub(crate) fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Without spaces and tabs at both ends: OWS of RFC 9110 §5.6.3, and nothing else.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed, empty ones included (RFC 9110 §5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim)
}

/// Appends a field line.
// Most names are known where it is called, and cost next to nothing there.
#[inline(always)]
pub(super) fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field line with a number.
pub(super) fn push_number_field(out: &mut Vec<u8>, name: &str, value: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    push_decimal(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal.
pub(super) fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// tchar of RFC 9110 §5.6.2.
pub(super) const TOKEN: u8 = 1;
/// What a field value consists of, RFC 9110 §5.5.
pub(super) const VALUE: u8 = 2;
/// Unreserved of RFC 3986 §2.3: letters, digits, `-._~`.
pub(super) const UNRESERVED: u8 = 4;
/// Visible ASCII without `#`: what a request target is made of. Wider than RFC 3986, because
/// browsers send `|`, `{` and the like as they are.
pub(super) const TARGET: u8 = 8;
/// Of those, what stands for itself in a path: neither `%` nor `?`.
pub(super) const PLAIN: u8 = 16;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes_of(byte as u8);
        byte += 1;
    }
    table
};

const fn classes_of(byte: u8) -> u8 {
    let mut classes = 0;
    let alphanumeric = byte.is_ascii_alphanumeric();
    if alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        classes |= UNRESERVED | TOKEN;
    }
    if matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'^' | b'`' | b'|') {
        classes |= TOKEN;
    }
    if matches!(byte, b'\t' | b' '..=0x7e | 0x80..) {
        classes |= VALUE;
    }
    if byte.is_ascii_graphic() && byte != b'#' {
        classes |= TARGET;
    }
    if classes & TARGET != 0 && !matches!(byte, b'%' | b'?') {
        classes |= PLAIN;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_rfc_9110_5_6_2() {
        let tchar = b"!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ";
        assert!(is_token(tchar));
        for byte in 0..=255_u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), expected, "{byte:#x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn field_values_have_no_controls_rfc_9110_5_5() {
        for byte in 0..=255_u8 {
            let expected = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(is_field_value(&[byte]), expected, "{byte:#x}");
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn numbers_are_written_as_by_the_standard_library() {
        for value in [0, 7, 10, 99, 100, 65_536, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let members: Vec<_> = list(b" a ,\tb,, c").collect();
        assert_eq!(members, [&b"a"[..], b"b", b"", b"c"]);
    }
}
