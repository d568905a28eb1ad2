//! A message on its way.

use relay_core::{
    alert::{Key, Message, Scope},
    name::Name,
    time::Wall,
};
use relay_dashboard::{place::place, url::Site};

use crate::secret;

/// Who tells a message, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Speaker {
    /// Which relay.
    pub(super) relay: String,
    /// Which of its servers; empty: it has one.
    pub(super) server: String,
    /// Where its dashboard is, with a slash at its end, if anybody said so.
    pub(super) dashboard: Option<String>,
}

impl Speaker {
    /// The page where a condition is looked at; without one, where all are.
    pub(super) fn page(&self, key: Option<&Key>) -> Option<String> {
        let (base, site) = (self.dashboard.as_deref()?, Site::default());
        let url = key.map_or_else(|| site.alerts(), |key| place(&site, key.kind, key.subject.as_ref()));
        Some(format!("{base}{}", url.as_str().trim_start_matches('/')))
    }
}

/// A message with its id, which is the same over its tries.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) id: String,
    pub(super) message: Message,
    /// Whose conditions it tells of those that are of a server, if it is not this one.
    pub(super) server: Option<String>,
    /// It says nothing but that it can be told.
    pub(super) is_test: bool,
}

impl Notice {
    pub(super) fn of(message: Message) -> Self {
        let id = format!("msg_{}", secret::hex(&rand::random::<[u8; 16]>()));
        Self { id, message, server: None, is_test: false }
    }

    /// Of what another server told, which is gone.
    pub(super) fn of_other(message: Message, server: String) -> Self {
        Self { server: Some(server), ..Self::of(message) }
    }

    /// Without what is of the store.
    pub(super) fn leave(&mut self) {
        let Message { begun, over, lasting, .. } = &mut self.message;
        for items in [begun, over, lasting] {
            items.retain(|item| item.key.scope != Scope::Store);
        }
    }

    /// Whether it says nothing any more.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_test && self.message.items().next().is_none()
    }

    pub(super) fn test(alert: &Name, at: Wall) -> Self {
        let (begun, over, lasting) = (Vec::new(), Vec::new(), Vec::new());
        let message = Message { alert: alert.clone(), at, begun, over, lasting, more: 0 };
        Self { is_test: true, ..Self::of(message) }
    }
}
