//! `crm-relay send`.

use std::{io::Read as _, path::Path, time::Duration};

use bytes::Bytes;
use clap::Args;
use relay_core::time::Wall;
use relay_providers::{Provider, providers};
use serde_json::{Value, json};

use super::{
    addressee::Addressee,
    awaited,
    collection::not_empty,
    provider::{self, needs},
    shared_options::{self, Common},
    tally::Tally,
};
use crate::{
    admin_client::Api,
    exit::{Exit, Failure, Outcome, reason},
    next_step,
    output::{pretty, print, say},
    quantity::{self, Bare},
    render::{style, table},
    runtime::block_on,
    sample::Sampler,
    send::{Batch, send},
    tamper::Tamper,
    tls,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Without --to samples go to the server on this machine. They are proved with the parameters that --set gives; \
                        without any, with those of the server's source: its only one of that provider, or the one that \
                        --source names. The server signs then: a source's secrets do not leave it. Without --provider \
                        and --source they go to the source default, with its API_KEY.\n\n\
                        With --wait the command ends with 0 if all was delivered, with 1 if something was refused or ended \
                        otherwise, and with 69 if something has not ended in that time."
)]
pub(crate) struct SendArgs {
    /// Where to: a URL, host:port, or a port of this machine; without a path: /webhook
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Whose sample, proved as that platform proves it [default: api-key]
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// To this source of the server, and with its parameters unless others are given
    #[arg(long, value_name = "NAME", value_parser = not_empty())]
    source: Option<String>,
    /// Parameter of the provider, like secret=... or key=@FILE
    #[arg(long = "set", value_name = "K=V|K=@FILE|K=-")]
    set: Vec<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = quantity::whole(1..=u64::MAX))]
    count: u64,
    /// How many a second; without it as fast as they are answered
    #[arg(long, value_name = "R", value_parser = quantity::rate)]
    rate: Option<f64>,
    /// What to send instead of the sample: a file, or - for standard input
    #[arg(long, value_name = "FILE|-")]
    body: Option<String>,
    /// Say that this happened, in the platform's words (--list has the sample's); else the sample stays as it is
    #[arg(long, value_name = "NAME", conflicts_with = "body", value_parser = not_empty())]
    event: Option<String>,
    /// Wait until all deliveries of what was accepted have ended, for so long at most [default: 60s]
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        default_missing_value = "60s",
        value_parser = at_most,
        conflicts_with = "list"
    )]
    wait: Option<Duration>,
    /// Spoil it, to see it refused (exit 1)
    #[arg(long, value_name = "WHAT", value_enum)]
    tamper: Option<Tamper>,
    /// List the samples and send none
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    common: Common,
}

impl SendArgs {
    pub(super) fn run(self) -> Outcome {
        if self.list {
            return list(self.common.json);
        }
        let layers = self.common.layers()?;
        if let Some(name) = &self.provider {
            provider::find(name)?;
        }
        let body = self.read_body()?;
        block_on(async {
            let addressee = Addressee {
                to: self.to.as_deref(),
                provider: self.provider.as_deref(),
                source: self.source.as_deref(),
                parameters: shared_options::parameters(&self.set)?,
            };
            let aim = addressee.find(&layers).await?;
            // Who cannot be asked what became of it is not sent anything first.
            let asked = if self.wait.is_some() { Some(Api::running(&layers).await?) } else { None };
            let batch = Batch {
                tls: (aim.url.scheme_str() == Some("https")).then(|| tls::config(&layers)).transpose()?,
                url: aim.url.clone(),
                manners: aim.manners,
                sampler: Sampler {
                    provider: aim.provider,
                    hand: aim.hand,
                    known_as: aim.known_as,
                    body,
                    event: self.event,
                    tamper: self.tamper,
                },
                count: self.count,
                rate: self.rate,
            };
            let mut tally = Tally::new(self.count, self.common.json, self.wait.is_some());
            // Interrupted, it still says what was sent.
            let is_interrupted = tokio::select! {
                sent = send(batch, |sent| tally.report(sent, &aim.url)) => sent.map(|()| false)?,
                pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
            };
            tally.finish()?;
            if is_interrupted {
                return Ok(Exit::No);
            }
            if tally.exit() == Exit::No && !self.common.json {
                let step = match (tally.code(), &aim.source) {
                    (Some(code), source) => {
                        Some(next_step::after_webhook(code, Some(source.as_deref().unwrap_or("default"))))
                    }
                    (None, Some(source)) => Some(format!("which check failed: crm-relay source show {source}")),
                    (None, None) => None,
                };
                if let Some(step) = step {
                    say(&style::dim(step));
                }
            }
            let (Some(api), Some(at_most)) = (asked, self.wait) else { return Ok(tally.exit()) };
            let (stored, exit) = (tally.stored(), tally.exit());
            // Interrupted, what was not told yet is not known.
            let ended = tokio::select! {
                ended = awaited::all(&api, &stored, at_most, self.common.json) => ended?,
                _ = tokio::signal::ctrl_c() => Exit::No,
            };
            Ok(if exit == Exit::Done { ended } else { exit })
        })
    }

    fn read_body(&self) -> Result<Option<Bytes>, Failure> {
        let Some(path) = &self.body else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = if path == "-" {
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            std::fs::read(Path::new(path))
        };
        let bytes =
            read.map_err(|error| Failure::option("--body", path, format!("cannot be read: {}", reason(&error))))?;
        Ok(Some(bytes.into()))
    }
}

fn at_most(text: &str) -> Result<Duration, String> {
    quantity::duration(text, Bare::Seconds)
}

/// Every provider's sample.
fn list(is_json: bool) -> Outcome {
    if is_json {
        let item = |provider: &Provider| {
            json!({
                "provider": provider.name,
                "title": provider.title,
                "event": event(provider),
                "headers": provider.sample.headers,
                "query": provider.sample.query,
                "body": provider.sample.body,
            })
        };
        let items: Vec<Value> = providers().iter().map(item).collect();
        print(&pretty(&json!({"items": items, "next": null})))?;
        return Ok(Exit::Done);
    }
    let row = |provider: &Provider| {
        let event = event(provider).unwrap_or_else(|| "-".to_owned());
        vec![provider.name.to_owned(), provider.title.to_owned(), event, needs(provider)]
    };
    let rows: Vec<Vec<String>> = providers().iter().map(row).collect();
    print(&table::table(&["provider", "platform", "event", "needs"], &rows))?;
    let next = "send one: crm-relay send --provider NAME; spoilt: --tamper body|signature|timestamp";
    say(&style::dim(next));
    Ok(Exit::Done)
}

/// What happened, in the platform's words.
fn event(provider: &Provider) -> Option<String> {
    let now = Wall::from_micros(0);
    provider.event_in(&provider.draft("http://localhost/", "sample", now).request(now, &[]))
}
