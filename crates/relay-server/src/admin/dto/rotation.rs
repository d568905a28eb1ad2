//! What is being replaced, and how the old one and the new one are still used.

use relay_core::{name::Name, time::Wall};
use relay_store::seam::DocumentKind;
use serde::Serialize;

use crate::{
    clock::rfc3339,
    registry::{
        Registry,
        document::{Rotation, Source, Token},
        uses::{Both, Use},
    },
};

/// A rotation that is under way.
#[derive(Debug, Serialize)]
pub(crate) struct RotationDto {
    /// Of a source: which parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Vec<String>>,
    since: String,
    /// Until when the old one is valid; `null`: until told.
    until: Option<String>,
    old: UseDto,
    new: UseDto,
}

/// Since the server started.
#[derive(Debug, Serialize)]
struct UseDto {
    /// Of a token: how it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Of a token: sessions that it let in and that are open.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<usize>,
    count: u64,
    last_at: Option<String>,
}

impl RotationDto {
    pub(crate) fn of_source(source: &Source, registry: &Registry) -> Option<Self> {
        let rotation = source.rotation.as_ref()?;
        let parameters = Some(rotation.old.names.clone());
        let rotation = Self::of(rotation, DocumentKind::Source, &source.name, registry)?;
        Some(Self { parameters, ..rotation })
    }

    pub(crate) fn of_token(token: &Token, registry: &Registry) -> Option<Self> {
        let rotation = token.rotation.as_ref()?;
        let mut shown = Self::of(rotation, DocumentKind::Token, &token.name, registry)?;
        let sessions = |sha256| Some(registry.uses().sessions_of(&token.name, sha256));
        shown.old =
            UseDto { sessions: sessions(&rotation.old.sha256), prefix: Some(rotation.old.prefix.clone()), ..shown.old };
        shown.new = UseDto { sessions: sessions(&token.sha256), prefix: Some(token.prefix.clone()), ..shown.new };
        Some(shown)
    }

    fn of<T>(rotation: &Rotation<T>, kind: DocumentKind, name: &Name, registry: &Registry) -> Option<Self> {
        let Both { old, new } = registry.uses().of(kind, name, rotation);
        let now: Wall = registry.now();
        rotation.goes_on(now).then(|| Self {
            parameters: None,
            since: rfc3339(rotation.since),
            until: rotation.until().map(rfc3339),
            old: UseDto::new(old),
            new: UseDto::new(new),
        })
    }
}

impl UseDto {
    fn new(used: Use) -> Self {
        Self { prefix: None, sessions: None, count: used.count, last_at: used.last.map(rfc3339) }
    }
}
