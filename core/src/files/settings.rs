//! What may be set about files that a route serves.
//!
//! Owns the public description and its checks. Must not know open files.

use super::fingerprint::is_fingerprinted;
use super::name;
use crate::http;
use std::path::PathBuf;

/// Directories that a route serves files from.
///
/// The part of a request's path after the route's prefix, percent-decoded once, names a regular
/// file beneath a directory; the kernel makes sure of *beneath* (openat2(2), `RESOLVE_BENEATH`),
/// so symbolic links that leave it, and absolute ones, are not found. Names that start with a dot
/// are not found either, except `.well-known` at the top. A file that we may not read is 403,
/// everything else that cannot be served 404.
///
/// A changed file is seen within a second, and so is another directory in the place of this one,
/// such as behind a symbolic link `current` that has been renamed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) index: String,
    /// Percent-encoded, like the path of a request.
    pub(super) fallback: Option<String>,
    pub(super) precompressed: bool,
    pub(super) immutable: bool,
    pub(super) symlinks: Symlinks,
    pub(super) headers: Headers,
    pub(super) rules: Vec<FileRule>,
}

/// Whether names may lead through symbolic links beneath the directory. The directory itself may
/// always be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Symlinks {
    /// Relative ones that do not leave the directory.
    #[default]
    Beneath,
    /// None: such a name is not found.
    Deny,
}

/// Other fields for some of a route's files; see [`Files::rule`].
///
/// ```
/// # use forebay::{FileRule, Files};
/// let site = Files::new("site")
///     .cache_control("max-age=3600")
///     .rule(FileRule::matching("*.html").cache_control("no-cache"))
///     .rule(FileRule::matching("fonts/**").field("Access-Control-Allow-Origin", "*"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// `None`: it is malformed.
    pattern: Option<glob::Pattern>,
    is_for_paths: bool,
    headers: Headers,
}

/// Fields that answers with files get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) cache_control: Option<String>,
    pub(super) fields: Vec<(String, String)>,
}

impl Files {
    /// Serves what is beneath `directory`. A relative one is relative to the working directory
    /// at the time the server is built.
    pub fn new(directory: impl Into<PathBuf>) -> Files {
        Files {
            directories: vec![directory.into()],
            index: "index.html".into(),
            fallback: None,
            precompressed: false,
            immutable: false,
            symlinks: Symlinks::default(),
            headers: Headers::default(),
            rules: Vec::new(),
        }
    }

    /// What is not found in the directories so far is looked for beneath this one.
    pub fn then(mut self, directory: impl Into<PathBuf>) -> Files {
        self.directories.push(directory.into());
        self
    }

    /// The file that answers for a directory, default `index.html`: one name, without `/`.
    pub fn index(mut self, name: impl Into<String>) -> Files {
        self.index = name.into();
        self
    }

    /// The file that answers, with 200, for every name that is not found, default none: the page
    /// of an application that knows the paths itself. Relative to the directories.
    pub fn fallback(mut self, name: impl Into<String>) -> Files {
        self.fallback = Some(name.into().replace('%', "%25"));
        self
    }

    /// Whether `NAME.br`, `NAME.zst` and `NAME.gz` answer for `NAME` when they are there and the
    /// client prefers them by its `Accept-Encoding` (RFC 9110 §12.5.3), default no. Whoever
    /// changes a file has to make them anew.
    pub fn precompressed(mut self, yes: bool) -> Files {
        self.precompressed = yes;
        self
    }

    /// Whether files with a fingerprint in their name, such as `app.3f9a2b1c.js` or
    /// `index-B1k9QzXa.js`, are sent with `Cache-Control: public, max-age=31536000, immutable`
    /// (RFC 8246), default no.
    pub fn immutable(mut self, yes: bool) -> Files {
        self.immutable = yes;
        self
    }

    /// Which symbolic links are followed, default [`Symlinks::Beneath`].
    pub fn symlinks(mut self, symlinks: Symlinks) -> Files {
        self.symlinks = symlinks;
        self
    }

    /// The value of `Cache-Control` for every file (RFC 9111 §5.2), default none.
    pub fn cache_control(mut self, value: impl Into<String>) -> Files {
        self.headers.cache_control = Some(value.into());
        self
    }

    /// One more field for every file, in 200, 206 and 304. `Content-Type` is sent instead of the
    /// type that the name suggests.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Files {
        self.headers.fields.push((name.into(), value.into()));
        self
    }

    /// Other fields for files that match a pattern. Of several rules the first that matches
    /// counts: its `Cache-Control` before all else, its fields besides those for every file.
    pub fn rule(mut self, rule: FileRule) -> Files {
        self.rules.push(rule);
        self
    }

    /// Whether the settings can be used; building a server checks that, too.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn validate(&self) -> Result<(), &'static str> {
        let is_plain = |byte: u8| byte != b'/' && !byte.is_ascii_control();
        if self.index.is_empty() || self.index.starts_with('.') || !self.index.bytes().all(is_plain)
        {
            return Err("the index of a directory is one file name that starts without a dot");
        }
        if let Some(path) = &self.fallback
            && (name::is_directory(path) || name::resolve(path, "").is_none())
        {
            return Err("the fallback is the name of a file beneath the directory");
        }
        self.headers.validate()?;
        self.rules.iter().try_for_each(FileRule::validate)
    }

    /// The value of `Cache-Control` for a file, and its other fields.
    pub(super) fn headers_for(&self, name: &str) -> (Option<&str>, Vec<&(String, String)>) {
        let rule = self.rules.iter().find(|rule| rule.matches(name)).map(|rule| &rule.headers);
        let is_immutable = self.immutable && is_fingerprinted(name);
        let own =
            if is_immutable { Some(IMMUTABLE) } else { self.headers.cache_control.as_deref() };
        let cache_control = rule.and_then(|rule| rule.cache_control.as_deref()).or(own);
        let of_rule = rule.into_iter().flat_map(|rule| &rule.fields);
        let overrides = |name: &str| rule.is_some_and(|rule| rule.field(name).is_some());
        let general = self.headers.fields.iter().filter(|(name, _)| !overrides(name));
        (cache_control, general.chain(of_rule).collect())
    }
}

impl FileRule {
    /// For files whose name matches. `*` stands for any characters but `/`, `?` for one of them,
    /// `[a-z]` for one of these, `**` for any directories. A pattern with a `/` is matched with
    /// the whole path beneath the directory, any other with the last name in it.
    pub fn matching(pattern: &str) -> FileRule {
        FileRule {
            pattern: glob::Pattern::new(pattern).ok().filter(|_| !pattern.is_empty()),
            is_for_paths: pattern.contains('/'),
            headers: Headers::default(),
        }
    }

    /// The value of `Cache-Control`, instead of that for every file.
    pub fn cache_control(mut self, value: impl Into<String>) -> FileRule {
        self.headers.cache_control = Some(value.into());
        self
    }

    /// One more field, instead of one of the same name for every file.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> FileRule {
        self.headers.fields.push((name.into(), value.into()));
        self
    }

    /// Whether the rule can be used.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn validate(&self) -> Result<(), &'static str> {
        if self.pattern.is_none() {
            return Err("a pattern consists of names, *, ?, [a-z], and ** as a whole name");
        }
        if self.pattern.as_ref().is_some_and(|pattern| pattern.as_str().starts_with('/')) {
            return Err("a pattern begins beneath the directory: leave the first / out");
        }
        self.headers.validate()
    }

    fn matches(&self, name: &str) -> bool {
        let part = if self.is_for_paths { name } else { name.rsplit('/').next().unwrap_or(name) };
        self.pattern.as_ref().is_some_and(|pattern| pattern.matches_with(part, AS_IN_SHELLS))
    }
}

impl Headers {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        fields.next().map(|(_, value)| value.as_str())
    }

    fn validate(&self) -> Result<(), &'static str> {
        if self.cache_control.iter().any(|value| !http::is_field_value(value.as_bytes())) {
            return Err("the value of Cache-Control contains a control character");
        }
        self.fields.iter().try_for_each(|(name, value)| check_field(name, value))
    }
}

/// Whether answers with files may be given this field.
fn check_field(name: &str, value: &str) -> Result<(), &'static str> {
    if !http::is_token(name.as_bytes()) {
        return Err("the name of a field is letters, digits and -");
    }
    if !http::is_field_value(value.as_bytes()) {
        return Err("the value of a field contains a control character");
    }
    if name.eq_ignore_ascii_case("Cache-Control") {
        return Err("Cache-Control has a setting of its own: cache_control");
    }
    let is_ours = OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    match is_ours || http::is_hop_by_hop(name) {
        true => Err("this field is written by the server itself"),
        false => Ok(()),
    }
}

const OURS: [&str; 8] = [
    "Accept-Ranges",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Date",
    "ETag",
    "Last-Modified",
    "Location",
];

/// A year, which is as long as anybody caches.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

const AS_IN_SHELLS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_control<'f>(files: &'f Files, name: &str) -> Option<&'f str> {
        files.headers_for(name).0
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let files = Files::new("d")
            .cache_control("max-age=60")
            .field("X-A", "1")
            .field("X-B", "1")
            .rule(FileRule::matching("*.html").cache_control("no-cache").field("x-b", "2"))
            .rule(FileRule::matching("a/**").cache_control("private"))
            .rule(FileRule::matching("a/b?/[x-z].txt").cache_control("never"))
            .rule(FileRule::matching("img/*").field("X-C", "3"));
        assert_eq!(files.validate(), Ok(()));
        assert_eq!(cache_control(&files, "x/y.html"), Some("no-cache"));
        assert_eq!(cache_control(&files, "a/b1/x.txt"), Some("private"));
        assert_eq!(cache_control(&files, "img/x.png"), Some("max-age=60"));
        assert_eq!(cache_control(&files, "img/more/x.png"), Some("max-age=60"));
        let fields = |name| {
            let fields = files.headers_for(name).1;
            fields.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(fields("x.html"), "X-A: 1, x-b: 2");
        assert_eq!(fields("img/x.png"), "X-A: 1, X-B: 1, X-C: 3");
        assert_eq!(fields("img/more/x.png"), "X-A: 1, X-B: 1");
    }

    #[test]
    fn fingerprinted_names_are_immutable_unless_a_rule_says_otherwise() {
        let files = Files::new("d").cache_control("no-cache").immutable(true);
        assert_eq!(cache_control(&files, "js/app.3f9a2b1c.js"), Some(IMMUTABLE));
        assert_eq!(cache_control(&files, "js/app.js"), Some("no-cache"));
        let files = files.rule(FileRule::matching("js/*").cache_control("max-age=1"));
        assert_eq!(cache_control(&files, "js/app.3f9a2b1c.js"), Some("max-age=1"));
    }

    #[test]
    fn settings_that_could_leave_the_directory_or_the_field_are_refused() {
        let good =
            Files::new("d").index("home.html").cache_control("no-cache").fallback("a/100%.x");
        assert_eq!(good.validate(), Ok(()));
        let is_bad = |files: Files| files.validate().is_err();
        for index in ["", "..", ".hidden", "a/b", "a\0b"] {
            assert!(is_bad(Files::new("d").index(index)), "{index:?}");
        }
        for fallback in ["", "a/", "/a", "../a", "a/../b", ".env", "a//b", "a\\b", "a\0"] {
            assert!(is_bad(Files::new("d").fallback(fallback)), "{fallback:?}");
        }
        assert!(is_bad(Files::new("d").cache_control("a\r\nSet-Cookie: b")));
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a", "x\r\ny"),
            ("Content-Length", "1"),
            ("etag", "x"),
            ("Connection", "close"),
            ("Cache-Control", "x"),
        ] {
            assert!(is_bad(Files::new("d").field(name, value)), "{name:?}");
            assert!(is_bad(Files::new("d").rule(FileRule::matching("*").field(name, value))));
        }
        for pattern in ["", "a**", "[", "***"] {
            assert!(is_bad(Files::new("d").rule(FileRule::matching(pattern))), "{pattern:?}");
        }
    }
}
