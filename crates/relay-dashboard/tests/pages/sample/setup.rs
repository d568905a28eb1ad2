//! What is set up: sources, destinations, keys, tokens, alerts, a new source.

use std::time::Duration;

use relay_core::{
    alert::{Kind, Severity},
    name::Name,
};
use relay_dashboard::{
    pace::Pace,
    screen::{
        Access, Alerts, Circuit, ClientLine, ConditionLine, DestinationFacts, DestinationPage, EventName, KeyLine,
        ListedSource, MissedLine, Parameter, ParameterField, Platform, ReceiverLine, RefusalLine, RotationLine,
        RouteLine, Screen as _, SettingLine, SourceCounters, SourceFacts, SourceLine, SourcePage, Sources, TokenLine,
        Wizard, WizardForm,
    },
    viewer::Role,
};

use super::{NOW, Words, ago, name, page, situation};

fn route(source: &str, destination: &str) -> RouteLine {
    let pace = match source {
        "github" => Pace::Listed([5, 60, 3_600].map(Duration::from_secs).into()),
        _ => Pace::Growing { delay: Duration::from_secs(1), factor: 2.0 },
    };
    RouteLine {
        source: name(source),
        destination: name(destination),
        ttl: Duration::from_hours(if source == "github" { 24 } else { 7 * 24 }),
        retries: 3,
        pace,
        paused: source == "github" && destination == "archive",
        declared: (source == "github").then(|| "/etc/crm-relay/crm-relay.toml:14".into()),
    }
}

fn key(number: u64) -> KeyLine {
    KeyLine {
        source: name("shop"),
        name: name(["default", "berlin", "old"][number as usize % 3]),
        prefix: format!("crk_{number:04x}"),
        created_at: ago(900_000 * (number + 1)),
        used_at: (number == 0).then(|| ago(4)),
        revoked_at: (number == 2).then(|| ago(90_000)),
    }
}

fn source(words: &Words, named: &str, quiet: bool) -> SourceFacts {
    let parameter = |name: &str, value: Option<&str>, adopted| Parameter {
        name: name.into(),
        value: value.map(Into::into),
        adopted,
    };
    let refused = |seconds, check: &str, detail: &str| RefusalLine {
        at: ago(seconds),
        check: check.into(),
        detail: detail.into(),
        remedy: "compare the secret here with the platform's, and enter it anew if they differ".into(),
        from: Some("2001:db8:85a3:8d3:1319:8a2e:370:7348 by proxy 203.0.113.250".into()),
    };
    let event = |name: Option<&str>, events| EventName { name: name.map(Into::into), events, last_at: ago(40) };
    SourceFacts {
        name: name(named),
        provider: if named == "shop" { "key".into() } else { named.into() },
        url: format!("https://relay.example.com/webhook/{named}"),
        declared: (named == "github").then(|| "/etc/crm-relay/crm-relay.toml:9".into()),
        stopped: (named == "github").then(|| words.error.clone()),
        awaits: quiet.then(|| Some(NOW + Duration::from_secs(540))),
        parameters: if named == "shop" {
            Vec::new()
        } else {
            vec![parameter("secret", None, named == "github"), parameter("tolerance", Some("5m"), false)]
        },
        bounds: vec![("rate", "100/s".into()), ("allow", "192.0.2.0/24, 198.51.100.0/24".into())],
        counters: if quiet {
            SourceCounters::default()
        } else {
            SourceCounters {
                accepted: 903_111,
                stored: 602_112,
                duplicates: 3,
                handshakes: 1,
                refused: vec![("signature".into(), 40), ("too_large".into(), 1)],
                last_at: Some(ago(2)),
            }
        },
        quotas: if quiet { Vec::new() } else { vec!["81,204 of 100,000 events".into()] },
        names: if quiet {
            Vec::new()
        } else {
            vec![event(words.name.as_deref(), 602_000), event(Some("charge.failed"), 100), event(None, 12)]
        },
        refusals: if quiet {
            Vec::new()
        } else {
            vec![refused(30, "signature", &words.error), refused(3_000, "too_large", "12 MiB; want at most 10 MiB")]
        },
        takes_keys: named == "shop",
        keys: if quiet { Vec::new() } else { (0..3).map(key).collect() },
        routes: if quiet { Vec::new() } else { vec![route(named, "archive"), route(named, "crm")] },
    }
}

fn destination(words: &Words, trouble: bool) -> DestinationFacts {
    let client = |number: u64| ClientLine {
        label: if number == 1 { words.agent.clone() } else { "laptop-2".into() },
        token: "office".into(),
        peer: format!("192.0.2.{number}:51514"),
        since: ago(7_000 * number),
        held: number,
        slots: 8,
        open_since: (number == 1).then(|| ago(400)),
        circuit_open: number == 1,
        next_try: (number == 1).then(|| NOW + Duration::from_secs(12)),
        error: (number == 1).then(|| words.error.clone()),
    };
    DestinationFacts {
        name: name("crm"),
        paused: trouble,
        circuit: if trouble { Circuit::Idle } else { Circuit::Open },
        waiting: 212,
        delivered: 602_011,
        dead: if trouble { 0 } else { 37 },
        oldest: Some(Duration::from_secs(840)),
        next_expiry: Some(NOW + Duration::from_secs(33_000)),
        clients: if trouble { Vec::new() } else { vec![client(1), client(2)] },
        more_clients: 0,
        elsewhere: u64::from(!trouble),
        routes: if trouble { Vec::new() } else { vec![route("github", "crm"), route("stripe", "crm")] },
    }
}

fn access(words: &Words, some: bool) -> Access {
    let token = |name_of: &str, number: u64| TokenLine {
        name: name(name_of),
        prefix: format!("crt_{number:04x}"),
        destinations: (number > 0).then(|| vec!["crm".into(), "erp".into()]),
        pins: usize::from(number == 1),
        created_at: ago(800_000 * (number + 1)),
        used_at: (number < 2).then(|| ago(number * 70)),
        revoked_at: (number == 3).then(|| ago(100_000)),
        rotation: (number == 1).then(|| RotationLine {
            old_prefix: "crt_9f2c".into(),
            old_sessions: 1,
            new_sessions: 2,
            until: Some(NOW + Duration::from_secs(80_000)),
        }),
    };
    let names = ["berlin", "laptop-2", "office", "old"];
    let tokens = names.into_iter().zip(0..).map(|(name, number)| token(name, number));
    let settings = ["API_KEY", "RELAY_TOKEN", "ADMIN_TOKEN"];
    Access {
        page: page(Role::Admin),
        find: words.find.clone(),
        keys: if some { (0..3).map(key).collect() } else { Vec::new() },
        tokens: if some { tokens.collect() } else { Vec::new() },
        settings: settings.map(|name| SettingLine { name, used_at: (name == "API_KEY").then(|| ago(2)) }).into(),
        sources: if some { vec![name("default"), name("shop")] } else { Vec::new() },
        destinations: vec![name("crm"), name("erp")],
        left_out: if words.lines > 2 { 12 } else { 0 },
    }
}

fn alerts(words: &Words, some: bool) -> String {
    let line = |kind, severity, subject: Option<&str>, said: &str, minutes: u64, over: Option<u64>| ConditionLine {
        kind,
        subject: subject.map(name),
        severity,
        words: said.into(),
        since: ago(minutes * 60),
        over: over.map(|minutes| ago(minutes * 60)),
        flapping: kind == Kind::Refused,
        told_to: if kind == Kind::Paused { Vec::new() } else { vec!["duty".into(), "chat".into()] },
    };
    let now = vec![
        line(Kind::NoClient, Severity::Critical, Some("crm"), &words.reason, 14, None),
        line(Kind::DeadLetters, Severity::Warning, Some("crm"), "destination crm: 37 dead", 95, None),
        line(Kind::Paused, Severity::Info, Some("archive"), "destination archive: paused, 12 waiting", 9_000, None),
    ];
    let over = vec![
        line(
            Kind::Refused,
            Severity::Warning,
            Some("github"),
            "source github: 41 requests refused and 3 accepted",
            300,
            Some(240),
        ),
        line(Kind::Clock, Severity::Warning, None, "the clock was set back by 2 min", 4_000, Some(3_900)),
    ];
    let receiver = |named: &str, way: &str, error: Option<&str>| ReceiverLine {
        name: named.into(),
        way: way.into(),
        told: 12,
        untold: u64::from(error.is_some()),
        told_at: error.is_none().then(|| ago(800)),
        error: error.map(Into::into),
    };
    let receivers = vec![
        receiver("chat", "slack: hooks.slack.com", None),
        receiver("duty", "pagerduty: events.pagerduty.com", Some(&words.error)),
    ];
    let none = |lines: Vec<ConditionLine>| if some { lines } else { Vec::new() };
    let receivers = if some { receivers } else { Vec::new() };
    Alerts { page: page(Role::Viewer), now: none(now), over: none(over), receivers }.html()
}

fn wizard(words: &Words, chosen: Option<&'static str>, find: Option<&str>) -> String {
    let platform = |name: &'static str, title: &'static str, needs: &str| Platform { name, title, needs: needs.into() };
    let all = vec![
        platform("api-key", "API key", ""),
        platform("github", "GitHub", "secret"),
        platform("meta", "Meta (WhatsApp, Messenger, Instagram)", "app_secret, verify_token"),
        platform("stripe", "Stripe", "endpoint_secret"),
    ];
    let field = |name, help, secret, made_up| ParameterField {
        name,
        help,
        secret,
        required: true,
        made_up,
        default: None,
        choices: &[],
    };
    let url = |name: &str| format!("https://relay.example.com/webhook/{name}");
    let form = chosen.map(|name| WizardForm {
        platform: all.iter().find(|platform| platform.name == name).expect("it is there").clone(),
        docs: if name == "stripe" { "https://docs.stripe.com/webhooks" } else { "" },
        name: name.into(),
        url: url(name),
        is_local: name == "meta",
        relay_url: "https://relay.example.com".into(),
        destinations: vec![Name::fallback(), "crm".parse().expect("a name")],
        fields: match name {
            "api-key" => Vec::new(),
            "stripe" => {
                vec![field(
                    "endpoint_secret",
                    "the endpoint's signing secret, whsec_...: in Workbench, Webhooks",
                    true,
                    false,
                )]
            }
            _ => vec![
                field("app_secret", "of the app: in its settings, Basic", true, false),
                field("verify_token", "a text of your own; it is entered at the platform too", true, true),
            ],
        },
        more: vec![
            ParameterField {
                default: Some("5m"),
                required: false,
                ..field("tolerance", "how old a request may be", false, false)
            },
            ParameterField {
                choices: &["sha256", "sha512"],
                default: Some("sha256"),
                required: false,
                ..field("algorithm", "of the signature", false, false)
            },
        ],
        steps: relay_dashboard::guide::steps(name, &url(name)),
        asks_first: name == "meta",
        adopts: name == "meta",
        is_guarded_by_url: name == "api-key",
        takes_keys: name == "api-key",
    });
    let platforms = if form.is_some() || find.is_some() && words.find.is_none() { Vec::new() } else { all };
    Wizard { page: page(Role::Admin), find: find.map(Into::into).or_else(|| words.find.clone()), platforms, form }
        .html()
}

/// As many keys and tokens as are listed.
pub(crate) fn access_at_its_bound() -> String {
    let few = access(&Words::usual(), true);
    let keys = few.keys.iter().cycle().filter(|key| key.revoked_at.is_none()).take(25).cloned().collect();
    let tokens = few.tokens.iter().cycle().filter(|token| token.revoked_at.is_none()).take(25).cloned().collect();
    Access { keys, tokens, ..few }.html()
}

/// A request that came to no source.
fn missed(words: &Words, status: u16) -> MissedLine {
    MissedLine { at: NOW, request: format!("POST {}", words.path), from: "192.0.2.7".into(), status }
}

/// What is set up.
pub(super) fn of_setup(words: &Words) -> Vec<(&'static str, String)> {
    let of = |role, facts| SourcePage { page: page(role), source: facts }.html();
    let to = |role, facts| DestinationPage { page: page(role), destination: facts }.html();
    let listed = |line: SourceLine| {
        let known = line.name.as_str() != "github";
        let destinations = if known { vec![name("archive"), name("crm")] } else { Vec::new() };
        ListedSource { provider: known.then(|| line.name.to_string()), destinations, line }
    };
    let sources = |lines: Vec<SourceLine>, left_out| {
        let missed = if lines.is_empty() { Vec::new() } else { vec![missed(words, 404), missed(words, 400)] };
        let sources = lines.into_iter().map(listed).collect();
        Sources { page: page(Role::Admin), sources, left_out, missed }.html()
    };
    vec![
        ("access", access(words, true).html()),
        ("access-empty", access(words, false).html()),
        ("alerts", alerts(words, true)),
        ("alerts-empty", alerts(words, false)),
        ("wizard", wizard(words, None, None)),
        ("wizard-nothing", wizard(words, None, Some("nobody"))),
        ("wizard-stripe", wizard(words, Some("stripe"), None)),
        ("wizard-meta", wizard(words, Some("meta"), None)),
        ("wizard-key", wizard(words, Some("api-key"), None)),
        ("sources", sources(situation(words, true).sources, 212)),
        ("sources-empty", sources(Vec::new(), 0)),
        ("source", of(Role::Admin, source(words, "stripe", false))),
        ("source-keys", of(Role::Operator, source(words, "shop", false))),
        ("source-declared", of(Role::Operator, source(words, "github", false))),
        ("source-new", of(Role::Viewer, source(words, "shop", true))),
        ("destination", to(Role::Operator, destination(words, false))),
        ("destination-idle", to(Role::Operator, destination(words, true))),
    ]
}
