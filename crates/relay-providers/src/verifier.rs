//! Judges the requests of one source.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Acknowledgement, Answer, BodyShare, ByHead, Chosen, Genuine, ParameterFault, Provider, Refusal, Request,
    SignedOver, StoredKey, Verdict, attempt,
    basic::Basic,
    handshake::{is_no_challenge, small_json},
    keys::{self, Keys},
    naming::Names,
    parameters::{Parameters, Purpose},
    proof::{self, Code},
    proven::{ByKey, Covered, Proven},
    pruned::unmarked,
    scheme::{Scheme, Signatures, stamp::read_tolerance},
    table,
};

/// Judges the requests of one source. Made once, shared by every request; `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Verifier {
    provider: &'static Provider,
    pub(crate) proof: Proof,
    /// What the platform's tests are signed with, where that is no secret.
    tests: Option<Signatures>,
    signed_over: SignedOver,
    protected: Vec<String>,
    values: Arc<Values>,
    chosen: Option<Arc<Chosen>>,
    /// The platform may hand over a further secret: see [`Self::taking_another`].
    takes_another: bool,
}

/// How a request proves itself.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    Keys(Keys),
    Basic(Basic),
    Signed(Signatures),
    Code(Arc<dyn Code>),
}

/// The source's parameters, for handshakes.
struct Values(Vec<(&'static str, String)>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Verifier {
    /// For a provider and a source's parameters, in order. A secret given twice: both are valid. The one key of a
    /// provider is also taken under the name `secret`.
    ///
    /// # Errors
    /// Every fault, all together: an unknown provider, unknown, missing or repeated parameters, values that cannot be.
    pub fn new(provider: &str, parameters: &[(String, String)]) -> Result<Self, Vec<ParameterFault>> {
        Self::with_keys(provider, parameters, Vec::new())
    }

    /// Like [`Verifier::new`], with keys of which only the digest is known; other providers than key sources ignore
    /// them. A key source without any key is valid and refuses everything.
    ///
    /// # Errors
    /// As [`Verifier::new`].
    pub fn with_keys(
        provider: &str,
        parameters: &[(String, String)],
        stored: Vec<StoredKey>,
    ) -> Result<Self, Vec<ParameterFault>> {
        let provider = table::known(provider)?;
        let mut parameters = Parameters::check(provider.takes(), parameters, Purpose::Verify);
        let proof = match provider.proof {
            proof::Proof::Key(name) => Proof::Keys(Keys::read(name, &mut parameters, stored)),
            proof::Proof::Basic => Proof::Basic(Basic::read(&mut parameters)),
            proof::Proof::BasicOrHeader => basic_or_header(&mut parameters),
            proof::Proof::Described => Proof::Signed(Signatures::described(&mut parameters)),
            proof::Proof::Signed(schemes) => Proof::Signed(Signatures::read(schemes, &mut parameters)),
            proof::Proof::Code(read) => Proof::Code(read(&mut parameters).into()),
        };
        let protected = protected(provider, &proof);
        let tests = match (provider.test_key, provider.proof) {
            (Some(key), proof::Proof::Signed(schemes)) => Some(Signatures::of_tests(schemes, key, &mut parameters)),
            _ => None,
        };
        let (values, signed_over) = (Arc::new(Values(parameters.values())), SignedOver::read(&parameters));
        let chosen = Chosen::read(&mut parameters).map(Arc::new);
        parameters.finish(Self { provider, proof, tests, signed_over, protected, values, chosen, takes_another: false })
    }

    /// The same, which has a secret that the platform handed over, and takes a further one that is handed over: for the next
    /// webhook at the same URL, where each has a secret of its own.
    #[must_use]
    pub fn taking_another(self) -> Self {
        Self { takes_another: self.provider.adopts(), ..self }
    }

    /// One that refuses everything, for a source whose parameters do not read.
    ///
    /// # Panics
    /// Never: key sources are valid without a key.
    pub fn closed() -> Self {
        Self::new("api-key", &[]).expect("a key source is valid without a key")
    }

    /// Judges one request. Does work linear in its size, whatever its bytes are.
    pub fn judge(&self, request: &Request<'_>) -> Verdict {
        self.handshake(request, false, None).unwrap_or_else(|| self.judge_proof(request))
    }

    /// Judges one that is no handshake without a proof.
    fn judge_proof(&self, request: &Request<'_>) -> Verdict {
        let (verdict, covered, key) = self.proof.judge(request);
        match verdict {
            Verdict::Genuine(genuine) => self.handshake(request, true, key).unwrap_or_else(|| {
                let event = if self.provider.signs_challenges() { is_no_challenge(request) } else { Ok(()) };
                event.map_or_else(|refusal| self.refused(refusal), |()| self.complete(request, genuine, &covered))
            }),
            Verdict::Refused(_) if self.is_test(request) => {
                Verdict::Handshake(Answer { status: 200, ..Answer::default() })
            }
            // What is signed is an event, whatever else it carries.
            Verdict::Refused(refusal) => self
                .another_handover(request)
                .unwrap_or_else(|| self.refused(self.second_handover(request).unwrap_or(refusal))),
            other @ (Verdict::Handshake(_)
            | Verdict::Confirm { .. }
            | Verdict::Adopt { .. }
            | Verdict::NeedsKey { .. }
            | Verdict::Malformed(_)) => other,
        }
    }

    /// Judges the head of a request before its body is there; `request.body` is not looked at. What is said holds with any
    /// body, so that nobody need be listened to whose head proves that he has no proof.
    pub fn judge_head(&self, request: &Request<'_>) -> ByHead {
        let request = &Request { body: b"", ..*request };
        let mut unsigned = self.candidates(false).filter(|handshake| handshake.may_be(request));
        if unsigned.clone().any(|handshake| !handshake.needs_body()) {
            return ByHead::Open;
        }
        match self.proof.judge_head(request) {
            ByHead::Refused { .. } if self.may_be_test(request) => ByHead::Open,
            ByHead::Refused { refusal, .. } => {
                let mut adopting = self.provider.handshakes.iter().filter(|handshake| handshake.adopts().is_some());
                let hands_over = adopting
                    .any(|handshake| (self.takes_another || handshake.needs_body()) && handshake.may_be(request));
                let refusal = self.second_handover(request).unwrap_or(refusal);
                let or_handshake = hands_over || unsigned.next().is_some();
                ByHead::Refused { refusal: with_status(self.provider, refusal), or_handshake }
            }
            judged => judged,
        }
    }

    /// The provider's entry in the table.
    pub fn provider(&self) -> &'static Provider {
        self.provider
    }

    /// What the operator wants the answer to a stored webhook to be; `None`: what the provider wants.
    pub fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_deref()
    }

    /// The answer to this webhook once it is stored.
    fn acknowledgement(&self, request: &Request<'_>) -> Acknowledgement {
        let Provider { acknowledgement, otherwise, .. } = *self.provider;
        if otherwise.is_empty() {
            return acknowledgement;
        }
        // It is genuine, so that its body may be of any size.
        let body = serde_json::from_slice(unmarked(request.body)).ok();
        let other = otherwise.iter().find(|other| other.on.iter().all(|on| on.holds(request, body.as_ref())));
        other.map_or(acknowledgement, |other| other.acknowledgement)
    }

    /// For how long an id has to be remembered, so that a proof which was seen carries no other body: as long as its signed time
    /// may be off. None where a proof covers the body, or where any age is good because the operator says so.
    pub fn remembers_for(&self) -> Option<Duration> {
        let tolerance = self.values.0.iter().find(|(name, _)| self.provider.once && *name == "tolerance")?;
        read_tolerance(&tolerance.1).filter(|tolerance| *tolerance != Duration::MAX)
    }

    /// Methods the source takes; anything else is answered 405.
    pub fn methods(&self) -> &'static [&'static str] {
        self.provider.methods
    }

    /// Which bytes of an encoded body its requests are judged by. What is in it besides the proof (ids, names, handshakes) is
    /// read of the same bytes.
    pub fn signed_over(&self) -> SignedOver {
        self.signed_over
    }

    /// Whether a key opens the source.
    pub fn is_key_source(&self) -> bool {
        self.provider.key_source
    }

    /// Whether it takes out of a request what proves it, by each of its schemes or by one of several: what is stored of such a request may
    /// have no proof any more, and that refutes nothing.
    pub fn strips(&self) -> bool {
        match &self.proof {
            Proof::Keys(_) | Proof::Basic(_) => true,
            Proof::Signed(signatures) => signatures.strips(),
            Proof::Code(_) => false,
        }
    }

    /// The same for a look at what was taken long ago: a scheme of the table takes any age. Code of a platform judges it as ever.
    #[must_use]
    pub fn of_any_age(&self) -> Self {
        let proof = match &self.proof {
            Proof::Signed(signatures) => Proof::Signed(signatures.of_any_age()),
            other => other.clone(),
        };
        Self { proof, ..self.clone() }
    }

    /// The secrets that a request shows, where that is what proves it, so that somebody can try one after the other. `headers` with
    /// names in lower case. Signatures are no secrets: nobody guesses one. Neither does anybody guess a secret agreed with a platform
    /// that is long: such a platform sends for many others from its addresses, and what they get wrong must hold up nobody.
    pub fn shown<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        query: Option<&'a [u8]>,
    ) -> Vec<&'a [u8]> {
        match &self.proof {
            Proof::Keys(_) => headers.into_iter().filter_map(|(name, value)| keys::presented(name, value)).collect(),
            Proof::Basic(_) => {
                headers.into_iter().filter(|(name, _)| *name == b"authorization").map(|(_, value)| value).collect()
            }
            Proof::Signed(signatures) => signatures.shown(headers, query),
            Proof::Code(_) => Vec::new(),
        }
    }

    /// Whether the platform has yet to hand over the secret that its requests will be signed with.
    pub fn awaits_secret(&self) -> bool {
        self.provider.adopts() && matches!(&self.proof, Proof::Signed(signatures) if signatures.awaits_key())
    }

    /// Names, in lower case, of the header fields it reads. To name one of them in `Connection`, which would have it
    /// removed, is a fault of the request.
    pub fn protected_headers(&self) -> &[String] {
        &self.protected
    }

    /// The answer, if the request is one of the provider's handshakes that are, or are not, signed.
    fn handshake(&self, request: &Request<'_>, signed: bool, key: Option<ByKey>) -> Option<Verdict> {
        self.answer(request, self.candidates(signed), key)
    }

    /// The secret that the platform hands over beside those that the source has.
    fn another_handover(&self, request: &Request<'_>) -> Option<Verdict> {
        let adopting = self.provider.handshakes.iter().filter(|handshake| handshake.adopts().is_some());
        if self.takes_another { self.answer(request, adopting, None) } else { None }
    }

    /// The answer of the first of these that the request is. What is signed is answered with the key that it is signed with:
    /// of several the platform knows that one.
    fn answer(
        &self,
        request: &Request<'_>,
        candidates: impl Iterator<Item = &'static crate::Handshake> + Clone,
        key: Option<ByKey>,
    ) -> Option<Verdict> {
        let mut candidates = candidates.filter(|handshake| handshake.method == request.method);
        let needs_json = candidates.clone().any(crate::Handshake::needs_json);
        let body = if needs_json { small_json(request) } else { None };
        let handshake = candidates.find(|handshake| handshake.is(request, body.as_ref()))?;
        let values = &self.values.0;
        let settings = |name: &str| {
            let mut named: Vec<String> = values.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect();
            if let Some(ByKey { index, .. }) = key.filter(|key| key.parameter == name && key.index < named.len()) {
                named.swap(0, index);
            }
            named
        };
        Some(handshake.exchange.answer(request, &settings).unwrap_or_else(Verdict::Refused))
    }

    /// The provider's handshakes that are, or are not, signed, as this source has use for them.
    fn candidates(&self, signed: bool) -> impl Iterator<Item = &'static crate::Handshake> + Clone + use<> {
        let awaits = self.awaits_secret();
        let handshakes = self.provider.handshakes.iter();
        handshakes.filter(move |handshake| handshake.signed == signed && (handshake.adopts().is_none() || awaits))
    }

    /// Whether it is the platform's test of the endpoint, or somebody who does the same.
    fn is_test(&self, request: &Request<'_>) -> bool {
        self.tests.as_ref().is_some_and(|tests| tests.verify(request).is_ok())
    }

    /// Whether it is that with some body.
    fn may_be_test(&self, request: &Request<'_>) -> bool {
        let by_head = self.tests.as_ref().map(|tests| tests.judge_head(request));
        by_head.is_some_and(|by_head| !matches!(by_head, ByHead::Refused { .. }))
    }

    /// What to say of somebody who hands over a secret where there is one already: the platform once more, or somebody who
    /// would like to be it.
    fn second_handover(&self, request: &Request<'_>) -> Option<Refusal> {
        let adopting = self.provider.handshakes.iter().find(|handshake| handshake.adopts().is_some())?;
        let body = if adopting.needs_json() { small_json(request) } else { None };
        (!self.awaits_secret() && !self.takes_another && adopting.is(request, body.as_ref())).then(|| {
            let detail = "a secret was handed over and this source has one already: a further webhook with a secret of its own \
                          is taken beside it after crm-relay source await-secret, or has a source of its own; if the first \
                          was a stranger's: crm-relay source await-secret --forget";
            Refusal::new("second_handover", detail)
        })
    }

    /// Adds what the provider's entry says about a genuine request.
    fn complete(&self, request: &Request<'_>, mut genuine: Genuine, covered: &Covered) -> Verdict {
        let Provider { delivery, attempts, event, order, .. } = *self.provider;
        let names = Names::new(request, covered, delivery, [event, order]);
        if genuine.dedupe.is_none() {
            genuine.dedupe = match names.delivery(delivery) {
                Ok(dedupe) => dedupe,
                Err(refusal) => return Verdict::Malformed(refusal),
            };
        }
        if let Some(dedupe) = &mut genuine.dedupe
            && dedupe.body == BodyShare::Whole
            && !attempts.is_empty()
        {
            dedupe.body = BodyShare::ButAttempts(attempt::digest_without(request.body, attempts));
        }
        genuine.event = names.event(event);
        genuine.order = names.order(order);
        genuine.acknowledgement = self.acknowledgement(request);
        Verdict::Genuine(genuine)
    }

    /// A refusal with the status that the provider wants to see.
    fn refused(&self, refusal: Refusal) -> Verdict {
        Verdict::Refused(with_status(self.provider, refusal))
    }
}

fn with_status(provider: &Provider, refusal: Refusal) -> Refusal {
    let status = if refusal.status == 401 { provider.refusal } else { refusal.status };
    Refusal { status, ..refusal }
}

impl Proof {
    /// What it says of a request, what of it is covered if that is good, and by which key.
    fn judge(&self, request: &Request<'_>) -> (Verdict, Covered, Option<ByKey>) {
        match self {
            Self::Keys(keys) => (keys.judge(request), Covered::All, None),
            Self::Basic(basic) => (basic.judge(request), Covered::All, None),
            Self::Signed(signatures) => match signatures.verify(request) {
                Ok(Proven { strip, covered, key }) => {
                    (Verdict::Genuine(Genuine { strip, ..Genuine::default() }), covered, Some(key))
                }
                Err(refusal) => (Verdict::Refused(refusal), Covered::All, None),
            },
            // Each is written for one platform, whose entry names as documented only what the code covers.
            Self::Code(code) => (code.judge(request), Covered::All, None),
        }
    }

    /// What holds whatever the body is.
    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        match self {
            Self::Keys(_) | Self::Basic(_) => self.judge(request).0.into(),
            Self::Signed(signatures) => signatures.judge_head(request),
            Self::Code(code) => code.judge_head(request),
        }
    }

    fn reads(&self) -> Vec<String> {
        match self {
            Self::Keys(_) => keys::READ.iter().map(|name| (*name).to_owned()).collect(),
            Self::Basic(_) => crate::basic::READ.iter().map(|name| (*name).to_owned()).collect(),
            Self::Signed(signatures) => signatures.reads(),
            Self::Code(code) => code.reads(),
        }
    }
}

/// User name and password, or a secret in a header field of the operator's choice.
pub(crate) fn basic_or_header(parameters: &mut Parameters<'_>) -> Proof {
    const HEADER: &[Scheme] = &[Scheme { at: crate::scheme::At::Named, strip: true, ..Scheme::token(&[]) }];
    let is_given = |name: &str| !parameters.all(name).is_empty();
    if is_given("username") || is_given("password") {
        for name in ["username", "password"] {
            if parameters.all(name).is_empty() {
                parameters.fault(name, "missing; username and password go together");
            }
        }
        return Proof::Basic(Basic::read(parameters));
    }
    if parameters.all("header").is_empty() {
        parameters.fault("header", "missing; give username and password, or header and secret");
    }
    Proof::Signed(Signatures::read(HEADER, parameters))
}

fn protected(provider: &Provider, proof: &Proof) -> Vec<String> {
    let mut names = proof.reads();
    let delivery = provider.delivery.headers();
    let handshakes = provider.handshakes.iter().flat_map(|handshake| handshake.on).filter_map(|on| match on {
        crate::On::Header(name) | crate::On::HeaderIs(name, _) => Some(*name),
        _ => None,
    });
    for name in delivery.into_iter().chain(handshakes) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
