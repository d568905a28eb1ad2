//! `crm-relay invite`: everything that a new sender and its client need, in one go.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use http::Method;
use relay_server::api::{InviteDto, Shown, SourceDto, StatusDto};

use super::{collection::not_empty, listing::text, shared_options::Common, source::NewSource, token::unseen};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome, reason},
    hints,
    output::{pretty, print, tell},
    place::url_on_this_machine,
    render::{
        style::{bold, copy, dim, warn},
        wrap,
    },
    runtime::block_on,
};

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Name of the source, of its token, and of the key where senders need one
    #[arg(value_parser = not_empty())]
    name: String,
    #[command(flatten)]
    about: NewSource,
    /// Write the client's token into this new file, its owner's alone, and show it nowhere
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl InviteArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let layers = self.common.layers()?;
            let ask = self.about.ask(&self.name)?;
            let api = Api::running(&layers).await?;
            // Made first: a token that could not be written would be lost.
            let file = self.token_file.as_deref().map(TokenFile::make).transpose()?;
            let mut made: InviteDto = match api.ask(Method::POST, "/api/v1/invites", &ask).await {
                Ok(made) => made,
                Err(failure) => {
                    if let Some(file) = file {
                        file.undo();
                    }
                    return Err(self.about.looked_up(self.broken_off(&api, failure).await));
                }
            };
            let shown = self.show(&api, &mut made, file).await;
            let (what, undo) = (format!("source {0} and token {0} are made", self.name), self.undo());
            shown.map_err(|failure| unseen(&failure, &what, &undo))
        })
    }

    /// Says what was made, the token into its file if it has one.
    async fn show(&self, api: &Api, made: &mut InviteDto, file: Option<TokenFile<'_>>) -> Outcome {
        if let Some(mut file) = file {
            file.write(&made.token.token.take().map(|Shown(token)| token).unwrap_or_default())?;
        }
        if self.common.json {
            print(&pretty(made))?;
            return Ok(Exit::Done);
        }
        let relay = if let Some(url) = &made.relay_url {
            url.clone()
        } else {
            let status: StatusDto = api.get("/api/v1/status").await?;
            url_on_this_machine(&text(&status.public), status.tls)
        };
        tell(&self.in_words(made, &relay))?;
        Ok(Exit::Done)
    }

    /// What takes an invitation back.
    fn undo(&self) -> String {
        format!("crm-relay source delete {0}; crm-relay token revoke {0}", self.name)
    }

    fn in_words(&self, made: &InviteDto, relay: &str) -> String {
        let destination = text(&made.source.destinations);
        let token = made.token.token.as_ref().map(|Shown(token)| text(token));
        let key = made.key.as_ref().and_then(|key| key.key.as_ref()).map(|Shown(key)| text(key));
        let field = |name: &str, value: String| format!("  {name:17} {value}");
        let mut lines = vec![bold(format!("{} -> {destination}", self.name)), String::new()];
        if let Some(url) = &made.url {
            lines.push(field("senders post to", copy(text(url))));
        } else {
            lines.push(field("senders post to", copy(format!("{relay}{}", text(&made.path)))));
            lines.push(field("", warn("as it is reached here; PUBLIC_URL on the server says how from outside")));
        }
        if let Some(key) = &key {
            lines.push(hints::below("with X-API-Key", key));
        } else {
            for made in &made.generated {
                lines.push(hints::below(&text(&made.name), &text(&made.value)));
            }
            let show = format!("what to enter there: crm-relay provider show {}", self.about.provider());
            lines.push(field("", dim(show)));
        }
        lines.extend(token.as_ref().map(|token| hints::below("client's token", token)));
        let target = if destination == "default" { "3000".to_owned() } else { format!("{destination}=3000") };
        let file = self.token_file.as_deref().map_or_else(|| "token".into(), Path::to_string_lossy);
        lines.push(match token {
            Some(_) => hints::token_into_a_file("the token"),
            None => format!("\nJoin a client, on the machine behind the firewall. Take the file {file} there:"),
        });
        let client = format!("crm-relay client --url {relay} --token @{file} --to {target}");
        lines.push(format!("\n{}", wrap::offered("  ", &client)));
        let way = "Through a proxy: --relay-proxy http://PROXY:3128. A private authority: --relay-ca-file FILE";
        lines.push(format!("\n{}", dim(way)));
        if key.is_none() {
            lines.push(format!("\nTry it:\n\n  {}", copy(format!("crm-relay send --source {}", self.name))));
        }
        lines.push(format!("\n{}", dim(format!("Secrets are shown this once. Undo: {}", self.undo()))));
        lines.join("\n")
    }

    /// What was refused made nothing. What broke in the middle may have: that is looked up, and how to remove it is said.
    async fn broken_off(&self, api: &Api, failure: Failure) -> Failure {
        if matches!(failure.exit, Exit::Usage | Exit::No | Exit::TokenRefused) {
            return failure;
        }
        let name = encode(&self.name);
        let stands: Result<SourceDto, _> = api.get(&format!("/api/v1/sources/{name}")).await;
        let text = match stands {
            Ok(_) => format!(
                "{failure}\nThe source {0} stands, perhaps without its token: crm-relay source delete {0}; \
                 crm-relay token revoke {0}; then again",
                self.name
            ),
            Err(look) if look.exit == Exit::No => format!("{failure}\nNothing was made"),
            Err(_) => format!("{failure}\nWhat was made, if anything: crm-relay source show {}", self.name),
        };
        Failure::new(failure.exit, text)
    }
}

/// The file that a token is written into.
struct TokenFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> TokenFile<'a> {
    /// A new one, its owner's alone.
    fn make(path: &'a Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
            let shown = path.display();
            Failure::usage(match error.kind() {
                io::ErrorKind::AlreadyExists => format!("--token-file {shown}: exists already; name a new file"),
                _ => format!("--token-file {shown}: {}", reason(&error)),
            })
        })?;
        Ok(Self { path, file })
    }

    fn write(&mut self, token: &str) -> Result<(), Failure> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        written.map_err(|error| {
            let text = format!(
                "the invitation is made, but its token cannot be written into {}: {}. Make another one: crm-relay token create",
                self.path.display(),
                reason(&error)
            );
            Failure::no(text)
        })
    }

    /// Nothing was made.
    fn undo(self) {
        drop(fs::remove_file(self.path));
    }
}
