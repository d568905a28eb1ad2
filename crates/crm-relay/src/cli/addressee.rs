//! Whom a sample goes to, and whose hand signs it.

use std::{net::SocketAddr, path::Path};

use http::Uri;
use relay_providers::{Given, Provider, Signer};
use relay_server::api::{List, SourceDto, StatusDto};

use super::{
    listing::text,
    provider::{self, set_options, sign_options},
};
use crate::{
    admin_client::{Api, encode},
    config::{data_dirs, layers::Layers, looked_in, target},
    credentials,
    exit::Failure,
    place::{self, DEV_DATA_DIR, RunFile, url_on_this_machine},
    sample::Hand,
    send::Manners,
};

/// The provider of the source that is there out of the box.
const FALLBACK: &str = "api-key";

/// What was asked for.
pub(super) struct Addressee<'a> {
    pub(super) to: Option<&'a str>,
    pub(super) provider: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) parameters: Vec<(String, String)>,
}

/// What it comes to.
pub(super) struct Aim {
    pub(super) provider: &'static Provider,
    pub(super) hand: Hand,
    /// The source of the server that it goes to, if it is known.
    pub(super) source: Option<String>,
    /// Where it is sent.
    pub(super) url: Uri,
    /// The same as the receiver knows it.
    pub(super) known_as: String,
    /// How it wants to be asked.
    pub(super) manners: Manners,
}

/// Where a sample is sent.
struct Way {
    url: Uri,
    known_as: String,
    manners: Manners,
}

impl Way {
    /// To a URL as it stands, under its name.
    fn straight(url: Uri, known_as: String) -> Self {
        Self { url, known_as, manners: Manners::default() }
    }
}

impl Addressee<'_> {
    /// Looks up what was not said.
    ///
    /// # Errors
    /// There is no server to ask, no such source, or a parameter is missing.
    pub(super) async fn find(mut self, layers: &Layers) -> Result<Aim, Failure> {
        let is_plain = self.source.is_none() && self.provider.is_none_or(|name| name == FALLBACK);
        // The server of this machine need not be asked where the source default is and which key it takes.
        let asks = !is_plain || (self.to.is_none() && layers.text("ADMIN_URL").is_some());
        let api = if asks { Api::find(layers).await? } else { None };
        if is_plain && self.parameters.is_empty() {
            let is_elsewhere = api.as_ref().is_some_and(|api| api.elsewhere().is_some());
            self.parameters.push(("key".to_owned(), api_key(layers, is_elsewhere)?));
        }
        let source = match (&api, self.source) {
            _ if is_plain => None,
            (Some(api), Some(name)) => Some(api.get(&format!("/api/v1/sources/{}", encode(name))).await?),
            (Some(api), None) if self.parameters.is_empty() => Some(self.only_source(api).await?),
            // Its parameters are given, so it needs no source; but where there is one, that is what is meant.
            (Some(api), None) if self.to.is_none() => self.only_source(api).await.ok(),
            (Some(_) | None, None) => None,
            // Who says that there is no server says where it was looked for.
            (None, Some(_)) => return Err(Api::running(layers).await.err().unwrap_or_else(|| no_server(layers))),
        };
        let provider = self.provider_of(source.as_ref())?;
        let name = source.as_ref().map(|source| source.name.clone());
        let Way { url, known_as, manners } = self.way(layers, api.as_ref(), name.as_deref()).await?;
        let hand = match (api, name.clone()) {
            (Some(api), Some(source)) if self.parameters.is_empty() => Hand::Server { api, source },
            _ => Hand::Here(Box::new(self.signer(provider)?)),
        };
        Ok(Aim { provider, hand, source: name, url, known_as, manners })
    }

    /// The one source of the provider.
    async fn only_source(&self, api: &Api) -> Result<SourceDto, Failure> {
        let wanted = self.provider.unwrap_or(FALLBACK);
        let all: List<SourceDto> = api.get("/api/v1/sources").await?;
        let mut fitting: Vec<SourceDto> = all.items.into_iter().filter(|source| source.provider == wanted).collect();
        if fitting.len() > 1 {
            let names: Vec<String> = fitting.iter().map(|source| text(&source.name)).collect();
            let names = names.join(", ");
            return Err(Failure::usage(format!("several sources are of {wanted}: {names}; say which: --source NAME")));
        }
        fitting.pop().ok_or_else(|| {
            let known = provider::find(wanted).ok();
            let sets = known.map_or_else(String::new, set_options);
            let keys = known.map_or_else(String::new, sign_options);
            Failure::usage(format!(
                "the server has no source of {wanted}. Make one: crm-relay invite {wanted} --provider {wanted}{sets}\n\
                 Or sign for another receiver: crm-relay send --provider {wanted} --to URL{keys}"
            ))
        })
    }

    fn provider_of(&self, source: Option<&SourceDto>) -> Result<&'static Provider, Failure> {
        let of_source = source.map(|source| text(&source.provider));
        if let (Some(given), Some(of_source)) = (self.provider, &of_source)
            && given != of_source
        {
            let name = self.source.unwrap_or_default();
            return Err(Failure::usage(format!("source {name:?} is of {of_source}, not of {given}")));
        }
        provider::find(of_source.as_deref().or(self.provider).unwrap_or(FALLBACK))
    }

    /// Where it is sent, and under which URL the receiver knows that.
    async fn way(&self, layers: &Layers, api: Option<&Api>, source: Option<&str>) -> Result<Way, Failure> {
        let path = source.map_or_else(|| "/webhook".to_owned(), |name| format!("/webhook/{name}"));
        if let Some(to) = self.to {
            let url = target::endpoint(to).map_err(|want| Failure::option("--to", to, want))?;
            if url.path() != "/" || url.query().is_some() {
                return Ok(Way::straight(url.clone(), url.to_string()));
            }
            // The server's own address means its intake.
            let full = format!("{}{path}", url.to_string().trim_end_matches('/'));
            return Ok(Way::straight(read(&full)?, full));
        }
        let Some(api) = api else {
            let run = local_server(layers)?;
            let full = format!("{}{path}", run.public_url());
            let manners = if run.only_url().is_some() {
                Manners::default()
            } else {
                Manners { host: run.host, introduces: run.proxy_protocol }
            };
            return Ok(Way { url: read(&full)?, known_as: full, manners });
        };
        let status: StatusDto = api.get("/api/v1/status").await?;
        let (public, listens, tls) = (status.public_url.as_deref(), status.public, status.tls);
        let beside_proxy = Manners { host: status.host, introduces: status.proxy_protocol };
        let (base, manners) = match (api.is_here(), public, api.elsewhere()) {
            (false, Some(public), _) => (public.to_owned(), Manners::default()),
            // Its certificate has that name, and not the one of this machine.
            (true, Some(public), _) if tls => (public.to_owned(), Manners::default()),
            (true, ..) => (url_on_this_machine(&listens, tls), beside_proxy),
            (false, None, None) => (url_on_this_machine(&listens, tls), Manners::default()),
            (false, None, Some(host)) => return Err(unknown_intake(host, &listens)),
        };
        let known_as = format!("{}{path}", public.unwrap_or(&base));
        Ok(Way { url: read(&format!("{base}{path}"))?, known_as, manners })
    }

    fn signer(&self, provider: &Provider) -> Result<Signer, Failure> {
        // Signed is with what a source of these parameters would be judged by.
        let given = Given::read(provider.name, &self.parameters).map(|given| given.parameters);
        Signer::new(provider.name, given.as_ref().unwrap_or(&self.parameters)).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
            Failure::usage(format!("cannot sign as {}:\n{}", provider.name, lines.join("\n")))
        })
    }
}

/// A server on another machine that does not know under which address senders reach it: nobody but the operator does.
fn unknown_intake(host: &str, listens: &str) -> Failure {
    let port = listens.rsplit_once(':').map_or("8080", |(_, port)| port);
    let way = if listens.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback()) {
        format!("it listens on {listens} alone, so a proxy is in front: add --to with the URL that senders are given")
    } else {
        format!("it listens on {listens}: add --to http://{host}:{port}, or the URL that senders are given")
    };
    Failure::usage(format!(
        "the server at {host} has no PUBLIC_URL that says where webhooks go to; {way}. For good: PUBLIC_URL on that server"
    ))
}

/// The key of the source that is there out of the box.
fn api_key(layers: &Layers, is_elsewhere: bool) -> Result<String, Failure> {
    if let Some(key) = layers.text("API_KEY") {
        return Ok(key);
    }
    if is_elsewhere {
        // That server keeps nothing but its digest, and what lies on this machine is of another one.
        return Err(Failure::usage(
            "which key does that server's source default take? --set key=@FILE, or API_KEY; a new one: \
             crm-relay key create default NAME",
        ));
    }
    let kept = credentials::find_in(&data_dirs(layers), "API_KEY")?;
    kept.map(|key| key.expose().to_owned()).ok_or_else(|| {
        Failure::usage(format!(
            "no API key is in {}. Start a server here: crm-relay dev; or give a key: --set key=KEY, or API_KEY; or say where \
             the server of this machine has its own: --data-dir DIR",
            looked_in(layers)
        ))
    })
}

/// The server that serves on this machine.
fn local_server(layers: &Layers) -> Result<RunFile, Failure> {
    data_dirs(layers).into_iter().find_map(|dir| RunFile::read(&dir)).ok_or_else(|| no_server(layers))
}

fn no_server(layers: &Layers) -> Failure {
    let Some(dir) = data_dirs(layers).into_iter().find(|dir| place::holds_store(dir)) else {
        return Failure::unreachable(
            "no server has served here yet: start one with crm-relay dev, or say where: --to URL",
        );
    };
    let of_dev = dir.file_name() == Path::new(DEV_DATA_DIR).file_name();
    let (dir, start) = (dir.display(), if of_dev { "crm-relay dev" } else { "crm-relay server" });
    Failure::unreachable(format!("the server of {dir} does not run: start it again ({start}), or say where: --to URL"))
}

fn read(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|_| Failure::usage(format!("not a URL: {url}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_know_an_intake_says_what_to_add() {
        let text = |listens| unknown_intake("relay.example.com", listens).text;
        assert!(
            text("0.0.0.0:8080").contains("add --to http://relay.example.com:8080, or the URL"),
            "{}",
            text("0.0.0.0:8080")
        );
        assert!(
            text("127.0.0.1:8080").contains("a proxy is in front: add --to with the URL"),
            "{}",
            text("127.0.0.1:8080")
        );
    }
}
