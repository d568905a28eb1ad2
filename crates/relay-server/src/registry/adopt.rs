//! Secrets that a platform hands over itself, while its source has none yet.

use relay_core::name::Name;
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    change::{Write, undeclared},
    document::{Source, render},
    key_of,
    source::unknown_source,
};

impl Registry {
    /// Keeps what the platform handed over as this parameter of the source. The same once more changes nothing; another one
    /// is too late: only the first may be believed.
    ///
    /// # Errors
    /// `Unknown`, `Declared` (the configuration file says what the parameters are), `Taken`, `Invalid`, `Store`.
    pub(crate) async fn adopt(&self, name: &Name, parameter: &'static str, value: &str) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            let mut source = entry.document.clone();
            if let Some((_, known)) = source.parameters.iter().find(|(known, _)| known == parameter) {
                let taken = RegistryError::Taken { kind: "parameter", name: parameter.to_owned() };
                return if known == value { Ok(Vec::new()) } else { Err(taken) };
            }
            source.parameters.push((parameter.to_owned(), value.to_owned()));
            source.adopted.push(parameter.to_owned());
            self.check_parameters(&source)?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited("sender", "source.adopt", format!("{name} {parameter}")),
            }])
        })
        .await
    }

    /// The secrets that a source's platform handed over, for an operator who has to paste one of them. Who asked is on
    /// record before they are shown.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub(crate) async fn reveal(&self, name: &Name, who: &str) -> Result<Vec<(String, String)>, RegistryError> {
        let directory = self.directory();
        let entry = directory.sources.get(name).ok_or_else(|| unknown_source(&directory, name))?;
        let Source { parameters, adopted, .. } = &entry.document;
        self.store.audit(vec![self.audited(who, "source.reveal", name.as_str())]).await?;
        Ok(parameters.iter().filter(|(name, _)| adopted.contains(name)).cloned().collect())
    }
}
