//! Names that change with the content of their file.
//!
//! Owns what build tools' fingerprints look like. Must not know what follows from one.

/// Whether the last part of a path has a fingerprint before its extension or extensions, behind a
/// `.`, `-` or `_`: at least eight hexadecimal digits, or exactly eight letters and digits; as
/// below.
///
/// No word and no number is one: a file that is taken for immutable without being so stays old for
/// a year.
pub(super) fn is_fingerprinted(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    stem.split(['.', '-', '_']).skip(1).any(|part| is_hexadecimal(part) || is_mixed(part))
}

/// Digits and lower-case letters both: `20261124` is a date, `deadbeef` might be a word.
fn is_hexadecimal(part: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    part.len() >= 8 && part.bytes().all(is_digit) && has_both(part, u8::is_ascii_lowercase)
}

/// Eight letters and digits with capitals, and a digit before the end: `Chapter1` is none.
fn is_mixed(part: &str) -> bool {
    let inner = part.trim_end_matches(|c: char| c.is_ascii_digit());
    part.len() == 8
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && has_both(inner, u8::is_ascii_uppercase)
}

fn has_both(part: &str, is_letter: impl Fn(&u8) -> bool) -> bool {
    part.bytes().any(|byte| byte.is_ascii_digit()) && part.bytes().any(|byte| is_letter(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_of_build_tools_are_seen() {
        for name in [
            "app.3f9a2b1c.js",
            "static/css/style.55e7cbb9ba48.css",
            "main-0a1b2c3d4e5f60718293.js.map",
            "index-B1k9QzXa.js",
            "chunk-QX7NLDQK.js",
            "logo_9e107d9d372bb6826bd81d3542a419d6.svg",
        ] {
            assert!(is_fingerprinted(name), "{name}");
        }
    }

    #[test]
    fn words_dates_and_versions_are_none() {
        for name in [
            "app.js",
            "report-20261124.pdf",
            "jquery-3.7.1.min.js",
            "bootstrap.bundle.min.js",
            "book-Chapter1.html",
            "logo-DarkMode.svg",
            "x.deadbeef.js",
            "3f9a2b1c.js",
            "3f9a2b1c",
            "app.3f9a2b1c",
            "3f9a2b1c/app.js",
            "a.3f9a2b1.js",
            "",
        ] {
            assert!(!is_fingerprinted(name), "{name}");
        }
    }
}
