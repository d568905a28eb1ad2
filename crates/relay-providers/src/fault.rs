//! What is wrong with the parameters of a source.

use relay_core::fault::{Fault, Retry};
use thiserror::Error;

/// One fault in a provider's name or parameters, worded with what would be right. Never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{detail}", prefix(.parameter.as_deref()))]
pub struct ParameterFault {
    /// The parameter at fault; `None`: the provider's name itself.
    pub parameter: Option<String>,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl ParameterFault {
    /// Who has to change something: whoever configures the source.
    pub fn fault(&self) -> Fault {
        Fault::Operator
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        Retry::Never
    }

    pub(crate) fn of(parameter: &str, detail: impl Into<String>) -> Self {
        Self { parameter: Some(parameter.to_owned()), detail: detail.into() }
    }

    pub(crate) fn unknown_provider(name: &str, known: &[&str]) -> Self {
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            // They are too many to be named: a screen full, with what is asked for lost in it.
            None => format!("there are {}; with a platform that is none of them: hmac, or api-key", known.len()),
        };
        Self { parameter: None, detail: format!("no provider is called {name:?}; {hint}") }
    }

    pub(crate) fn unknown_parameter(name: &str, provider: &str, known: &[&str]) -> Self {
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known: {}", known.join(", ")),
        };
        Self::of(name, format!("the provider {provider} has no such parameter; {hint}"))
    }
}

fn prefix(parameter: Option<&str>) -> String {
    parameter.map(|name| format!("{name}: ")).unwrap_or_default()
}

/// The known name that `name` was meant to be, if it is a slip of the keyboard away: a third of its length at most, and no
/// more than three letters. Capitals, `_` and `-` do not matter.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The cost is the product of both lengths; nothing longer than this is a slip.
    const NAME_BYTES_MAX: usize = 64;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let name = plain(name);
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(&name, &plain(known)), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_strange_word_is_not() {
        let known = ["api-key", "basic", "standard-webhooks"];
        assert_eq!(nearest("apikey", known), Some("api-key"));
        assert_eq!(nearest("API_KEY", known), Some("api-key"));
        assert_eq!(nearest("standard-webhook", known), Some("standard-webhooks"));
        assert_eq!(nearest("baisc", known), Some("basic"), "two keys in the wrong order are one slip");
        assert_eq!(nearest("zoom", known), None);
        let settings = ["max_retries", "message_ttl", "lease"];
        assert_eq!(nearest("MAX_RETRYS", settings), Some("max_retries"));
        assert_eq!(nearest("messagettl", settings), Some("message_ttl"));
        assert_eq!(nearest("laese", settings), Some("lease"));
        assert_eq!(nearest("banana", settings), None);
        assert_eq!(nearest(&"a".repeat(10_000), known), None);
    }
}
