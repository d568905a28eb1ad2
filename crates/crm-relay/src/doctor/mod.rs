//! `crm-relay doctor`: why nothing arrives, looked for at each hop of the way that can be seen from here.
//!
//! On a server's machine its admin API says what it knows, and asks itself from outside in; where it is away, its store is looked at. On
//! a client's machine the way to the server and to the targets is tried with the client's own settings.

mod client;
mod server;
mod store;

use relay_server::api::{CheckDto, Hop, Verdict};
use relay_store::redis;
use serde_json::{Value, json};

use crate::{
    admin_client::Api,
    config::layers::Layers,
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, tell},
    redis_store,
    render::{style, table, visible::visible},
    runtime::block_on,
};

/// What there is to look at, and what to look for.
pub(crate) struct Asked {
    /// The settings that find a server.
    pub(crate) layers: Layers,
    /// Those of a client, whatever is wrong with them.
    pub(crate) of_client: Layers,
    /// The Redis that the settings of a server name.
    pub(crate) redis: Option<redis::Options>,
    /// Of webhooks to this source only.
    pub(crate) source: Option<String>,
    pub(crate) json: bool,
}

/// What was looked at, and where.
struct Examined {
    /// The server, its store, or the server that the client here dials.
    at: Vec<String>,
    checks: Vec<CheckDto>,
}

/// Looks at all that can be seen from here; of one source, or of all.
///
/// # Errors
/// There is neither a server nor a store nor a client's configuration, or the settings have faults.
pub(crate) fn run(asked: Asked) -> Outcome {
    block_on(async {
        let Asked { layers, of_client, redis, source, json } = asked;
        let redis = match redis {
            Some(options) => Some((options.address.to_string(), redis_store::examine(&options).await?)),
            None => None,
        };
        let mut examined = Examined { at: Vec::new(), checks: Vec::new() };
        examined.at.extend(redis.as_ref().map(|(at, _)| at.clone()));
        let of_client = client::examine(of_client).await;
        match server::examine(&layers, source.as_deref(), redis.is_some()).await {
            Ok(Some(found)) => examined.add(found),
            Ok(None) if redis.is_none() && of_client.is_none() => {
                // It knows where it looked, and whose a directory is that is closed.
                return match Api::running(&layers).await {
                    Err(failure) => Err(failure),
                    Ok(api) => Err(Failure::unreachable(format!("the server at {api} has just come up: ask again"))),
                };
            }
            Ok(None) => {}
            // A client's machine has something to tell all the same.
            Err(failure) if of_client.is_some() => {
                examined.checks.push(CheckDto::wrong(Hop::Server, "admin", failure.text));
            }
            Err(failure) => return Err(failure),
        }
        if let Some(found) = of_client {
            examined.add(found);
        }
        examined.checks.sort_by_key(|check| check.hop);
        examined.tell(redis.map(|(_, found)| found), json)
    })
}

impl Examined {
    fn add(&mut self, found: Self) {
        self.at.extend(found.at);
        self.checks.extend(found.checks);
    }

    fn wrong(&self) -> impl Iterator<Item = &CheckDto> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Wrong)
    }

    /// Exit 1 if anything is wrong.
    fn tell(&self, redis: Option<redis_store::Found>, json: bool) -> Outcome {
        let is_well = self.wrong().next().is_none() && redis.as_ref().is_none_or(|found| found.is_well);
        if json {
            let findings: Vec<String> = self.wrong().map(in_words).collect();
            let mut told = redis
                .map_or_else(|| serde_json::Map::from_iter([("findings".into(), json!(findings))]), |found| found.json);
            told.insert("ok".into(), json!(is_well));
            told.insert("at".into(), json!(self.at.join(", ")));
            told.insert("checks".into(), json!(self.checks));
            print(&pretty(&Value::from(told)))?;
        } else {
            if let Some(found) = redis {
                print(&found.words)?;
                print("")?;
            }
            self.tell_checks()?;
        }
        Ok(if is_well { Exit::Done } else { Exit::No })
    }

    fn tell_checks(&self) -> Result<(), Failure> {
        if self.checks.is_empty() {
            return Ok(());
        }
        let row = |check: &CheckDto| {
            let verdict = match check.verdict {
                Verdict::Ok => style::good("ok"),
                Verdict::Wrong => style::bad("wrong"),
                Verdict::Unknown => style::dim("unknown"),
            };
            let (hop, about) = (check.hop.as_str(), check.about.as_deref().map(visible));
            match about {
                // A long name beside it would leave the sentence no room.
                Some(about) if style::is_terminal() => {
                    vec![verdict, hop.to_owned(), format!("{about}: {}", in_words(check))]
                }
                Some(about) => vec![verdict, format!("{hop} {about}"), in_words(check)],
                None => vec![verdict, hop.to_owned(), in_words(check)],
            }
        };
        let rows: Vec<Vec<String>> = self.checks.iter().map(row).collect();
        print(&table::wrapped(&["found", "hop", "what"], &rows))?;
        let summary = match self.wrong().count() {
            0 => style::good("nothing that can be seen from here keeps webhooks from arriving"),
            1 => style::bad("1 thing is wrong"),
            wrong => style::bad(format!("{wrong} things are wrong")),
        };
        tell(&format!("\n{summary}"))
    }
}

/// What was found, with what mends it.
fn in_words(check: &CheckDto) -> String {
    let said = visible(&check.said);
    match &check.remedy {
        Some(remedy) => format!("{said}; {}", visible(remedy)),
        None => said.into_owned(),
    }
}
