//! The layers a setting may come from: file < environment < flags, and the default below them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_providers::pasted;

use super::{
    fault::{Faults, Origin},
    kind::{Kind, Value},
    raw,
    settings::{Process, Role, SETTINGS, Setting, find},
    text_file,
};

/// What is otherwise where the store is in a Redis, whose memory holds all that is kept.
const REDIS_DEFAULTS: &[(&str, &str)] = &[("DEDUPE_WINDOW", "24h"), ("RETENTION_DELIVERED", "24h")];

/// Settings that have a meaning only together with `REDIS_URL`.
const REDIS_ONLY: &[&str] = &[
    "REDIS_PASSWORD",
    "REDIS_DB",
    "REDIS_CA_FILE",
    "REDIS_SENTINEL_USER",
    "REDIS_SENTINEL_PASSWORD",
    "REDIS_ADDRESS_MAP",
    "REDIS_DURABILITY",
    "REDIS_MIN_REPLICAS",
    "REDIS_POOL_SIZE",
    "REDIS_TIMEOUT",
    "REDIS_PARTITIONS",
    "REDIS_ASSUME_DURABLE",
    "STREAM_NAME",
    "CONSUMER_GROUP",
    "CONSUMER_NAME",
    "DEAD_LETTER_QUEUE",
];

/// Whether a setting, or the variable that names a file with it, says which Redis is used, or how.
pub(crate) fn is_of_redis(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").filter(|name| *name != "REDIS_CA").unwrap_or(name);
    name == "REDIS_URL" || REDIS_ONLY.contains(&name)
}

/// Where the configuration file is looked for when nobody names one.
pub(crate) const FILE_NAME: &str = "crm-relay.toml";

/// Settings given on the command line, by name.
pub(crate) type Flags = BTreeMap<&'static str, String>;

/// Reads the environment.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// All settings of one process, checked one by one, and what the configuration file declares. Secrets among them stand as they were
/// given, so none of this has a `Debug`.
pub(crate) struct Layers {
    /// For whom.
    pub(crate) process: Process,
    /// Which file was read, if any.
    pub(crate) path: Option<PathBuf>,
    /// What the file declares.
    pub(crate) file: raw::File,
    /// What was found wrong so far.
    pub(crate) faults: Faults,
    /// What is worth saying once at start.
    pub(crate) notes: Vec<String>,
    given: BTreeMap<&'static str, Given>,
    /// What was given for the Redis, as written, and does not read.
    redis_refused: Option<String>,
}

/// A value and where it was given.
#[derive(Clone)]
pub(crate) struct Given {
    /// As written.
    pub(crate) text: String,
    /// As read.
    pub(crate) value: Value,
    /// Where.
    pub(crate) origin: Origin,
}

impl Layers {
    /// Collects and checks every setting that concerns `process`.
    pub(crate) fn collect(process: Process, config: Option<&Path>, flags: &Flags, env: Environment<'_>) -> Self {
        let mut faults = Faults::default();
        let path = config.map(named_file).or_else(|| default_file(env, &mut faults));
        let file = path.as_deref().map_or_else(raw::File::default, |path| raw::read(path, &mut faults));
        let mut layers =
            Self { process, path, file, faults, notes: Vec::new(), given: BTreeMap::new(), redis_refused: None };
        let mut foreign = Vec::new();
        for setting in SETTINGS {
            let Some((text, origin)) = layers.lookup(setting, flags, env) else { continue };
            if setting.concerns(process) {
                layers.accept(setting, &text, origin);
            } else if process != Process::Command {
                foreign.push(setting);
            }
        }
        layers.note_foreign(&foreign);
        layers.note_redis();
        layers
    }

    /// The value of a setting: as given, else its default, else `None`.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        if let Some(given) = self.given.get(name) {
            return Some(given.value.clone());
        }
        let setting = find(name)?;
        let default = self.default_of(setting);
        if default.is_empty() { None } else { setting.kind.read(default).ok() }
    }

    /// The value of a setting when nothing else is given; empty: none.
    pub(crate) fn default_of(&self, setting: &Setting) -> &'static str {
        let of_redis = REDIS_DEFAULTS.iter().find(|(name, _)| *name == setting.name);
        let of_redis = of_redis.filter(|_| self.given.contains_key("REDIS_URL"));
        of_redis.map_or_else(|| setting.default_in(self.process), |(_, default)| default)
    }

    /// As [`Layers::value`], for text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Factor(_) | Value::Span(_) => None,
        }
    }

    /// A text setting that lists several, with commas between.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// As [`Layers::value`], for counts and sizes that have a default.
    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => number,
            Some(Value::Text(_) | Value::Factor(_) | Value::Span(_)) | None => 0,
        }
    }

    /// As [`Layers::value`], for factors that have a default.
    pub(crate) fn factor(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Factor(factor)) => factor,
            Some(Value::Text(_) | Value::Number(_) | Value::Span(_)) | None => 1.0,
        }
    }

    /// As [`Layers::value`], for durations that have a default.
    pub(crate) fn span(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Span(span)) => span,
            Some(Value::Text(_) | Value::Number(_) | Value::Factor(_)) | None => Duration::ZERO,
        }
    }

    /// The configuration file that was read, if anything stands in it.
    pub(crate) fn written(&self) -> Option<PathBuf> {
        self.path.clone().filter(|_| self.file.is_written)
    }

    /// All settings of this process, each as given or by default.
    pub(crate) fn values(&self) -> Vec<(&'static str, Option<Value>)> {
        let concerned = SETTINGS.iter().filter(|setting| setting.concerns(self.process));
        concerned.map(|setting| (setting.name, self.value(setting.name))).collect()
    }

    /// What was given for a setting, if anything.
    pub(crate) fn given(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    /// The URL of a Redis that was given and does not read, as written: what it begins with may still say what fits it.
    pub(crate) fn refused_redis(&self) -> Option<&str> {
        self.redis_refused.as_deref()
    }

    /// Where a setting was given.
    pub(crate) fn origin(&self, name: &str) -> Origin {
        self.given.get(name).map_or(Origin::Default, |given| given.origin.clone())
    }

    /// Notes a fault of a setting with its value and place.
    pub(crate) fn fault(&mut self, name: &str, text: impl Into<String>) {
        let setting = find(name);
        let value = self.given.get(name).map(|g| setting.map_or_else(|| g.text.clone(), |s| s.show(&g.text)));
        let origin = self.origin(name);
        self.faults.add(name, value, &origin, text);
    }

    fn lookup(&mut self, setting: &'static Setting, flags: &Flags, env: Environment<'_>) -> Option<(String, Origin)> {
        let in_file = self.file.settings.iter().find(|(known, _)| known.name == setting.name);
        let in_file = in_file.map(|(_, entry)| (entry.text(), entry.origin.clone()));
        let in_environment = self.in_environment(setting, env);
        let on_command_line = flags.get(setting.name).map(|text| (text.clone(), Origin::Flag));
        [on_command_line, in_environment, in_file].into_iter().flatten().find(|(text, _)| says_something(text))
    }

    fn in_environment(&mut self, setting: &'static Setting, env: Environment<'_>) -> Option<(String, Origin)> {
        let plain = env(setting.name).filter(|text| says_something(text));
        let file_name = format!("{}_FILE", setting.name);
        let Some(path) = env(&file_name).filter(|path| says_something(path)) else {
            return plain.map(|text| (text, Origin::Environment));
        };
        let found = if plain.is_some() {
            Err(format!("{} and {file_name} are both set: want one of them", setting.name))
        } else {
            text_file::path(&path).and_then(|path| Ok((text_file::value(&path)?, Origin::EnvironmentFile(path))))
        };
        let refused = |text| self.faults.add(file_name, Some(text_file::shown_path(&path)), &Origin::Environment, text);
        found.map_err(refused).ok()
    }

    fn accept(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        // A command may be another user's, who cannot read the file and does not need it.
        let is_opened = self.process != Process::Command;
        let read = setting.read(text, &origin).and_then(|read| {
            if is_opened {
                setting.kind.check_file(Path::new(&read.0))?;
            }
            Ok(read)
        });
        match read {
            Ok((cleaned, value)) => {
                if setting.kind == Kind::Secret && cleaned != pasted::trimmed(text) {
                    self.notes.push(format!(
                        "{} ({origin}): what stands around the secret there is left out; write the secret alone",
                        setting.name
                    ));
                }
                self.given.insert(setting.name, Given { text: cleaned, value, origin });
            }
            Err(want) => {
                let is_made = setting.kind == Kind::Secret && matches!(self.process, Process::Server | Process::Dev);
                let want = if is_made { format!("{want}; or leave it out, and one is generated") } else { want };
                self.faults.add(setting.name, Some(setting.show(pasted::trimmed(text))), &origin, want);
                if setting.kind == Kind::Redis {
                    self.redis_refused = Some(pasted::trimmed(text).to_owned());
                }
            }
        }
    }

    fn note_foreign(&mut self, foreign: &[&Setting]) {
        for (role, whose) in [(Role::Server, "the server"), (Role::Client, "the client")] {
            let names: Vec<&str> = foreign.iter().filter(|s| s.role == role).map(|s| s.name).collect();
            if !names.is_empty() {
                self.notes.push(format!("settings of {whose}, ignored here: {}", names.join(", ")));
            }
        }
    }

    /// What says how a Redis is used, where none is.
    fn note_redis(&mut self) {
        if !matches!(self.process, Process::Server | Process::Dev) || self.given.contains_key("REDIS_URL") {
            return;
        }
        let names: Vec<&str> = REDIS_ONLY.iter().copied().filter(|name| self.given.contains_key(name)).collect();
        let is_told = self.faults.0.iter().any(|fault| fault.name.starts_with("REDIS_URL"));
        if !names.is_empty() && !is_told {
            self.notes.push(format!(
                "settings of the Redis store, without effect as REDIS_URL is not set: {}",
                names.join(", ")
            ));
        }
    }
}

/// What `--config` names. What is wrong with it shows when it is read.
fn named_file(path: &Path) -> PathBuf {
    path.to_str().and_then(|text| text_file::path(text).ok()).unwrap_or_else(|| path.to_path_buf())
}

fn default_file(env: Environment<'_>, faults: &mut Faults) -> Option<PathBuf> {
    const VARIABLE: &str = "CRM_RELAY_CONFIG";
    let Some(named) = env(VARIABLE).filter(|path| says_something(path)) else {
        return Some(PathBuf::from(FILE_NAME)).filter(|path| path.exists());
    };
    text_file::path(&named).map_err(|want| faults.add(VARIABLE, Some(named), &Origin::Environment, want)).ok()
}

/// Empty counts as not given, also in quotes, as some readers of environment files leave them.
fn says_something(text: &str) -> bool {
    !matches!(pasted::trimmed(text), "" | "\"\"" | "''")
}
