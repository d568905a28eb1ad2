//! `crm-relay source`.

use clap::{Args, Subcommand};
use http::Method;
use relay_providers::Given;
use relay_server::config::Dedupe;
use serde_json::{Value, json};

use super::{
    bulk::confirm,
    collection::{Collection, Named, not_empty, nothing_to_change},
    listing::{Column, View, activity, ago, text, when},
    noun::{self, Asked},
    provider,
    rotation::{Rotation, Step, under_way},
    shared_options::parameters,
};
use crate::{
    exit::{Exit, Failure, Outcome},
    output::say,
    render::{style, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a source and its route
    Create {
        /// Its name: webhooks go to /webhook/NAME
        #[arg(value_parser = not_empty())]
        name: String,
        #[command(flatten)]
        about: NewSource,
        /// Take empty bodies
        #[arg(long)]
        allow_empty: bool,
    },
    /// List sources
    List,
    /// Show a source, what happened there, and the last requests it refused
    Show {
        #[command(flatten)]
        named: Named,
        /// Show the secrets that the platform handed over, to paste them where it asks for them
        #[arg(long)]
        secrets: bool,
    },
    /// Take the secret that the platform hands over within the next 15 minutes, beside any that it handed over before
    AwaitSecret {
        #[command(flatten)]
        named: Named,
        /// What was handed over before is worth nothing any more: it was a stranger's
        #[arg(long)]
        forget: bool,
    },
    /// Change a source
    Update {
        #[command(flatten)]
        named: Named,
        /// Another provider, with all of its parameters
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// This parameter anew, the others stay; a secret given twice: both are valid
        #[arg(long = "set", value_name = "K=V|K=@FILE|K=-")]
        set: Vec<String>,
        /// Take this parameter away
        #[arg(long = "unset", value_name = "K")]
        unset: Vec<String>,
        /// Take empty bodies
        #[arg(long, value_name = "true|false")]
        allow_empty: Option<bool>,
        /// strict: deliver what is sent again only once
        #[arg(long, value_name = "auto|strict")]
        dedupe: Option<Dedupe>,
    },
    /// Replace secrets without a gap: the old ones stay valid beside the new ones until --finish
    Rotate {
        #[command(flatten)]
        named: Named,
        /// The new secret, and whatever belongs to it
        #[arg(
            long = "set",
            value_name = "K=V|K=@FILE|K=-",
            required_unless_present_any = ["finish", "abort"],
            conflicts_with_all = ["finish", "abort"]
        )]
        set: Vec<String>,
        #[command(flatten)]
        rotation: Rotation,
    },
    /// Delete a source with its routes and keys; its events stay
    Delete {
        #[command(flatten)]
        named: Named,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What a new source is made from.
#[derive(Debug, Args)]
pub(crate) struct NewSource {
    /// Which platform posts there, or how requests prove themselves: crm-relay provider list
    #[arg(long, value_name = "NAME", default_value = "api-key")]
    provider: String,
    /// Parameter of the provider; secrets better with @FILE; a secret given twice: both are valid
    #[arg(long = "set", value_name = "K=V|K=@FILE|K=-")]
    set: Vec<String>,
    /// Where its webhooks go
    #[arg(long, value_name = "NAME", default_value = "default")]
    destination: String,
    /// strict: deliver what is sent again only once, also where somebody pressed Resend
    #[arg(long, value_name = "auto|strict", default_value_t)]
    dedupe: Dedupe,
}

const COLUMNS: &[Column] = &[
    ("name", |source| text(source, "name")),
    ("provider", |source| text(source, "provider")),
    ("destinations", |source| text(source, "destinations")),
    ("status", activity),
    ("declared", |source| text(source, "declared")),
    ("created", |source| when(source, "created_at")),
];

const SOURCES: Collection =
    Collection { view: View { path: "/api/v1/sources", columns: COLUMNS, nothing: "no sources" }, in_words };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => SOURCES.list(asked, Vec::new()).await,
            Self::Show { named, secrets: false } => SOURCES.show(asked, &[&named.name]).await,
            Self::Show { named, secrets: true } => {
                let path = format!("{}/reveal", SOURCES.path(&[&named.name]));
                let shown = asked.running().await?.call(Method::POST, &path, None).await?;
                asked.tell(&shown, secrets_of)
            }
            Self::Create { name, about, allow_empty } => {
                let mut body = about.body(&name)?;
                body["allow_empty"] = json!(allow_empty);
                let made = SOURCES.create(asked, &body).await.map_err(|failure| about.looked_up(failure))?;
                asked.tell(&made, in_words)?;
                if !asked.is_json() && about.provider == "api-key" && about.set.is_empty() {
                    say(&style::dim(format!("its first key: crm-relay key create {name} NAME")));
                }
                Ok(Exit::Done)
            }
            Self::AwaitSecret { named, forget } => {
                let query = if forget { "?forget=true" } else { "" };
                let path = format!("{}/await-secret{query}", SOURCES.path(&[&named.name]));
                let shown = asked.running().await?.call(Method::POST, &path, None).await?;
                asked.tell(&shown, in_words)?;
                Ok(Exit::Done)
            }
            Self::Update { named, provider, set, unset, allow_empty, dedupe } => {
                if let Some(provider) = &provider {
                    provider::find(provider)?;
                }
                let is_empty = provider.is_none() && set.is_empty() && unset.is_empty();
                if is_empty && allow_empty.is_none() && dedupe.is_none() {
                    return Err(nothing_to_change(
                        "--set NAME=@FILE, --unset NAME, --provider NAME, --allow-empty, --dedupe",
                    ));
                }
                let body = json!({
                    "provider": provider,
                    "set": parameters(&set)?,
                    "unset": unset,
                    "allow_empty": allow_empty,
                    "dedupe": dedupe.map(Dedupe::as_str),
                });
                SOURCES.update(asked, &[&named.name], &body).await.map_err(|failure| match failure.exit {
                    Exit::Usage if !failure.text.contains("is not a name") => {
                        let look = format!("{failure}. What it has: crm-relay source show {}", named.name);
                        Failure::usage(look)
                    }
                    _ => failure,
                })
            }
            Self::Rotate { named: Named { name }, set, rotation } => rotate(asked, &name, &set, &rotation).await,
            Self::Delete { named: Named { name }, yes } => {
                let api = asked.running().await?;
                if !yes {
                    // Nobody is asked about what is not there.
                    api.get(&SOURCES.path(&[&name])).await?;
                    confirm(&format!("delete source {name} with its routes and keys"))?;
                }
                SOURCES.delete(&api, &[&name]).await?;
                say(&format!("source {name} is deleted"));
                Ok(Exit::Done)
            }
        }
    }
}

impl NewSource {
    /// As the admin API takes it.
    ///
    /// # Errors
    /// There is no such provider, or a file that cannot be read.
    pub(super) fn body(&self, name: &str) -> Result<Value, Failure> {
        let adopts = provider::find(&self.provider)?.adopts();
        let parameters = parameters(&self.set)?;
        // What is missing is the server's to say, all of it together; what looks wrong is asked of whoever typed it.
        if let Ok(given) = Given::read(&self.provider, &parameters)
            && !given.doubts.is_empty()
        {
            let doubts: Vec<String> = given.doubts.iter().map(ToString::to_string).collect();
            return Err(self.looked_up(Failure::usage(doubts.join("; "))));
        }
        Ok(json!({
            "name": name,
            "provider": self.provider,
            // Whoever makes a source whose platform hands over the secret is about to have it do so.
            "await_secret": adopts && parameters.is_empty(),
            "parameters": parameters,
            "destination": self.destination,
            "dedupe": self.dedupe.as_str(),
        }))
    }

    /// A refusal of its parameters, with where to look them up.
    pub(super) fn looked_up(&self, failure: Failure) -> Failure {
        let is_of_them = !failure.text.contains("is not a name") && !failure.text.contains("crm-relay ");
        if failure.exit != Exit::Usage || !is_of_them {
            return failure;
        }
        let text = format!("{failure}. What it needs, and where that is: crm-relay provider show {}", self.provider);
        Failure::new(failure.exit, text)
    }

    /// The provider's name.
    pub(super) fn provider(&self) -> &str {
        &self.provider
    }
}

async fn rotate(asked: &Asked, name: &str, set: &[String], rotation: &Rotation) -> Outcome {
    let path = format!("{}/rotate", SOURCES.path(&[name]));
    let api = asked.running().await?;
    match rotation.step()? {
        Step::Begin(mut body) => {
            body["set"] = json!(parameters(set)?);
            let source = api.call(Method::POST, &path, Some(&body)).await?;
            asked.tell(&source, in_words)?;
            if !asked.is_json() {
                say(&style::dim(format!(
                    "once the platform has the new one, and source show says that the old one is not used any more: \
                     crm-relay source rotate {name} --finish"
                )));
            }
            Ok(Exit::Done)
        }
        Step::End(end) => asked.tell(&api.call(Method::POST, &format!("{path}/{end}"), None).await?, in_words),
    }
}

fn in_words(source: &Value) -> String {
    let mut fields = vec![
        ("source", style::bold(text(source, "name"))),
        ("provider", text(source, "provider")),
        ("parameters", parameters_of(source)),
        ("path", format!("/webhook/{}", text(source, "name"))),
        ("destinations", text(source, "destinations")),
        ("status", status(source)),
        ("dedupe", text(source, "dedupe")),
        ("declared", text(source, "declared")),
        ("created", text(source, "created_at")),
    ];
    if let Some(rotation) = under_way(source) {
        fields.insert(3, ("rotation", style::warn(rotation)));
    }
    if let Some(counters) = source.get("counters") {
        fields.push(("received", received(counters)));
        fields.push(("last webhook", ago(source, "last_received_at")));
        fields.push(("refused", refused(counters)));
    }
    let fields = table::fields(&fields);
    let refusals = source.get("refusals").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if refusals.is_empty() { fields } else { format!("{fields}\n\n{}", refusals_of(refusals)) }
}

/// `active`, or what it waits for.
fn status(source: &Value) -> String {
    if source.get("broken").is_some_and(Value::is_string) {
        return style::warn(format!("answers 503 until it is put right: {}", text(source, "broken")));
    }
    if source.get("awaits_secret") == Some(&Value::Bool(true)) {
        let until = source.get("awaits_secret_until").filter(|until| until.is_string());
        return style::warn(match until {
            Some(_) => {
                format!("waits until {} for the platform to hand over its secret", when(source, "awaits_secret_until"))
            }
            None => format!(
                "has no secret; to let the platform hand it over: crm-relay source await-secret {}",
                text(source, "name")
            ),
        });
    }
    if source.get("awaits_secret_until").is_some_and(Value::is_string) {
        let until = when(source, "awaits_secret_until");
        return style::warn(format!("takes a further secret that the platform hands over until {until}"));
    }
    activity(source)
}

fn received(counters: &Value) -> String {
    let count = |name| text(counters, name);
    format!(
        "{} accepted, {} stored now, {} sent again, {} handshakes",
        count("accepted"),
        count("stored"),
        count("duplicates"),
        count("handshakes")
    )
}

/// `bad_signature 3, stale_timestamp 1` since the server started.
fn refused(counters: &Value) -> String {
    let reasons = counters.get("refused").and_then(Value::as_object).into_iter().flatten();
    let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    if reasons.is_empty() { "nothing since the server started".to_owned() } else { reasons.join(", ") }
}

/// The last refusals, the newest first.
fn refusals_of(refusals: &[Value]) -> String {
    let row = |refusal: &Value| {
        vec![when(refusal, "at"), text(refusal, "peer"), text(refusal, "check"), text(refusal, "detail")]
    };
    table::wrapped(&["refused", "from", "check", "detail"], &refusals.iter().map(row).collect::<Vec<_>>())
}

/// `secret=VALUE`, a line each.
fn secrets_of(shown: &Value) -> String {
    let items = shown.get("items").and_then(Value::as_array).into_iter().flatten();
    let lines: Vec<String> = items.map(|item| format!("{}={}", text(item, "name"), text(item, "value"))).collect();
    if lines.is_empty() { "the platform has handed over no secret".to_owned() } else { lines.join("\n") }
}

/// `secret (hidden), header=X-Signature`.
fn parameters_of(source: &Value) -> String {
    let one = |parameter: &Value| match parameter.get("value").and_then(Value::as_str) {
        Some(value) => format!("{}={value}", text(parameter, "name")),
        None => format!("{} (hidden)", text(parameter, "name")),
    };
    let found: Vec<String> =
        source.get("parameters").and_then(Value::as_array).into_iter().flatten().map(one).collect();
    if found.is_empty() { "-".to_owned() } else { found.join(", ") }
}
