//! A source's parameters, checked against what its provider takes.

use crate::{ParameterFault, header, parameter::Parameter, secret::secret_fault};

/// Longest secret that a platform makes.
const AGREED_BYTES_MAX: usize = 8 * 1024;

/// What a provider takes: what parameters are checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takes {
    /// The provider's name.
    pub(crate) provider: &'static str,
    /// What a source of it takes.
    pub(crate) parameters: &'static [Parameter],
    /// What acting as the provider takes beyond that.
    pub(crate) sending: &'static [Parameter],
    /// The platform hands over the key itself, so that a source can be without it at first.
    pub(crate) adopts: bool,
}

impl Takes {
    /// The name by which the table knows a parameter: the one key is also taken under the name `secret`.
    pub(crate) fn known_as<'a>(&self, name: &'a str) -> &'a str {
        if name == "secret" { self.secret_alias().unwrap_or(name) } else { name }
    }

    /// The parameter that `secret` stands for: the key, where there is one and nothing else is called that.
    fn secret_alias(&self) -> Option<&'static str> {
        if self.parameters.iter().any(|parameter| parameter.name == "secret") {
            return None;
        }
        self.parameters.iter().find(|parameter| parameter.key).map(|parameter| parameter.name)
    }
}

/// The parameters of one source: names known, none missing, only secrets and keys repeated.
pub(crate) struct Parameters<'a> {
    takes: Takes,
    given: Vec<(&'a str, &'a str)>,
    purpose: Purpose,
    faults: Vec<ParameterFault>,
}

/// What the parameters are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To judge requests.
    Verify,
    /// To act as the provider.
    Sign,
}

impl<'a> Parameters<'a> {
    /// Checks names and counts; value faults are added while a scheme reads its values.
    pub(crate) fn check(takes: Takes, given: &'a [(String, String)], purpose: Purpose) -> Self {
        let given = given.iter().map(|(name, value)| (takes.known_as(name), value.as_str()));
        let mut parameters = Self { takes, given: given.collect(), purpose, faults: Vec::new() };
        parameters.check_names();
        parameters
    }

    /// Whether the platform hands over the key itself, so that it may be missing.
    pub(crate) fn may_await_key(&self) -> bool {
        self.takes.adopts
    }

    /// Every value of a parameter, in order; its default if it is not given. Empty values count as not given.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a str> {
        let given: Vec<&str> =
            self.given.iter().filter(|(n, v)| *n == name && !v.is_empty()).map(|(_, v)| *v).collect();
        let default = self.takes.parameters.iter().find(|parameter| parameter.name == name).and_then(|p| p.default);
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
        let is_armoured = |value: &str| value.starts_with("-----BEGIN ");
        let values = self.all(name);
        for value in &values {
            let is_text = is_armoured(value) || !value.chars().any(char::is_control);
            if value.len() > AGREED_BYTES_MAX || !is_text {
                self.fault(name, format!("must be 1 to {AGREED_BYTES_MAX} bytes of text without control characters"));
            }
        }
        values
    }

    /// The header field that the parameter `header` names, in lower case.
    pub(crate) fn header_name(&mut self) -> String {
        let name = self.one("header").to_ascii_lowercase();
        if !name.is_empty() && !header::is_field_name(&name) {
            self.fault("header", format!("{name:?} is not a header field's name; like X-Signature"));
        }
        name
    }

    /// Notes that a source is without any of these.
    pub(crate) fn needs_one_of(&mut self, names: &[&'static str]) {
        let mut names = names.to_vec();
        names.dedup();
        let first = names.first().copied().unwrap_or_default();
        self.fault(first, format!("missing; {} needs {}", self.takes.provider, names.join(" or ")));
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(ParameterFault::of(name, detail));
    }

    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Every value as given and every default, for handshakes.
    pub(crate) fn values(&self) -> Vec<(&'static str, String)> {
        let named = |name: &'static str| self.all(name).into_iter().map(move |value| (name, value.to_owned()));
        self.takes.parameters.iter().flat_map(|parameter| named(parameter.name)).collect()
    }

    /// `value` if nothing was at fault, else every fault.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<ParameterFault>> {
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }

    fn check_names(&mut self) {
        let sending = if self.purpose == Purpose::Sign { self.takes.sending } else { &[] };
        let taken: Vec<_> = self.takes.parameters.iter().chain(sending).copied().collect();
        let known: Vec<_> = taken.iter().map(|parameter| parameter.name).collect();
        for (name, _) in self.given.clone() {
            if self.takes.sending.iter().any(|parameter| parameter.name == name) && self.purpose == Purpose::Verify {
                self.fault(name, "is for sending only; a source never needs it");
            } else if !known.contains(&name) {
                self.faults.push(ParameterFault::unknown_parameter(name, self.takes.provider, &known));
            }
        }
        // Who can sign needs no public key.
        let signs = self.given.iter().any(|(name, value)| *name == "signing_key" && !value.is_empty());
        for parameter in taken {
            let count = self.given.iter().filter(|(name, value)| *name == parameter.name && !value.is_empty()).count();
            if count == 0 && parameter.required && !(parameter.key && signs) {
                self.fault(parameter.name, format!("missing; {} needs {}", self.takes.provider, parameter.help));
            }
            let value = self.one(parameter.name);
            if !parameter.choices.is_empty() && !parameter.choices.contains(&value) {
                self.fault(parameter.name, format!("{value:?} must be {}", listed(parameter.choices)));
            }
            if count > 1 && !parameter.repeated {
                self.fault(parameter.name, format!("given {count} times; only a secret may be, while it is replaced"));
            }
        }
    }
}

/// `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}
