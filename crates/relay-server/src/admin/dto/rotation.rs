//! What is being replaced, and how the old one and the new one are still used.

use relay_core::{name::Name, time::Wall};
use relay_store::seam::DocumentKind;

use crate::{
    api::{RotationDto, UseDto},
    clock::rfc3339,
    document::{Rotation, Source, Token},
    registry::{
        Registry,
        uses::{Both, Use},
    },
};

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
        let sessions = |sha256| Some(registry.sessions().count(&token.name, sha256));
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
