//! A source's parameters, checked against what its provider takes.

use crate::{ParameterFault, Provider, provider, providers, secret::secret_fault};

/// Longest secret that a platform makes.
const AGREED_BYTES_MAX: usize = 1024;

/// The parameters of one source: names known, none missing, only secrets repeated.
pub(crate) struct Parameters<'a> {
    provider: &'static Provider,
    given: &'a [(String, String)],
    faults: Vec<ParameterFault>,
}

impl<'a> Parameters<'a> {
    /// Checks names and counts; value faults are added while a scheme reads its values.
    pub(crate) fn check(name: &str, given: &'a [(String, String)]) -> Result<Self, Vec<ParameterFault>> {
        let Some(provider) = provider(name) else {
            let known: Vec<_> = providers().iter().map(|provider| provider.name).collect();
            return Err(vec![ParameterFault::unknown_provider(name, &known)]);
        };
        let mut parameters = Self { provider, given, faults: Vec::new() };
        parameters.check_names();
        Ok(parameters)
    }

    pub(crate) fn provider(&self) -> &'static Provider {
        self.provider
    }

    /// Every value of a parameter, in order; its default if it is not given. Empty values count as not given.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a str> {
        let given: Vec<&str> =
            self.given.iter().filter(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str()).collect();
        let default = self.provider.parameters.iter().find(|parameter| parameter.name == name).and_then(|p| p.default);
        if given.is_empty() { default.into_iter().collect() } else { given }
    }

    /// The value of a parameter, or the empty text (a missing one is a fault already).
    pub(crate) fn one(&self, name: &str) -> &'a str {
        self.all(name).first().copied().unwrap_or_default()
    }

    /// Every value of a secret that the operator makes up for the relay, each judged.
    pub(crate) fn own_secrets(&mut self, name: &str) -> Vec<&'a str> {
        let values = self.all(name);
        for fault in values.iter().filter_map(|value| secret_fault(value)) {
            self.fault(name, fault);
        }
        values
    }

    /// Every value of a secret that the sending platform makes or limits: it may be shorter than we would have it.
    pub(crate) fn agreed_secrets(&mut self, name: &str) -> Vec<&'a str> {
        let values = self.all(name);
        for value in &values {
            if value.len() > AGREED_BYTES_MAX || value.chars().any(char::is_control) {
                self.fault(name, format!("must be 1 to {AGREED_BYTES_MAX} bytes of text without control characters"));
            }
        }
        values
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(ParameterFault::of(name, detail));
    }

    /// `value` if nothing was at fault, else every fault.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<ParameterFault>> {
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }

    fn check_names(&mut self) {
        let known: Vec<_> = self.provider.parameters.iter().map(|parameter| parameter.name).collect();
        for (name, _) in self.given {
            if !known.contains(&name.as_str()) {
                self.faults.push(ParameterFault::unknown_parameter(name, self.provider.name, &known));
            }
        }
        for parameter in self.provider.parameters {
            let count = self.given.iter().filter(|(name, value)| name == parameter.name && !value.is_empty()).count();
            if count == 0 && parameter.required {
                self.fault(parameter.name, format!("missing; {} needs {}", self.provider.name, parameter.help));
            }
            if count > 1 && !parameter.secret && !parameter.name.ends_with("_sha256") {
                self.fault(parameter.name, format!("given {count} times; only a secret may be, while it is replaced"));
            }
        }
    }
}
