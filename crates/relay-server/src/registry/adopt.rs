//! Secrets that a platform hands over itself, while its source has none yet.

use relay_core::{limits, name::Name};
use relay_providers::Verifier;
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    change::{Write, undeclared, unknown_source},
    key_of,
};
use crate::{
    document::{Source, render},
    principal::Principal,
};

impl Registry {
    /// From now on, for [`limits::ADOPTION_WINDOW`], the source takes the secret that its platform hands over, beside those that
    /// were handed over before: platforms have one for each webhook. With `forget` these are worth nothing any more: one may
    /// have been a stranger's.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Invalid` where the platform hands over none or an operator gave it, `Store`.
    pub async fn await_secret(&self, name: &Name, forget: bool, who: &Principal) -> Result<Source, RegistryError> {
        let until = self.clock.now().wall + limits::ADOPTION_WINDOW;
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            let mut source = entry.document.clone();
            if forget {
                source.parameters.retain(|(parameter, _)| !source.adopted.contains(parameter));
                source.adopted.clear();
                source.rotation = None;
            }
            source.adopts_until = Some(until.as_micros());
            check_awaits(&source)?;
            let action = if forget { "source.forget_secret" } else { "source.await_secret" };
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited(who, action, name.as_str()),
            }])
        })
        .await?;
        let directory = self.directory();
        directory.sources.get(name).map(|entry| entry.document.clone()).ok_or_else(|| unknown_source(&directory, name))
    }

    /// Keeps what the platform handed over as this parameter of the source. The same once more changes nothing; another one
    /// is too late, unless an operator awaits a further one: only the first may be believed.
    ///
    /// # Errors
    /// `Unknown`, `Declared` (the configuration file says what the parameters are), `Taken`, `Invalid`, `Store`.
    pub(crate) async fn adopt(
        &self,
        name: &Name,
        parameter: &'static str,
        value: &str,
        who: &Principal,
    ) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            let mut source = entry.document.clone();
            let mut known = source.parameters.iter().filter(|(known, _)| known == parameter).peekable();
            let has_one = known.peek().is_some();
            if known.any(|(_, known)| known == value) {
                return Ok(Vec::new());
            }
            if source.adopts_until(self.clock.now().wall).is_none() {
                if has_one {
                    return Err(RegistryError::Taken { kind: "parameter", name: parameter.to_owned() });
                }
                return Err(RegistryError::Invalid(format!("nobody awaits it: crm-relay source await-secret {name}")));
            }
            source.adopts_until = None;
            source.parameters.push((parameter.to_owned(), value.to_owned()));
            if !has_one {
                source.adopted.push(parameter.to_owned());
            }
            self.check_parameters(&source)?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited(who, "source.adopt", format!("{name} {parameter}")),
            }])
        })
        .await
    }

    /// The secrets that a source's platform handed over, for an operator who has to paste one of them. Who asked is on
    /// record before they are shown.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub(crate) async fn reveal(&self, name: &Name, who: &Principal) -> Result<Vec<(String, String)>, RegistryError> {
        let directory = self.directory();
        let entry = directory.sources.get(name).ok_or_else(|| unknown_source(&directory, name))?;
        let Source { parameters, adopted, .. } = &entry.document;
        self.note(self.audited(who, "source.reveal", name.as_str())).await?;
        Ok(parameters.iter().filter(|(name, _)| adopted.contains(name)).cloned().collect())
    }
}

/// Refuses to wait for what will not come.
pub(super) fn check_awaits(source: &Source) -> Result<(), RegistryError> {
    let Source { name, provider, .. } = source;
    if !source.adopted.is_empty() {
        return Ok(());
    }
    match Verifier::new(provider, &source.parameters) {
        Ok(verifier) if verifier.awaits_secret() => Ok(()),
        Ok(verifier) if verifier.provider().adopts() => Err(RegistryError::Invalid(format!(
            "source {name} has a secret that was given to it; leave it out first: crm-relay source update"
        ))),
        Ok(_) => Err(RegistryError::Invalid(format!("{provider} hands over no secret; give it with --set"))),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(RegistryError::Invalid(faults.join("; ")))
        }
    }
}
