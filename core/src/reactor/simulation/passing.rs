//! Answers whose content is in a file, right and wrong.
//!
//! Owns their heads and files. Must not know when they are sent.

use crate::io::sim::{Random, SimFile, SimKernel};

/// Ends the head in `out` so that the content is in the file returned.
pub(super) fn content(
    random: &mut Random,
    kernel: &SimKernel,
    content: Vec<u8>,
    out: &mut Vec<u8>,
) -> SimFile {
    let offset = [0, random.within(1..=5_000)][random.within(0..=1)];
    let behind = random.within(0..=10);
    end_head(out, &offset.to_string(), content.len());
    kernel.loose_file([vec![b'?'; offset], content, vec![b'!'; behind]].concat(), true)
}

/// Ends the head in `out` so that it and the descriptors returned do not fit.
pub(super) fn misuse(random: &mut Random, kernel: &SimKernel, out: &mut Vec<u8>) -> Vec<SimFile> {
    let which = random.within(0..=MISUSES - 1);
    misuse_of_kind(which, kernel, out)
}

pub(super) const MISUSES: usize = 13;

pub(super) fn misuse_of_kind(which: usize, kernel: &SimKernel, out: &mut Vec<u8>) -> Vec<SimFile> {
    let file = |len: usize| kernel.loose_file(vec![b'x'; len], true);
    let (offset, len, files) = match which {
        0 => ("0", 9, vec![file(9), file(9)]),
        1 => ("0", 9, vec![]),
        2 => ("0", 9, vec![kernel.loose_file("123456789", false)]),
        3 => ("0", 9, vec![kernel.loose_directory()]),
        4 => ("0", 9, vec![file(8)]),
        5 => ("1", 9, vec![file(9)]),
        6 => ("18446744073709551615", 9, vec![file(9)]),
        7 => ("18446744073709551616", 9, vec![file(9)]),
        8 => ("+1", 2, vec![file(9)]),
        9 => ("", 2, vec![file(9)]),
        10 => ("0", 0, vec![file(9)]),
        11 => ("0\r\nForebay-Body-Fd: 0", 2, vec![file(9)]),
        _ => {
            out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
            return vec![file(9)];
        }
    };
    end_head(out, offset, len);
    files
}

fn end_head(out: &mut Vec<u8>, offset: &str, len: usize) {
    let fields = format!("Forebay-Body-Fd: {offset}\r\nContent-Length: {len}\r\n\r\n");
    out.extend_from_slice(fields.as_bytes());
}
