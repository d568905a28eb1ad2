//! The configuration file, still as text: which key has which value on which line.
//!
//! The file is walked by hand and not deserialised, so that every fault in it is found, each with its line.

use std::{collections::BTreeSet, path::Path};

use relay_providers::{nearest, pasted};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Faults, Origin},
    secret,
    settings::{SETTINGS, Setting},
    text_file,
};

/// A configuration file. It may hold secrets, so none of this has a `Debug`.
#[derive(Default)]
pub(crate) struct File {
    /// Whether anything stands in it: an editor that is about to save empties it first.
    pub(crate) is_written: bool,
    /// Settings at the top level.
    pub(crate) settings: Vec<(&'static Setting, Entry)>,
    /// `[source.NAME]`.
    pub(crate) sources: Vec<Section>,
    /// `[[route]]`.
    pub(crate) routes: Vec<Section>,
    /// `[destination.NAME]`.
    pub(crate) destinations: Vec<Section>,
    /// `[alert.NAME]`.
    pub(crate) alerts: Vec<Section>,
    /// `[[tls]]`.
    pub(crate) tls: Vec<Section>,
}

/// A table of the file.
pub(crate) struct Section {
    /// Its name; empty for a `[[route]]` and a `[[tls]]`.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) origin: Origin,
    /// Its keys.
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Key.
    pub(crate) key: String,
    /// One value, or those of an array.
    pub(crate) values: Vec<String>,
    /// Whether the value came out of another file, as secrets do.
    pub(crate) from_file: bool,
    /// Those of a table, such as the header fields of a destination.
    pub(crate) fields: Vec<Entry>,
    /// Where it stands.
    pub(crate) origin: Origin,
    /// It has no value, for a reason that was told.
    pub(crate) is_broken: bool,
}

impl Section {
    /// The entry of this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Entry {
    /// One without a value.
    fn of(key: &str, origin: &Origin) -> Self {
        let (key, origin) = (key.to_owned(), origin.clone());
        Self { key, values: Vec::new(), from_file: false, fields: Vec::new(), origin, is_broken: false }
    }

    /// The value, those of an array with commas between them.
    pub(crate) fn text(&self) -> String {
        self.values.join(",")
    }
}

/// The one key whose value is a table.
const TABLE_KEY: &str = "headers";

/// Reads a configuration file.
pub(crate) fn read(path: &Path, faults: &mut Faults) -> File {
    match text_file::text(path) {
        Ok(text) => parse(path, &text, faults),
        Err(want) => {
            faults.add("--config", Some(path.display().to_string()), &Origin::Default, want);
            File::default()
        }
    }
}

/// Reads the text of a configuration file.
pub(crate) fn parse(path: &Path, text: &str, faults: &mut Faults) -> File {
    let text = text.trim_end_matches('\u{1a}');
    let begins = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut walk = Walk { path, text, begins, told: BTreeSet::new(), faults, reads_at: false };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            walk.not_toml(error.span().map_or(0, |span| span.start), error.message());
        }
        return File::default();
    }
    File { is_written: !text.trim().is_empty(), ..walk.top(table.get_ref()) }
}

/// What a line that is no TOML was meant to be.
fn slip(line: &str) -> Option<&'static str> {
    let line = line.trim();
    if line.contains(['\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{201e}']) {
        return Some("the quotes are typographic; want straight ones: key = \"value\"");
    }
    if line.contains('\r') {
        return Some("its lines end as on old Macs; save it with line ends of Unix or Windows");
    }
    if line.contains(char::is_control) {
        return Some("there is a control character in it; leave it out");
    }
    let is_of_shell = line.starts_with("export ")
        || line.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty() && pasted::is_variable(name.trim()));
    is_of_shell.then_some("that is a line of a shell or of .env; want key = \"value\", the key in small letters")
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    /// Where each line begins.
    begins: Vec<usize>,
    /// Lines of which it was said that they are not TOML.
    told: BTreeSet<usize>,
    faults: &'a mut Faults,
    /// Whether `@PATH` is what stands in a file, as on the command line.
    reads_at: bool,
}

impl Walk<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let line = self.begins.partition_point(|begin| *begin <= offset);
        Origin::File { path: self.path.to_path_buf(), line }
    }

    /// Once for each line: what follows from a fault in it is none of its own.
    fn not_toml(&mut self, offset: usize, said: &str) {
        let origin = self.origin(offset);
        if !self.told.insert(line(&origin)) {
            return;
        }
        let begin = self.begins.get(line(&origin).saturating_sub(1)).copied().unwrap_or_default();
        let line = self.text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let text = slip(line).map_or_else(|| said.replace('\n', ", "), str::to_owned);
        self.faults.add("not TOML", None, &origin, text);
    }

    fn top(&mut self, table: &DeTable<'_>) -> File {
        let mut file = File::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let origin = self.origin(key.span().start);
            match name {
                "source" => file.sources = self.named(name, &origin, value),
                "destination" => file.destinations = self.named(name, &origin, value),
                "alert" => file.alerts = self.named(name, &origin, value),
                "route" => file.routes = self.listed(name, "source and destination", &origin, value),
                "tls" => file.tls = self.listed(name, "cert_file and key_file", &origin, value),
                _ => match SETTINGS.iter().find(|setting| setting.key() == name) {
                    Some(setting) => file.settings.extend(self.entry(name, &origin, value).map(|e| (setting, e))),
                    None => self.unknown_setting(name, &origin),
                },
            }
        }
        // The table is sorted by key; people want faults and sections in the order of the file.
        for sections in [&mut file.sources, &mut file.destinations, &mut file.alerts] {
            sections.sort_by_key(|section| line(&section.origin));
        }
        file
    }

    fn unknown_setting(&mut self, name: &str, origin: &Origin) {
        let keys: Vec<String> = SETTINGS.iter().map(Setting::key).collect();
        let known = keys.iter().map(String::as_str).chain(["source", "route", "destination", "alert", "tls"]);
        let text = match nearest(name, known) {
            Some(near) => format!("no such setting; did you mean {near}?"),
            None => "no such setting; they are listed by: crm-relay config print".to_owned(),
        };
        self.faults.add(name, None, origin, text);
    }

    /// `[kind.NAME]` tables.
    fn named(&mut self, kind: &str, origin: &Origin, value: &Spanned<DeValue<'_>>) -> Vec<Section> {
        let DeValue::Table(table) = value.get_ref() else {
            self.faults.add(kind, None, origin, format!("want tables: [{kind}.NAME]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let origin = self.origin(key.span().start);
            match value.get_ref() {
                DeValue::Table(table) => {
                    let entries = self.entries(table);
                    sections.push(Section { name, origin, entries });
                }
                _ => self.faults.add(format!("{kind}.{name}"), None, &origin, format!("want a table: [{kind}.{name}]")),
            }
        }
        sections
    }

    /// `[[kind]]` tables, each with these keys.
    fn listed(&mut self, kind: &str, keys: &str, origin: &Origin, value: &Spanned<DeValue<'_>>) -> Vec<Section> {
        let tables = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        };
        let mut sections = Vec::new();
        for item in &tables {
            if let DeValue::Table(table) = item.get_ref() {
                let origin = self.origin(item.span().start);
                let entries = self.entries(table);
                sections.push(Section { name: String::new(), origin, entries });
            }
        }
        if sections.is_empty() || sections.len() < tables.len() {
            self.faults.add(kind, None, origin, format!("want tables: [[{kind}]] with {keys}"));
        }
        sections
    }

    fn entries(&mut self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (key, value) in table {
            let origin = self.origin(key.span().start);
            let key = key.get_ref().as_ref();
            let entry = self.entry(key, &origin, value);
            entries.push(entry.unwrap_or_else(|| Entry { is_broken: true, ..Entry::of(key, &origin) }));
        }
        entries.sort_by_key(|entry| line(&entry.origin));
        entries
    }

    fn entry(&mut self, key: &str, origin: &Origin, value: &Spanned<DeValue<'_>>) -> Option<Entry> {
        let mut from_file = false;
        if let (TABLE_KEY, DeValue::Table(table)) = (key, value.get_ref()) {
            let fields = self.fields(table);
            return Some(Entry { fields, ..Entry::of(key, origin) });
        }
        let values = match value.get_ref() {
            DeValue::Array(items) => {
                let mut values = Vec::new();
                for item in items {
                    values.push(self.scalar(key, origin, item.get_ref(), &mut from_file)?);
                }
                values
            }
            single => vec![self.scalar(key, origin, single, &mut from_file)?],
        };
        Some(Entry { values, from_file, ..Entry::of(key, origin) })
    }

    /// The entries of a table of secrets: `@PATH` is what stands in that file, `@@` begins a value with an `@`. One that has a
    /// fault is left out.
    fn fields(&mut self, table: &DeTable<'_>) -> Vec<Entry> {
        self.reads_at = true;
        let mut entries = self.entries(table);
        self.reads_at = false;
        for entry in &mut entries {
            let (key, origin, from_file) = (entry.key.clone(), entry.origin.clone(), entry.from_file);
            let mut values = Vec::new();
            for value in std::mem::take(&mut entry.values) {
                let value = match value.strip_prefix('@') {
                    _ if from_file => secret::of_target(&key, &value),
                    Some(at) if at.starts_with('@') => secret::filled_in(at).map(str::to_owned),
                    Some(path) => {
                        let Some(value) = self.file_value(&key, &origin, path) else { continue };
                        secret::of_target(&key, &value)
                    }
                    None => secret::filled_in(&value).map(str::to_owned),
                };
                match value {
                    Ok(value) => values.push(value),
                    Err(want) => self.faults.add(&key, Some("redacted".to_owned()), &origin, want),
                }
            }
            entry.values = values;
        }
        entries
    }

    fn scalar(&mut self, key: &str, origin: &Origin, value: &DeValue<'_>, from_file: &mut bool) -> Option<String> {
        match value {
            DeValue::String(text) if !self.reads_at && names_file(text, origin) => {
                let text = "@ stands for a file on the command line and in headers; want { file = \"PATH\" } here";
                self.faults.add(key, None, origin, text);
                None
            }
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            DeValue::Table(table) => {
                let path = (table.len() == 1).then(|| table.get("file")).flatten().and_then(|v| v.get_ref().as_str());
                let Some(path) = path else {
                    self.faults.add(key, None, origin, "want a value, or { file = \"PATH\" } to read it from a file");
                    return None;
                };
                *from_file = true;
                self.file_value(key, origin, path)
            }
            DeValue::Datetime(_) | DeValue::Array(_) => {
                self.faults.add(key, None, origin, "want text, a number, true or false");
                None
            }
        }
    }

    fn file_value(&mut self, key: &str, origin: &Origin, path: &str) -> Option<String> {
        let read = text_file::path(path).and_then(|path| text_file::value(&origin.beside(&path)));
        read.map_err(|text| self.faults.add(key, Some(text_file::shown_path(path)), origin, text)).ok()
    }
}

/// Whether a value is `@` and a path, and hardly a secret that begins so.
fn names_file(text: &str, origin: &Origin) -> bool {
    let Some(path) = text.strip_prefix('@') else { return false };
    ["/", "./", "../", "~/"].iter().any(|begin| path.starts_with(begin))
        || !path.is_empty() && origin.beside(Path::new(path)).is_file()
}

fn line(origin: &Origin) -> usize {
    match origin {
        Origin::File { line, .. } => *line,
        Origin::Flag | Origin::Environment | Origin::EnvironmentFile(_) | Origin::Default => 0,
    }
}
