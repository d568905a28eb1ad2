//! `crm-relay user`.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use relay_server::api::{Shown, UserAsk, UserDto, UserUpdateAsk};

use super::{
    collection::{Collection, Named, not_empty},
    listing::{Column, View, text, when},
    noun::{self, Asked},
    token::show_secret,
};
use crate::{
    config::text_file,
    exit::{Exit, Failure, Outcome},
    output::say,
    render::{style, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a user; without a password a link is shown, this once, by which he comes in and chooses one
    Create {
        /// His name
        #[arg(value_parser = not_empty())]
        name: String,
        /// What he may do
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        password: Password,
    },
    /// List users
    List,
    /// Give a user another role
    Role {
        #[command(flatten)]
        named: Named,
        /// What he may do
        #[arg(value_enum)]
        role: Role,
    },
    /// Let a user in no more; his sessions end at once
    Disable(Named),
    /// Let a user in again
    Enable(Named),
    /// Take a user's password and sessions, and show a link by which he comes in and chooses another
    Reset(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Password {
    /// File with his password, or - for standard input, where it is not shown as it is typed: @FILE or -
    #[arg(long, value_name = "@FILE|-")]
    password: Option<String>,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Sees what came and what became of it, without bodies and values of headers
    Viewer,
    /// Sees payloads too, and may replay, redrive, cancel and pause
    Operator,
    /// May do everything
    Admin,
}

const COLUMNS: &[Column<UserDto>] = &[
    ("name", |user| text(&user.name)),
    ("role", |user| text(&user.role)),
    ("state", |user| state(&user.state)),
    ("sessions", |user| user.sessions.to_string()),
    ("signed in", |user| user.signed_in_at.as_deref().map_or_else(|| "never".to_owned(), when)),
];

const USERS: Collection<UserDto> = Collection {
    view: View {
        path: "/api/v1/users",
        columns: COLUMNS,
        nothing: "no users: crm-relay dashboard opens it without one",
    },
    in_words,
};

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => USERS.list(asked, Vec::new()).await,
            Self::Create { name, role, password } => {
                let password = password.read()?.map(Shown);
                let has_password = password.is_some();
                let made = USERS.create(asked, &UserAsk { name, role: role.word(), password }).await?;
                if has_password { asked.tell(&made, in_words) } else { show_link(asked, &made) }
            }
            Self::Role { named, role } => {
                let change = UserUpdateAsk { role: Some(role.word()), disabled: None };
                USERS.update(asked, &[&named.name], &change).await
            }
            Self::Disable(named) => disable(asked, &named.name, true).await,
            Self::Enable(named) => disable(asked, &named.name, false).await,
            Self::Reset(named) => {
                let path = format!("{}/link", USERS.path(&[&named.name]));
                let made: UserDto = asked.running().await?.ask(Method::POST, &path, &serde_json::json!({})).await?;
                show_link(asked, &made)
            }
        }
    }
}

impl Role {
    fn word(self) -> String {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
        .to_owned()
    }
}

impl Password {
    fn read(&self) -> Result<Option<String>, Failure> {
        let Some(given) = &self.password else { return Ok(None) };
        if given != "-" && !given.starts_with('@') {
            return Err(Failure::usage(
                "a password stands in no command, where every user of the machine reads it: --password @FILE, or - and type it",
            ));
        }
        text_file::argument(given).map(Some).map_err(|error| Failure::usage(format!("--password: {error}")))
    }
}

async fn disable(asked: &Asked, name: &str, disabled: bool) -> Outcome {
    USERS.update(asked, &[name], &UserUpdateAsk { role: None, disabled: Some(disabled) }).await
}

fn show_link(asked: &Asked, made: &UserDto) -> Outcome {
    if !asked.is_json()
        && let Some(until) = &made.link_until
    {
        let words = format!("user {}, {}; good once, until {}", text(&made.name), text(&made.role), text(until));
        say(&style::dim(words));
    }
    let remedy = format!("crm-relay user reset {}", text(&made.name));
    show_secret(asked, made, ("link", made.link.as_ref()), &remedy)?;
    Ok(Exit::Done)
}

fn state(word: &str) -> String {
    match word {
        "active" => style::good(word),
        "disabled" => style::bad(word),
        _ => style::warn(text(word)),
    }
}

fn in_words(user: &UserDto) -> String {
    table::fields(&[
        ("user", style::bold(text(&user.name))),
        ("role", text(&user.role)),
        ("state", state(&user.state)),
        ("sessions", user.sessions.to_string()),
        ("created", text(&user.created_at)),
        ("signed in", user.signed_in_at.as_deref().map_or_else(|| "never".to_owned(), text)),
    ])
}
