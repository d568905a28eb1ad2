//! `crm-relay send`.

use std::{io::Read as _, io::Write as _, path::Path};

use bytes::Bytes;
use clap::Args;
use http::Uri;
use relay_providers::Signer;
use serde_json::json;

use super::shared_options::{self, Common};
use crate::{
    config::{layers::Layers, target},
    credentials,
    exit::{Exit, Failure, Outcome, reason},
    render::{human_duration, style},
    run_file::RunFile,
    send::{Plan, Sent, send},
    tls,
};

/// Sends sample webhooks; without --to, to the server on this machine with its own key.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Where to: a URL, host:port, or a port of this machine
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// How to prove them: a provider's name
    #[arg(long, value_name = "NAME", default_value = "api-key")]
    provider: String,
    /// Parameter of the provider, like secret=... or key=@FILE
    #[arg(long = "set", value_name = "K=V|K=@FILE")]
    set: Vec<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// How many a second; without it as fast as they are answered
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// What to send instead of the sample: a file, or - for standard input
    #[arg(long, value_name = "FILE|-")]
    body: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl SendArgs {
    pub(super) fn run(self) -> Outcome {
        let layers = self.common.layers()?;
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(Failure::usage("--rate: want a number above 0, like 50 or 0.5"));
        }
        let url = self.url(&layers)?;
        let plan = Plan {
            tls: (url.scheme_str() == Some("https")).then(|| tls::config(&layers)).transpose()?,
            url,
            signer: self.signer(&layers)?,
            body: self.read_body()?,
            count: self.count,
            rate: self.rate,
        };
        let (json, url) = (self.common.json, plan.url.clone());
        shared_options::block_on(async {
            let mut tally = Tally::default();
            send(plan, |sent| tally.report(sent, &url, json)).await?;
            tally.finish(self.count, json)?;
            Ok(tally.exit())
        })
    }

    fn url(&self, layers: &Layers) -> Result<Uri, Failure> {
        let text = match &self.to {
            Some(to) => to.clone(),
            None => local_server(layers)?.1,
        };
        let uri = target::target_url(&text).map_err(|want| Failure::usage(format!("--to {text}: {want}")))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Ok(uri);
        }
        // The server's own address means its intake.
        let full = format!("{}/webhook", uri.to_string().trim_end_matches('/'));
        full.parse().map_err(|_| Failure::usage(format!("--to {text}: not a URL")))
    }

    fn signer(&self, layers: &Layers) -> Result<Signer, Failure> {
        let mut parameters = shared_options::parameters(&self.set)?;
        if self.provider == "api-key" && parameters.is_empty() {
            parameters.push(("key".to_owned(), Self::api_key(layers)?));
        }
        Signer::new(&self.provider, &parameters).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
            Failure::usage(format!("cannot sign as {}:\n{}", self.provider, lines.join("\n")))
        })
    }

    fn api_key(layers: &Layers) -> Result<String, Failure> {
        if let Some(key) = layers.text("API_KEY") {
            return Ok(key);
        }
        let kept = shared_options::data_dirs(layers).into_iter().find_map(|dir| credentials::find(&dir, "API_KEY"));
        kept.map(|key| key.expose().to_owned()).ok_or_else(|| {
            Failure::usage(
                "no API key: give one with --set key=..., or API_KEY, or --data-dir of the server on this machine",
            )
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
        let bytes = read.map_err(|error| Failure::usage(format!("cannot read --body {path}: {}", reason(&error))))?;
        Ok(Some(bytes.into()))
    }
}

/// The server that serves on this machine: its data directory's run file, and its URL.
fn local_server(layers: &Layers) -> Result<(RunFile, String), Failure> {
    let found = shared_options::data_dirs(layers).into_iter().find_map(|dir| RunFile::read(&dir));
    let found = found.map(|run| (run.clone(), run.public_url()));
    found.ok_or_else(|| {
        Failure::unreachable("no server has served here yet: start one with crm-relay dev, or say where: --to URL")
    })
}

/// What became of all of them.
#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    unanswered: u64,
    slowest: std::time::Duration,
}

impl Tally {
    fn report(&mut self, sent: &Sent, url: &Uri, json: bool) -> Result<(), Failure> {
        self.slowest = self.slowest.max(sent.took);
        let is_accepted = sent.is_accepted();
        match &sent.answer {
            Ok(_) if is_accepted => self.accepted += 1,
            Ok(_) => self.refused += 1,
            Err(_) => self.unanswered += 1,
        }
        let status = sent.answer.as_ref().ok().map(http::StatusCode::as_u16);
        if json {
            let line = json!({
                "event_id": sent.event_id,
                "status": status,
                "error": sent.answer.as_ref().err(),
                "duration_ms": sent.took.as_secs_f64() * 1_000.0,
            });
            return shared_options::print(&line.to_string());
        }
        match (&sent.answer, &sent.event_id) {
            (Ok(_), Some(id)) if is_accepted => shared_options::print(id),
            (Ok(status), _) if is_accepted => shared_options::print(&format!("accepted ({status})")),
            (Ok(status), _) => {
                anstream::eprintln!("{} {status}: {}", style::bad("refused"), refusal(&sent.text));
                Ok(())
            }
            (Err(error), _) => {
                anstream::eprintln!("{} {url}: {error}. Does a server listen there?", style::bad("not sent to"));
                Ok(())
            }
        }
    }

    fn exit(&self) -> Exit {
        match (self.accepted, self.refused, self.unanswered) {
            (_, 0, 0) => Exit::Done,
            (0, 0, _) => Exit::Unreachable,
            _ => Exit::No,
        }
    }

    fn finish(&self, count: u64, json: bool) -> Result<(), Failure> {
        if count > 1 && !json {
            let slowest = human_duration(self.slowest);
            anstream::eprintln!(
                "{} accepted, {} refused, {} not answered, slowest {slowest}",
                self.accepted,
                self.refused,
                self.unanswered
            );
        }
        std::io::stdout().flush().map_err(Failure::from)
    }
}

/// Why a server refused: the detail of its problem document, or what it answered.
fn refusal(answer: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let detail = problem.get("detail").and_then(serde_json::Value::as_str);
    detail.unwrap_or_else(|| answer.trim()).to_owned()
}
