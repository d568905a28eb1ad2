//! What values settings take: how each kind is written, read and shown.

use std::{
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_core::limits;
use relay_net::tls;
use relay_providers::pasted;

use super::{fault::Origin, key_file, lists, proxy, redis_url, secret, target, text_file};
use crate::quantity::{self, Bare};

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A secret of ours; never shown.
    Secret,
    /// A secret that somebody else chose; never shown, not judged.
    Foreign,
    /// The path of a directory.
    Dir,
    /// The path of a file with certificates in PEM; in the configuration file relative to it.
    Certificates,
    /// The path of a file with a private key in PEM; in the configuration file relative to it.
    PrivateKey,
    /// The path of a file with numbered keys; in the configuration file relative to it.
    EncryptionKeys,
    /// Address to listen at, without a port.
    Host,
    /// Port; 0 takes any.
    Port,
    /// `HOST:PORT`, or `off`.
    Listen,
    /// An http(s) or ws(s) URL.
    Url,
    /// An http URL, user and password allowed; shown without them.
    Proxy,
    /// Where a Redis is; user and password allowed; shown without them.
    Redis,
    /// Pairs of addresses like `10.0.0.1:6379=redis-1.example:6379`, with commas between them.
    AddressMap,
    /// `[NAME=]URL,...`.
    Targets,
    /// Origins like `https://app.example.com`, with commas between them, or `*`.
    Origins,
    /// Names of hosts, without ports, with commas between them.
    Hosts,
    /// Networks like `10.0.0.0/8`, and addresses, with commas between them.
    Networks,
    /// Public keys like `sha256/...`, with commas between them.
    Pins,
    /// A whole number in a range.
    Count(u64, u64),
    /// A number of at least 1.
    Factor,
    /// A number from 0 to 1.
    Share,
    /// A duration in a range.
    Span(Bare, Duration, Duration),
    /// A size in a range of bytes.
    Size(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// The first of these words alone, or any of the others with commas between them.
    Words(&'static [&'static str]),
}

/// What a value is as text: how it is cleaned before it is read, and what of it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One line.
    Plain,
    /// Its query is not shown.
    Url,
    /// Nor are its user and password.
    Proxy,
    /// The same.
    Redis,
    /// Several URLs.
    Targets,
    /// Never shown; judged.
    Secret,
    /// Never shown; taken as it is.
    Foreign,
    /// A path.
    Dir,
    /// A path, in the configuration file relative to it.
    File,
}

/// A checked value: a secret's, too, so only tests print one.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub enum Value {
    /// Text of any kind.
    Text(String),
    /// A count, port or size.
    Number(u64),
    /// A factor.
    Factor(f64),
    /// A duration.
    Span(Duration),
}

impl Kind {
    /// Whether its values are never shown.
    pub(crate) const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Foreign)
    }

    /// A value as it may be shown.
    pub(crate) fn show(self, text: &str) -> String {
        match self.form() {
            Form::Secret | Form::Foreign => "redacted".to_owned(),
            Form::Proxy if text.contains('@') => "redacted".to_owned(),
            Form::Redis => redis_url::shown(text),
            Form::Targets => target::shown_targets(text),
            Form::Url | Form::Proxy => target::without_query(text),
            Form::Plain | Form::Dir | Form::File => text.to_owned(),
        }
    }

    /// A value as it was given to the setting of this name, without what editors and shells put around it.
    ///
    /// # Errors
    /// What would be right; never the value.
    pub(crate) fn clean(self, name: &str, text: &str, origin: &Origin) -> Result<String, String> {
        Ok(match self.form() {
            Form::Secret => secret::read(name, text)?,
            Form::Foreign => pasted::trimmed(text).to_owned(),
            Form::Dir => shown(&directory(text)?),
            Form::File => shown(&origin.beside(&text_file::path(text)?)),
            Form::Plain | Form::Url | Form::Proxy | Form::Redis | Form::Targets => plain(name, text)?.to_owned(),
        })
    }

    /// Whether what is wanted stands in the file that a value names, where it names one. What comes through a pipe can be read once
    /// only, by whoever needs it; a key is read again with its certificate.
    ///
    /// # Errors
    /// What stands there instead; nothing of a key.
    pub(crate) fn check_file(self, path: &Path) -> Result<(), String> {
        let bytes = |path| text_file::bytes(path, limits::CONFIGURATION_FILE_BYTES_MAX);
        let is_pipe = || path.metadata().is_ok_and(|found| found.file_type().is_fifo());
        match self {
            Self::Certificates if is_pipe() => Ok(()),
            Self::PrivateKey if is_pipe() => {
                Err("it is a pipe, and is read again when it changes: want a file".to_owned())
            }
            Self::Certificates => tls::certificates(&bytes(path)?).map(drop).map_err(|fault| fault.to_string()),
            Self::PrivateKey => tls::private_key(&bytes(path)?).map(drop).map_err(|fault| fault.to_string()),
            Self::EncryptionKeys => key_file::read(path).map(drop),
            _ => Ok(()),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// What would be right; never the value.
    pub(crate) fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text
            | Self::Dir
            | Self::Certificates
            | Self::PrivateKey
            | Self::EncryptionKeys
            | Self::Secret
            | Self::Foreign
            | Self::Targets => Ok(Value::Text(text.to_owned())),
            Self::Host => target::host_address(text).map(|_| Value::Text(text.to_owned())),
            Self::Port => port(text).map(Value::Number),
            Self::Listen => target::listen_address(text).map(|_| Value::Text(text.to_owned())),
            Self::Url => target::base_url(text).map(|_| Value::Text(text.to_owned())),
            Self::Proxy => proxy::read(text).map(|_| Value::Text(text.to_owned())),
            Self::Redis => redis_url::read(text).map(|_| Value::Text(text.to_owned())),
            Self::AddressMap => redis_url::read_map(text).map(|_| Value::Text(text.to_owned())),
            Self::Origins => lists::origins(text).map(Value::Text),
            Self::Hosts => lists::hosts(text).map(Value::Text),
            Self::Networks => lists::networks(text).map(Value::Text),
            Self::Pins => lists::pins(text).map(Value::Text),
            Self::Count(min, max) => number(text, min, max).map(Value::Number),
            Self::Factor => factor(text),
            Self::Share => share(text),
            Self::Span(bare, min, max) => {
                let span = quantity::duration(text, bare)?;
                if (min..=max).contains(&span) {
                    return Ok(Value::Span(span));
                }
                Err(format!("want {} to {}", quantity::show_duration(min), quantity::show_duration(max)))
            }
            Self::Size(min, max) => {
                let bytes = quantity::size(text)?;
                if (min..=max).contains(&bytes) {
                    return Ok(Value::Number(bytes));
                }
                Err(format!("want {} to {}", quantity::show_size(min), quantity::show_size(max)))
            }
            Self::Words(words) => lists::words(text, words).map(Value::Text),
            Self::Word(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(synonym(text))) {
                Some(word) => Ok(Value::Text((*word).to_owned())),
                None => Err(format!("want one of {}", words.join(", "))),
            },
        }
    }

    /// What to write, for a usage line.
    pub(crate) const fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Secret | Self::Foreign => "SECRET|@FILE|-",
            Self::Dir | Self::Certificates | Self::PrivateKey | Self::EncryptionKeys => "PATH",
            Self::Host => "HOST",
            Self::Port => "PORT",
            Self::Listen => "ADDR",
            Self::Url | Self::Proxy | Self::Redis => "URL",
            Self::AddressMap => "ADDR=ADDR",
            Self::Targets => "[NAME=]URL",
            Self::Origins => "ORIGINS",
            Self::Hosts => "HOSTS",
            Self::Networks => "NETWORKS",
            Self::Pins => "PINS",
            Self::Count(..) => "N",
            Self::Factor => "FACTOR",
            Self::Share => "SHARE",
            Self::Span(..) => "DURATION",
            Self::Size(..) => "SIZE",
            Self::Word(_) => "WORD",
            Self::Words(_) => "WORDS",
        }
    }

    const fn form(self) -> Form {
        match self {
            Self::Url => Form::Url,
            Self::Proxy => Form::Proxy,
            Self::Redis => Form::Redis,
            Self::Targets => Form::Targets,
            Self::Secret => Form::Secret,
            Self::Foreign => Form::Foreign,
            Self::Dir => Form::Dir,
            Self::Certificates | Self::PrivateKey | Self::EncryptionKeys => Form::File,
            Self::Text
            | Self::AddressMap
            | Self::Host
            | Self::Port
            | Self::Listen
            | Self::Origins
            | Self::Hosts
            | Self::Networks
            | Self::Pins
            | Self::Count(..)
            | Self::Factor
            | Self::Share
            | Self::Span(..)
            | Self::Size(..)
            | Self::Word(_)
            | Self::Words(_) => Form::Plain,
        }
    }
}

fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("want a whole number from {min} to {max}")),
    }
}

fn factor(text: &str) -> Result<Value, String> {
    match text.parse::<f64>() {
        Ok(value) if (1.0..=limits::RETRY_MULTIPLIER_MAX).contains(&value) => Ok(Value::Factor(value)),
        _ => Err(format!("want a number from 1 to {}, like 2.0", limits::RETRY_MULTIPLIER_MAX)),
    }
}

fn share(text: &str) -> Result<Value, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(Value::Factor(value)),
        _ => Err("want a number from 0 (none) to 1 (all), like 0.01".to_owned()),
    }
}

fn port(text: &str) -> Result<u64, String> {
    number(text, 0, u64::from(u16::MAX)).map_err(|want| match text.rsplit_once(':') {
        Some((before, _)) if before.contains("//") => format!("{want}, not a URL"),
        Some(_) => format!("{want}; the address goes into SERVER_HOST"),
        None => want,
    })
}

/// Other words for the same.
fn synonym(word: &str) -> &str {
    if word.eq_ignore_ascii_case("warning") { "warn" } else { word }
}

/// A value of one line, without quotes and a `NAME=` around it.
fn plain<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    let mut value = pasted::trimmed(text);
    if let Some((_, inner)) = pasted::assigned(value).filter(|(given, _)| *given == name) {
        value = inner;
    }
    value = pasted::unquoted(value).unwrap_or(value);
    if value.contains(char::is_control) || value.contains('\u{fffd}') {
        return Err(
            "holds a line break, another control character, or bytes that are not UTF-8; leave them out".to_owned()
        );
    }
    Ok(value)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn directory(text: &str) -> Result<PathBuf, String> {
    let path = text_file::path(text)?;
    if path.is_file() { Err("is a file; want a directory".to_owned()) } else { Ok(path) }
}
