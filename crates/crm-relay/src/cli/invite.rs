//! `crm-relay invite`: everything that a new sender and its client need, in one go.

use clap::Args;
use http::Method;
use serde_json::Value;

use super::{
    listing::{pretty, text},
    shared_options::{self, Common, print},
    source::NewSource,
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
    render::style::{bold, copy, dim, warn},
    run_file::on_this_machine,
};

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Name of the source, of its token, and of the key where senders need one
    name: String,
    #[command(flatten)]
    about: NewSource,
    #[command(flatten)]
    common: Common,
}

impl InviteArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let layers = self.common.layers()?;
            let body = self.about.body(&self.name)?;
            let api = Api::running(&layers).await?;
            let made = match api.call(Method::POST, "/api/v1/invites", Some(&body)).await {
                Ok(made) => made,
                Err(failure) => return Err(self.broken_off(&api, failure).await),
            };
            if self.common.json {
                print(&pretty(&made))?;
                return Ok(Exit::Done);
            }
            let relay = match made.get("relay_url").and_then(Value::as_str) {
                Some(url) => url.to_owned(),
                None => format!("http://{}", on_this_machine(&text(&api.get("/api/v1/status").await?, "public"))),
            };
            print(&self.in_words(&made, &relay))?;
            Ok(Exit::Done)
        })
    }

    fn in_words(&self, made: &Value, relay: &str) -> String {
        let destination = text(made.get("source").unwrap_or(&Value::Null), "destinations");
        let token = made.get("token").map_or_else(String::new, |token| text(token, "token"));
        let key = made.get("key").filter(|key| !key.is_null()).map(|key| text(key, "key"));
        let has_url = made.get("url").is_some_and(|url| !url.is_null());
        let mut lines = vec![bold(format!("{} -> {destination}", self.name)), String::new()];
        lines.push(format!("  senders post to   {}", copy(text(made, if has_url { "url" } else { "path" }))));
        if !has_url {
            let why = "below the server's public address; PUBLIC_URL on the server makes it whole";
            lines.push(format!("                    {}", warn(why)));
        }
        if let Some(key) = &key {
            lines.push(format!("  with X-API-Key    {}", copy(key)));
        } else {
            for made in made.get("generated").and_then(Value::as_array).into_iter().flatten() {
                lines.push(format!("  {:17} {}", text(made, "name"), copy(text(made, "value"))));
            }
            let show = format!("what to enter there: crm-relay provider show {}", self.about.provider());
            lines.push(format!("                    {}", dim(show)));
        }
        let target = if destination == "default" { "3000".to_owned() } else { format!("{destination}=3000") };
        let client = copy(format!("crm-relay client --url {relay} --token {token} --to {target}"));
        lines.push(format!("\nJoin a client, on the machine behind the firewall:\n\n  {client}"));
        if key.is_none() {
            lines.push(format!("\nTry it:\n\n  {}", copy(format!("crm-relay send --source {}", self.name))));
        }
        let undo = format!("crm-relay source delete {0} && crm-relay token revoke {0}", self.name);
        lines.push(format!("\n{}", dim(format!("Secrets are shown this once. Undo: {undo}"))));
        lines.join("\n")
    }

    /// What was refused made nothing. What broke in the middle may have: that is looked up, and how to remove it is said.
    async fn broken_off(&self, api: &Api, failure: Failure) -> Failure {
        if matches!(failure.exit, Exit::Usage | Exit::No | Exit::TokenRefused) {
            return failure;
        }
        let name = encode(&self.name);
        let stands = api.get(&format!("/api/v1/sources/{name}")).await;
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
