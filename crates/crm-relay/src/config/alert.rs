//! `[alert.NAME]`: who is told when something is not as it should be.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use http::Uri;
use relay_core::{
    alert::{Kind, Severity},
    limits,
    name::Name,
};
use relay_providers::Signer;
use relay_server::config::{
    DeclaredAlert,
    alert::{Command, Format, Post, Way},
};

use super::{client::Fields, fault::Faults, fault::Origin, layers::Layers, raw::Section};
use crate::quantity;

const KEYS: [&str; 7] = ["url", "command", "format", "secret", "kinds", "severity", "allow_private"];

/// The alerts of the file, by name.
pub(super) fn declared(layers: &mut Layers) -> Vec<DeclaredAlert> {
    let file = std::mem::take(&mut layers.file);
    let read = |section: &Section| of_section(section, &mut layers.faults);
    let alerts: BTreeMap<Name, DeclaredAlert> =
        file.alerts.iter().filter_map(read).map(|alert| (alert.name.clone(), alert)).collect();
    if let Some(section) = file.alerts.get(limits::ALERTS_MAX) {
        let text = format!("there are {} alerts; want {} at most", file.alerts.len(), limits::ALERTS_MAX);
        layers.faults.add("alert", None, &section.origin, text);
    }
    layers.file = file;
    alerts.into_values().collect()
}

fn of_section(section: &Section, faults: &mut Faults) -> Option<DeclaredAlert> {
    let mut fields = Fields { section, faults };
    fields.only(&KEYS);
    let name = fields.name();
    let severity = fields.optional("severity", str::parse::<Severity>);
    let kinds = kinds(&mut fields);
    let way = match (section.entry("url"), section.entry("command")) {
        (Some(_), Some(command)) => {
            fields.faults.add("command", None, &command.origin, "there is a url too; want one of them");
            None
        }
        (None, Some(_)) => command(&mut fields).map(Way::Command),
        (_, None) => post(&mut fields).map(Way::Post),
    };
    Some(DeclaredAlert { name: name?, way: way?, kinds: kinds?, severity: severity.unwrap_or(Severity::Warning) })
}

/// `None`: one of them has a fault.
fn kinds(fields: &mut Fields<'_>) -> Option<BTreeSet<Kind>> {
    let Some(entry) = fields.section.entry("kinds") else { return Some(BTreeSet::new()) };
    if entry.is_broken {
        return None;
    }
    if entry.values.is_empty() {
        fields.faults.add("kinds", None, &entry.origin, "it would be for nothing; leave the line out for all kinds");
        return None;
    }
    let mut kinds = BTreeSet::new();
    for word in entry.values.iter().flat_map(|value| value.split(',')).map(str::trim) {
        match word.parse() {
            Ok(kind) => drop(kinds.insert(kind)),
            Err(want) => {
                fields.faults.add("kinds", Some(word.to_owned()), &entry.origin, want);
                return None;
            }
        }
    }
    Some(kinds)
}

/// The program and its arguments, which may hold secrets: shown nowhere.
fn command(fields: &mut Fields<'_>) -> Option<Command> {
    for key in ["format", "secret", "allow_private"] {
        if let Some(entry) = fields.section.entry(key) {
            fields.faults.add(key, None, &entry.origin, "a command has none; it says nothing beside url");
        }
    }
    let entry = fields.section.entry("command").filter(|entry| !entry.is_broken)?;
    let (program, arguments) = entry.values.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let want = if !program.starts_with('/') {
        "want [\"/path/of/a/program\", \"argument\"]: no shell reads it"
    } else if !Path::new(program).is_file() {
        "there is no such program; want the path of one, and its arguments as further elements"
    } else {
        return Some(Command { program: program.to_owned(), arguments: arguments.to_vec() });
    };
    fields.faults.add("command", Some(program.to_owned()), &entry.origin, want);
    None
}

fn post(fields: &mut Fields<'_>) -> Option<Post> {
    let format = match fields.section.entry("format") {
        Some(_) => fields.optional("format", str::parse::<Format>)?,
        None => Format::StandardWebhooks,
    };
    let allow_private = fields.optional("allow_private", quantity::flag).unwrap_or(false);
    let secret = secret(fields, format);
    let url = url(fields, format);
    let (secret, url) = (secret.ok()?, url?);
    if url.scheme_str() == Some("http") && !allow_private {
        let text = "want https://; plain http is for a host in your own network, with allow_private = true";
        fault(fields, "url", text);
        return None;
    }
    Some(Post { url, format, secret, allow_private })
}

/// Where to, which with some formats is the secret: shown nowhere.
fn url(fields: &mut Fields<'_>, format: Format) -> Option<Uri> {
    let Some(entry) = fields.section.entry("url") else {
        if format == Format::PagerDuty {
            return Some(Uri::from_static(Format::PAGERDUTY));
        }
        fields.faults.add("url", None, &fields.section.origin, "missing; want url or command");
        return None;
    };
    if entry.is_broken {
        return None;
    }
    match read_url(entry.text().trim()) {
        Ok(url) => Some(url),
        Err(want) => {
            fault(fields, "url", want);
            None
        }
    }
}

fn read_url(text: &str) -> Result<Uri, &'static str> {
    const WANT: &str = "not a URL: want https://host/path";
    if text.contains('#') {
        return Err("a URL that is asked has no fragment (#...)");
    }
    let url: Uri = text.parse().map_err(|_| WANT)?;
    let authority = url.authority().filter(|_| matches!(url.scheme_str(), Some("http" | "https"))).ok_or(WANT)?;
    if authority.as_str().contains('@') {
        return Err("a URL with a login; want the secret in its path, or in secret");
    }
    if authority.host().is_empty() { Err(WANT) } else { Ok(url) }
}

/// What is wrong with it was said.
struct Faulty;

/// What signs it, or says who it is.
fn secret(fields: &mut Fields<'_>, format: Format) -> Result<Option<String>, Faulty> {
    let entry = fields.section.entry("secret");
    if entry.is_some_and(|entry| entry.is_broken) {
        return Err(Faulty);
    }
    let given = entry.map(|entry| entry.text().trim().to_owned()).filter(|text| !text.is_empty());
    let want = match (format, &given) {
        (Format::Slack | Format::Teams, None) => return Ok(None),
        (Format::Slack | Format::Teams, Some(_)) => "the URL is the secret there; leave this out".to_owned(),
        (Format::StandardWebhooks, None) => {
            "missing: it signs what is sent; want whsec_ and 24 to 64 bytes in Base64, as its receiver has it"
                .to_owned()
        }
        (Format::PagerDuty, None) => "missing: want the integration key of a service (Events API v2)".to_owned(),
        (Format::PagerDuty, Some(_)) => return Ok(given),
        (Format::StandardWebhooks, Some(secret)) => {
            match Signer::new("standard-webhooks", &[("secret".to_owned(), secret.clone())]) {
                Ok(_) => return Ok(given),
                Err(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            }
        }
    };
    match entry {
        Some(_) => fault(fields, "secret", want),
        None => fields.faults.add("secret", None, &fields.section.origin, want),
    }
    Err(Faulty)
}

fn fault(fields: &mut Fields<'_>, key: &str, want: impl Into<String>) {
    let origin = fields.section.entry(key).map_or(Origin::Default, |entry| entry.origin.clone());
    fields.faults.add(key, Some("redacted".to_owned()), &origin, want);
}
