//! What an entry of the table says about a provider: what it needs from the operator, how its requests prove
//! themselves, and what it wants as an answer.

use std::{sync::LazyLock, time::Duration};

use relay_core::time::Wall;

use crate::{
    Draft, Handshake, On, Request,
    code::Code,
    name::Name,
    naming::{DeliveryId, Names},
    parameters::Parameters,
    proven::Covered,
    sample::Sample,
    scheme::Scheme,
    shape::{Characters, Shape},
    signed_over, table,
};

/// [`Provider::unproven`] of signatures over the body alone.
pub(crate) const NO_TIME: &str = "The signature covers the body alone and no time: whoever has seen one request can send it again, \
    and header fields can be changed. The relay recognises repeats by their delivery id.";

/// One provider. Everything about it that is data stands here; [`providers`] lists all of them.
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

/// How the requests of a provider prove themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// By a key in `X-API-Key` or `Authorization: Bearer`, which this parameter names.
    Key(&'static str),
    /// By user name and password.
    Basic,
    /// By user name and password, or by a secret in a header field that the operator names.
    BasicOrHeader,
    /// By a signature over the body that the parameters describe.
    Described,
    /// By what these schemes describe: those whose condition holds apply, any one of them is enough.
    Signed(&'static [Scheme]),
    /// By code of its own.
    Code(fn(&mut Parameters<'_>) -> Box<dyn Code>),
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
        if name == "secret" { self.secret_alias().unwrap_or(name) } else { name }
    }

    /// Whether it answers strangers' challenges with the key, and in the way, that its events are signed with: then an event
    /// must be nothing that could be a challenge.
    pub(crate) fn signs_challenges(&self) -> bool {
        self.handshakes.iter().any(|handshake| handshake.exchange.is_keyed_like_an_event())
    }

    /// The parameter that `secret` stands for: the key, where there is one and nothing else is called that.
    pub(crate) fn secret_alias(&self) -> Option<&'static str> {
        if self.parameters.iter().any(|parameter| parameter.name == "secret") {
            return None;
        }
        self.parameters.iter().find(|parameter| parameter.key).map(|parameter| parameter.name)
    }
}

/// One parameter of a provider. Every secret or key may be given twice: while one is replaced, both are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value is never shown.
    pub secret: bool,
    /// Requests are checked with it: a signing secret or a public key.
    pub key: bool,
    /// It may be given several times.
    pub repeated: bool,
    /// A source cannot be without it.
    pub required: bool,
    /// The value if it is not given.
    pub default: Option<&'static str>,
    /// The values there are; none: any text.
    pub choices: &'static [&'static str],
    /// Whoever makes the source makes it up, and enters it at the platform: a random text will do.
    pub made_up: bool,
    /// What it begins with, where the platform makes it.
    pub begins: &'static [&'static str],
    /// What other values of the same platform begin with, and what these are.
    pub not: &'static [(&'static str, &'static str)],
    /// Values that everybody knows, and what these are: whoever signs with one would be taken for the platform.
    pub known: &'static [(&'static str, &'static str)],
    /// What it is made of, where the platform says so.
    pub shape: Option<Shape>,
    /// The page that its default follows from.
    pub document: Option<&'static str>,
    /// What it is, and where in the platform's console to find it.
    pub help: &'static str,
}

impl Parameter {
    /// Something that may be given and known; the others name what differs.
    const fn plain(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            secret: false,
            key: false,
            repeated: false,
            required: false,
            default: None,
            choices: &[],
            made_up: false,
            begins: &[],
            not: &[],
            known: &[],
            shape: None,
            document: None,
            help,
        }
    }

    /// The secret that requests are checked with.
    pub(crate) const fn key(name: &'static str, help: &'static str) -> Self {
        Self { secret: true, key: true, repeated: true, required: true, ..Self::plain(name, help) }
    }

    /// The public key that requests are checked with.
    pub(crate) const fn public_key(name: &'static str, help: &'static str) -> Self {
        Self { secret: false, ..Self::key(name, help) }
    }

    /// A secret beside the key.
    pub(crate) const fn secret(name: &'static str, help: &'static str) -> Self {
        Self { key: false, ..Self::key(name, help) }
    }

    /// Something that has to be given and may be known.
    pub(crate) const fn required(name: &'static str, help: &'static str) -> Self {
        Self { required: true, ..Self::plain(name, help) }
    }

    /// Something that may be given.
    pub(crate) const fn optional(name: &'static str, default: Option<&'static str>, help: &'static str) -> Self {
        Self { default, ..Self::plain(name, help) }
    }

    /// One of a few words, the first if it is not given.
    pub(crate) const fn choice(name: &'static str, choices: &'static [&'static str], help: &'static str) -> Self {
        Self { choices, ..Self::optional(name, Some(choices[0]), help) }
    }

    /// The private key to act as the provider with.
    pub(crate) const fn signing_key(help: &'static str) -> Self {
        Self { secret: true, required: true, ..Self::plain("signing_key", help) }
    }

    /// How far a signed timestamp may be from the relay's clock: what the platform prescribes, recommends or its own library takes.
    /// Where it does none of that and does not sign a retry anew, as long as it goes on trying, else each retry after an outage
    /// would be refused, and lost; what is sent again within that time is known by its delivery id. `document` says so.
    pub(crate) const fn tolerance(default: &'static str, document: &'static str) -> Self {
        let help = "how old or how far ahead the signed timestamp may be, like 300s, 10m or 1h; off: any age";
        Self { document: Some(document), ..Self::optional("tolerance", Some(default), help) }
    }

    /// The same, which whoever makes the source makes up.
    pub(crate) const fn made_up(self) -> Self {
        Self { made_up: true, ..self }
    }

    /// The same, which begins with one of these.
    pub(crate) const fn begins(self, begins: &'static [&'static str]) -> Self {
        Self { begins, ..self }
    }

    /// The same, with what it is sometimes mistaken for.
    pub(crate) const fn not(self, not: &'static [(&'static str, &'static str)]) -> Self {
        Self { not, ..self }
    }

    /// The same, with values that everybody knows.
    pub(crate) const fn known(self, known: &'static [(&'static str, &'static str)]) -> Self {
        Self { known, ..self }
    }

    /// The same, made of `min` to `max` of these characters.
    pub(crate) const fn made_of(self, of: Characters, min: usize, max: usize, words: &'static str) -> Self {
        Self { shape: Some(Shape { of, min, max, words }), ..self }
    }

    /// The same, which a source can be without.
    pub(crate) const fn or_none(self) -> Self {
        Self { required: false, ..self }
    }

    /// The same, of which several values hold at once.
    pub(crate) const fn several(self) -> Self {
        Self { repeated: true, ..self }
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

/// Every provider, by name.
pub fn providers() -> &'static [Provider] {
    static ALL: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        let entries = table::FAMILIES.iter().flat_map(|family| family.iter());
        let mut all: Vec<Provider> = entries.map(signed_over::with_parameter).collect();
        all.sort_by_key(|provider| provider.name);
        all
    });
    &ALL
}

/// The provider of that name.
pub fn provider(name: &str) -> Option<&'static Provider> {
    providers().binary_search_by_key(&name, |provider| provider.name).ok().map(|index| &providers()[index])
}
