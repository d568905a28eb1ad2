//! Secrets of sources and tokens replaced without a gap: the old one is valid beside the new one until an operator says that
//! the new one is in its place, or a given time has passed.
//!
//! Each step is one document, so that a server that is killed in the middle has either the one or the other. Whether an old
//! one is still valid is reckoned wherever it is used; that it goes from the store when its time is over is for tidiness.

use std::time::Duration;

use relay_core::{limits, name::Name, time::Wall};
use relay_providers::{Provider, Verifier, provider};
use relay_store::seam::DocumentKind;
use tokio::time::sleep;

use super::{
    Registry, RegistryError, STATIC_TOKEN,
    change::{ShownOnce, Write, undeclared, unknown_source},
    key_of,
    token::unknown_token,
};
use crate::{
    document::{Digest, Replaced, Rotation, Source, Token, render},
    parameters::Parameters,
    principal::Principal,
    secret,
};

/// How a rotation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The new one is in its place: the old one is worth nothing any more.
    Finish,
    /// The new one is given up: the old one stays, as if nothing had been.
    Abort,
}

impl End {
    const fn verb(self) -> &'static str {
        match self {
            Self::Finish => "rotate_finish",
            Self::Abort => "rotate_abort",
        }
    }
}

impl Registry {
    /// Gives a source new secrets; the old ones are valid beside them, for so long or until told.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Conflict` while a rotation is under way, `Invalid` for what is no secret or has no old value,
    /// `Store`.
    pub async fn rotate_source(
        &self,
        name: &Name,
        set: &Parameters,
        keep_old: Option<Duration>,
        who: &Principal,
    ) -> Result<Source, RegistryError> {
        let since = self.clock.now().wall;
        let until = ending(since, keep_old)?;
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            none_under_way("source", name, entry.document.rotation.as_ref(), since)?;
            let mut source = entry.document.clone();
            let provider = known_provider(&source.provider)?;
            let old = taken_out(&mut source, provider, set)?;
            let names = old.names.join(", ");
            source.parameters.extend(set.iter().cloned());
            source.parameters = self.given(name, &source.provider, &source.parameters)?.into();
            source.rotation = Some(Rotation { old, since, until: until.map(Wall::as_micros) });
            self.check_parameters(&source)?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited(who, "source.rotate", format!("{name} {names}")),
            }])
        })
        .await?;
        self.present_source(name)
    }

    /// Ends the rotation of a source.
    ///
    /// # Errors
    /// `Unknown`, `Conflict` if none is under way, `Store`.
    pub async fn end_source_rotation(&self, name: &Name, end: End, who: &Principal) -> Result<Source, RegistryError> {
        let now = self.clock.now().wall;
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            under_way("source", name, entry.document.rotation.as_ref(), now, end)?;
            let mut source = entry.document.clone();
            if end == End::Abort
                && let Some(old) = source.old_parameters(known_provider(&source.provider)?)
            {
                source.parameters = old.into();
            }
            source.rotation = None;
            self.check_parameters(&source)?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited(who, &format!("source.{}", end.verb()), name.as_str()),
            }])
        })
        .await?;
        self.present_source(name)
    }

    /// Gives a token a new secret, which is in the answer and nowhere else; the old one lets in beside it, for so long or until
    /// told. What it may serve, and which instances are bound to it, goes by its name and stays.
    ///
    /// # Errors
    /// `Unknown`, `Conflict` while a rotation is under way or for a revoked one, `Invalid`, `NoRandomness`, `Store`.
    pub async fn rotate_token(
        &self,
        name: &Name,
        keep_old: Option<Duration>,
        who: &Principal,
    ) -> Result<ShownOnce<Token>, RegistryError> {
        if name.as_str() == STATIC_TOKEN {
            let text =
                format!("{STATIC_TOKEN} is RELAY_TOKEN, a setting: make tokens beside it with crm-relay token create");
            return Err(RegistryError::Invalid(text));
        }
        let since = self.clock.now().wall;
        let until = ending(since, keep_old)?.map(Wall::as_micros);
        let made = secret::generate(secret::TOKEN_PREFIX)?;
        let digest = Digest { sha256: secret::sha256(made.as_bytes()), prefix: secret::shown(&made) };
        self.change(|directory| {
            let entry = directory.tokens.get(name).ok_or_else(|| unknown_token(directory, name))?;
            let token = &entry.document;
            if token.revoked_at.is_some() {
                return Err(RegistryError::Conflict(format!("token {name:?} is revoked; make another with that name")));
            }
            none_under_way("token", name, token.rotation.as_ref(), since)?;
            let old = Digest { sha256: token.sha256, prefix: token.prefix.clone() };
            let next = Token {
                sha256: digest.sha256,
                prefix: digest.prefix.clone(),
                rotation: Some(Rotation { old, since, until }),
                ..token.clone()
            };
            Ok(vec![self.token_rewrite(&next, entry.version, "token.rotate", who)])
        })
        .await?;
        let document = self.present_token(name)?;
        Ok(ShownOnce { secret: made, document })
    }

    /// Ends the rotation of a token; sessions of the secret that goes are closed.
    ///
    /// # Errors
    /// `Unknown`, `Conflict` if none is under way, `Store`.
    pub async fn end_token_rotation(&self, name: &Name, end: End, who: &Principal) -> Result<Token, RegistryError> {
        let now = self.clock.now().wall;
        self.change(|directory| {
            let entry = directory.tokens.get(name).ok_or_else(|| unknown_token(directory, name))?;
            let rotation = under_way("token", name, entry.document.rotation.as_ref(), now, end)?;
            let mut token = Token { rotation: None, ..entry.document.clone() };
            if end == End::Abort {
                Digest { sha256: token.sha256, prefix: token.prefix } = rotation.old.clone();
            }
            Ok(vec![self.token_rewrite(&token, entry.version, &format!("token.{}", end.verb()), who)])
        })
        .await?;
        self.present_token(name)
    }

    /// Ends rotations whose time is over, until it is dropped.
    pub(crate) async fn keep_time(&self) {
        let mut sweeps = self.follower.sweeps();
        loop {
            let now = self.clock.now().wall;
            let next = self.directory().rotations_end().min();
            // What is over and still there ended a moment ago, or could not be taken out.
            let left = |until: Wall| if until > now { until.since(now) } else { limits::ROTATION_LOOK_AGAIN };
            let wait = next.map_or(limits::ROTATION_KEPT_MAX, left);
            // Cancel safety: nothing is lost by a look that was broken off, for each looks at everything.
            tokio::select! {
                // Only what the registry's own end could say, and then this ends too.
                changed = sweeps.changed() => if changed.is_err() { return },
                () = sleep(wait) => self.lapse().await,
            }
        }
    }

    /// Takes what is past its time out of the store; its sessions are told first, whatever becomes of that.
    pub(super) async fn lapse(&self) {
        self.follow().await;
        let now = self.clock.now().wall;
        let over = |directory: &crate::directory::Directory| {
            let is_over = |until: Option<Wall>| until.is_some_and(|until| until <= now);
            let sources = directory.sources.values().filter_map(|entry| {
                let source = &entry.document;
                is_over(source.rotation.as_ref()?.until()).then(|| Write {
                    key: key_of(DocumentKind::Source, &source.name),
                    expect: entry.version,
                    body: Some(render(&Source { rotation: None, ..source.clone() })),
                    audit: self.audited(&Principal::SERVER, "source.rotate_finish", source.name.as_str()),
                })
            });
            let tokens = directory.tokens.values().filter_map(|entry| {
                let token = &entry.document;
                let next = Token { rotation: None, ..token.clone() };
                is_over(token.rotation.as_ref()?.until())
                    .then(|| self.token_rewrite(&next, entry.version, "token.rotate_finish", &Principal::SERVER))
            });
            sources.chain(tokens).collect::<Vec<_>>()
        };
        let ended = over(&self.directory()).len();
        if ended == 0 {
            return;
        }
        match self.change(|directory| Ok(over(directory))).await {
            Ok(()) => tracing::info!(event = "rotation_ended", ended, "what was replaced is worth nothing any more"),
            // It is worth nothing all the same; the next start takes it away.
            Err(error) => {
                tracing::warn!(event = "rotation_ended", ended, %error, "what was replaced stays in the store");
            }
        }
    }

    fn present_source(&self, name: &Name) -> Result<Source, RegistryError> {
        let directory = self.directory();
        directory.sources.get(name).map(|entry| entry.document.clone()).ok_or_else(|| unknown_source(&directory, name))
    }

    pub(super) fn present_token(&self, name: &Name) -> Result<Token, RegistryError> {
        let directory = self.directory();
        directory.tokens.get(name).map(|entry| entry.document.clone()).ok_or_else(|| unknown_token(&directory, name))
    }
}

/// Takes the values out of a source that `set` has anew.
fn taken_out(source: &mut Source, provider: &Provider, set: &Parameters) -> Result<Replaced, RegistryError> {
    let invalid = |text: String| Err(RegistryError::Invalid(text));
    let mut names: Vec<String> = set.iter().map(|(name, _)| provider.known_as(name.trim()).to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    let Source { name, .. } = source;
    if names.is_empty() {
        return invalid(format!("say which secret, and the new one: crm-relay source rotate {name} --set NAME=@FILE"));
    }
    let proves = |name: &String| {
        provider.parameters.iter().any(|parameter| parameter.name == name && (parameter.secret || parameter.key))
    };
    if !names.iter().any(proves) {
        let named = names.join(", ");
        return invalid(format!(
            "{named} proves nothing and needs no rotation: crm-relay source update {name} --set ..."
        ));
    }
    let is_named = |known: &str| names.iter().any(|name| name == provider.known_as(known));
    let values: Parameters = source.parameters.iter().filter(|(name, _)| is_named(name)).cloned().collect();
    if values.is_empty() {
        let named = names.join(", ");
        return invalid(format!("the source has no {named} to replace: crm-relay source update {name} --set ..."));
    }
    source.parameters.retain(|(name, _)| !is_named(name));
    source.adopted.retain(|name| !is_named(name));
    Ok(Replaced { names, values })
}

fn known_provider(name: &str) -> Result<&'static Provider, RegistryError> {
    if let Some(known) = provider(name) {
        return Ok(known);
    }
    let faults = Verifier::new(name, &[]).err().unwrap_or_default();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Err(RegistryError::Invalid(faults.join("; ")))
}

/// When the old one ends that is kept for so long.
fn ending(since: Wall, keep_old: Option<Duration>) -> Result<Option<Wall>, RegistryError> {
    let Some(keep_old) = keep_old else { return Ok(None) };
    if !(limits::ROTATION_KEPT_MIN..=limits::ROTATION_KEPT_MAX).contains(&keep_old) {
        let text = "the old one is kept for 1 s to 366 days, or until told; to have the new one alone, finish at once";
        return Err(RegistryError::Invalid(text.into()));
    }
    Ok(Some(since + keep_old))
}

fn none_under_way<T>(
    kind: &'static str,
    name: &Name,
    rotation: Option<&Rotation<T>>,
    now: Wall,
) -> Result<(), RegistryError> {
    match rotation.filter(|rotation| rotation.goes_on(now)) {
        None => Ok(()),
        Some(rotation) => Err(RegistryError::Conflict(format!(
            "a rotation of {kind} {name:?} is under way since {}: end it first, with crm-relay {kind} rotate {name} --finish \
             (the old one is worth nothing any more) or --abort (the old one stays)",
            crate::clock::rfc3339(rotation.since)
        ))),
    }
}

fn under_way<'a, T>(
    kind: &'static str,
    name: &Name,
    rotation: Option<&'a Rotation<T>>,
    now: Wall,
    end: End,
) -> Result<&'a Rotation<T>, RegistryError> {
    // What is past its time may be finished and not brought back.
    rotation.filter(|rotation| end == End::Finish || rotation.goes_on(now)).ok_or_else(|| {
        RegistryError::Conflict(format!(
            "no rotation of {kind} {name:?} is under way; it was ended, or its time is over"
        ))
    })
}

#[cfg(test)]
mod tests;
