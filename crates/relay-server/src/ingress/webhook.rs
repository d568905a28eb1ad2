//! One webhook from its head to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header, request::Parts};
use hyper::{Request, Response, body::Incoming};
use relay_core::{
    event::event_name,
    hub::{Accepting, Answer},
    id::EventId,
    name::Name,
    quota::{self, Measure},
    time::Wall,
};
use relay_net::origin::Origin;
use relay_providers::{Acknowledgement, Fetched, Genuine, HANDSHAKE_BODY_BYTES_MAX, SignedOver};
use relay_store::seam::DocumentKind;
use tokio::time::timeout;

use super::{
    arrival::{self, Bounds},
    buckets::Over,
    decoded::{self, Coding},
    door::Door,
    errand::Errands,
    fields::Raw,
    path::{self, Leads},
    porch::UNKNOWN,
    respond, rules,
    seam::Body,
    uploads::Owner,
    verify::{self, By, Denial, Head, Judged},
};
use crate::{
    apart::apart,
    error::{Code, Problem},
    intake::{Intake, Old},
    quotas::Hold,
    refusals::KeptRefusal,
    registry::uses::Proof,
    traces::Sighting,
};

const BROKEN: Problem =
    Problem::new(Code::SourceBroken, "the source is not configured as its provider needs it; send it again later");

const OTHER_ADDRESS: Problem = Problem::new(Code::AddressRefused, "the source takes no requests from this address");

const DOT_SEGMENTS: Problem = Problem::new(
    Code::Malformed,
    "the path behind the source's name holds dot segments (. or ..), in whatever spelling",
);

/// A head that may have a body.
struct Admitted {
    raw: Raw,
    /// What `Connection` names.
    connection: Vec<String>,
    /// What the head alone says.
    head: Head,
    /// The whole verdict, where nothing of the body has a share in it.
    judged: Option<Judged>,
}

/// A request that was read and judged: all that is left of it while its commit is waited for.
enum Ready {
    /// Take it in, for this source, with what is held for it there; once it is durable its sender wants this.
    Genuine(Arc<Intake>, (Box<Accepting>, Option<Box<Hold>>), Acknowledgement),
    /// It was no webhook, or is taken in already.
    Answered(Response<Body>),
}

impl Door {
    /// Answers a request whose path belongs to a source.
    pub(super) async fn answer(&self, origin: &Origin, request: Box<Request<Incoming>>) -> Response<Body> {
        let leads = path::leads(request.uri().path());
        if let Leads::DotSegments(name) = leads {
            let ends = arrival::is_given_up(request.headers(), request.body());
            let source = self.backend.source(name.as_bytes());
            let permitted = source.as_deref().map_or(Ok(()), |source| self.permit(source, origin));
            let refused = permitted.err().unwrap_or_else(|| DOT_SEGMENTS.into());
            return self.refuse(source.as_deref(), origin, refused.closing_if(ends));
        }
        let source = match self.find(leads) {
            Ok(source) => source,
            Err(refused) => {
                let ends = arrival::is_given_up(request.headers(), request.body());
                let response = self.refuse(None, origin, refused.closing_if(ends));
                self.porch.miss(request.method(), request.uri(), *origin, response.status());
                return response;
            }
        };
        let site = self.cors.is_on().then(|| request.headers().get(header::ORIGIN).cloned()).flatten();
        let mut response = match self.take(&source, origin, request).await {
            Ok(response) => response,
            Err(refused) => self.refuse(Some(&source), origin, refused),
        };
        if !response.headers().contains_key(header::VARY) {
            self.cors.allow(site.as_ref(), response.headers_mut());
        }
        response
    }

    fn find(&self, leads: Leads<'_>) -> Result<Arc<Intake>, Denial> {
        match leads {
            Leads::Source(name) | Leads::DotSegments(name) => self.backend.source(name.as_bytes()).ok_or_else(|| {
                Problem::new(Code::UnknownSource, "no source has that name; on the server: crm-relay source list")
                    .into()
            }),
            Leads::Elsewhere => Err(Problem::not_found().into()),
        }
    }

    /// From head to acknowledgement.
    async fn take(
        &self,
        source: &Arc<Intake>,
        origin: &Origin,
        request: Box<Request<Incoming>>,
    ) -> Result<Response<Body>, Denial> {
        let began = self.backend.traces.is_some().then(|| self.clock().own().wall);
        match self.read(source, origin, request).await? {
            Ready::Genuine(source, request, wanted) => self.accept(&source, origin, request, wanted, began).await,
            Ready::Answered(response) => Ok(response),
        }
    }

    /// From head to verdict. Whatever is wrong with the head is said before any of the body is read.
    async fn read(
        &self,
        source: &Arc<Intake>,
        origin: &Origin,
        request: Box<Request<Incoming>>,
    ) -> Result<Ready, Denial> {
        if self.backend.refusing.is_cancelled() {
            return Err(respond::STOPPING.into());
        }
        let (head, body) = request.into_parts();
        if let Err(refused) = self.permit(source, origin) {
            return Err(refused.closing_if(arrival::is_given_up(&head.headers, &body)));
        }
        if let Some(refused) = is_broken(source) {
            return Err(refused.closing_if(arrival::is_given_up(&head.headers, &body)));
        }
        let methods = source.verifier.methods();
        if head.method == Method::OPTIONS && self.cors.is_on() && !methods.contains(&"OPTIONS") {
            return Ok(Ready::Answered(self.cors.preflight(&head.headers, &methods.join(", "))));
        }
        let ends = arrival::is_given_up(&head.headers, &body);
        let admitted = self.admit_shown(source, origin, &head);
        if is_unproven(&admitted) {
            apart(|| self.charge_guess(source, origin, &head)).await;
        }
        let mut admitted = admitted.map_err(|refused| refused.closing_if(ends))?;
        if let Head::NeedsKey(url) = admitted.head {
            let proven = apart(|| self.prove(source, origin, &admitted.raw, url)).await;
            admitted.head = proven.map_err(|refused| refused.closing_if(ends))?;
        }
        let body = self.take_in(source, origin, &admitted, body).await?;
        let mut source = Arc::clone(source);
        self.look_again(&mut source, &mut admitted, (&head, origin))?;
        let (genuine, signed) = loop {
            let (judged, signed) = match admitted.judged.take() {
                Some(judged) => (judged, body.clone()),
                None => self.judge_whole(&source, origin, &admitted, &body).await?,
            };
            let errand = match judged {
                Judged::Genuine(genuine) => break (genuine, signed),
                Judged::Refused(refused) => return Err(refused),
                Judged::Handshake(answer) => {
                    return Ok(Ready::Answered(self.shake_hands(&source, &admitted.raw, answer)));
                }
                Judged::First(errand) => errand,
            };
            let ran = apart(|| self.run(errand, &source, origin, (&admitted.raw, &signed))).await;
            let genuine = match ran? {
                Errands::Genuine(genuine) => genuine,
                Errands::Answered(answer) => return Ok(Ready::Answered(answer)),
            };
            if !self.look_again(&mut source, &mut admitted, (&head, origin))? {
                break (genuine, signed);
            }
            // It has changed while its keys were fetched, which are kept: what is said of it now is what holds.
        };
        let Admitted { mut raw, connection, .. } = *admitted;
        if body.is_empty() && !may_be_empty(&source, &head.method) {
            let hint = "the body is empty; to take this, set allow_empty on the source";
            return Err(Problem::new(Code::Malformed, hint).into());
        }
        self.buckets.take(&source.name, &source.terms, || self.clock().now().mono).map_err(too_often)?;
        let (quotas, quota) = (&self.backend.quotas, &source.terms.quota);
        let hold = quotas.hold(&source.name, quota, body.len(), || self.clock().wall()).map_err(too_much)?;
        raw.clean(&connection, &genuine.strip);
        let accepting = Box::new(self.accepting(&source, raw, (body, signed), &genuine));
        Ok(Ready::Genuine(source, (accepting, hold), genuine.acknowledgement))
    }

    /// Whether somebody of this address may come, and now: asked of nothing that a request says.
    fn permit(&self, source: &Intake, origin: &Origin) -> Result<(), Denial> {
        let terms = &source.terms;
        if !terms.admit(origin.known_ip()) {
            return Err(OTHER_ADDRESS.into());
        }
        self.buckets.ask(&source.name, terms, origin.address, || self.clock().now().mono).map_err(too_often)?;
        self.backend.quotas.check(&source.name, &terms.quota, || self.clock().wall()).map_err(too_much)
    }

    /// The body: as large as it may be, and for as long as it may take.
    async fn take_in(
        &self,
        source: &Intake,
        origin: &Origin,
        admitted: &Admitted,
        body: Incoming,
    ) -> Result<Bytes, Denial> {
        let bytes_max = match admitted.head {
            Head::HandshakeAtMost(_) => self.settings().body_bytes_max.min(HANDSHAKE_BODY_BYTES_MAX as u64),
            Head::Open | Head::Proven | Head::NeedsKey(_) => self.settings().body_bytes_max,
        };
        let bounds = Bounds { bytes_max, patience: self.settings().patience.body, head_bytes: admitted.raw.size() };
        let proven = matches!(admitted.head, Head::Proven);
        let owner = Owner { source: &source.name, address: origin.address, proven };
        // Polled first, so that a body that is there already never looks at the token. Dropped half way, it gives its memory
        // back.
        let read = tokio::select! {
            biased;
            read = arrival::read(body, &self.porch.uploads, owner, bounds) => read,
            () = self.stop.cancelled() => Err(respond::STOPPING),
        };
        read.map_err(|problem| match &admitted.head {
            // Too large for a handshake, so it is what its head says.
            Head::HandshakeAtMost(refused) if problem.code == Code::TooLarge => refused.clone().closing_if(true),
            _ => problem.into(),
        })
    }

    /// The source as it is now that the body is there, which may have taken minutes, or that keys are: its key may be revoked by
    /// now, its secret another, itself paused or gone. What was said of the head is said again if anything changed (I21): gives whether it did.
    fn look_again(
        &self,
        source: &mut Arc<Intake>,
        admitted: &mut Box<Admitted>,
        (head, origin): (&Parts, &Origin),
    ) -> Result<bool, Denial> {
        let present = self.find(Leads::Source(source.name.as_str()))?;
        let has_changed = !Arc::ptr_eq(&present, source);
        if has_changed {
            // Of one that is broken by now it is not known who may come.
            if let Some(refused) = is_broken(&present) {
                return Err(refused);
            }
            if !present.terms.admit(origin.known_ip()) {
                return Err(OTHER_ADDRESS.into());
            }
            *admitted = self.admit(&present, head)?;
            *source = present;
        }
        Ok(has_changed)
    }

    /// The same as [`Self::admit`], for a head that may show the secret that is to prove it: one of few that may come from there.
    fn admit_shown(&self, source: &Arc<Intake>, origin: &Origin, head: &Parts) -> Result<Box<Admitted>, Denial> {
        let shown = shown(source, head);
        if shown.is_empty() {
            return self.admit(source, head);
        }
        self.backend.guesses.may_show(&source.name, *origin, &shown).map_err(|wait| {
            let detail = "too many wrong keys or passwords came from this address; come again later";
            Denial { reason: "too_many_guesses", ..Problem::too_often(detail, wait).into() }
        })?;
        let admitted = self.admit(source, head)?;
        if matches!(admitted.head, Head::Proven) {
            self.backend.guesses.shown_right(&source.name, *origin, &shown);
        }
        Ok(admitted)
    }

    /// Charges a head that proved nothing with the secret that it shows, if it shows one, and holds its answer back where there were
    /// too many such.
    async fn charge_guess(&self, source: &Intake, origin: &Origin, head: &Parts) {
        let shown = shown(source, head);
        if !shown.is_empty() {
            self.backend.guesses.shown_wrong(&source.name, *origin, &shown).await;
        }
    }

    /// All that can be said before the body is there.
    fn admit(&self, source: &Arc<Intake>, head: &Parts) -> Result<Box<Admitted>, Denial> {
        let methods = source.verifier.methods();
        if !methods.contains(&head.method.as_str()) {
            let problem = Problem::new(
                Code::MethodNotAllowed,
                "the source does not take this method; Allow names those it takes",
            );
            return Err(problem.allowing(methods).into());
        }
        if source.paused {
            return Err(Problem::new(Code::SourcePaused, "the source is paused; send it again later").into());
        }
        let connection = rules::named_in_connection(&head.headers, source.verifier.protected_headers())?;
        let raw = Raw::copy(head);
        // Whoever has no proof where it stands in the head cannot make us hold a body.
        if !source.verifier.is_key_source() {
            let head = self.judge_head(source, &raw, &[])?;
            return Ok(Box::new(Admitted { raw, connection, head, judged: None }));
        }
        // The key is all that is judged there: once is enough.
        match self.judge(source, &raw, b"", &[]) {
            Judged::Refused(refused) => Err(refused),
            judged => Ok(Box::new(Admitted { raw, connection, head: Head::Proven, judged: Some(judged) })),
        }
    }

    /// The verdict, and the bytes that it is over: those of the body, or what they are decoded.
    async fn judge_whole(
        &self,
        source: &Intake,
        origin: &Origin,
        admitted: &Admitted,
        body: &Bytes,
    ) -> Result<(Judged, Bytes), Denial> {
        let raw = &admitted.raw;
        let signed_over = source.verifier.signed_over();
        // What may be no more than a handshake was not compressed by anybody who has a secret.
        let is_sent = signed_over == SignedOver::Sent || matches!(admitted.head, Head::HandshakeAtMost(_));
        let coding = if is_sent { Ok(None) } else { Coding::of(&raw.headers) };
        if signed_over == SignedOver::Decoded {
            let Some(coding) = coding? else { return Ok((self.judge(source, raw, body, &[]), body.clone())) };
            let decoded = apart(|| self.decode(source, origin, admitted, coding, body)).await?;
            return Ok((self.judge(source, raw, &decoded, &[]), decoded));
        }
        let refused = match self.judge(source, raw, body, &[]) {
            Judged::Refused(refused) => refused,
            judged => return Ok((judged, body.clone())),
        };
        let decoded = match coding {
            Ok(None) => return Err(refused),
            Ok(Some(coding)) => apart(|| self.decode(source, origin, admitted, coding, body)).await,
            Err(problem) => Err(problem),
        };
        match decoded {
            Ok(decoded) => Ok((self.judge(source, raw, &decoded, &[]), decoded)),
            Err(problem) => Err(refused.and_not(&problem)),
        }
    }

    async fn decode(
        &self,
        source: &Intake,
        origin: &Origin,
        admitted: &Admitted,
        coding: Coding,
        body: &[u8],
    ) -> Result<Bytes, Problem> {
        let proven = matches!(admitted.head, Head::Proven);
        let owner = Owner { source: &source.name, address: origin.address, proven };
        decoded::decode(body, coding, self.settings().body_bytes_max, &self.porch.uploads, owner).await
    }

    /// Puts a head before its verifier.
    pub(super) fn judge_head(&self, source: &Intake, raw: &Raw, fetched: &[Fetched]) -> Result<Head, Denial> {
        let url = self.url(source, raw);
        let by = By { url: url.as_deref(), now: self.clock().present(), fetched };
        let judged = verify::judge_head(&source.verifier, raw, by);
        match (judged, self.valid_old(source)) {
            // While a secret is replaced, the one that was there before is as good.
            (Err(refused), Some(old)) if refused.is_unproven() => {
                verify::judge_head(&old.verifier, raw, by).map_err(|_| refused)
            }
            (Ok(Head::HandshakeAtMost(refused)), Some(old)) if refused.is_unproven() => {
                Ok(verify::judge_head(&old.verifier, raw, by).unwrap_or(Head::HandshakeAtMost(refused)))
            }
            (judged, _) => judged,
        }
    }

    /// The secret that was there before, while it holds.
    fn valid_old<'a>(&self, source: &'a Intake) -> Option<&'a Old> {
        source.old.as_ref().filter(|old| old.is_valid(self.clock().wall()))
    }

    /// Puts a request before its verifier.
    pub(super) fn judge(&self, source: &Intake, raw: &Raw, body: &[u8], fetched: &[Fetched]) -> Judged {
        let url = self.url(source, raw);
        let by = By { url: url.as_deref(), now: self.clock().present(), fetched };
        let judge = |verifier| verify::judge(verifier, raw, body, by);
        let judged = judge(&source.verifier);
        let Some(old) = self.valid_old(source) else { return judged };
        // What was there before is looked at last: where an answer has room for one secret, it is the new one.
        let (judged, by) = match judged {
            Judged::Refused(refused) if refused.is_unproven() => match judge(&old.verifier) {
                Judged::Refused(_) => return Judged::Refused(refused),
                judged => (judged, Proof::Old),
            },
            judged => (judged, Proof::New),
        };
        if matches!(judged, Judged::Genuine(_)) || by == Proof::Old {
            let (kind, now) = (DocumentKind::Source, self.clock().wall());
            self.backend.registry.uses().proved(kind, &source.name, old.since, by, now);
        }
        judged
    }

    /// The URL as the sender sees it, for providers that sign it.
    fn url(&self, source: &Intake, raw: &Raw) -> Option<String> {
        if source.verifier.is_key_source() {
            return None;
        }
        let mut url = self.settings().public_url.clone()?;
        url.push_str(std::str::from_utf8(&raw.path).ok()?);
        if let Some(query) = &raw.query {
            url.push('?');
            url.push_str(std::str::from_utf8(query).ok()?);
        }
        Some(url)
    }

    /// What the hub is given.
    fn accepting(&self, source: &Intake, raw: Raw, (body, signed): (Bytes, Bytes), genuine: &Genuine) -> Accepting {
        let now = self.clock().own().wall;
        let body_sha256 = verify::sha256(&body);
        if let Some(key) = &genuine.key {
            self.backend.registry.uses().key(&source.name, key, now);
        }
        // A retry may be compressed anew, into other bytes.
        let is_decoded = !std::ptr::eq(&raw const body[..], &raw const signed[..]);
        let signed_sha256 = if is_decoded { verify::sha256(&signed) } else { body_sha256 };
        Accepting {
            source: source.name.clone(),
            method: raw.method,
            path: raw.path,
            query: raw.query,
            headers: raw.headers,
            body_sha256,
            body,
            received_at: now,
            name: genuine.event.as_deref().and_then(event_name).map(Arc::from),
            key: genuine.key.clone().and_then(Name::of),
            dedupe: verify::dedupe(genuine, &signed_sha256, now + self.settings().dedupe_window),
            resend: source.resends,
            deadline: now + self.settings().patience.commit,
        }
    }

    /// Hands the webhook to the hub and waits until it is durable.
    async fn accept(
        &self,
        source: &Intake,
        origin: &Origin,
        (accepting, hold): (Box<Accepting>, Option<Box<Hold>>),
        wanted: Acknowledgement,
        began: Option<Wall>,
    ) -> Result<Response<Body>, Denial> {
        let sighting = began.map(|began| Box::new(Sighting::of(&accepting, began)));
        let Ok(answer) = timeout(self.settings().patience.commit, self.backend.accept(accepting, hold)).await else {
            return Err(respond::UNCERTAIN.into());
        };
        if let Answer::Accepted { event, differs, .. } = answer {
            self.books().metrics.accepted(source.name.as_str());
            if differs {
                self.note_difference(source, origin, event);
            }
        }
        let durable = sighting.is_some().then(|| self.clock().own().wall);
        let response = respond::outcome(&answer, wanted, source.verifier.chosen())?;
        if let (Some(traces), Some(sighting), Some(durable)) = (&self.backend.traces, sighting, durable)
            && let Answer::Accepted { event, received_at, repeat: false, .. } = answer
        {
            let answered = (durable, self.clock().own().wall, response.status());
            sighting.tell(traces, (event, source.name.clone()), received_at, answered);
        }
        Ok(response)
    }

    /// Counts a repeat with another body, and keeps it for the operator: that body is answered 2xx and not stored.
    fn note_difference(&self, source: &Intake, origin: &Origin, first: EventId) {
        const CHECK: &str = "repeat_differs";
        let name = source.name.as_str();
        self.books().metrics.refused(name, CHECK);
        let detail = format!("another body under the id of {first}: answered as its repeat, not stored");
        let at = self.clock().wall();
        self.books().refusals.keep(name, KeptRefusal { check: CHECK, detail, at, origin: *origin });
    }

    /// Counts a refusal, keeps it for the operator, and answers it.
    fn refuse(&self, source: Option<&Intake>, origin: &Origin, refused: Denial) -> Response<Body> {
        let Denial { problem, reason, detail } = refused;
        let name = source.map_or(UNKNOWN, |source| source.name.as_str());
        self.books().metrics.refused(name, reason);
        if source.is_some() {
            let at = self.clock().wall();
            let refusals = &self.books().refusals;
            if let Some(detail) = detail.as_deref()
                && let Some(left_out) = self.porch.may_tell(name, reason)
            {
                tracing::warn!(
                    event = "request_refused",
                    source = name,
                    check = reason,
                    detail,
                    peer = origin.ip().map(tracing::field::display),
                    left_out,
                    "not taken in"
                );
            }
            let detail = detail.unwrap_or_else(|| problem.detail.clone().into_owned());
            refusals.keep(name, KeptRefusal { check: reason, detail, at, origin: *origin });
        }
        if source.is_some_and(|source| source.verifier.provider().bare_refusals) {
            return problem.respond_bare();
        }
        problem.respond()
    }
}

/// Secrets that a head shows where its source wants them.
fn shown<'a>(source: &Intake, head: &'a Parts) -> Vec<&'a [u8]> {
    let fields = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    source.verifier.shown(fields, head.uri.query().map(str::as_bytes))
}

/// Whether a head proved nothing that it should have, though its body may yet make it a handshake.
fn is_unproven(admitted: &Result<Box<Admitted>, Denial>) -> bool {
    match admitted {
        Ok(admitted) => matches!(&admitted.head, Head::HandshakeAtMost(refused) if refused.is_unproven()),
        Err(refused) => refused.is_unproven(),
    }
}

fn too_much(over: quota::Over) -> Denial {
    let detail = match over.measure {
        _ if over.is_held => "what is being stored may be all that the source still takes today (UTC); see Retry-After",
        Measure::Events => "the source has taken as many webhooks as it takes in a day (UTC); see Retry-After",
        Measure::Bytes => "the source has taken as many bytes as it takes in a day (UTC); see Retry-After",
    };
    Denial { reason: "quota_reached", ..Problem::too_often(detail, over.wait).into() }
}

fn too_often(over: Over) -> Denial {
    match over {
        Over::All(wait) => {
            Problem::too_often("more requests come to this source than it takes; see Retry-After", wait).into()
        }
        Over::Address(wait) => {
            let detail = "more requests come from this address than the source takes of one; see Retry-After";
            Denial { reason: "address_rate_limited", ..Problem::too_often(detail, wait).into() }
        }
    }
}

/// Of a source that takes nothing as it is.
fn is_broken(source: &Intake) -> Option<Denial> {
    let what = source.broken.clone()?;
    Some(Denial { detail: Some(what), ..BROKEN.into() })
}

/// A webhook without a body is nearly always a mistake of the sender's, unless its method has none.
fn may_be_empty(source: &Intake, method: &Method) -> bool {
    source.allow_empty
        || !source.verifier.is_key_source()
        || !matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
