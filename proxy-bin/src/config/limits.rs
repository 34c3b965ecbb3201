//! The keys of `[limits]`: the fields of [`Limits`] under their own names.
//!
//! Owns which unit a field has. Must not know defaults: those are the edge's.

use super::error::At;
use super::section::{Reader, Section};
use forebay::Limits;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// Every field of [`Limits`] that matters without handlers that dawdle.
pub(crate) const KEYS: [&str; 21] = [
    "client_header_timeout",
    "client_body_timeout",
    "send_timeout",
    "rate_min",
    "keepalive_timeout",
    "keepalive_requests",
    "lingering_timeout",
    "head_bytes",
    "head_fields",
    "target_bytes",
    "content_memory",
    "content_max",
    "response_head_bytes",
    "response_memory",
    "response_max",
    "memory_budget",
    "spool_budget",
    "connections",
    "connections_per_address",
    "slots",
    "pipelined",
];

/// The defaults, changed by what is written.
pub(crate) fn read(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Limits {
    let mut limits = Limits::default();
    let Some(section) = Section::open(reader, "[limits]".into(), value, &KEYS) else {
        return limits;
    };
    let mut fields = Fields { reader, section };
    fields.duration("client_header_timeout", &mut limits.client_header_timeout);
    fields.duration("client_body_timeout", &mut limits.client_body_timeout);
    fields.duration("send_timeout", &mut limits.send_timeout);
    fields.size_or_none("rate_min", &mut limits.rate_min);
    fields.duration("keepalive_timeout", &mut limits.keepalive_timeout);
    fields.count("keepalive_requests", u64::MAX, &mut limits.keepalive_requests);
    fields.duration("lingering_timeout", &mut limits.lingering_timeout);
    fields.head_size("head_bytes", &mut limits.head_bytes);
    fields.count("head_fields", Limits::HEAD_FIELDS_MOST, &mut limits.head_fields);
    fields.size("target_bytes", &mut limits.target_bytes);
    fields.size("content_memory", &mut limits.content_memory);
    fields.size("content_max", &mut limits.content_max);
    fields.head_size("response_head_bytes", &mut limits.response_head_bytes);
    fields.size("response_memory", &mut limits.response_memory);
    fields.size("response_max", &mut limits.response_max);
    fields.size("memory_budget", &mut limits.memory_budget);
    fields.size("spool_budget", &mut limits.spool_budget);
    fields.count("connections", usize::MAX, &mut limits.connections);
    limits.connections_per_address = Limits::per_address_for(limits.connections);
    let per_address = &mut limits.connections_per_address;
    fields.count("connections_per_address", usize::MAX, per_address);
    fields.count("slots", usize::MAX, &mut limits.slots);
    fields.count("pipelined", usize::MAX, &mut limits.pipelined);
    limits
}

struct Fields<'r, 'l, 's, 't> {
    reader: &'r mut Reader<'l>,
    section: Section<'s, 't>,
}

impl Fields<'_, '_, '_, '_> {
    fn duration(&mut self, key: &str, field: &mut Duration) {
        let written = self.section.duration(self.reader, key);
        let Some(At { value, line }) = written else { return };
        if value.is_zero() {
            let what = match key {
                "keepalive_timeout" => "must be more than nothing; `keepalive_requests = 1` is off",
                _ => "must be more than nothing",
            };
            self.section.complain(self.reader, key, line, what);
        }
        *field = value;
    }

    fn size<N: TryFrom<u64>>(&mut self, key: &str, field: &mut N) {
        let written = self.section.size(self.reader, key);
        self.store(key, written, field);
    }

    fn head_size(&mut self, key: &str, field: &mut usize) {
        let least = Limits::HEAD_BYTES_LEAST;
        match self.section.size(self.reader, key) {
            Some(At { value, line }) if value < least as u64 => {
                let what = format!("= {value} has no room for a head: write {least} or more");
                self.section.complain(self.reader, key, line, &what);
            }
            written => self.store(key, written, field),
        }
    }

    /// 0 stands for no bound.
    fn size_or_none(&mut self, key: &str, field: &mut u64) {
        if let Some(At { value, .. }) = self.section.size(self.reader, key) {
            *field = value;
        }
    }

    fn count<N>(&mut self, key: &str, most: N, field: &mut N)
    where
        N: TryFrom<u64> + PartialOrd + std::fmt::Display,
    {
        let Some(written) = self.section.count(self.reader, key) else { return };
        let line = written.line;
        self.store(key, Some(written), field);
        if *field > most {
            self.section.complain(self.reader, key, line, &format!("may be {most} at most"));
        }
    }

    fn store<N: TryFrom<u64>>(&mut self, key: &str, written: Option<At<u64>>, field: &mut N) {
        let Some(At { value, line }) = written else { return };
        match N::try_from(value) {
            Ok(number) if value > 0 => *field = number,
            Ok(_) => self.section.complain(self.reader, key, line, "must be 1 at least"),
            Err(_) => {
                self.section.complain(self.reader, key, line, "is too large for this machine")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    fn limits(text: &str) -> Result<Limits, Vec<String>> {
        let text = format!("{}\n[limits]\n{text}", crate::config::tests::SMALLEST);
        let errors = |e: Vec<_>| e.iter().map(ToString::to_string).collect();
        parse(&text, Path::new("/x/f.toml")).map(|config| config.limits).map_err(errors)
    }

    #[test]
    fn every_field_has_its_key() {
        let debug = format!("{:?}", Limits::default());
        let fields = debug.split([' ', '{']).filter_map(|word| word.strip_suffix(':'));
        // A configuration has no handlers.
        let fields: Vec<_> = fields.filter(|field| *field != "handler_timeout").collect();
        assert_eq!(fields, KEYS);
    }

    #[test]
    fn every_key_reaches_its_field() {
        for key in KEYS {
            let value = match key {
                _ if key.ends_with("_timeout") => "\"7s\"",
                "head_bytes" | "response_head_bytes" => "777",
                _ => "7",
            };
            let changed = limits(&format!("{key} = {value}")).unwrap();
            assert!(format!("{changed:?}").contains(&format!("{key}: 7")), "{key}");
        }
    }

    #[test]
    fn bounds_name_line_and_value() {
        for (wrong, says) in [
            ("head_fields = 257", "may be 256 at most"),
            ("head_fields = 0", "must be 1 at least"),
            ("head_bytes = 1", "`head_bytes` in [limits] = 1 has no room for a head: write 512 or"),
            ("send_timeout = \"0s\"", "must be more than nothing"),
            ("keepalive_timeout = 0", "more than nothing; `keepalive_requests = 1` is off"),
            ("content_max = \"16MB\"", "`content_max` in [limits] = \"16MB\": unit `MB`"),
            ("connections = \"64KiB\"", "must be a whole number without quotes, not string"),
            ("content_max = -1", "= -1 is not between 0 and"),
        ] {
            let errors = limits(wrong).unwrap_err();
            assert!(
                errors[0].starts_with("/x/f.toml:9: ") && errors[0].contains(says),
                "{errors:?}"
            );
        }
    }
}
