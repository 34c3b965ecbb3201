//! One table of the file, read key by key.
//!
//! Owns types, units and unknown keys. Must not know what a key means.

use super::error::{At, Lines, Problems, suggestion};
use super::units;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// The text, and what has been found wrong with it so far.
pub(crate) struct Reader<'t> {
    pub(crate) lines: Lines<'t>,
    pub(crate) problems: Problems,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str, file: &Path) -> Reader<'t> {
        Reader { lines: Lines(text), problems: Problems::new(file) }
    }
}

/// A table and its name, such as `[pool.app]`.
pub(crate) struct Section<'s, 't> {
    pub(crate) name: String,
    pub(crate) line: usize,
    table: &'s DeTable<'t>,
}

impl<'s, 't> Section<'s, 't> {
    /// `value` as a table with no other keys than `known`.
    pub(crate) fn open(
        reader: &mut Reader<'_>,
        name: String,
        value: &'s Spanned<DeValue<'t>>,
        known: &[&str],
    ) -> Option<Section<'s, 't>> {
        let line = reader.lines.of(value.span());
        let DeValue::Table(table) = value.get_ref() else {
            let found = value.get_ref().type_str();
            reader.problems.add(line, format!("{name} must be a table, not {found}"));
            return None;
        };
        Some(Section::root(reader, name, line, table, known))
    }

    /// The file's outermost table, or any other whose line is known.
    pub(crate) fn root(
        reader: &mut Reader<'_>,
        name: String,
        line: usize,
        table: &'s DeTable<'t>,
        known: &[&str],
    ) -> Section<'s, 't> {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref();
            let hint = suggestion(word, known.iter().copied());
            let message = format!("unknown key `{word}` in {name}{hint}");
            reader.problems.add(reader.lines.of(key.span()), message);
        }
        Section { name, line, table }
    }

    /// What stands at `key`, whatever it is.
    pub(crate) fn value(&self, key: &str) -> Option<&'s Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Keys and values with the line of the key: the names in `[pool.NAME]`.
    pub(crate) fn entries<'r>(
        &'r self,
        reader: &Reader<'_>,
    ) -> impl Iterator<Item = (At<&'s str>, &'s Spanned<DeValue<'t>>)> + use<'r, 's, 't> {
        let entries = self.table.iter().map(|(key, value)| {
            (At { value: key.get_ref().as_ref(), line: reader.lines.of(key.span()) }, value)
        });
        entries.collect::<Vec<_>>().into_iter()
    }

    /// A string that is not empty.
    pub(crate) fn string(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<String>> {
        self.read(reader, key, "a string", |value| match value {
            DeValue::String(text) if text.is_empty() => {
                Some(Err("is empty: write a value or leave the key out".into()))
            }
            DeValue::String(text) => Some(Ok(text.to_string())),
            _ => None,
        })
    }

    /// A string that must be there; `example` is what to write.
    pub(crate) fn required(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        example: &str,
    ) -> Option<At<String>> {
        if self.value(key).is_none() {
            self.complain(reader, key, self.line, &format!("is missing: write {key} = {example}"));
        }
        self.string(reader, key)
    }

    /// A string that may be empty.
    pub(crate) fn text(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<String>> {
        self.read(reader, key, "a string", |value| Some(Ok(value.as_str()?.to_owned())))
    }

    /// A name, or its number with or without quotes.
    pub(crate) fn name(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<String>> {
        let expected = "a name or a number";
        self.read(reader, key, expected, |value| match name(value) {
            Some(name) if name.is_empty() => Some(Err("is empty: write a name".into())),
            name => name.map(Ok),
        })
    }

    /// A list of names or numbers, not empty, each with its line.
    pub(crate) fn names(&self, reader: &mut Reader<'_>, key: &str) -> Option<Vec<At<String>>> {
        self.list(reader, key, "names or numbers", name)
    }

    /// A list of strings, not empty, each with its line.
    pub(crate) fn strings(&self, reader: &mut Reader<'_>, key: &str) -> Option<Vec<At<String>>> {
        self.list(reader, key, "strings", |value| Some(value.as_str()?.to_owned()))
    }

    fn list(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        of: &str,
        take: impl Fn(&DeValue<'_>) -> Option<String>,
    ) -> Option<Vec<At<String>>> {
        let value = self.value(key)?;
        let line = reader.lines.of(value.span());
        let strings = value.get_ref().as_array().and_then(|array| {
            let item = |item: &Spanned<DeValue<'_>>| {
                let value = take(item.get_ref())?;
                Some(At { value, line: reader.lines.of(item.span()) })
            };
            array.iter().map(item).collect::<Option<Vec<_>>>()
        });
        match strings {
            Some(strings) if !strings.is_empty() => return Some(strings),
            Some(_) => self.complain(reader, key, line, "is empty: fill it or leave the key out"),
            None => {
                let what = format!("must be a list of {of}: [\"…\", \"…\"]");
                self.complain(reader, key, line, &what);
            }
        }
        None
    }

    /// A duration with its unit, such as `"10s"`.
    pub(crate) fn duration(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<Duration>> {
        self.read(reader, key, "a duration in quotes, such as \"10s\"", |value| match value {
            DeValue::String(text) => Some(units::duration(text).map_err(|e| format!("= {e}"))),
            DeValue::Integer(number) if number.as_str() == "0" => Some(Ok(Duration::ZERO)),
            DeValue::Integer(number) => {
                Some(Err(format!("= {number} has no unit, write for example \"{number}s\"")))
            }
            _ => None,
        })
    }

    /// So many in some time, such as `"5/s"`.
    pub(crate) fn rate(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<(u32, Duration)>> {
        self.read(reader, key, "a rate in quotes, such as \"5/s\"", |value| match value {
            DeValue::String(text) => Some(units::rate(text).map_err(|e| format!("= {e}"))),
            DeValue::Integer(number) => {
                Some(Err(format!("= {number} has no unit, write for example \"{number}/s\"")))
            }
            _ => None,
        })
    }

    /// A size in bytes: a number, or with a unit, such as `"16MiB"`.
    pub(crate) fn size(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<u64>> {
        let expected = "a size, such as \"64KiB\" or a number of bytes";
        self.read(reader, key, expected, |value| match value {
            DeValue::String(text) => Some(units::size(text).map_err(|e| format!("= {e}"))),
            DeValue::Integer(number) => Some(whole(number)),
            _ => None,
        })
    }

    /// True or false.
    pub(crate) fn flag(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<bool>> {
        self.read(reader, key, "true or false", |value| value.as_bool().map(Ok))
    }

    /// A table of strings by name, each with its line.
    pub(crate) fn texts(&self, reader: &mut Reader<'_>, key: &str) -> Vec<(String, At<String>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            let what = "must be a table: { \"X-Frame-Options\" = \"DENY\" }";
            self.complain(reader, key, reader.lines.of(value.span()), what);
            return Vec::new();
        };
        let names: Vec<_> = table.keys().map(|name| name.get_ref().as_ref()).collect();
        let line = reader.lines.of(value.span());
        let section = Section::root(reader, format!("`{key}`"), line, table, &names);
        let text = |name| Some((String::from(name), section.text(reader, name)?));
        names.iter().copied().filter_map(text).collect()
    }

    /// A whole number.
    pub(crate) fn count(&self, reader: &mut Reader<'_>, key: &str) -> Option<At<u64>> {
        self.read(reader, key, "a whole number without quotes", |value| match value {
            DeValue::Integer(number) => Some(whole(number)),
            _ => None,
        })
    }

    /// One more problem with the value of `key`.
    pub(crate) fn complain(&self, reader: &mut Reader<'_>, key: &str, line: usize, what: &str) {
        reader.problems.add(line, format!("`{key}` in {} {what}", self.name));
    }

    /// `take` answers `None` for a wrong type, and an error for a wrong value.
    fn read<T>(
        &self,
        reader: &mut Reader<'_>,
        key: &str,
        expected: &str,
        take: impl FnOnce(&DeValue<'_>) -> Option<Result<T, String>>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let line = reader.lines.of(value.span());
        let found = value.get_ref().type_str();
        let wrong = match take(value.get_ref()) {
            Some(Ok(value)) => return Some(At { value, line }),
            Some(Err(wrong)) => wrong,
            None => format!("must be {expected}, not {found}"),
        };
        self.complain(reader, key, line, &wrong);
        None
    }
}

fn name(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => whole(number).ok().map(|number| number.to_string()),
        _ => None,
    }
}

fn whole(integer: &DeInteger<'_>) -> Result<u64, String> {
    u64::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|number| *number <= units::LARGEST)
        .ok_or_else(|| {
            let most = units::LARGEST;
            format!("= {integer} is not between 0 and {most}: write such a number")
        })
}
