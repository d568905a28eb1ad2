//! Keys and tokens, as far as anybody knows them but who has them.

use axum::response::Response;
use relay_core::{name::Name, time::Wall};
use relay_dashboard::screen::{Access, RotationLine, SettingLine, TokenLine};

use super::{
    frame::{Drawn, Looking},
    overview::LISTED_MAX,
    source::key_line,
};
use crate::{
    document::Token,
    registry::{Registry, STATIC_TOKEN},
};

/// As the key of a request is called that the setting proved.
const API_KEY: &str = "API_KEY";

pub(super) async fn show(looking: Looking) -> Response {
    let access = access(&looking);
    looking.answer(Ok(Drawn::page(&access, false)))
}

fn access(looking: &Looking) -> Access {
    let registry = &looking.state.registry;
    let (directory, now) = (registry.directory(), registry.now());
    let left_out = [directory.keys.len(), directory.tokens.len()].map(|count| count.saturating_sub(LISTED_MAX) as u64);
    let keys = directory.keys.values().take(LISTED_MAX).map(|entry| key_line(&entry.document, registry));
    let tokens = directory.tokens.values().take(LISTED_MAX).map(|entry| token_line(&entry.document, registry, now));
    let intakes = directory.intakes.iter().filter(|(_, intake)| intake.verifier.is_key_source());
    Access {
        page: looking.page.clone(),
        keys: keys.collect(),
        tokens: tokens.collect(),
        settings: settings(registry),
        sources: intakes.map(|(name, _)| name.clone()).collect(),
        destinations: directory.destination_names().into_iter().collect(),
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
