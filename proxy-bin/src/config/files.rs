//! The keys that go with `files`: which directories, and how files are answered.
//!
//! Owns their types and meaning. What makes no sense is the library's to say; this only knows the
//! lines. Must not look at the file system.

use super::error::{At, Problems};
use super::section::{Reader, Section};
use forebay::{FileRule, Files, Symlinks};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeValue;

/// What was written.
pub(crate) struct Written {
    roots: Vec<At<String>>,
    index: Option<At<String>>,
    fallback: Option<At<String>>,
    precompressed: Option<At<bool>>,
    immutable: Option<At<bool>>,
    symlinks: Option<At<String>>,
    headers: Headers,
    rules: Vec<Rule>,
}

/// Fields of answers, for all files or by a rule.
struct Headers {
    cache_control: Option<At<String>>,
    fields: Vec<(String, At<String>)>,
}

/// One table of `rules`.
struct Rule {
    pattern: Option<At<String>>,
    headers: Headers,
}

/// The keys of a route that belong to `files`.
pub(crate) const KEYS: [&str; 8] = [
    "index",
    "fallback",
    "precompressed",
    "immutable",
    "symlinks",
    "cache_control",
    "fields",
    "rules",
];

/// Reads them; `None` without a directory.
pub(crate) fn read(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Option<Written> {
    let is_list = section.value("files")?.get_ref().is_array();
    let roots = match is_list {
        true => section.strings(reader, "files")?,
        false => vec![section.string(reader, "files")?],
    };
    Some(Written {
        roots,
        index: section.string(reader, "index"),
        fallback: section.string(reader, "fallback"),
        precompressed: section.flag(reader, "precompressed"),
        immutable: section.flag(reader, "immutable"),
        symlinks: section.string(reader, "symlinks"),
        headers: headers(reader, section),
        rules: rules(reader, section),
    })
}

fn headers(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Headers {
    Headers {
        cache_control: section.string(reader, "cache_control"),
        fields: section.texts(reader, "fields"),
    }
}

fn rules(reader: &mut Reader<'_>, section: &Section<'_, '_>) -> Vec<Rule> {
    let Some(value) = section.value("rules") else { return Vec::new() };
    let Some(rules) = value.get_ref().as_array() else {
        let line = reader.lines.of(value.span());
        let what = "must be a list: [{ match = \"*.html\", cache_control = \"no-cache\" }]";
        section.complain(reader, "rules", line, what);
        return Vec::new();
    };
    rules.iter().filter_map(|value| rule(reader, value)).collect()
}

fn rule(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Rule> {
    let known = ["match", "cache_control", "fields"];
    let section = Section::open(reader, "`rules`".into(), value, &known)?;
    let pattern = section.required(reader, "match", "\"*.html\"");
    Some(Rule { pattern, headers: headers(reader, &section) })
}

impl Written {
    /// What it means, relative to `directory`.
    pub(crate) fn resolve(
        self,
        problems: &mut Problems,
        directory: &Path,
    ) -> (Vec<At<PathBuf>>, Files) {
        let roots: Vec<_> =
            self.roots.iter().map(|root| root.with(directory.join(&root.value))).collect();
        let (first, others) = roots.split_first().expect("a list is read only if it is not empty");
        let mut files = Files::new(&first.value);
        for root in others {
            files = files.then(&root.value);
        }
        files = files.precompressed(self.precompressed.is_some_and(|flag| flag.value));
        files = files.immutable(self.immutable.is_some_and(|flag| flag.value));
        if let Some(At { value, line }) = self.index {
            files = checked(files, problems, ("index", &value, line), |f| f.index(&value));
        }
        if let Some(At { value, line }) = self.fallback {
            files = checked(files, problems, ("fallback", &value, line), |f| f.fallback(&value));
        }
        match self.symlinks.as_ref().map(|policy| (policy.value.as_str(), policy.line)) {
            None | Some(("beneath", _)) => {}
            Some(("deny", _)) => files = files.symlinks(Symlinks::Deny),
            Some((other, line)) => {
                problems.add(line, format!("symlinks {other:?}: write \"beneath\" or \"deny\""));
            }
        }
        if let Some(At { value, line }) = self.headers.cache_control {
            let what = ("cache_control", value.as_str(), line);
            files = checked(files, problems, what, |f| f.cache_control(&value));
        }
        for (name, At { value, line }) in self.headers.fields {
            files = checked(files, problems, (&name, &value, line), |f| f.field(&name, &value));
        }
        for rule in self.rules {
            files = rule.add_to(files, problems);
        }
        (roots, files)
    }
}

impl Rule {
    fn add_to(self, files: Files, problems: &mut Problems) -> Files {
        let Some(At { value: pattern, line }) = self.pattern else { return files };
        let what = ("match", pattern.as_str(), line);
        let mut rule = FileRule::matching(&pattern);
        let mut is_right = report(problems, what, rule.validate());
        if let Some(At { value, line }) = self.headers.cache_control {
            rule = rule.cache_control(&value);
            let what = ("cache_control", value.as_str(), line);
            is_right = is_right && report(problems, what, rule.validate());
        }
        for (name, At { value, line }) in self.headers.fields {
            rule = rule.field(&name, &value);
            is_right = is_right && report(problems, (&name, &value, line), rule.validate());
        }
        if is_right { files.rule(rule) } else { files }
    }
}

/// `files` with a change, or without if that makes no sense.
fn checked(
    files: Files,
    problems: &mut Problems,
    what: (&str, &str, usize),
    change: impl FnOnce(Files) -> Files,
) -> Files {
    let changed = change(files.clone());
    let is_right = report(problems, what, changed.validate());
    if is_right { changed } else { files }
}

fn report(
    problems: &mut Problems,
    (key, value, line): (&str, &str, usize),
    result: Result<(), &'static str>,
) -> bool {
    if let Err(why) = result {
        problems.add(line, format!("{key} {value:?}: {why}"));
    }
    result.is_ok()
}
