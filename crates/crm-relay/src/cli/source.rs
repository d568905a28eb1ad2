//! `crm-relay source`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    bulk::confirm,
    listing::{Column, View, list, pretty, text, when},
    shared_options::{self, Common, parameters, print},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
    render::{style, table},
};

/// Public intakes.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a source and its route
    Create {
        /// Its name: webhooks go to /webhook/NAME
        name: String,
        /// Which platform posts there, or how requests prove themselves
        #[arg(long, value_name = "NAME", default_value = "api-key")]
        provider: String,
        /// Parameter of the provider; secrets better with @FILE
        #[arg(long = "set", value_name = "K=V|K=@FILE")]
        set: Vec<String>,
        /// Where its webhooks go
        #[arg(long, value_name = "NAME", default_value = "default")]
        destination: String,
        /// Take empty bodies
        #[arg(long)]
        allow_empty: bool,
    },
    /// List sources
    List,
    /// Show a source
    Show {
        /// Its name
        name: String,
    },
    /// Change a source
    Update {
        /// Its name
        name: String,
        /// All parameters of the provider anew
        #[arg(long = "set", value_name = "K=V|K=@FILE")]
        set: Vec<String>,
        /// Take empty bodies
        #[arg(long, value_name = "true|false")]
        allow_empty: Option<bool>,
    },
    /// Delete a source with its routes and keys; its events stay
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

const COLUMNS: &[Column] = &[
    ("name", |source| text(source, "name")),
    ("provider", |source| text(source, "provider")),
    ("destinations", |source| text(source, "destinations")),
    ("status", super::activity),
    ("declared", |source| text(source, "declared")),
    ("created", |source| when(source, "created_at")),
];

const PATH: &str = "/api/v1/sources";

const VIEW: View = View { path: PATH, columns: COLUMNS, nothing: "no sources" };

impl SourceArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let json = self.common.json;
            match self.verb {
                Verb::List => list(&Api::reading(&layers).await?, &VIEW, Vec::new(), None, json).await?,
                Verb::Show { name } => {
                    let source = Api::reading(&layers).await?.get(&path(&name)).await?;
                    show(&source, json)?;
                }
                Verb::Create { name, provider, set, destination, allow_empty } => {
                    let body = json!({
                        "name": name,
                        "provider": provider,
                        "parameters": parameters(&set)?,
                        "destination": destination,
                        "allow_empty": allow_empty,
                    });
                    let made = Api::running(&layers).await?.call(Method::POST, PATH, Some(&body)).await?;
                    show(&made, json)?;
                    if !json && provider == "api-key" && set.is_empty() {
                        anstream::eprintln!(
                            "{}",
                            style::dim(format!("its first key: crm-relay key create {name} NAME"))
                        );
                    }
                }
                Verb::Update { name, set, allow_empty } => {
                    let set = parameters(&set)?;
                    let body = json!({
                        "parameters": (!set.is_empty()).then_some(set),
                        "allow_empty": allow_empty,
                    });
                    let api = Api::running(&layers).await?;
                    show(&api.call(Method::PATCH, &path(&name), Some(&body)).await?, json)?;
                }
                Verb::Delete { name, yes } => {
                    let api = Api::running(&layers).await?;
                    if !yes {
                        confirm(&format!("delete source {name} with its routes and keys"))?;
                    }
                    api.call(Method::DELETE, &path(&name), None).await?;
                    anstream::eprintln!("source {name} is deleted");
                }
            }
            Ok(Exit::Done)
        })
    }
}

fn path(name: &str) -> String {
    format!("{PATH}/{}", encode(name))
}

fn show(source: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return print(&pretty(source));
    }
    print(&table::fields(&[
        ("source", style::bold(text(source, "name"))),
        ("provider", text(source, "provider")),
        ("parameters", parameters_of(source)),
        ("path", format!("/webhook/{}", text(source, "name"))),
        ("destinations", text(source, "destinations")),
        ("status", super::activity(source)),
        ("declared", text(source, "declared")),
        ("created", text(source, "created_at")),
    ]))
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
