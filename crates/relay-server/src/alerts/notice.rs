//! A message on its way.

use relay_core::{alert::Message, name::Name, time::Wall};

use crate::registry::secret;

/// A message with its id, which is the same over its tries.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) id: String,
    pub(super) message: Message,
    /// It says nothing but that it can be told.
    pub(super) is_test: bool,
}

impl Notice {
    pub(super) fn of(message: Message) -> Self {
        let id = format!("msg_{}", secret::hex(&rand::random::<[u8; 16]>()));
        Self { id, message, is_test: false }
    }

    pub(super) fn test(alert: &Name, at: Wall) -> Self {
        let (begun, over, lasting) = (Vec::new(), Vec::new(), Vec::new());
        let message = Message { alert: alert.clone(), at, begun, over, lasting, more: 0 };
        Self { is_test: true, ..Self::of(message) }
    }
}
