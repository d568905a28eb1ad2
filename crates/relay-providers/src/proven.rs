//! What a proof that was found good covers.

use std::borrow::Cow;

use crate::DeliveryId;

/// A proof that was found good.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    /// Indexes of the header fields that are a credential for the relay alone.
    pub(crate) strip: Vec<usize>,
    pub(crate) covered: Covered,
}

/// What nobody could have chosen who does not have the secret.
#[derive(Clone, Debug)]
pub(crate) enum Covered {
    /// Everything: the secret itself came along, so who sent this has it and could sign whatever he likes.
    All,
    /// What is signed.
    Signed {
        body: bool,
        /// Names of header fields.
        headers: Vec<Cow<'static, str>>,
    },
}

impl Covered {
    /// Whether an id that stands there can stand for the webhook: it is signed, and the body with it.
    pub(crate) fn has(&self, id: DeliveryId) -> bool {
        let Self::Signed { body, headers } = self else { return true };
        *body
            && match id {
                DeliveryId::Header(name) => headers.iter().any(|signed| signed == name),
                DeliveryId::Headers(names) => names.iter().all(|name| headers.iter().any(|signed| signed == name)),
                DeliveryId::Json(_) | DeliveryId::Items(_) | DeliveryId::Body => true,
                DeliveryId::First(ids) => ids.iter().all(|id| self.has(*id)),
                // What type the body is said to be of is not signed.
                DeliveryId::Documented(id, _) => self.has(*id),
                DeliveryId::InType(..) | DeliveryId::Nothing | DeliveryId::Code(_) => false,
            }
    }
}
