//! Keys and tokens, as far as anybody knows them but who has them.

use axum::{extract::Query, response::Response};
use relay_core::{name::Name, time::Wall};
use relay_dashboard::screen::{Access, RotationLine, SettingLine, TokenLine};
use serde::Deserialize;

use super::{
    events::given,
    frame::{Drawn, Looking},
    source::key_line,
};
use crate::{
    document::{Key, Token},
    registry::{Registry, STATIC_TOKEN},
};

/// As the key of a request is called that the setting proved.
const API_KEY: &str = "API_KEY";

/// Keys, and tokens, that are listed: each has its questions on the page.
const EACH_MAX: usize = 25;
/// Destinations and sources that are offered.
const OFFERED_MAX: usize = 100;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Sought {
    q: Option<String>,
}

pub(super) async fn show(looking: Looking, Query(sought): Query<Sought>) -> Response {
    let access = access(&looking, given(sought.q));
    looking.answer(Ok(Drawn::page(&access, false)))
}

fn access(looking: &Looking, find: Option<String>) -> Access {
    let registry = &looking.state.registry;
    let (directory, now) = (registry.directory(), registry.now());
    let is_found =
        |names: &[&Name]| find.as_deref().is_none_or(|find| names.iter().any(|name| name.as_str().contains(find)));
    let mut keys: Vec<&Key> = directory.keys.values().map(|entry| &entry.document).collect();
    keys.retain(|key| is_found(&[&key.source, &key.name]));
    let mut tokens: Vec<&Token> = directory.tokens.values().map(|entry| &entry.document).collect();
    tokens.retain(|token| is_found(&[&token.name]));
    // What is worth nothing any more is in nobody's way.
    keys.sort_by_key(|key| key.revoked_at.is_some());
    tokens.sort_by_key(|token| token.revoked_at.is_some());
    let left_out = [keys.len(), tokens.len()].map(|count| count.saturating_sub(EACH_MAX) as u64);
    let keys = keys.into_iter().take(EACH_MAX).map(|key| key_line(key, registry)).collect();
    let tokens = tokens.into_iter().take(EACH_MAX).map(|token| token_line(token, registry, now)).collect();
    let intakes = directory.intakes.iter().filter(|(_, intake)| intake.verifier.is_key_source());
    Access {
        page: looking.page.clone(),
        find,
        keys,
        tokens,
        settings: settings(registry),
        sources: intakes.map(|(name, _)| name.clone()).take(OFFERED_MAX).collect(),
        destinations: directory.destination_names().into_iter().take(OFFERED_MAX).collect(),
        left_out: left_out.iter().sum(),
    }
}

fn settings(registry: &Registry) -> Vec<SettingLine> {
    let (fallback, token) = (Name::fallback(), STATIC_TOKEN.parse::<Name>().ok());
    vec![
        SettingLine { name: API_KEY, used_at: registry.uses().key_used(&fallback, API_KEY) },
        SettingLine { name: "RELAY_TOKEN", used_at: token.and_then(|token| registry.token_used(&token)) },
        SettingLine { name: "ADMIN_TOKEN", used_at: None },
    ]
}

fn token_line(token: &Token, registry: &Registry, now: Wall) -> TokenLine {
    let sessions = |digest| registry.sessions().count(&token.name, digest) as u64;
    let rotation = token.rotation.as_ref().filter(|rotation| rotation.goes_on(now)).map(|rotation| RotationLine {
        old_prefix: rotation.old.prefix.clone(),
        old_sessions: sessions(&rotation.old.sha256),
        new_sessions: sessions(&token.sha256),
        until: rotation.until(),
    });
    TokenLine {
        name: token.name.clone(),
        prefix: token.prefix.clone(),
        destinations: token.destinations.clone(),
        pins: token.pins.len(),
        created_at: token.created_at,
        used_at: registry.token_used(&token.name).filter(|at| *at >= token.created_at),
        revoked_at: token.revoked_at.map(Wall::from_micros),
        rotation,
    }
}
