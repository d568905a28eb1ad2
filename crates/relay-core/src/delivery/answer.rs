//! What a target said with its refusal, as far as its client's file lets the server know.

use std::{fmt, sync::Arc};

/// The words of an answer that was no 2xx. They are a target's, so that no `Debug` shows them (S27): for the eyes of
/// operators who ask for the delivery, never for a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its reason phrase, where that is not the usual one of the status.
    pub reason: Option<Box<str>>,
    /// Its `Location`.
    pub location: Option<Box<str>>,
    /// How its body begins, if that is text.
    pub body: Option<Box<str>>,
    /// There was more of the body, or it broke off.
    pub cut: bool,
}

impl Answer {
    /// The same without a word, and as long: its event was erased.
    #[must_use]
    pub fn erased(&self) -> Self {
        let over = |text: &Option<Box<str>>| text.as_deref().map(|text| " ".repeat(text.len()).into());
        Self { reason: over(&self.reason), location: over(&self.location), body: over(&self.body), cut: self.cut }
    }

    /// The same to be shared, unless it says nothing.
    pub fn shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        write!(f, "Answer({} bytes)", len(&self.reason) + len(&self.location) + len(&self.body))
    }
}
