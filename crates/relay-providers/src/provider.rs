//! What an entry of the table says about a provider: what it needs from the operator, how its requests prove
//! themselves, and what it wants as an answer.

use std::time::Duration;

use relay_core::time::Wall;

use crate::{
    Draft, Handshake, On, Request,
    name::Name,
    naming::{DeliveryId, Names},
    parameter::Parameter,
    parameters::Takes,
    proof::Proof,
    proven::Covered,
    sample::Sample,
};

/// [`Provider::unproven`] of signatures over the body alone.
pub(crate) const NO_TIME: &str = "The signature covers the body alone and no time: whoever has seen one request can send it again, \
    and header fields can be changed. The relay recognises repeats by their delivery id.";

/// One provider. Everything about it that is data stands here; [`providers`](crate::providers) lists all of them.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// Its name in configuration and commands.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What a source of it takes.
    pub parameters: &'static [Parameter],
    /// What acting as the provider takes beyond that: private keys, which no source ever needs.
    pub sending: &'static [Parameter],
    /// What the sender wants once its webhook is durable.
    pub acknowledgement: Acknowledgement,
    /// Webhooks that it wants acknowledged otherwise.
    pub otherwise: &'static [Otherwise],
    /// How long the sender waits for that.
    pub answer_within: Duration,
    /// Methods its sources take, handshakes included; anything else is answered 405.
    pub methods: &'static [&'static str],
    /// The sender tries again by itself when it gets no 2xx. Where it never does, a repeat of something delivered is
    /// somebody who pressed Resend.
    pub retries: bool,
    /// For how long, where one of its pages says so.
    pub tries_for: Option<Tries>,
    /// After which answers it does, or does not, where that is documented: for whoever reads its page.
    pub again: &'static str,
    /// Its proof leaves the body open: that an id is taken once is all that keeps a proof which was seen from carrying other
    /// bodies. So ids have to be remembered for as long as a signed time may be off.
    pub once: bool,
    /// The signature covers the URL the sender called: the relay has to know its own (`PUBLIC_URL`).
    pub signs_url: bool,
    /// Nothing that it sends is signed, and what it is known by is no secret: the URL is all that guards a source, so that its name is to be one
    /// that nobody guesses.
    pub guarded_by_url: bool,
    /// The sender presents a key that opens the source: `X-API-Key` or `Authorization: Bearer`.
    pub key_source: bool,
    /// Status of the answer to a request that did not prove itself.
    pub refusal: u16,
    /// The platform wants a refusal to have no body.
    pub bare_refusals: bool,
    /// Requests that are answered on the spot and never stored.
    pub handshakes: &'static [Handshake],
    /// A key that everybody knows, with which the platform signs what tests an endpoint: answered, and never stored.
    pub test_key: Option<&'static str>,
    /// Where the id stands that is the same over the retries of one webhook.
    pub delivery: DeliveryId,
    /// Where in its JSON bodies values stand that are about the attempt, and so differ between the retries of one webhook: they
    /// are no part of what a repeat is known by. `meta.attempt`, `events[].context.again`.
    pub attempts: &'static [&'static str],
    /// Where the name of what happened stands.
    pub event: Name,
    /// Where the id of the thing stands to which it happened: events of one thing are to stay in order.
    pub order: Name,
    /// Where its scheme is written down.
    pub docs: &'static str,
    /// What is checked, in whole sentences, where code does it; [`Provider::checks`] derives the rest from the scheme.
    pub checked: &'static str,
    /// What a good signature leaves open, in whole sentences, for the operator.
    pub unproven: &'static str,
    /// A realistic event.
    pub sample: Sample,
    /// How its requests prove themselves.
    pub(crate) proof: Proof,
}

impl Provider {
    /// What most have in common; an entry names what differs.
    pub(crate) const BASE: Self = Self {
        name: "",
        title: "",
        parameters: &[],
        sending: &[],
        acknowledgement: Acknowledgement::EMPTY,
        otherwise: &[],
        answer_within: Duration::from_secs(10),
        methods: &["POST"],
        retries: true,
        tries_for: None,
        again: "",
        once: false,
        signs_url: false,
        guarded_by_url: false,
        key_source: false,
        refusal: 401,
        bare_refusals: false,
        handshakes: &[],
        test_key: None,
        delivery: DeliveryId::Nothing,
        attempts: &[],
        event: Name::Nowhere,
        order: Name::Nowhere,
        docs: "",
        checked: "",
        unproven: "",
        sample: Sample::EMPTY,
        proof: Proof::Signed(&[]),
    };

    /// The sample event as a request to `url`, not signed yet. `id` tells one sample from the next.
    pub fn draft(&self, url: &str, id: &str, now: Wall) -> Draft {
        self.sample.draft(url, id, now)
    }

    /// What a request says happened, in the platform's words; for people, it proves nothing.
    pub fn event_in(&self, request: &Request<'_>) -> Option<String> {
        Names::new(request, &Covered::All, DeliveryId::Nothing, [self.event, Name::Nowhere]).event(self.event)
    }

    /// The name by which the table knows a parameter: the one key of a provider is also taken under the name `secret`.
    pub fn known_as<'a>(&self, name: &'a str) -> &'a str {
        self.takes().known_as(name)
    }

    /// Whether it answers strangers' challenges with the key, and in the way, that its events are signed with: then an event
    /// must be nothing that could be a challenge.
    pub(crate) fn signs_challenges(&self) -> bool {
        self.handshakes.iter().any(|handshake| handshake.exchange.is_keyed_like_an_event())
    }

    /// Whether the platform hands over the key itself.
    pub fn adopts(&self) -> bool {
        self.handshakes.iter().any(|handshake| handshake.adopts().is_some())
    }

    /// What its parameters are checked against.
    pub(crate) fn takes(&self) -> Takes {
        Takes { provider: self.name, parameters: self.parameters, sending: self.sending, adopts: self.adopts() }
    }
}

/// For how long a platform goes on sending what it got no 2xx for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// From the first attempt to the last.
    pub time: Duration,
    /// The page that says so.
    pub page: &'static str,
}

impl Tries {
    /// For this many minutes, by this page.
    pub(crate) const fn minutes(minutes: u64, page: &'static str) -> Self {
        Self { time: Duration::from_mins(minutes), page }
    }
}

/// The answer to a webhook that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// `202` with the event's id and the moment it was received, as JSON.
    Receipt,
    /// Always the same.
    Fixed {
        /// Status.
        status: u16,
        /// `Content-Type`, if there is a body.
        content_type: Option<&'static str>,
        /// Body.
        body: &'static str,
    },
}

/// Webhooks of a provider that are acknowledged in another way than its others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Otherwise {
    /// What makes it one: all of these.
    pub on: &'static [On],
    /// Its acknowledgement.
    pub acknowledgement: Acknowledgement,
}

impl Default for Acknowledgement {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Acknowledgement {
    /// What nearly every provider wants: an empty 200.
    pub const EMPTY: Self = Self::Fixed { status: 200, content_type: None, body: "" };
}
