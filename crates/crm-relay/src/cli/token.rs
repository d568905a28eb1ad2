//! `crm-relay token`.

use clap::{Args, Subcommand};
use http::Method;
use relay_server::api::{Shown, TokenAsk, TokenDto, TokenRotateAsk, TokenUpdateAsk};
use serde::Serialize;

use super::{
    collection::{Collection, Named, not_empty, nothing_to_change},
    listing::{Column, View, text, when},
    noun::{self, Asked},
    rotation::{Rotation, Step, under_way},
};
use crate::{
    exit::{Exit, Failure, Outcome},
    output::say,
    render::{style, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a token; it is shown this once
    Create {
        /// Its name: which client uses it
        #[arg(value_parser = not_empty())]
        name: String,
        #[command(flatten)]
        serves: Serves,
        /// Public key that its client's certificate is to have: sha256/ and base64; may be given several times
        #[arg(long = "pin", value_name = "PIN")]
        pins: Vec<String>,
    },
    /// List tokens
    List,
    /// Show a token, not its secret
    Show(Named),
    /// Let a token serve other destinations
    Update {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        serves: Serves,
        /// It may serve every destination, also those to come
        #[arg(long, conflicts_with = "destinations")]
        all: bool,
    },
    /// Give a token a new secret, shown this once; the old one stays valid beside it until --finish
    Rotate {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        rotation: Rotation,
    },
    /// Make a token worthless; its clients are cut off within seconds
    #[command(alias = "delete")]
    Revoke(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Serves {
    /// Destinations it may serve, each with an option of its own; a new token without one: all
    #[arg(long = "destination", value_name = "NAME")]
    destinations: Vec<String>,
}

const COLUMNS: &[Column<TokenDto>] = &[
    ("name", |token| text(&token.name)),
    ("begins", |token| text(&token.prefix)),
    ("destinations", destinations),
    ("status", |token| status(token.revoked_at.as_deref())),
    ("created", |token| when(&token.created_at)),
];

const TOKENS: Collection<TokenDto> = Collection {
    view: View { path: "/api/v1/tokens", columns: COLUMNS, nothing: "no tokens beside RELAY_TOKEN" },
    in_words,
};

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => TOKENS.list(asked, Vec::new()).await,
            Self::Show(named) => TOKENS.show(asked, &[&named.name]).await,
            Self::Create { name, serves, pins } => {
                let made = TOKENS.create(asked, &TokenAsk { name, destinations: serves.some(), pins }).await?;
                let remedy = format!("crm-relay token revoke {}", text(&made.name));
                show_secret(asked, &made, ("token", made.token.as_ref()), &remedy)
            }
            Self::Update { named, serves, all } => {
                if serves.destinations.is_empty() && !all {
                    return Err(nothing_to_change("--destination NAME, --all"));
                }
                TOKENS.update(asked, &[&named.name], &TokenUpdateAsk { destinations: serves.some() }).await
            }
            Self::Rotate { named: Named { name }, rotation } => rotate(asked, &name, &rotation).await,
            Self::Revoke(Named { name }) => {
                TOKENS.delete(&asked.running().await?, &[&name]).await?;
                say(&format!("token {name} is revoked"));
                Ok(Exit::Done)
            }
        }
    }
}

impl Serves {
    /// `None`: every destination.
    fn some(self) -> Option<Vec<String>> {
        if self.destinations.is_empty() { None } else { Some(self.destinations) }
    }
}

async fn rotate(asked: &Asked, name: &str, rotation: &Rotation) -> Outcome {
    let api = asked.running().await?;
    match rotation.step()? {
        Step::Begin { keep_old_ms } => {
            let path = format!("{}/rotate", TOKENS.path(&[name]));
            let made: TokenDto = api.ask(Method::POST, &path, &TokenRotateAsk { keep_old_ms }).await?;
            let remedy = format!("crm-relay token rotate {name} --abort");
            show_secret(asked, &made, ("token", made.token.as_ref()), &remedy)?;
            if !asked.is_json() {
                say(&style::dim(format!(
                    "once its clients run with it, and token show says that no session is open with the old one: \
                     crm-relay token rotate {name} --finish"
                )));
            }
            Ok(Exit::Done)
        }
        Step::End(end) => asked.tell(&TOKENS.order(&api, &[name], end).await?, in_words),
    }
}

/// A secret that is shown this once: alone on stdout, so that a script can take it. `remedy`: what makes it worthless.
pub(super) fn show_secret<T: Serialize>(
    asked: &Asked,
    made: &T,
    (what, secret): (&str, Option<&Shown>),
    remedy: &str,
) -> Outcome {
    if !asked.is_json() {
        say(&style::dim(format!("the {what} is shown this once:")));
    }
    let shown = asked.tell(made, |_| text(&secret.map(|secret| secret.0.clone())));
    shown.map_err(|failure| unseen(&failure, &format!("the {what} is made and valid all the same"), remedy))
}

/// A secret that could not be shown is nobody's, and valid: that is said, also where a pipe was closed.
pub(super) fn unseen(failure: &Failure, made: &str, remedy: &str) -> Failure {
    let why = if failure.text.is_empty() { "the output was closed" } else { &failure.text };
    Failure::new(Exit::StoreFailed, format!("{why}; {made}, and nobody has seen it. Take it back: {remedy}"))
}

/// `valid` or `revoked`.
pub(super) fn status(revoked_at: Option<&str>) -> String {
    if revoked_at.is_some() { style::bad("revoked") } else { style::good("valid") }
}

fn in_words(token: &TokenDto) -> String {
    let mut fields = vec![
        ("token", style::bold(text(&token.name))),
        ("begins", text(&token.prefix)),
        ("destinations", destinations(token)),
        ("status", status(token.revoked_at.as_deref())),
        ("created", text(&token.created_at)),
        ("revoked", text(&token.revoked_at)),
    ];
    if !token.pins.is_empty() {
        fields.insert(3, ("keys", text(&token.pins.join(", "))));
    }
    if let Some(rotation) = &token.rotation {
        fields.insert(2, ("rotation", style::warn(under_way(rotation))));
    }
    table::fields(&fields)
}

fn destinations(token: &TokenDto) -> String {
    token.destinations.as_ref().map_or_else(|| "all".to_owned(), text)
}
