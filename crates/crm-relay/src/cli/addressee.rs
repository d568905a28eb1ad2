//! Whom a sample goes to, and whose hand signs it.

use http::Uri;
use relay_providers::{Given, Provider, Signer};
use serde_json::Value;

use super::{
    listing::text,
    provider::{self, set_options, sign_options},
};
use crate::{
    admin_client::{Api, encode},
    config::{data_dirs, layers::Layers, looked_in, target},
    credentials,
    exit::Failure,
    place::{RunFile, on_this_machine},
    sample::Hand,
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
}

impl Addressee<'_> {
    /// Looks up what was not said.
    ///
    /// # Errors
    /// There is no server to ask, no such source, or a parameter is missing.
    pub(super) async fn find(mut self, layers: &Layers) -> Result<Aim, Failure> {
        let is_plain = self.source.is_none() && self.provider.is_none_or(|name| name == FALLBACK);
        if is_plain && self.parameters.is_empty() {
            self.parameters.push(("key".to_owned(), api_key(layers)?));
        }
        let api = if is_plain { None } else { Api::find(layers).await? };
        let source = match (&api, self.source) {
            (Some(api), Some(name)) => Some(api.get(&format!("/api/v1/sources/{}", encode(name))).await?),
            (Some(api), None) if self.parameters.is_empty() => Some(self.only_source(api).await?),
            // Its parameters are given, so it needs no source; but where there is one, that is what is meant.
            (Some(api), None) if self.to.is_none() => self.only_source(api).await.ok(),
            (Some(_) | None, None) => None,
            (None, Some(_)) => Some(Api::running(layers).await.map(|_| Value::Null)?),
        };
        let provider = self.provider_of(source.as_ref())?;
        let name = source.as_ref().map(|source| text(source, "name"));
        let (url, known_as) = self.urls(layers, api.as_ref(), name.as_deref()).await?;
        let hand = match (api, name.clone()) {
            (Some(api), Some(source)) if self.parameters.is_empty() => Hand::Server { api, source },
            _ => Hand::Here(Box::new(self.signer(provider)?)),
        };
        Ok(Aim { provider, hand, source: name, url, known_as })
    }

    /// The one source of the provider.
    async fn only_source(&self, api: &Api) -> Result<Value, Failure> {
        let wanted = self.provider.unwrap_or(FALLBACK);
        let all = api.get("/api/v1/sources").await?;
        let all = all.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut fitting: Vec<Value> = all.into_iter().filter(|source| text(source, "provider") == wanted).collect();
        if fitting.len() > 1 {
            let names: Vec<String> = fitting.iter().map(|source| text(source, "name")).collect();
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

    fn provider_of(&self, source: Option<&Value>) -> Result<&'static Provider, Failure> {
        let of_source = source.map(|source| text(source, "provider"));
        if let (Some(given), Some(of_source)) = (self.provider, &of_source)
            && given != of_source
        {
            let name = self.source.unwrap_or_default();
            return Err(Failure::usage(format!("source {name:?} is of {of_source}, not of {given}")));
        }
        provider::find(of_source.as_deref().or(self.provider).unwrap_or(FALLBACK))
    }

    /// Where it is sent, and under which URL the receiver knows that.
    async fn urls(&self, layers: &Layers, api: Option<&Api>, source: Option<&str>) -> Result<(Uri, String), Failure> {
        let path = source.map_or_else(|| "/webhook".to_owned(), |name| format!("/webhook/{name}"));
        if let Some(to) = self.to {
            let url = target::endpoint(to).map_err(|want| Failure::usage(format!("--to {to}: {want}")))?;
            if url.path() != "/" || url.query().is_some() {
                return Ok((url.clone(), url.to_string()));
            }
            // The server's own address means its intake.
            let full = format!("{}{path}", url.to_string().trim_end_matches('/'));
            return Ok((read(&full)?, full));
        }
        let Some(api) = api else {
            let full = format!("{}{path}", local_server(layers)?);
            return Ok((read(&full)?, full));
        };
        let status = api.get("/api/v1/status").await?;
        let public = status.get("public_url").and_then(Value::as_str);
        let base = match (api.is_here(), public) {
            (true, _) => format!("http://{}", on_this_machine(&text(&status, "public"))),
            (false, Some(public)) => public.to_owned(),
            (false, None) => {
                return Err(Failure::usage(
                    "that server does not know its PUBLIC_URL; say where its intake is: --to URL",
                ));
            }
        };
        Ok((read(&format!("{base}{path}"))?, format!("{}{path}", public.unwrap_or(&base))))
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

/// The key of the source that is there out of the box.
fn api_key(layers: &Layers) -> Result<String, Failure> {
    if let Some(key) = layers.text("API_KEY") {
        return Ok(key);
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

/// The URL of the server that serves on this machine.
fn local_server(layers: &Layers) -> Result<String, Failure> {
    let found = data_dirs(layers).into_iter().find_map(|dir| RunFile::read(&dir));
    found.map(|run| run.public_url()).ok_or_else(|| {
        Failure::unreachable("no server has served here yet: start one with crm-relay dev, or say where: --to URL")
    })
}

fn read(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|_| Failure::usage(format!("not a URL: {url}")))
}
