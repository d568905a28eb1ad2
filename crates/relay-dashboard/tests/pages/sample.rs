//! Every screen in every state, with values that a test chooses.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use relay_core::{
    alert::Kind,
    delivery::{Attempt, Delivery, Reason, State, alike::Alike, answer::Answer, outcome::Class},
    event::Event,
    id::{DeliveryId, EventId},
    name::Name,
    time::Wall,
};
use relay_dashboard::{
    body::{Look, Room, View},
    page::Page,
    proof::Proof,
    screen::{
        Audit, AuditFilter, AuditLine, AuditLines, AuditList, Became, CheckLine, Circuit, Dead, DeadFilter, DeadGroups,
        Deliveries, DeliveriesFilter, DeliveryFacts, DeliveryLine, DeliveryLines, DeliveryList, DestinationLine,
        EventBecame, EventFacts, EventLine, EventLines, EventList, EventPage, Events, EventsFilter, Found, GroupLine,
        HopLine, Hour, Login, LookedThrough, MarkedBetween, Me, Overview, OverviewLive, Problem, Reason as Trouble,
        Screen as _, SendersAsked, SessionLine, Situation, SourceLine, UserLine, UserState, Users, Way, Why,
    },
    since::Since,
    sums::{DeliveriesSum, EventsSum},
    url::Site,
    viewer::{Role, Theme, Viewer, Zone},
};

mod setup;

pub(crate) use self::setup::access_at_its_bound;

/// 2026-11-28 18:25:44.120 UTC.
pub(crate) const NOW: Wall = Wall::from_micros(1_795_890_344_120_000);

/// Values of others, each in its own place.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    pub(crate) body: Vec<u8>,
    pub(crate) header_name: String,
    pub(crate) header_value: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) name: Option<String>,
    pub(crate) error: String,
    pub(crate) answer: String,
    pub(crate) reason: String,
    pub(crate) agent: String,
    pub(crate) claimed: String,
    pub(crate) find: Option<String>,
    /// How long lists are.
    pub(crate) lines: u64,
}

impl Words {
    /// As they are on most days.
    pub(crate) fn usual() -> Self {
        let body = include_bytes!("invoice.json").to_vec();
        Self {
            body,
            header_name: "stripe-signature".into(),
            header_value: "t=1795890343,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd".into(),
            path: "/webhook/stripe".into(),
            query: "account=acct_1N4".into(),
            name: Some("invoice.paid".into()),
            error: "status 500".into(),
            answer: "{\"error\":\"database is locked\"}".into(),
            reason: "destination crm: no client for 14 min, 212 waiting, first expires in 9 h".into(),
            agent: "Chromium 156 on Linux".into(),
            claimed: "ada".into(),
            find: None,
            lines: 50,
        }
    }

    /// Longer than anybody drew them.
    pub(crate) fn long() -> Self {
        let word = "a-very-long-word-without-any-place-to-break-it-".repeat(6);
        Self {
            body: format!("{{\"{word}\": \"{}\"}}", "x".repeat(4_000)).into_bytes(),
            header_name: "x-".to_owned() + &word,
            header_value: word.repeat(8),
            path: format!("/webhook/stripe/{word}"),
            query: word.clone(),
            name: Some(word.clone()),
            error: format!("the target said {word}"),
            answer: word.repeat(3),
            reason: format!("destination crm: circuit open at client {word} for 2 d 3 h, 1,204,331 waiting: {word}"),
            agent: word.clone(),
            claimed: word.clone(),
            find: Some(word),
            lines: 50,
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn ago(seconds: u64) -> Wall {
    NOW - Duration::from_secs(seconds)
}

fn event_id(at: Wall, number: u128) -> EventId {
    EventId::from_u128((u128::from(at.as_millis()) << 80) | (7 << 76) | (2 << 62) | number)
}

fn delivery_id(at: Wall, number: u128) -> DeliveryId {
    DeliveryId::from_u128((u128::from(at.as_millis()) << 80) | (7 << 76) | (2 << 62) | number)
}

pub(crate) fn page(role: Role) -> Page {
    let viewer = Viewer {
        name: "alice".into(),
        role,
        payloads: role >= Role::Operator,
        theme: Theme::System,
        zone: Zone::Utc,
        keys: true,
    };
    Page { site: Site::default(), viewer: Some(viewer), now: NOW, version: "0.1.0".into() }
}

pub(crate) fn event(words: &Words, number: u64) -> Event {
    let at = NOW - Duration::from_millis(37 * number + number * number * 400);
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let headers = [
        (words.header_name.as_str(), words.header_value.as_str()),
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        ("accept", "*/*; q=0.5, application/xml"),
        ("cache-control", "no-cache"),
        ("content-length", "1183"),
    ];
    Event {
        id: event_id(at, u128::from(number)),
        source: name(if number % 3 == 1 { "github" } else { "stripe" }),
        method: Bytes::from_static(b"POST"),
        path: bytes(&words.path),
        query: Some(bytes(&words.query)),
        headers: headers.into_iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
        body: Bytes::copy_from_slice(&words.body),
        body_sha256: [0x9f; 32],
        received_at: at,
        name: words.name.as_deref().map(Arc::from),
        key: None,
    }
}

fn attempt(words: &Words, number: u32, class: Class) -> Attempt {
    let good = class == Class::Delivered;
    let answer = Answer { body: Some(words.answer.as_str().into()), ..Answer::default() };
    Attempt {
        number,
        at: ago(600 - u64::from(number) * 60),
        duration_ms: 41 + u64::from(number) * 7,
        status: (class != Class::Unreachable).then_some(if good { 200 } else { 500 }),
        class,
        counted: class == Class::Rejected,
        error: (!good).then(|| words.error.as_str().into()),
        answer: (!good).then(|| Arc::new(answer)),
    }
}

pub(crate) fn delivery(words: &Words, event: &Event, number: u64, state: State) -> Delivery {
    let destination = name(if number.is_multiple_of(4) { "erp" } else { "crm" });
    let id = delivery_id(event.received_at, u128::from(number) << 20);
    let mut made = Delivery::ready(id, event, destination, false, event.received_at, Duration::from_secs(86_400));
    made.state = state;
    let last = match state {
        State::Ready | State::Leased => None,
        State::Delivered => Some(attempt(words, 1, Class::Delivered)),
        State::Scheduled | State::Dead | State::Expired | State::Cancelled => Some(attempt(words, 3, Class::Rejected)),
    };
    made.reason = match state {
        State::Dead => Some(Reason::Rejected),
        State::Expired => Some(Reason::Expired),
        _ => None,
    };
    (made.tries, made.attempts) = last.as_ref().map_or((0, 0), |last| (last.number, last.number));
    made.last = last;
    made.due_at = NOW + Duration::from_secs(4);
    made
}

fn state_of(number: u64) -> State {
    match number % 11 {
        0 => State::Leased,
        3 => State::Scheduled,
        5 => State::Dead,
        7 => State::Expired,
        8 => State::Ready,
        9 => State::Cancelled,
        _ => State::Delivered,
    }
}

pub(crate) fn lines(words: &Words, count: u64) -> Vec<EventLine> {
    let line = |number| {
        let event = event(words, number);
        let size = 900 + number * number * 517;
        let deliveries: Vec<Delivery> =
            (0..=number % 2).map(|side| delivery(words, &event, number + side * 3, state_of(number + side))).collect();
        EventLine::of(&event, size, if number == 6 { &[] } else { &deliveries })
    };
    (0..count).map(line).collect()
}

pub(crate) fn facts(words: &Words, role: Role, look: Look) -> EventFacts {
    let event = event(words, 0);
    let (dead, good) = (delivery(words, &event, 1, State::Dead), delivery(words, &event, 4, State::Delivered));
    let history: Vec<Attempt> =
        (1..=4).map(|n| attempt(words, n, if n == 2 { Class::Unreachable } else { Class::Rejected })).collect();
    let deliveries = vec![
        DeliveryFacts::of(&delivery(words, &event, 2, State::Scheduled), &history[..2]),
        DeliveryFacts::of(&dead, &history),
        DeliveryFacts::of(&good, &[attempt(words, 1, Class::Delivered)]),
    ];
    let facts = EventFacts::of(&event, event.body.len() as u64, look, role >= Role::Operator);
    let facts = facts.with(Became { deliveries, more: false });
    let facts = facts.judged(if words.lines == 50 { Proof::Holds } else { Proof::Fails("bad_signature".into()) });
    facts.routed(vec![name("crm"), name("erp")])
}

/// With trouble: this server began a while ago, and was away for some minutes since.
fn hour(trouble: bool) -> Hour {
    let minute = |at: u64| 180 + at * 37 % 91 + if at % 17 == 3 { 240 } else { 0 };
    let known = |at: &u64| !trouble || (*at >= 22 && !(40..44).contains(at));
    let minutes = (0..60).map(|at| Some(minute(at)).filter(|_| known(&at))).collect();
    let (known_since, dead, refused) = if trouble { (Some(ago(38 * 60)), 3, 41) } else { (None, 0, 0) };
    Hour { known_since, minutes, delivered: 12_188, dead, refused }
}

pub(crate) fn situation(words: &Words, trouble: bool) -> Situation {
    let source = |at: &str, last: u64, accepted, refused| SourceLine {
        name: name(at),
        last_at: Some(ago(last)),
        a_minute: (at == "stripe").then_some(180),
        accepted,
        duplicates: 3,
        refused,
        is_deleted: false,
        stopped: None,
    };
    let destination = |at: &str, clients, waiting, dead, circuit| DestinationLine {
        name: name(at),
        clients,
        waiting,
        oldest: (waiting > 0).then_some(Duration::from_secs(840)),
        dead,
        circuit,
        paused: at == "archive",
    };
    let site = Site::default();
    let reasons = if trouble {
        vec![
            Trouble {
                words: words.reason.clone(),
                kind: Kind::NoClient,
                url: site.deliveries().with("destination", "crm"),
                mild: false,
            },
            Trouble {
                words: "destination crm: 37 dead, 5 expired".into(),
                kind: Kind::DeadLetters,
                url: site.deliveries(),
                mild: true,
            },
            Trouble {
                words: "the clock of this machine is 3 s behind since the start".into(),
                kind: Kind::Clock,
                url: site.alerts(),
                mild: true,
            },
        ]
    } else {
        Vec::new()
    };
    let crm = if trouble { (0, 212, 37, Circuit::Idle) } else { (2, 0, 0, Circuit::Closed) };
    let (open, dead) = (crm.1, crm.2);
    Situation {
        reasons,
        sources: vec![source("github", 240, 301_220, 41), source("stripe", 2, 903_111, 0)],
        destinations: vec![
            destination("archive", 1, 0, 0, Circuit::Open),
            destination("crm", crm.0, crm.1, crm.2, crm.3),
            destination("erp", 2, 0, 0, Circuit::Closed),
        ],
        hour: hour(trouble),
        recounted: (!trouble).then_some((ago(3_600 * 16), true)),
        left_out: if trouble { 212 } else { 0 },
        events: EventsSum { accepted: 1_204_331, stored: 903_112, retired: 301_219 },
        deliveries: DeliveriesSum {
            created: 1_204_900,
            open,
            delivered: 903_000 - open - dead,
            dead,
            cancelled: 0,
            retired: 301_900,
            lost: 0,
        },
    }
}

fn why(words: &Words, source: Option<&str>) -> String {
    let check = |check: &str, about: &str, found, said: &str, remedy: &str| CheckLine {
        check: check.into(),
        about: (!about.is_empty()).then(|| about.into()),
        url: (about == "crm").then(|| Site::default().destination(about)),
        found,
        said: said.into(),
        remedy: (!remedy.is_empty()).then(|| remedy.into()),
    };
    let trouble = |found| if source.is_some() { found } else { Found::Well };
    let hops = vec![
        HopLine {
            hop: "server",
            checks: vec![
                check("store", "", Found::Well, "it commits, in 1.1 ms in the mean; 41 GiB are free", ""),
                check(
                    "public URL",
                    "",
                    Found::Unclear,
                    "PUBLIC_URL is not set",
                    "set it to where platforms find this server",
                ),
            ],
        },
        HopLine {
            hop: "source",
            checks: vec![check("last request", "stripe", Found::Well, "2 s ago; 214 in the last hour", "")],
        },
        HopLine { hop: "route", checks: vec![check("leads to", "stripe", Found::Well, "crm", "")] },
        HopLine {
            hop: "client",
            checks: vec![check(
                "there",
                "crm",
                trouble(Found::Wrong),
                &words.reason,
                "crm-relay client --url https://relay.example.com --to crm=http://127.0.0.1:3000",
            )],
        },
        HopLine { hop: "target", checks: vec![check("answers", "crm", Found::Unclear, &words.error, "")] },
    ];
    let sources = vec![name("github"), name("stripe")];
    Why { page: page(Role::Operator), source: source.map(name), sources, at: NOW, hops }.html()
}

fn groups(words: &Words, count: u64) -> DeadGroups {
    let event = event(words, 3);
    let line = |number: u64| {
        let mut dead = delivery(words, &event, number, if number % 3 == 1 { State::Expired } else { State::Dead });
        if number % 3 == 1 {
            dead.last = None;
        }
        let circuit = [Circuit::Closed, Circuit::Idle, Circuit::Open][number as usize % 3];
        GroupLine {
            key: format!("{number:032x}"),
            // Whatever is left of it when it comes here.
            alike: Alike { error: dead.last.is_some().then(|| words.error.clone()), ..Alike::of(&dead) },
            count: 4_000 / (number + 1),
            oldest: ago(90_000 * (number % 2) + 4_000),
            newest: ago(60 * (number + 1)),
            example: dead.id,
            circuit,
        }
    };
    DeadGroups {
        lines: (0..count).map(line).collect(),
        looked_at: if count > 0 { 10_000 } else { 0 },
        others: if count > 30 { 317 } else { 0 },
        is_all: count < 30,
    }
}

fn audit_lines(words: &Words) -> Vec<AuditLine> {
    let line = |seconds, who: &str, action: &str, subject: &str| AuditLine {
        at: ago(seconds),
        who: who.into(),
        action: action.into(),
        subject: subject.into(),
        url: Some(Site::default().events()),
        origin: Some("192.0.2.7:51514".into()),
        claimed: (who == "cli").then(|| words.claimed.clone()),
    };
    vec![
        line(12, "user:alice", "session.begin", "alice"),
        line(64, "cli", "dead.redrive", "37 of crm, ended before 2026-11-28T18:21:00Z"),
        line(3_700, "user:bob", "event.replay", "evt_0193f1c2-7a30-7f2a-8000-000000000001"),
        line(90_000, "config", "source.declare", "stripe"),
    ]
}

/// Each screen in each state, under the name of its file.
pub(crate) fn screens(words: &Words) -> Vec<(&'static str, String)> {
    let mut all = of_people(words);
    all.extend(of_events(words));
    all.extend(of_deliveries(words));
    all.extend(setup::of_setup(words));
    all
}

fn of_people(words: &Words) -> Vec<(&'static str, String)> {
    let nobody = Page { viewer: None, ..page(Role::Admin) };
    let login = |way| Login { page: nobody.clone(), way }.html();
    let user = |name: &str, role, state, signed_in_at| UserLine {
        name: name.into(),
        role,
        state,
        sessions: u64::from(signed_in_at == Some(ago(2))) * 2,
        signed_in_at,
        me: name == "alice",
    };
    let users = vec![
        user("alice", Role::Admin, UserState::Active, Some(ago(2))),
        user("bob", Role::Operator, UserState::Active, Some(ago(90_000))),
        user("carol", Role::Viewer, UserState::Invited, None),
        user("mallory", Role::Viewer, UserState::Disabled, Some(ago(9_000_000))),
    ];
    let session = |number: u64| SessionLine {
        handle: format!("{number:016x}"),
        began_at: ago(number * 4_000 + 60),
        used_at: ago(number * 3_000),
        peer: "192.0.2.7:51514".into(),
        agent: words.agent.clone(),
        this: number == 0,
    };
    let me = |user, has_password| Me {
        page: page(Role::Admin),
        user,
        has_password,
        sessions: (0..3).map(session).collect(),
    };
    let audit = |lines: Vec<AuditLine>, filter| Audit {
        page: page(Role::Admin),
        filter,
        list: AuditList { next: (!lines.is_empty()).then(|| "audit.1.2".into()), lines },
        fault: None,
    };
    let narrow = AuditFilter { who: words.find.clone(), action: Some("dead".into()), since: Since::Day };
    let problem = Problem {
        page: page(Role::Viewer),
        status: 404,
        title: "There is no such event".into(),
        detail: words.error.clone(),
    };
    vec![
        ("login", login(Way::Open)),
        ("login-nobody", login(Way::NoUser)),
        ("login-plain", login(Way::Plain)),
        ("users", Users { page: page(Role::Admin), users }.html()),
        ("users-empty", Users { page: page(Role::Admin), users: Vec::new() }.html()),
        ("me", me(true, true).html()),
        ("me-new", me(true, false).html()),
        ("me-machine", me(false, false).html()),
        ("audit", audit(audit_lines(words), AuditFilter::default()).html()),
        ("audit-nothing", audit(Vec::new(), narrow).html()),
        ("problem", problem.html()),
    ]
}

fn of_events(words: &Words) -> Vec<(&'static str, String)> {
    let sources = vec![name("github"), name("stripe")];
    let list = |count: u64| EventList { lines: lines(words, count), next: (count > 0).then(|| "event.71.0a".into()) };
    let filter = EventsFilter { find: words.find.clone(), ..EventsFilter::default() };
    let events = |list, filter, open| Events {
        page: page(Role::Operator),
        filter,
        sources: sources.clone(),
        list,
        open,
        fault: None,
        asked: None,
        looked: None,
        marked: None,
    };
    let pane = |view| facts(words, Role::Operator, Look { room: Room::Pane, ..Look::at(view) });
    let open = |view| EventsFilter { open: Some(pane(view).id), view, ..filter.clone() };
    let narrow = EventsFilter { source: Some("stripe".into()), since: Since::Day, ..filter.clone() };
    let wrong = Events { fault: Some(words.error.clone()), ..events(EventList::default(), narrow.clone(), None) };
    let inside = EventsFilter { inside: true, find: words.find.clone().or(Some("cus_1".into())), ..narrow.clone() };
    let looked = |count: u64| Events {
        looked: Some(LookedThrough {
            read: 20_000,
            unread: 3,
            of: Some(1_204_331),
            reached: Some(NOW - Duration::from_hours(3)),
        }),
        ..events(list(count), inside.clone(), None)
    };
    let unknown = Events {
        asked: Some(SendersAsked { memory: Duration::from_hours(72), sources: 2, of: 2 }),
        ..events(list(0), EventsFilter { find: words.find.clone().or(Some("order-17".into())), ..narrow.clone() }, None)
    };
    let of_mark = EventsFilter { find: words.find.clone().or(Some("customer:cus_1".into())), ..narrow.clone() };
    let marked = |count: u64, from, to| Events {
        marked: Some(MarkedBetween { from, to, unread: count }),
        ..events(list(count), of_mark.clone(), None)
    };
    let event = |role, view| EventPage { page: page(role), event: facts(words, role, Look::at(view)) }.html();
    vec![
        ("events", events(list(words.lines), filter.clone(), None).html()),
        ("events-open", events(list(words.lines), open(View::Pretty), Some(pane(View::Pretty))).html()),
        ("events-open-hex", events(list(words.lines), open(View::Hex), Some(pane(View::Hex))).html()),
        ("events-empty", events(list(0), EventsFilter::default(), None).html()),
        ("events-nothing", events(list(0), narrow, None).html()),
        ("events-fault", wrong.html()),
        ("events-unknown", unknown.html()),
        ("events-inside", looked(3).html()),
        ("events-inside-nothing", looked(0).html()),
        ("events-marked", marked(3, Some(NOW - Duration::from_hours(3)), Some(NOW)).html()),
        ("events-marked-nothing", marked(0, None, Some(NOW)).html()),
        ("events-marked-unknown", marked(0, None, None).html()),
        ("event", event(Role::Operator, View::Pretty)),
        ("event-raw", event(Role::Operator, View::Raw)),
        ("event-curl", event(Role::Operator, View::Curl)),
        ("event-hex", event(Role::Operator, View::Hex)),
        ("event-viewer", event(Role::Viewer, View::Pretty)),
        ("event-became.fragment", EventBecame { page: &page(Role::Operator), became: &pane(View::Raw).became }.html()),
        ("event-lines.fragment", EventLines { page: &page(Role::Operator), filter: &filter, list: &list(3) }.html()),
    ]
}

fn of_deliveries(words: &Words) -> Vec<(&'static str, String)> {
    let line = |number| {
        let event = event(words, number);
        DeliveryLine::of(&delivery(words, &event, number, state_of(number)))
    };
    let list = |count: u64| DeliveryList { lines: (0..count).map(line).collect(), next: None };
    let deliveries = |list, filter| Deliveries {
        page: page(Role::Operator),
        filter,
        destinations: vec![name("crm"), name("erp")],
        sources: vec![name("github"), name("stripe")],
        list,
        fault: None,
    };
    let dead = |count, filter: &DeadFilter| Dead {
        page: page(Role::Admin),
        filter: filter.clone(),
        destinations: vec![name("crm"), name("erp")],
        sources: vec![name("github"), name("stripe")],
        groups: groups(words, count),
        fault: None,
    };
    let of_crm = DeadFilter { destination: Some("crm".into()), reason: Some(Reason::Busy), ..DeadFilter::default() };
    let dead_viewer = Dead { page: page(Role::Viewer), ..dead(3, &DeadFilter::default()) };
    let dead_fault = Dead { fault: Some(words.error.clone()), ..dead(0, &of_crm) };
    let narrow = DeliveriesFilter {
        destination: Some("crm".into()),
        state: Some(State::Dead),
        reason: Some(Reason::Rejected),
        ..DeliveriesFilter::default()
    };
    let overview = |now| Overview { page: page(Role::Admin), now };
    vec![
        ("overview", overview(situation(words, false)).html()),
        ("overview-trouble", overview(situation(words, true)).html()),
        ("overview-empty", overview(Situation::default()).html()),
        ("overview-live.fragment", OverviewLive { page: &page(Role::Admin), now: &situation(words, true) }.html()),
        ("why", why(words, Some("stripe"))),
        ("why-well", why(words, None)),
        ("dead", dead(9, &DeadFilter::default()).html()),
        ("dead-many", dead(40, &of_crm).html()),
        ("dead-viewer", dead_viewer.html()),
        ("dead-empty", dead(0, &DeadFilter::default()).html()),
        ("dead-nothing", dead(0, &of_crm).html()),
        ("dead-fault", dead_fault.html()),
        ("deliveries", deliveries(list(words.lines), DeliveriesFilter::default()).html()),
        ("deliveries-nothing", deliveries(list(0), narrow).html()),
        ("deliveries-empty", deliveries(list(0), DeliveriesFilter::default()).html()),
        ("delivery-lines.fragment", DeliveryLines { page: &page(Role::Operator), list: &list(3) }.html()),
        (
            "audit-lines.fragment",
            AuditLines { page: &page(Role::Admin), list: &AuditList { lines: audit_lines(words), next: None } }.html(),
        ),
    ]
}
