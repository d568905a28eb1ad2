//! `crm-relay event export`: events with their bodies, a JSON document a line.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use relay_server::api::{EventDto, List};
use serde::Serialize;

use super::super::{filter::Received, noun::Asked};
use crate::{
    admin_client::{encode, query},
    exit::{Exit, Failure, Outcome},
    output::say,
    signals,
};

/// Events that are asked for at a time: so many lines at most are written twice by whoever goes on behind an interruption.
const PAGE: &str = "20";

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    received: Received,
    /// Go on behind the line that has this cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// An event as a line says it.
#[derive(Serialize)]
struct Exported<'a> {
    #[serde(flatten)]
    event: &'a EventDto,
    /// The body, byte for byte; not of one that was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Where to go on behind this line; it is not there where that is behind a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

impl Export {
    pub(super) async fn run(self, asked: &Asked) -> Outcome {
        let mut parameters = self.received.parameters()?;
        parameters.push(("limit", PAGE.to_owned()));
        let (api, stop) = (asked.reading().await?, signals::listen()?);
        let (mut cursor, mut written) = (self.cursor, 0_u64);
        loop {
            let here = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
            let page: List<EventDto> =
                api.get(&query("/api/v1/events", parameters.iter().cloned().chain(here))).await?;
            let last = page.items.len().saturating_sub(1);
            for (at, event) in page.items.iter().enumerate() {
                let path = format!("/api/v1/events/{}/body", encode(&event.id));
                let body = if event.erased { None } else { Some(api.bytes(&path).await?) };
                let cursor = page.next.as_deref().filter(|_| at == last);
                write(&Exported { event, body_base64: body.map(|body| STANDARD.encode(&body)), cursor })?;
                written += 1;
            }
            cursor = page.next;
            let Some(next) = &cursor else {
                say(&format!("{written} events, all there are"));
                return Ok(Exit::Done);
            };
            if stop.is_asked() {
                return Err(Failure::no(format!("interrupted behind {written} events: go on with --cursor {next}")));
            }
        }
    }
}

fn write(line: &Exported<'_>) -> Result<(), Failure> {
    let text =
        serde_json::to_string(line).map_err(|error| Failure::no(format!("an event that is no JSON: {error}")))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
