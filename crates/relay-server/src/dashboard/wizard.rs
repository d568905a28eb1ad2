//! A new source: the platforms that there are, and what one of them asks for.

use axum::{extract::Query, response::Response};
use relay_core::name::Name;
use relay_dashboard::{
    guide,
    screen::{ParameterField, Platform, Wizard, WizardForm},
    text,
};
use relay_providers::{Parameter, Provider, provider, providers};
use serde::Deserialize;

use super::{
    events::given,
    frame::{Drawn, Looking},
};
use crate::{admin::problem::AdminError, directory::Directory, secret::hex};

/// Bytes of what is looked for.
const FIND_BYTES_MAX: usize = 100;
/// Sources of one platform that are named by number.
const NAMES_MAX: usize = 100;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    q: Option<String>,
    provider: Option<String>,
}

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = draw(&looking, asked);
    looking.answer(drawn)
}

fn draw(looking: &Looking, asked: Asked) -> Result<Drawn, AdminError> {
    let find = given(asked.q).map(|find| find.chars().take(FIND_BYTES_MAX).collect::<String>());
    let chosen = given(asked.provider);
    let form = match chosen.as_deref() {
        Some(name) => {
            let provider = provider(name).ok_or_else(|| AdminError::Unknown(format!("no platform {name:?}")))?;
            Some(form(looking, provider))
        }
        None => None,
    };
    let all = if form.is_some() { &[][..] } else { providers() };
    let platforms =
        all.iter().map(platform).filter(|platform| find.as_deref().is_none_or(|find| is_found(platform, find)));
    let page = looking.page.clone();
    Ok(Drawn::page(&Wizard { page, platforms: platforms.collect(), find, form }, false))
}

fn is_found(platform: &Platform, find: &str) -> bool {
    let find = find.to_lowercase();
    [platform.name, platform.title].iter().any(|text| text.to_lowercase().contains(find.trim()))
}

fn platform(provider: &Provider) -> Platform {
    let usual = provider.usual().into_iter().map(|parameter| parameter.name);
    let needs: Vec<&str> = usual.chain(provider.signs_url.then_some("PUBLIC_URL")).collect();
    Platform { name: provider.name, title: provider.title, needs: needs.join(", ") }
}

fn form(looking: &Looking, provider: &Provider) -> WizardForm {
    let state = &looking.state;
    let directory = state.registry.directory();
    let name = if provider.guarded_by_url { unguessable(provider.name) } else { free_name(&directory, provider.name) };
    let usual: Vec<&str> = provider.usual().into_iter().map(|parameter| parameter.name).collect();
    let (fields, more): (Vec<&Parameter>, Vec<&Parameter>) =
        provider.parameters.iter().partition(|parameter| usual.contains(&parameter.name) || parameter.made_up);
    let field = |parameter: &Parameter| ParameterField {
        name: parameter.name,
        help: parameter.help,
        secret: parameter.secret,
        required: parameter.required && !(parameter.key && provider.adopts()),
        made_up: parameter.made_up,
        default: parameter.default,
        choices: parameter.choices,
    };
    let public = state.public_url.clone();
    let relay_url = public.clone().unwrap_or_else(|| {
        state.listening.get().map_or_else(String::new, |listening| {
            let scheme = if listening.tls { "https" } else { "http" };
            format!("{scheme}://{}", listening.public.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"))
        })
    });
    let url = format!("{relay_url}/webhook/{name}");
    let asks_first = !provider.handshakes.is_empty();
    let steps = match guide::steps(provider.name, &url) {
        steps if steps.is_empty() => {
            let made_up =
                provider.parameters.iter().filter(|parameter| parameter.made_up).map(|parameter| parameter.name);
            text::steps_at(provider.title, &url, &made_up.collect::<Vec<_>>(), asks_first)
        }
        steps => steps,
    };
    WizardForm {
        platform: platform(provider),
        docs: provider.docs,
        name,
        url,
        is_local: public.is_none(),
        relay_url,
        destinations: directory.destination_names().into_iter().collect(),
        fields: fields.into_iter().map(field).collect(),
        more: more.into_iter().map(field).collect(),
        steps,
        asks_first,
        adopts: provider.adopts(),
        is_guarded_by_url: provider.guarded_by_url,
        takes_keys: provider.key_source,
    }
}

fn unguessable(provider: &str) -> String {
    format!("{provider}-{}", hex(&rand::random::<[u8; 8]>()))
}

/// The provider's name, with a number where a source or a token has that.
fn free_name(directory: &Directory, provider: &str) -> String {
    let is_free = |text: &String| {
        let name: Option<Name> = text.parse().ok();
        name.is_some_and(|name| !directory.sources.contains_key(&name) && !directory.tokens.contains_key(&name))
    };
    let numbered = (2..=NAMES_MAX).map(|number| format!("{provider}-{number}"));
    std::iter::once(provider.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing is signed the name of the source is the secret.
    #[test]
    fn a_url_that_guards_its_source_is_not_guessed() {
        let guarded = |provider: &&Provider| provider.guarded_by_url;
        assert!(providers().iter().filter(guarded).any(|provider| provider.name == "salesforce"));
        let name = unguessable("salesforce");
        assert!(name.parse::<Name>().is_ok() && name.len() == "salesforce-".len() + 16, "{name}");
        assert_ne!(name, unguessable("salesforce"));
    }
}
