//! `crm-relay provider`: the platforms whose webhooks are known. Needs no server.

use std::fmt::Display;

use clap::{Args, Subcommand};
use relay_providers::{Acknowledgement, Otherwise, Parameter, Provider, nearest, provider, providers};
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failure, Outcome, quoted},
    output::{pretty, print, say},
    render::{human_duration, style, table, wrap},
};

/// Names that are proposed for one that is not known.
const ALIKE_MAX: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct ProviderArgs {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List providers
    List,
    /// Show what a provider needs, and where to find it
    Show {
        /// Its name
        name: String,
    },
}

impl ProviderArgs {
    pub(super) fn run(self) -> Outcome {
        match self.verb {
            Verb::List => list(self.json),
            Verb::Show { name } => {
                let found = find(&name)?;
                print(&if self.json { pretty(&as_json(found)) } else { in_words(found) })?;
                Ok(Exit::Done)
            }
        }
    }
}

/// The provider of this name.
///
/// # Errors
/// There is none; the nearest are named.
pub(super) fn find(name: &str) -> Result<&'static Provider, Failure> {
    provider(name).ok_or_else(|| {
        let given = name.trim().to_ascii_lowercase();
        let is_meant = |known: &Provider| {
            known.name.contains(&given) || given.contains(known.name) || known.title.to_lowercase().contains(&given)
        };
        let mut alike: Vec<&str> =
            providers().iter().filter(|known| is_meant(known)).map(|known| known.name).take(ALIKE_MAX).collect();
        if given.is_empty() {
            // All of them have that in them.
            alike.clear();
        } else if alike.is_empty() {
            alike.extend(nearest(&given, providers().iter().map(|known| known.name)));
        }
        let hint = if alike.is_empty() { String::new() } else { format!("Did you mean {}? ", alike.join(" or ")) };
        let name = quoted(name);
        Failure::no(format!("no provider {name}. {hint}All of them: crm-relay provider list"))
    })
}

/// What nearly every source of it has: `secret, PUBLIC_URL`.
pub(super) fn needs(provider: &Provider) -> String {
    let usual = provider.usual().into_iter().map(|parameter| parameter.name);
    let names: Vec<&str> = usual.chain(provider.signs_url.then_some("PUBLIC_URL")).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

/// ` --set secret=@FILE --set header=VALUE`, for what nearly every source of it has.
pub(super) fn set_options(provider: &Provider) -> String {
    options(&provider.usual())
}

/// The same for a sender that is no source: it may take a private key.
pub(super) fn sign_options(provider: &Provider) -> String {
    let mut parameters = provider.usual();
    parameters.extend(provider.sending.iter().filter(|parameter| parameter.required));
    options(&parameters)
}

fn options(parameters: &[&Parameter]) -> String {
    let option = |parameter: &Parameter| {
        let value = if parameter.secret { "@FILE" } else { "VALUE" };
        format!(" --set {}={value}", parameter.name)
    };
    parameters.iter().map(|parameter| option(parameter)).collect()
}

fn list(is_json: bool) -> Outcome {
    if is_json {
        let items: Vec<Value> = providers().iter().map(as_json).collect();
        print(&pretty(&json!({"items": items, "next": null})))?;
        return Ok(Exit::Done);
    }
    let row = |provider: &Provider| {
        let retries = if provider.retries { "yes" } else { "no" };
        vec![provider.name.to_owned(), provider.title.to_owned(), needs(provider), retries.to_owned()]
    };
    let rows: Vec<Vec<String>> = providers().iter().map(row).collect();
    print(&table::table(&["name", "platform", "needs", "retries"], &rows))?;
    say(&style::dim("where to find what one needs: crm-relay provider show NAME"));
    Ok(Exit::Done)
}

fn as_json(provider: &Provider) -> Value {
    let parameter = |parameter: &Parameter| {
        json!({
            "name": parameter.name,
            "secret": parameter.secret,
            "made_up": parameter.made_up,
            "required": parameter.required,
            "repeated": parameter.repeated,
            "default": parameter.default,
            "help": parameter.help,
        })
    };
    let parameters = |all: &[Parameter]| all.iter().map(parameter).collect::<Vec<Value>>();
    let handshakes: Vec<Value> = provider
        .handshakes
        .iter()
        .map(|handshake| json!({"method": handshake.method, "signed": handshake.signed, "about": plain(handshake)}))
        .collect();
    let acknowledgement = |acknowledgement| match acknowledgement {
        Acknowledgement::Receipt => json!({"status": 202, "content_type": "application/json", "body": null}),
        Acknowledgement::Fixed { status, content_type, body } => {
            json!({"status": status, "content_type": content_type, "body": body})
        }
    };
    let other =
        |other: &Otherwise| json!({"about": plain(other), "acknowledgement": acknowledgement(other.acknowledgement)});
    let otherwise: Vec<Value> = provider.otherwise.iter().map(other).collect();
    json!({
        "name": provider.name,
        "title": provider.title,
        "docs": provider.docs,
        "parameters": parameters(provider.parameters),
        "sending": parameters(provider.sending),
        "methods": provider.methods,
        "checks": provider.checks().iter().map(plain).collect::<Vec<String>>(),
        "handshakes": handshakes,
        "repeats": plain(provider.repeats()),
        "event": plain(provider.event),
        "acknowledgement": acknowledgement(provider.acknowledgement),
        "otherwise": otherwise,
        "answer_within_ms": provider.answer_within.as_millis() as u64,
        "retries": provider.retries,
        "tries_for_ms": provider.tries_for.map(|tries| tries.time.as_millis() as u64),
        "again": plain(provider.again),
        "signs_url": provider.signs_url,
        "key_source": provider.key_source,
        "unproven": provider.unproven,
        "sample": {
            "headers": provider.sample.headers,
            "query": provider.sample.query,
            "body": provider.sample.body,
        },
    })
}

fn in_words(provider: &Provider) -> String {
    let mut about = vec![
        ("provider", style::bold(provider.name)),
        ("platform", provider.title.to_owned()),
        ("takes", provider.methods.join(", ")),
        ("answer", answer(provider)),
        ("retries", retries(provider)),
    ];
    if provider.signs_url {
        about.push(("signs its URL", "PUBLIC_URL has to be set on the server".to_owned()));
    }
    about.push(("docs", provider.docs.to_owned()));
    let usual = provider.usual();
    let is_usual = |parameter: &Parameter| usual.iter().any(|usual| usual.name == parameter.name);
    let parameters: Vec<Vec<String>> =
        provider.parameters.iter().map(|parameter| row(parameter, is_usual(parameter))).collect();
    let mut parts = vec![table::fields(&about)];
    if !parameters.is_empty() {
        parts.push(table::wrapped(&["parameter", "need", "what it is, and where to find it"], &parameters));
    }
    parts.push(table::remarks(&remarks(provider)));
    let sets = set_options(provider);
    parts.push(wrap::offered("", &format!("crm-relay invite NAME --provider {}{sets}", provider.name)));
    parts.join("\n\n")
}

/// `is_usual`: nearly every source of it has that parameter, as the list of providers says too.
fn row(parameter: &Parameter, is_usual: bool) -> Vec<String> {
    let need = match (parameter.required, is_usual) {
        (true, _) => "required",
        (false, true) => "usual",
        (false, false) => "optional",
    };
    let need = if parameter.secret { format!("{need}, secret") } else { need.to_owned() };
    let default = parameter.default.filter(|default| !default.is_empty());
    let default = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    let made_up = if parameter.made_up { " [crm-relay invite makes one up if it is left out]" } else { "" };
    vec![style::bold(parameter.name), need, format!("{}{default}{made_up}", parameter.help)]
}

/// What is checked, answered, recognised, and left open.
fn remarks(provider: &Provider) -> Vec<(&'static str, String)> {
    let checks = provider.checks().into_iter().map(|check| ("checked", plain(check)));
    let handshakes = provider.handshakes.iter().map(|handshake| ("handshake", plain(handshake)));
    let otherwise = provider.otherwise.iter().map(|other| ("answered", plain(other)));
    let again = (!provider.again.is_empty()).then(|| ("sends again", plain(provider.again)));
    let repeats = ("repeats by", plain(provider.repeats()));
    let open = (!provider.unproven.is_empty()).then(|| ("left open", plain(provider.unproven)));
    checks.chain(handshakes).chain(otherwise).chain(again).chain([repeats]).chain(open).collect()
}

/// Without the marks of a document.
fn plain(text: impl Display) -> String {
    text.to_string().replace('`', "")
}

fn answer(provider: &Provider) -> String {
    let what = match provider.acknowledgement {
        Acknowledgement::Receipt => "202 with the event's id".to_owned(),
        Acknowledgement::Fixed { status, body: "", .. } => format!("{status}, empty"),
        Acknowledgement::Fixed { status, content_type, .. } => {
            format!("{status}, {}", content_type.unwrap_or("with a body"))
        }
    };
    format!("{what}, within {}", human_duration(provider.answer_within))
}

fn retries(provider: &Provider) -> String {
    match provider.tries_for {
        Some(tries) => format!("by itself, until it gets a 2xx, for {}", human_duration(tries.time)),
        None if provider.retries => "by itself, until it gets a 2xx".to_owned(),
        None => "never by itself; somebody has to press Resend".to_owned(),
    }
}
