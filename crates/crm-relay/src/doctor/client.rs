//! The way of the client whose settings are here, tried for real: to the server, and to the targets.

use std::net::SocketAddr;

use relay_client::{
    Config,
    dial::{Dialer, Step},
    forward,
    health::Health,
};
use relay_server::api::{CheckDto, Hop};
use serde::Deserialize as _;

use super::Examined;
use crate::{
    admin_client::Api,
    config::{
        self, client,
        fault::{Faults, Origin},
        layers::Layers,
    },
};

/// `None`: no settings of a client are here.
pub(super) async fn examine(layers: Layers) -> Option<Examined> {
    layers.given("RELAY_URL")?;
    let config = match client::config(layers, &config::environment) {
        Ok((config, _notes)) => config,
        Err(faults) => return Some(Examined { at: Vec::new(), checks: faulty(&faults) }),
    };
    let mut checks = vec![process(config.listen).await];
    checks.extend(dialled(&config).await);
    for destination in &config.destinations {
        let name = destination.name.as_str();
        checks.push(match forward::probe(destination).await {
            Ok(said) => CheckDto::ok(Hop::Target, "connection", said).about(name),
            Err(why) => CheckDto::wrong(Hop::Target, "connection", why).about(name).mended_by(format!(
                "start the target, or correct the URL of destination {name} in the client's configuration"
            )),
        });
    }
    Some(Examined { at: vec![config.relay_url.to_string()], checks })
}

/// Without a configuration there is nothing to try.
fn faulty(faults: &Faults) -> Vec<CheckDto> {
    let one = |fault: &config::fault::Fault| {
        let place = if fault.origin == Origin::Default { String::new() } else { format!(" ({})", fault.origin) };
        CheckDto::wrong(Hop::Client, "configuration", format!("{}{place}: {}", fault.name, fault.text))
    };
    faults.0.iter().map(one).collect()
}

/// Whether a client runs here, as far as it says so.
async fn process(listen: Option<SocketAddr>) -> CheckDto {
    let Some(address) = listen else {
        let said = "whether a client runs here is not seen without CLIENT_LISTEN";
        return CheckDto::unknown(Hop::Client, "process", said).mended_by("start it with CLIENT_LISTEN=127.0.0.1:8082");
    };
    match Api::at(address).peek("/health").await {
        Ok((_, health)) if Health::deserialize(&health).is_ok_and(|health| health.connected) => {
            CheckDto::ok(Hop::Client, "process", format!("the client at {address} is connected"))
        }
        Ok(_) => CheckDto::wrong(Hop::Client, "process", format!("the client at {address} is not connected"))
            .mended_by("why stands below, and in its log as event=disconnected"),
        Err(_) => CheckDto::wrong(Hop::Client, "process", format!("no client answers at {address} (CLIENT_LISTEN)"))
            .mended_by("crm-relay client, or: systemctl start crm-relay-client; its log says why it ended"),
    }
}

/// Each step on the way to the server.
async fn dialled(config: &Config) -> Vec<CheckDto> {
    let dialer = match Dialer::new(config) {
        Ok(dialer) => dialer,
        Err(error) => return vec![CheckDto::wrong(Hop::Client, "configuration", error.to_string())],
    };
    let steps = dialer.probe().await.into_iter();
    let check = |(step, came): (Step, Result<String, String>)| match came {
        Ok(said) => CheckDto::ok(Hop::Client, step.as_str(), said),
        // Webhooks arrive all the same.
        Err(why) if step == Step::Transport => {
            CheckDto::unknown(Hop::Client, step.as_str(), why).mended_by(remedy(step))
        }
        Err(why) => CheckDto::wrong(Hop::Client, step.as_str(), why).mended_by(remedy(step)),
    };
    steps.map(check).collect()
}

const fn remedy(step: Step) -> &'static str {
    match step {
        Step::Name => {
            "look at RELAY_URL (and RELAY_PROXY), and at this machine's DNS; where names are looked up by a proxy alone: RELAY_PROXY"
        }
        Step::Proxy => "look at RELAY_PROXY (or HTTPS_PROXY), its login, and what the proxy lets through",
        Step::Connection => {
            "look at host and port of RELAY_URL, and whether the firewall lets this machine out; or RELAY_PROXY"
        }
        Step::Tls => "look at the clock of this machine, and at RELAY_CA_FILE where a proxy opens TLS",
        Step::Session => "look at what stands before the server: it has to pass WebSockets on at /connect",
        Step::Transport => {
            "webhooks arrive, a little later; have what stands before the server, or the proxy on the way out, let Upgrade: websocket \
             through at /connect; or set RELAY_TRANSPORT=poll, and nothing else is tried"
        }
        Step::Token => {
            "on the server: crm-relay token list, crm-relay token create NAME; it goes into RELAY_TOKEN_FILE here"
        }
    }
}
