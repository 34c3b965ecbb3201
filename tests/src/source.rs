//! Reads Rust sources for the tidy test: which text is code, where functions begin and end.

use std::ops::Range;

/// The same text with comments, strings and character literals replaced by spaces. Offsets and
/// lines stay.
pub fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let len = opaque_len(bytes, at);
        for byte in &mut code[at..at + len] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += len.max(1);
    }
    String::from_utf8(code).expect("only whole tokens are replaced")
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, without path.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

/// The functions in text that [`code_only`] has made.
pub fn functions(code: &str) -> Vec<Function> {
    words(code)
        .filter(|word| &code[word.clone()] == "fn")
        .filter_map(|keyword| {
            let name = words(&code[keyword.end..]).next()?;
            let name = &code[keyword.end..][name];
            let body = body(code, keyword.end)?;
            let line = 1 + line_ends(&code[..keyword.start]);
            let lines = 1 + line_ends(&code[keyword.start..body.end]);
            Some(Function { name: name.to_owned(), line, lines })
        })
        .collect()
}

/// The words (identifiers, keywords, numbers) of a text, as ranges.
pub fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(is_word)?;
        at = start + bytes[start..].iter().take_while(|b| is_word(b)).count();
        Some(start..at)
    })
}

/// The modules of this crate that a text made by [`code_only`] names: `a` of `crate::a::B`, `a`
/// and `c` of `crate::{a::B, c}`.
pub fn crate_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(group_heads(group)),
            None => modules.extend(words(rest).next().map(|word| rest[word].to_owned())),
        }
    }
    modules
}

/// The first word of each element of `a::B, c::{d, e}, f}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                let element = &group[start..at];
                heads.extend(words(element).next().map(|word| element[word].to_owned()));
                start = at + 1;
                if byte == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// From a function's name to the end of its body; `None` if it has none.
fn body(code: &str, from: usize) -> Option<Range<usize>> {
    let (mut nested, mut braces) = (0, 0);
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested -= 1,
            b';' if nested == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' if braces == 1 => return Some(from..at + 1),
            b'}' => braces -= 1,
            _ => {}
        }
    }
    None
}

fn line_ends(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Length of the comment, string or character literal that begins at `at`; 0 if none does.
fn opaque_len(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let follows_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_len(rest),
        [b'"', ..] => quoted_len(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !follows_word => raw_string_len(rest),
        [b'b', b'r', ..] if !follows_word => match raw_string_len(&rest[1..]) {
            0 => 0,
            len => len + 1,
        },
        // A lifetime is followed by a word and no quote.
        [b'\'', b'\\', ..] => quoted_len(rest, b'\''),
        [b'\'', first, ..] => {
            let len = 1 + utf8_len(*first);
            if rest.get(len) == Some(&b'\'') { len + 1 } else { 0 }
        }
        _ => 0,
    }
}

fn utf8_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

fn quoted_len(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// 0 for a raw identifier.
fn raw_string_len(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let start = 2 + hashes;
    let found = bytes[start..].windows(end.len()).position(|window| window == end);
    found.map_or(bytes.len(), |at| start + at + end.len())
}

fn block_comment_len(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_remains() {
        for (source, words) in [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            (r#"f("x \" }", y)"#, "f( , y)"),
            (r##"f(r#"x " }"#, y)"##, "f( , y)"),
            ("f(b\"x\", br\"y\")", "f(b , )"),
            ("x = '{' 'a 'é' '\\'' b'}'", "x = 'a b"),
            ("r#type bar\"x\"", "r#type bar"),
        ] {
            let code = code_only(source);
            assert_eq!(code.len(), source.len(), "{source}");
            assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), words, "{source}");
        }
    }

    #[test]
    fn functions_are_measured() {
        let code =
            "trait T { fn a(&self, b: [u8; 2]); }\nfn c() -> X {\n  if d { e }\n}\nfn f() {}";
        let found: Vec<_> =
            functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("c".to_owned(), 2, 3), ("f".to_owned(), 5, 1)]);
    }

    #[test]
    fn modules_are_found() {
        let code = "use crate::a::B; use crate::{c::{D, e}, f}; pub(crate) fn g() { crate::h() }";
        assert_eq!(crate_modules(code), ["a", "c", "f", "h"]);
    }
}
