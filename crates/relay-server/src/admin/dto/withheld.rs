//! What is left out for whoever may not see payloads: queries, values of headers, answers of targets; and secrets, for whoever did not ask for them.

use relay_core::secret_field::{is_secret, masked_query};

use crate::{
    api::{DeliveryDto, EventDto, GroupDto, HeaderDto},
    principal::{Permission, Principal},
};

/// Something that may hold a payload.
pub(crate) trait Seen {
    /// Without what is a payload.
    fn withheld(self) -> Self;

    /// As far as he may see it.
    fn by(self, who: &Principal) -> Self
    where
        Self: Sized,
    {
        if who.role.may(Permission::Payload) { self } else { self.withheld() }
    }

    /// As a line among others. Whoever came in by the dashboard sees a payload where he opens the event that has it, which is a line of the
    /// audit log (S34); a list of a thousand would be one of none.
    fn listed_for(self, who: &Principal) -> Self
    where
        Self: Sized,
    {
        if who.has_session() { self.withheld() } else { self.by(who) }
    }
}

impl Seen for EventDto {
    fn withheld(self) -> Self {
        let headers = self.headers.iter().map(|header| HeaderDto::Withheld([header.name().to_owned()])).collect();
        let deliveries = self.deliveries.into_iter().map(Seen::withheld).collect();
        Self { query: None, headers, deliveries, ..self }
    }
}

impl EventDto {
    /// Without values that are secrets of its sender.
    pub(crate) fn masked(mut self) -> Self {
        for header in &mut self.headers {
            if is_secret(header.name().as_bytes(), header.value().as_bytes()) {
                *header = HeaderDto::Withheld([header.name().to_owned()]);
            }
        }
        let masked = self.query.map(|query| masked_query(query.as_bytes()).0);
        self.query = masked.map(|query| String::from_utf8_lossy(&query).into_owned());
        self
    }
}

impl Seen for DeliveryDto {
    fn withheld(mut self) -> Self {
        for attempt in self.last.iter_mut().chain(self.history.iter_mut().flatten()) {
            attempt.answer = None;
        }
        self
    }
}

impl Seen for GroupDto {
    fn withheld(self) -> Self {
        Self { answer: None, ..self }
    }
}
