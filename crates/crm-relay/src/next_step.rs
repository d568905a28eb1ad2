//! What to type after a server has said no. Its words say what was wrong; where they name no command, this does.

use relay_server::error::Code;

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
    match step(code, words, noun_in(words).or_else(|| noun_of(path))) {
        Some(Step::Words(step)) => Some(step),
        Some(Step::Needless(_)) => None,
        None => of_name(code).map(|code| after_webhook(code, None)),
    }
}

/// The code of this name that a webhook may be refused with.
pub(crate) fn of_name(code: &str) -> Option<Code> {
    Code::ALL.into_iter().find(|known| known.as_str() == code)
}

/// After an answer of the admin API; `None`: it is none of its codes.
fn step(code: &str, words: &str, noun: Option<&str>) -> Option<Step> {
    let step = match code {
        "unknown" if words.starts_with("there is no ") && words.ends_with(" yet") => {
            "send one: crm-relay send".to_owned()
        }
        "unknown" | "taken" => match noun {
            Some(noun) => format!("all of them: crm-relay {noun} list"),
            None => return Some(Step::Needless("there is no list of what was asked for; the words name it")),
        },
        "invalid" => match noun.filter(|_| words.contains("not an id") || words.contains("several ids")) {
            Some(noun) => format!("ids are in the first column of: crm-relay {noun} list"),
            None => return Some(Step::Needless("the words say what would be right")),
        },
        "conflict" => return Some(Step::Needless("the words say what is in the way")),
        "declared" => return Some(Step::Needless("the words name the file, and SIGHUP")),
        "unauthorized" | "foreign_site" => return Some(Step::Needless("the command says where the admin token is")),
        "last_route" => "make another first: crm-relay route create SOURCE DESTINATION".to_owned(),
        "rate_limited" => {
            "the right token stands in DATA_DIR/credentials of that server: --admin-token @FILE".to_owned()
        }
        "method_not_allowed" => {
            "server and command may be of different versions: crm-relay --version on both machines".to_owned()
        }
        "too_large" => "name fewer ids at once, or a filter: crm-relay dead redrive --destination NAME".to_owned(),
        "timeout" => "the same command again; how the server is: crm-relay health".to_owned(),
        "outgrown" => "the same command again, when less comes in: crm-relay status".to_owned(),
        "no_randomness" => "the system of the server gives no random numbers; its log: crm-relay health".to_owned(),
        "damaged" => "stop the server, then read what is left: crm-relay store check".to_owned(),
        "store_full" => FULL.to_owned(),
        "too_slow" => "ask for less: --since 1h, --source NAME, --limit 50".to_owned(),
        "shutting_down" => AGAIN.to_owned(),
        "store_unavailable" | "broken_off" => ITS_LOG.to_owned(),
        "contended" => "the same command again".to_owned(),
        "misdirected" => "ADMIN_HOSTS on the server takes the name of this URL".to_owned(),
        _ => return None,
    };
    Some(Step::Words(step))
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
        Code::ShuttingDown => AGAIN.to_owned(),
    }
}

/// `source`, of `no source "shop"; known: default`.
fn noun_in(words: &str) -> Option<&'static str> {
    let rest = words.strip_prefix("no ")?;
    ["source", "route", "key", "token", "destination"].into_iter().find(|noun| rest.starts_with(&format!("{noun} ")))
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
    }

    /// Whatever a server answers, it leads on; or it is said why its own words are enough.
    #[test]
    fn no_code_is_without_a_next_step() {
        for code in relay_server::ADMIN_CODES {
            match step(code, "not an id", Some("event")) {
                Some(Step::Words(words)) => assert!(words.len() > 10, "{code}: {words}"),
                Some(Step::Needless(why)) => assert!(why.len() > 10, "{code}: {why}"),
                None => panic!("{code} has no next step"),
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
