//! What to type after a server has said no. Its words say what was wrong; where they name no command, this does.

use relay_server::{AdminCode, error::Code};

/// What follows from a code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This, in words that end an error.
    Words(String),
    /// Nothing more than the server's own words, for this reason.
    Needless(&'static str),
}

/// Of a problem's `code`, the words that come with it, and the path that was asked; `None`: the words say all.
pub(crate) fn after(code: &str, words: &str, path: &str) -> Option<String> {
    // The next step stands in them already, or is the same command with what they say.
    if words.contains("crm-relay ") {
        return None;
    }
    let Some(known) = AdminCode::ALL.into_iter().find(|known| known.as_str() == code) else {
        return of_name(code).map(|code| after_webhook(code, None));
    };
    match step(known, words, noun_in(words, path).or_else(|| noun_of(path))) {
        Step::Words(step) => Some(step),
        Step::Needless(_) => None,
    }
}

/// The code of this name that a webhook may be refused with.
pub(crate) fn of_name(code: &str) -> Option<Code> {
    Code::ALL.into_iter().find(|known| known.as_str() == code)
}

/// After an answer of the admin API.
fn step(code: AdminCode, words: &str, noun: Option<&str>) -> Step {
    let step = match code {
        AdminCode::Unknown if words.starts_with("there is no ") && words.ends_with(" yet") => {
            "send one: crm-relay send".to_owned()
        }
        AdminCode::Unknown | AdminCode::Taken => match noun {
            Some(noun) => format!("all of them: crm-relay {noun} list"),
            None => return Step::Needless("there is no list of what was asked for; the words name it"),
        },
        AdminCode::Invalid => match noun.filter(|_| words.contains("not an id") || words.contains("several ids")) {
            Some(noun) => format!("ids are in the first column of: crm-relay {noun} list"),
            None => return Step::Needless("the words say what would be right"),
        },
        AdminCode::NotHere => return Step::Needless("the words say what there is instead"),
        AdminCode::Conflict => return Step::Needless("the words say what is in the way"),
        AdminCode::Declared => return Step::Needless("the words name the file, and SIGHUP"),
        AdminCode::Forbidden => return Step::Needless("the words say what it needs"),
        AdminCode::Unauthorized | AdminCode::ForeignSite => {
            return Step::Needless("the command says where the admin token is");
        }
        AdminCode::LastRoute => "make another first: crm-relay route create SOURCE DESTINATION".to_owned(),
        AdminCode::RateLimited => {
            "the right token stands in DATA_DIR/credentials of that server: --admin-token @FILE".to_owned()
        }
        AdminCode::MethodNotAllowed => {
            "server and command may be of different versions: crm-relay --version on both machines".to_owned()
        }
        AdminCode::TooLarge => {
            "name fewer ids at once, or a filter: crm-relay dead redrive --destination NAME".to_owned()
        }
        AdminCode::Timeout | AdminCode::StoreAway => {
            "the same command again; how the server is: crm-relay health".to_owned()
        }
        AdminCode::Outgrown => "the same command again, when less comes in: crm-relay status".to_owned(),
        AdminCode::NoRandomness => {
            "the system of the server gives no random numbers; its log: crm-relay health".to_owned()
        }
        AdminCode::Damaged => "stop the server, then read what is left: crm-relay store check".to_owned(),
        AdminCode::StoreFull => FULL.to_owned(),
        AdminCode::TooSlow if noun.is_none() => {
            "the same command again, when less is going on; how the server is: crm-relay health".to_owned()
        }
        AdminCode::TooSlow => "ask for less: --since 1h, --source NAME, --limit 50".to_owned(),
        AdminCode::ShuttingDown => AGAIN.to_owned(),
        AdminCode::Uncertain => match noun {
            Some(noun) => format!("what there is by now: crm-relay {noun} list"),
            None => "what was done by now: crm-relay status".to_owned(),
        },
        AdminCode::StoreUnavailable | AdminCode::BrokenOff => ITS_LOG.to_owned(),
        AdminCode::Contended => "the same command again".to_owned(),
        AdminCode::Misdirected => "ADMIN_HOSTS on the server takes the name of this URL".to_owned(),
    };
    Step::Words(step)
}

const FULL: &str =
    "make room on the disk of its DATA_DIR, or lower DISK_RESERVE; how much is missing: crm-relay health";
const AGAIN: &str = "the same command again, once it runs: crm-relay health";
const ITS_LOG: &str = "its log says why; how it is now: crm-relay health";

/// After a webhook was refused with this code, at this source if it is known.
pub(crate) fn after_webhook(code: Code, source: Option<&str>) -> String {
    let source = source.unwrap_or("SOURCE");
    match code {
        Code::Malformed | Code::NotGenuine => format!("which check failed: crm-relay source show {source}"),
        Code::AddressRefused => {
            format!("from where it takes webhooks: crm-relay source show {source}; behind a proxy see TRUSTED_PROXIES")
        }
        Code::KeyRefused => {
            "which keys may come with the token: crm-relay token show NAME; that of this client is in RELAY_CERT_FILE"
                .to_owned()
        }
        Code::UnknownSource => "all of them: crm-relay source list".to_owned(),
        Code::NotFound => "webhooks go to /webhook/SOURCE; all sources: crm-relay source list".to_owned(),
        Code::MethodNotAllowed => "the methods that a platform uses: crm-relay provider show PROVIDER".to_owned(),
        Code::Timeout => "the same again, over a faster line or with a smaller body".to_owned(),
        Code::TooLarge => {
            "the bound is MAX_BODY_BYTES of the server; what it is now: crm-relay config print, there".to_owned()
        }
        Code::UriTooLong => "path and query have 8 KiB: put the rest into the body".to_owned(),
        Code::UpgradeRequired => "client and server want neighbouring versions: crm-relay --version on both".to_owned(),
        Code::RateLimited => "wait as long as it says; who comes in vain: crm-relay status".to_owned(),
        Code::HeadersTooLarge => "a head has 100 fields and 32 KiB: send fewer or shorter ones".to_owned(),
        Code::NotImplemented => "send it with Content-Length, or Transfer-Encoding: chunked alone".to_owned(),
        Code::SourcePaused => {
            format!(
                "the configuration file no longer names it: put it back and send SIGHUP; crm-relay source show {source}"
            )
        }
        Code::SourceBroken => format!("set its parameters anew: crm-relay source update {source} --set NAME=@FILE"),
        Code::StoreUnavailable => ITS_LOG.to_owned(),
        Code::StoreBusy => {
            "more came at once than the disk takes; platforms send again by themselves, here: crm-relay send --rate N; \
             how long commits take: crm-relay health"
                .to_owned()
        }
        Code::StoreFull => FULL.to_owned(),
        Code::Misdirected => "ask under a name that ALLOWED_HOSTS or PUBLIC_URL of the server has".to_owned(),
        Code::ShuttingDown => AGAIN.to_owned(),
    }
}

/// `source`, of `no source "shop"; known: default`; `event`, of what should have been an event's id.
fn noun_in(words: &str, path: &str) -> Option<&'static str> {
    if words.contains("want evt_") || words.contains("begin with evt_") {
        return Some("event");
    }
    let rest = words.strip_prefix("no ")?;
    let nouns = ["source", "route", "key", "token", "destination", "event", "delivery"];
    let noun = nouns.into_iter().find(|noun| rest.starts_with(&format!("{noun} ")))?;
    // Of deliveries whoever asks about dead letters wants these.
    Some(if noun == "delivery" && noun_of(path) == Some("dead") { "dead" } else { noun })
}

/// `source`, of a path below `/api/v1/sources`.
fn noun_of(path: &str) -> Option<&'static str> {
    let below = path.strip_prefix("/api/v1/")?.split(['/', '?']).next()?;
    let known = [
        ("sources", "source"),
        ("invites", "source"),
        ("routes", "route"),
        ("keys", "key"),
        ("tokens", "token"),
        ("destinations", "destination"),
        ("events", "event"),
        ("deliveries", "delivery"),
        ("dead", "dead"),
    ];
    known.iter().find(|(plural, _)| *plural == below).map(|(_, noun)| *noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_what_to_type() {
        let step = |code, words| after(code, words, "/api/v1/sources/shop?x=1").unwrap_or_default();
        assert_eq!(step("unknown", "no source \"shop\"; known: default"), "all of them: crm-relay source list");
        let of_route = after("unknown", "no source \"shop\"; known: default", "/api/v1/routes");
        assert_eq!(of_route.as_deref(), Some("all of them: crm-relay source list"));
        assert_eq!(step("unknown", "nobody awaits it: crm-relay source await-secret shop"), "");
        assert_eq!(step("invalid", "header: want a name"), "");
        assert!(step("store_full", "the store is full").contains("DISK_RESERVE"));
        assert_eq!(after("unknown", "nothing is here", "/api/v2/x"), None);
        let of = |words: &str, path: &str| after("invalid", words, path).unwrap_or_default();
        let not_one = "\"nope\" is not an id: want evt_ and a UUID";
        assert!(of(not_one, "/api/v1/deliveries?event=nope").ends_with("crm-relay event list"));
        let gone = |path| after("unknown", "no delivery dlv_1: it never was", path).unwrap_or_default();
        assert!(gone("/api/v1/events/dlv_1").ends_with("crm-relay delivery list"));
        assert!(gone("/api/v1/dead/redrive").ends_with("crm-relay dead list"));
    }

    /// Whatever a server answers, it leads on; or it is said why its own words are enough.
    #[test]
    fn no_code_is_without_a_next_step() {
        for code in AdminCode::ALL {
            match step(code, "not an id", Some("event")) {
                Step::Words(words) => assert!(words.len() > 10, "{code:?}: {words}"),
                Step::Needless(why) => assert!(why.len() > 10, "{code:?}: {why}"),
            }
        }
        for code in Code::ALL {
            assert!(after_webhook(code, Some("shop")).len() > 10, "{code:?}");
            assert_eq!(of_name(code.as_str()), Some(code));
            let is_told = after(code.as_str(), "no", "/api/v1/status").is_some();
            assert!(is_told, "{code:?} in front of the admin API");
        }
        assert_eq!(after("of_tomorrow", "no", "/api/v1/status"), None);
    }
}
