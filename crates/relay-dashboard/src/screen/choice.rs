//! What a form offers.

use relay_core::{delivery::Reason, name::Name};

use crate::{since::Since, text};

/// One of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice<'a> {
    /// As it is sent.
    pub(crate) value: &'a str,
    /// As it is read.
    pub(crate) words: &'a str,
    /// It is the one.
    pub(crate) chosen: bool,
}

/// Any of the names, or the word for none of them.
pub(super) fn names<'a>(any: &'a str, names: &'a [Name], chosen: Option<&str>) -> Vec<Choice<'a>> {
    let none = Choice { value: "", words: any, chosen: chosen.is_none() };
    let named = |name: &'a Name| {
        let value = name.as_str();
        Choice { value, words: value, chosen: chosen == Some(value) }
    };
    std::iter::once(none).chain(names.iter().map(named)).collect()
}

/// Any of the reasons for which a delivery ends.
pub(super) fn reasons(chosen: Option<Reason>) -> Vec<Choice<'static>> {
    let any = Choice { value: "", words: text::ANY_REASON, chosen: chosen.is_none() };
    let choice =
        |reason: Reason| Choice { value: reason.as_str(), words: text::reason(reason), chosen: chosen == Some(reason) };
    std::iter::once(any).chain(Reason::ALL.into_iter().map(choice)).collect()
}

/// How far back.
pub(super) fn spans(chosen: Since) -> Vec<Choice<'static>> {
    let choice = |since: Since| Choice { value: since.as_str(), words: text::since(since), chosen: since == chosen };
    Since::ALL.into_iter().map(choice).collect()
}
