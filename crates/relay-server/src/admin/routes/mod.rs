//! The routes: one table, and one noun per file.

mod alert;
mod audit;
mod audit_log;
mod bulk;
pub(crate) mod by_key;
pub(crate) mod cursor;
mod dead;
mod delivery;
mod destination;
mod erase;
mod event;
pub(crate) mod filter;
pub(crate) mod groups;
pub(crate) mod id;
mod invite;
mod job;
mod key;
pub(crate) mod marked;
mod me;
mod pace;
mod preview;
mod pulse;
mod replay;
mod route;
mod sample;
pub(crate) mod scan;
pub(crate) mod session;
mod sign;
mod source;
pub(crate) mod status;
mod store;
mod summary;
mod token;
mod trend;
mod user;
mod verdict;
mod why;
mod words;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::MethodRouter,
};
use http::Method;

use super::{
    code::AdminCode,
    entry::{Route, delete, get, patch, post},
    problem::AdminError,
};
use crate::{
    api::{
        AlertDto, AuditDto, AuditLineDto, BackupAsk, BulkAsk, BulkDto, CheckDto, ConditionDto, DeliveryDto,
        DestinationDto, DraftDto, EraseAsk, EraseOneAsk, EventDto, GroupsDto, HealthDto, InviteDto, JobDto, KeyAsk,
        KeyDto, LinkDto, MarkedDto, MeAsk, MeDto, PasswordAsk, PolicyAsk, PulseDto, RekeyAsk, RekeyDto, ReplayAsk,
        ReplayDto, ReplayOneAsk, RouteAsk, RouteDto, SampleAsk, SampleDto, ScanDto, SecretDto, SessionDto, SignInAsk,
        SourceAsk, SourceDto, SourceRotateAsk, SourceUpdateAsk, StatusDto, SummaryDto, TokenAsk, TokenDto,
        TokenRotateAsk, TokenUpdateAsk, TrendDto, UnsignedAsk, UserAsk, UserDto, UserUpdateAsk, VerdictDto, WhyDto,
    },
    principal::{Permission, Principal, Role},
    state::State,
};

/// Where somebody signs in: the one route that whoever is not known may ask, with a short body.
pub(super) const ENTRY: (Method, &str) = (Method::POST, "/api/v1/session");
/// What a page that stands open asks for, again and again.
pub(super) const PULSE: &str = "/api/v1/pulse";

/// Everything below `/api/v1`.
pub(super) fn all() -> Router<Arc<State>> {
    table()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, permitting(route.needs, route.handler)))
}

/// The same route for whoever may do what it needs: nobody does what his role does not let him.
pub(super) fn permitting(needs: Permission, route: MethodRouter<Arc<State>>) -> MethodRouter<Arc<State>> {
    route.route_layer(middleware::from_fn(move |who, request, next| permitted(needs, who, request, next)))
}

async fn permitted(needs: Permission, Extension(who): Extension<Principal>, request: Request, next: Next) -> Response {
    match who.role {
        role if role.may(needs) => next.run(request).await,
        Role::Stranger => AdminError::Unauthorized.into_response(),
        role => AdminError::Forbidden(role, needs).into_response(),
    }
}

/// All of them.
pub(super) fn table() -> Vec<Route> {
    [of_server(), of_people(), of_sources(), of_routing(), of_credentials(), of_events(), of_deliveries()]
        .into_iter()
        .flatten()
        .collect()
}

/// The server itself.
fn of_server() -> Vec<Route> {
    use Permission::{Configure, Deliver, Reveal, See};
    vec![
        get("/status", See, "Everything that crm-relay status shows", status::status).one::<StatusDto>(),
        get("/health", See, "Health, with reasons", status::health).one::<HealthDto>(),
        get("/pulse", See, "The numbers that move; for text/event-stream whenever they do", pulse::pulse)
            .one_or_a_stream::<PulseDto>(),
        get("/trend", See, "How much came and went, by the minute, as far as this server knows", trend::show)
            .one::<TrendDto>()
            .query(&["minutes"]),
        get("/why", See, "Why nothing arrives: what is on the way of webhooks, hop by hop", why::show)
            .one::<WhyDto>()
            .query(&["source"]),
        post("/public-url", Deliver, "Ask by way of PUBLIC_URL whether it leads to this server", why::reach)
            .one::<CheckDto>(),
        get("/audit", See, "Count everything anew", audit::recount).one::<AuditDto>(),
        get("/audit-log", See, "Who changed what, and when", audit_log::list)
            .list::<AuditLineDto>()
            .query(&["who", "action", "since", "until", "cursor", "limit"]),
        get("/alerts", See, "Who is told when something is not as it should be", alert::list).list::<AlertDto>(),
        post("/alerts/{name}/test", Configure, "Tell somebody that he can be told", alert::test).one::<AlertDto>(),
        get("/conditions", See, "What is not as it should be, and what was not", alert::conditions)
            .list::<ConditionDto>(),
        post("/store/backup", Reveal, "A copy of the store, as a stream of frames", store::backup)
            .bytes()
            .asks::<BackupAsk>()
            .also(&[AdminCode::NotHere, AdminCode::Outgrown]),
        post("/store/rekey", Configure, "Seal anew, with the newest key, some of what is stored", store::rekey)
            .one::<RekeyDto>()
            .asks::<RekeyAsk>()
            .also(&[AdminCode::NotHere]),
    ]
}

/// Users, sessions, and whoever asks.
fn of_people() -> Vec<Route> {
    use Permission::{Access, Configure, Enter, Own, Reveal, See};
    vec![
        post("/session", Enter, "Sign in: a name and a password, or a link", session::begin)
            .one::<SessionDto>()
            .asks::<SignInAsk>()
            .also(&[AdminCode::Unauthorized]),
        delete("/session", Own, "Sign out", session::end).nothing(),
        post("/session/link", Reveal, "A link that opens the dashboard once", session::link).made::<LinkDto>(),
        get("/me", See, "Whoever asks", me::show).one::<MeDto>(),
        patch("/me", Own, "How whoever asks reads", me::update).nothing().asks::<MeAsk>(),
        post("/me/password", Own, "Another password", me::password).nothing().asks::<PasswordAsk>(),
        delete("/me/sessions/{handle}", Own, "End a session of one's own", me::end_session).nothing(),
        get("/users", Access, "Users", user::list).list::<UserDto>(),
        post("/users", Configure, "Make a user, with a link that lets him in", user::create)
            .made::<UserDto>()
            .asks::<UserAsk>(),
        patch("/users/{name}", Configure, "Change a user's role, or whether he may in", user::update)
            .one::<UserDto>()
            .asks::<UserUpdateAsk>(),
        post("/users/{name}/link", Configure, "End a user's sessions and password, and let him in anew", user::reset)
            .made::<UserDto>(),
    ]
}

/// Sources, and what is made with them.
fn of_sources() -> Vec<Route> {
    use Permission::{Configure, Reveal, See};
    vec![
        get("/sources", See, "Sources", source::list).list::<SourceDto>(),
        post("/sources", Configure, "Make a source and its route", source::create)
            .made::<SourceDto>()
            .asks::<SourceAsk>(),
        get("/sources/{name}", See, "A source and what happened there", source::show).one::<SourceDto>(),
        patch("/sources/{name}", Configure, "Change a source", source::update)
            .one::<SourceDto>()
            .asks::<SourceUpdateAsk>(),
        delete("/sources/{name}", Configure, "Delete a source with its routes and keys", source::delete).nothing(),
        post("/sources/{name}/reveal", Reveal, "The secrets that the platform handed over", source::reveal)
            .list::<SecretDto>(),
        post("/sources/{name}/await-secret", Configure, "Let the platform hand over its secret", source::await_secret)
            .one::<SourceDto>()
            .query(&["forget"]),
        post("/sources/{name}/rotate", Configure, "Give a source new secrets beside the old ones", source::rotate)
            .one::<SourceDto>()
            .asks::<SourceRotateAsk>(),
        post(
            "/sources/{name}/rotate/finish",
            Configure,
            "The old secrets are worth nothing any more",
            source::finish_rotation,
        )
        .one::<SourceDto>(),
        post("/sources/{name}/rotate/abort", Configure, "The new secrets are given up", source::abort_rotation)
            .one::<SourceDto>(),
        post("/sources/{name}/sign", Reveal, "Sign a request as the provider of the source would", sign::sign)
            .one::<DraftDto>()
            .asks::<UnsignedAsk>(),
        post("/sources/{name}/sample", Configure, "Send a sample of the source's provider to it", sample::send)
            .one::<SampleDto>()
            .asks::<SampleAsk>(),
        post("/invites", Configure, "Make a source with its route, key and token", invite::create)
            .made::<InviteDto>()
            .asks::<SourceAsk>(),
    ]
}

/// Routes and destinations.
fn of_routing() -> Vec<Route> {
    use Permission::{Configure, Deliver, See};
    vec![
        get("/routes", See, "Routes", route::list).list::<RouteDto>(),
        post("/routes", Configure, "Make a route", route::create).made::<RouteDto>().asks::<RouteAsk>(),
        get("/routes/{source}/{destination}", See, "A route", route::show).one::<RouteDto>(),
        patch("/routes/{source}/{destination}", Configure, "Change the policy of a route", route::update)
            .one::<RouteDto>()
            .asks::<PolicyAsk>(),
        delete("/routes/{source}/{destination}", Configure, "Delete a route", route::delete).nothing(),
        get("/destinations", See, "Destinations", destination::list).list::<DestinationDto>(),
        get("/destinations/{name}", See, "A destination", destination::show).one::<DestinationDto>(),
        post("/destinations/{name}/pause", Deliver, "Hand out nothing more of it", destination::pause)
            .one::<DestinationDto>(),
        post("/destinations/{name}/resume", Deliver, "Go on", destination::resume).one::<DestinationDto>(),
    ]
}

/// Keys and tokens.
fn of_credentials() -> Vec<Route> {
    use Permission::{Configure, See};
    vec![
        get("/keys", See, "API keys", key::list).list::<KeyDto>().query(&["source"]),
        post("/keys", Configure, "Make an API key, shown this once", key::create).made::<KeyDto>().asks::<KeyAsk>(),
        get("/keys/{source}/{name}", See, "An API key", key::show).one::<KeyDto>(),
        delete("/keys/{source}/{name}", Configure, "Revoke an API key", key::revoke).nothing(),
        get("/tokens", See, "Tokens", token::list).list::<TokenDto>(),
        post("/tokens", Configure, "Make a token, shown this once", token::create)
            .made::<TokenDto>()
            .asks::<TokenAsk>(),
        get("/tokens/{name}", See, "A token", token::show).one::<TokenDto>(),
        patch("/tokens/{name}", Configure, "Change what a token may serve", token::update)
            .one::<TokenDto>()
            .asks::<TokenUpdateAsk>(),
        delete("/tokens/{name}", Configure, "Revoke a token", token::revoke).nothing(),
        post("/tokens/{name}/rotate", Configure, "Give a token a new secret beside the old one", token::rotate)
            .one::<TokenDto>()
            .asks::<TokenRotateAsk>(),
        post(
            "/tokens/{name}/rotate/finish",
            Configure,
            "The old secret lets nobody in any more",
            token::finish_rotation,
        )
        .one::<TokenDto>(),
        post("/tokens/{name}/rotate/abort", Configure, "The new secret is given up", token::abort_rotation)
            .one::<TokenDto>(),
    ]
}

/// Events.
fn of_events() -> Vec<Route> {
    use Permission::{Deliver, Payload, Purge, See};
    vec![
        get("/events", See, "Events, the newest first", event::list)
            .list::<EventDto>()
            .query(&["source", "key", "name", "since", "until", "cursor", "limit"]),
        get(
            "/events/scan",
            Payload,
            "Look through bodies for a text, or for what stands at a place of JSON",
            scan::scan,
        )
        .one::<ScanDto>()
        .query(&["source", "name", "contains", "json_path", "since", "until", "cursor", "limit"]),
        get("/events/marked", Payload, "Events of a source that have a value at a mark", marked::list)
            .one::<MarkedDto>()
            .query(&["source", "mark", "cursor", "limit"]),
        post("/events/replay", Deliver, "Replay all events that match", replay::replay)
            .one::<BulkDto>()
            .asks::<ReplayAsk>(),
        post("/events/erase", Purge, "Erase all events that match", erase::many).one::<BulkDto>().asks::<EraseAsk>(),
        get("/events/{id}", See, "An event and its deliveries", event::show).one::<EventDto>().query(&["reveal"]),
        get("/events/{id}/body", Payload, "The body of an event, as it was received", event::body)
            .bytes()
            .also(&[AdminCode::Conflict]),
        get("/events/{id}/verdict", See, "Whether what proved an event holds under the present secrets", verdict::show)
            .one::<VerdictDto>(),
        post("/events/{id}/erase", Purge, "Erase what was received of one event, and what was answered", erase::one)
            .one::<EventDto>()
            .asks::<EraseOneAsk>(),
        post("/events/{id}/replay", Deliver, "Replay one event", event::replay)
            .one::<ReplayDto>()
            .asks::<ReplayOneAsk>(),
    ]
}

/// Deliveries, dead letters among them.
fn of_deliveries() -> Vec<Route> {
    use Permission::{Deliver, Purge, See};
    vec![
        get("/deliveries", See, "Deliveries, the newest first", delivery::list).list::<DeliveryDto>().query(&[
            "event",
            "source",
            "destination",
            "state",
            "reason",
            "since",
            "until",
            "cursor",
            "limit",
        ]),
        post("/deliveries/cancel", Deliver, "Cancel open deliveries", delivery::cancel)
            .one::<BulkDto>()
            .asks::<BulkAsk>(),
        get("/deliveries/{id}", See, "A delivery with all its tries", delivery::show).one::<DeliveryDto>(),
        get("/dead", See, "Dead letters", dead::list).list::<DeliveryDto>().query(&[
            "source",
            "destination",
            "reason",
            "since",
            "until",
            "cursor",
            "limit",
        ]),
        get("/dead/summary", See, "Dead letters by what they failed with", summary::summary)
            .one::<SummaryDto>()
            .query(&["source", "destination", "reason", "since", "until", "cursor"]),
        get("/dead/groups", See, "The newest dead letters, in groups that failed alike", groups::list)
            .one::<GroupsDto>()
            .query(&["source", "destination", "reason", "since", "until"]),
        post("/dead/redrive", Deliver, "Deliver dead letters again", dead::redrive).one::<BulkDto>().asks::<BulkAsk>(),
        get("/jobs/{id}", See, "How far a command is that changes many", job::show).one::<JobDto>(),
        post(
            "/jobs/{id}/stop",
            Deliver,
            "End a command that changes many, behind the step that is under way",
            job::stop,
        )
        .one::<JobDto>(),
        post("/dead/purge", Purge, "Remove dead letters", dead::purge).one::<BulkDto>().asks::<BulkAsk>(),
        get("/dead/{id}", See, "A dead letter with all its tries", delivery::show_dead).one::<DeliveryDto>(),
    ]
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::StatusCode;
    use relay_store::memory::MemoryStore;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{admin::entry::Verb, principal::Via};

    /// S34: every role at every route, asked through the router that serves them.
    #[tokio::test]
    async fn every_role_is_let_through_where_it_may_and_nowhere_else() {
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let router = all().with_state(state);
        for route in table() {
            let path = route.path.replace(['{', '}'], "");
            for role in Role::ALL {
                let mut request = Request::builder().method(method(route.verb)).uri(&path).body(Body::empty()).unwrap();
                request.extensions_mut().insert(Principal { name: "cli".into(), role, via: Via::default() });
                request.extensions_mut().insert(relay_net::origin::Origin::local());
                let answer = router.clone().oneshot(request).await.unwrap();
                let refused = if role == Role::Stranger { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
                // Signing in is refused for other reasons.
                let is_let_through = answer.status() != refused || route.needs == Permission::Enter;
                let may = role.may(route.needs) || route.needs == Permission::Enter;
                assert_eq!(is_let_through, may, "{role:?} {:?} {path}", route.verb);
            }
        }
    }

    const fn method(verb: Verb) -> Method {
        match verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        }
    }

    /// What is not known who asks may ask one thing.
    #[test]
    fn there_is_one_entry() {
        let entries = table().into_iter().filter(|route| Role::Stranger.may(route.needs));
        let entries: Vec<_> = entries.map(|route| (method(route.verb), format!("/api/v1{}", route.path))).collect();
        assert_eq!(entries, [(ENTRY.0, ENTRY.1.to_owned())]);
    }

    /// What changes something needs more than to look, and what only looks needs no more.
    #[test]
    fn what_a_route_needs_follows_from_its_method() {
        for route in table() {
            let only_looks = matches!(route.needs, Permission::See | Permission::Payload | Permission::Access);
            assert_eq!(only_looks, route.verb == Verb::Get, "{}", route.path);
        }
    }
}
