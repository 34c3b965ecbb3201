//! What can be wrong with a message: its mutants, by number.
//!
//! Owns the operators. Must not know HTTP beyond where a token may end.

/// How many mutants a message has.
pub(crate) fn count(bytes: &[u8]) -> usize {
    let boundaries = boundaries(bytes).len();
    boundaries * 256 + (boundaries - 1) * WHOLE.len()
}

/// One of them: a byte more at a boundary, or something done to all between two.
pub(crate) fn mutant(bytes: &[u8], index: usize) -> Vec<u8> {
    let boundaries = boundaries(bytes);
    if index < boundaries.len() * 256 {
        let (before, behind) = bytes.split_at(boundaries[index / 256]);
        return [before, &[(index % 256) as u8], behind].concat();
    }
    let index = index - boundaries.len() * 256;
    let (place, operator) = (index / WHOLE.len(), WHOLE[index % WHOLE.len()]);
    let (from, to) = (boundaries[place], boundaries[place + 1]);
    [&bytes[..from], &operator(&bytes[from..to]), &bytes[to..]].concat()
}

/// Where a token, a delimiter or the message begins or ends.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let is_boundary = |at: &usize| match bytes.get(at - 1..at + 1) {
        Some(&[before, behind]) => !(is_word(before) && is_word(behind)),
        _ => true,
    };
    [0].into_iter().chain((1..=bytes.len()).filter(is_boundary)).collect()
}

type Operator = fn(&[u8]) -> Vec<u8>;

const WHOLE: &[Operator] = &[
    // Missing, doubled, oversized in three ways.
    |_| Vec::new(),
    |part| part.repeat(2),
    |part| part.repeat(300),
    |part| part.repeat(9_000 / part.len() + 1),
    |part| part.repeat(33_000 / part.len() + 1),
    // Case.
    |part| part.to_ascii_uppercase(),
    |part| part.to_ascii_lowercase(),
    |part| part.iter().map(|byte| byte ^ 0x20).collect(),
    // The eighth bit, and overlong forms of UTF-8.
    |part| part.iter().map(|byte| byte ^ 0x80).collect(),
    |part| part.iter().flat_map(|byte| [0xc0 | byte >> 6, 0x80 | byte & 0x3f]).collect(),
    // White space around, for, and beyond what is there.
    |part| [b" ", part, b" "].concat(),
    |part| [b"\t", part, b"\t"].concat(),
    |part| [part, b"\r\n"].concat(),
    |part| [part, b"\r\n "].concat(),
    |part| [part, b"\r\n\r\n"].concat(),
    |_| b" ".to_vec(),
    |_| b"\n".to_vec(),
    |_| b"\r".to_vec(),
    |_| b"\r\n".to_vec(),
    // Lists, quotes, encodings.
    |part| [part, b",", part].concat(),
    |part| [b"\"", part, b"\""].concat(),
    |part| part.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect(),
];
