//! The sources keep the house rules. Every offence is listed, so that one run is enough.

use forebay_tests::source::{code_only, crate_modules, functions, words};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS: usize = 100;
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Functions that may be longer, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Where `unsafe` may be written. Elsewhere the compiler denies it; this list keeps exceptions few.
const UNSAFE: &[&str] = &[
    "benches/compare/bare/mod.rs",
    "benches/compare/process.rs",
    "core/src/allocations.rs",
    "core/src/io/",
    "proxy-bin/src/sys.rs",
    "tests/src/sys.rs",
    "worker-bin/python/src/call.rs",
    "worker-bin/python/src/deadlines.rs",
    "worker-bin/python/src/latin1.rs",
    "worker-bin/python/src/slot.rs",
    "worker-bin/python/src/start_response.rs",
    "worker-bin/src/arbiter/process.rs",
    "worker-bin/src/identity.rs",
    "worker-bin/src/liveness.rs",
    "worker-bin/src/log_file.rs",
    "worker-bin/src/private.rs",
    "worker-bin/src/signals.rs",
    "worker-bin/src/socket.rs",
];

/// The modules of the crate `forebay`, and which of those above it each may name besides itself.
#[rustfmt::skip]
const MAY_NAME: &[(&str, &[&str])] = &[
    ("http", &[]),
    ("limits", &[]),
    ("growth", &[]),
    ("stats", &[]),
    ("io", &["growth"]),
    ("access_log", &["http", "io"]),
    ("handler", &["http", "io"]),
    ("files", &["http", "io"]),
    ("per_address", &["io"]),
    ("pool", &["io"]),
    ("route", &["http", "io", "handler", "per_address", "pool"]),
    ("conn", &[
        "http", "limits", "growth", "stats", "io", "access_log", "handler", "files", "per_address",
        "pool", "route",
    ]),
    ("reactor", &[
        "http", "limits", "growth", "stats", "io", "access_log", "handler", "files", "per_address",
        "pool", "route", "conn",
    ]),
    ("server", &[
        "http", "limits", "stats", "io", "access_log", "handler", "files", "per_address", "pool",
        "route", "conn", "reactor",
    ]),
];

/// What measures and fuzzes may name everything, and is named by nothing.
const SEES_ALL: &[&str] = &["allocations", "bench", "fuzz"];

/// Who may name the backends; state machines see operations as plain data.
const SEES_BACKEND: &[&str] = &["io", "reactor", "server", "bench"];

#[test]
fn the_list_of_tests_is_whole() {
    let all = sources();
    let list = all.iter().find(|source| source.name == "tests/src/lib.rs").expect("it is there");
    let tests = all.iter().filter_map(|source| {
        let name = source.name.strip_prefix("tests/tests/")?.strip_suffix(".rs")?;
        (!name.starts_with("rfc")).then_some((source, name))
    });
    let missing = tests.filter(|(_, name)| !list.text.contains(&format!("//! | `{name}` | ")));
    report(missing.map(|(source, _)| source.offence(1, "is not in the list of tests/src/lib.rs")));
}

#[test]
fn lines_fit() {
    let is_exempt = |line: &str| {
        let line = line.trim_start();
        line.starts_with("//") && (line.contains("://") || line.contains('|'))
    };
    report(sources().iter().flat_map(|source| {
        let long = source.lines().filter(move |(_, line)| line.chars().count() > COLUMNS);
        long.filter(move |(_, line)| !is_exempt(line))
            .map(|(number, _)| source.offence(number, &format!("more than {COLUMNS} columns")))
    }));
}

#[test]
fn nothing_is_left_over() {
    let notes = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
    let macros = ["dbg!", "todo!", "unimplemented!"];
    report(sources().iter().flat_map(|source| {
        let in_text = source.lines().flat_map(move |(number, line)| {
            let found = notes.into_iter().filter(move |note| has_word(line, note));
            found.map(move |note| source.offence(number, note))
        });
        let in_code = numbered(&source.code).flat_map(move |(number, line)| {
            let found = macros.into_iter().filter(move |name| line.contains(name));
            found.map(move |name| source.offence(number, name))
        });
        in_text.chain(in_code)
    }));
}

#[test]
fn files_say_what_they_own() {
    let bare = sources().into_iter().filter(|s| !s.name.ends_with("build.rs"));
    let bare = bare.filter(|source| !source.text.starts_with("//!"));
    report(bare.map(|source| source.offence(1, "does not begin with //!")));
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter(|s| s.lines().count() > FILE_LINES);
    report(long.map(|source| {
        let count = source.lines().count();
        source.offence(count, &format!("{count} lines, at most {FILE_LINES}"))
    }));
}

#[test]
fn functions_are_short() {
    let all = sources();
    let measured = || all.iter().flat_map(|s| functions(&s.code).into_iter().map(move |f| (s, f)));
    let is_long = |lines| lines > FUNCTION_LINES;
    let name = |source: &Source, function: &str| format!("{}:{function}", source.name);
    let is_excused = |name: &str| LONG_FUNCTIONS.iter().any(|(excused, _)| *excused == name);

    let long = measured().filter(|(source, function)| {
        is_long(function.lines) && !is_excused(&name(source, &function.name))
    });
    let long = long.map(|(source, function)| {
        let what =
            format!("{} has {} lines, at most {FUNCTION_LINES}", function.name, function.lines);
        source.offence(function.line, &what)
    });
    let stale = LONG_FUNCTIONS.iter().filter(|(excused, _)| {
        !measured().any(|(s, f)| is_long(f.lines) && name(s, &f.name) == *excused)
    });
    report(long.chain(stale.map(|(excused, _)| format!("{excused} needs no excuse any more"))));
}

#[test]
fn unsafe_is_where_it_belongs() {
    let elsewhere = sources().into_iter().filter(|s| !UNSAFE.iter().any(|u| s.name.starts_with(u)));
    report(elsewhere.flat_map(|source| {
        let lines: Vec<_> = numbered(&source.code)
            .filter(|(_, line)| has_word(line, "unsafe"))
            .map(|(number, _)| source.offence(number, "unsafe outside of the listed places"))
            .collect();
        lines
    }));
}

#[test]
fn dependencies_point_one_way() {
    report(core_sources().iter().flat_map(|(module, source)| {
        let lines = numbered(&source.code).filter(|(_, line)| line.contains("crate::"));
        let lines: Vec<_> = lines.map(|(number, _)| number).collect();
        let foreign: Vec<_> =
            crate_modules(&source.code).into_iter().filter(|m| forbids(module, m)).collect();
        foreign.into_iter().map(move |other| {
            let is_it = |number: &&usize| source.code_line(**number).contains(&other);
            let line = lines.iter().find(is_it).copied().unwrap_or(1);
            source.offence(line, &format!("{module} must not know {other}"))
        })
    }));
}

#[test]
fn every_module_has_its_place() {
    let found: BTreeSet<String> = core_sources().into_iter().map(|(module, _)| module).collect();
    let listed: &Vec<&str> = &MAY_NAME.iter().map(|(module, _)| *module).collect();
    let has_place = |module: &str| listed.contains(&module) || SEES_ALL.contains(&module);
    let missing = found.iter().filter(|module| !has_place(module));
    let missing = missing.map(|module| format!("core/src/{module} has no place in MAY_NAME"));
    let gone = listed.iter().chain(SEES_ALL).filter(|module| !found.contains(**module));
    let gone = gone.map(|module| format!("core/src/{module} is not there any more"));
    let upward = MAY_NAME.iter().enumerate().flat_map(|(place, (module, others))| {
        let others = others.iter().filter(move |other| !listed[..place].contains(other));
        others.map(move |other| format!("{module} must not know {other}, which is not above it"))
    });
    report(missing.chain(gone).chain(upward));
}

#[test]
fn only_reactors_see_the_kernel() {
    let others = core_sources().into_iter().filter(|(m, _)| !SEES_BACKEND.contains(&m.as_str()));
    report(others.flat_map(|(module, source)| {
        let names = ["Backend", "Uring", "sim", "io_uring"];
        let lines =
            numbered(&source.code).filter(|(_, line)| names.iter().any(|n| has_word(line, n)));
        let offence = |(number, _)| source.offence(number, &format!("{module} sees a backend"));
        lines.map(offence).collect::<Vec<_>>()
    }));
}

/// Whether a module of `forebay` is outside of another's horizon.
fn forbids(module: &str, other: &str) -> bool {
    let allowed = MAY_NAME.iter().find(|(name, _)| *name == module).map(|(_, others)| *others);
    // Types that the crate's root exports are written with a capital.
    let is_module = other.starts_with(|c: char| c.is_ascii_lowercase());
    module != other && is_module && allowed.is_some_and(|allowed| !allowed.contains(&other))
}

struct Source {
    /// Path below the root of the repository.
    name: String,
    text: String,
    code: String,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Source {
        let text = fs::read_to_string(path).expect("a file that was just found");
        let name = path.strip_prefix(root).expect("found below the root").display().to_string();
        Source { name, code: code_only(&text), text }
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.text)
    }

    fn code_line(&self, number: usize) -> &str {
        self.code.lines().nth(number - 1).unwrap_or_default()
    }

    fn offence(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.name)
    }
}

/// All Rust files of the repository, by name.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in a folder");
    let mut paths = rust_files(root);
    paths.sort();
    assert!(paths.len() > 10, "the sources are not below {}", root.display());
    paths.iter().map(|path| Source::read(root, path)).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("source folders can be read").flatten();
    entries
        .flat_map(|entry| {
            let (path, name) = (entry.path(), entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_hidden = name.to_string_lossy().starts_with('.') || name == "target";
            match (is_folder && !is_hidden, path.extension().is_some_and(|e| e == "rs")) {
                (true, _) => rust_files(&path),
                (false, true) => vec![path],
                (false, false) => Vec::new(),
            }
        })
        .collect()
}

/// The files of the crate `forebay`, each with its top-level module, without their tests.
fn core_sources() -> Vec<(String, Source)> {
    let modules = sources().into_iter().filter_map(|mut source| {
        let path = source.name.strip_prefix("core/src/")?.to_owned();
        let module = path.split(['/', '.']).next().unwrap_or_default().to_owned();
        let is_test = path.contains("test");
        if let Some(tests) = source.code.find("#[cfg(test)]\nmod tests {") {
            source.code.truncate(tests);
        }
        (module != "lib" && !is_test).then_some((module, source))
    });
    modules.collect()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn has_word(line: &str, word: &str) -> bool {
    words(line).any(|range| &line[range] == word)
}

fn report(offences: impl Iterator<Item = String>) {
    let offences: Vec<String> = offences.collect();
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}
