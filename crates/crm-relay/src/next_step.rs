//! What to type after a server has said no. Its words say what was wrong; where they name no command, this does.

/// Of a problem's `code`, the words that come with it, and the path that was asked; `None`: the words say all.
pub(crate) fn after(code: &str, words: &str, path: &str) -> Option<String> {
    // The next step stands in them already, or is the same command with what they say.
    if words.contains("crm-relay ") {
        return None;
    }
    let noun = noun_in(words).or_else(|| noun_of(path));
    let step = match code {
        "unknown" | "taken" => format!("all of them: crm-relay {} list", noun?),
        "invalid" if words.contains("not an id") || words.contains("several ids") => {
            format!("ids are in the first column of: crm-relay {} list", noun?)
        }
        "damaged" => "stop the server, then read what is left: crm-relay store check".to_owned(),
        "store_full" => "make room on the disk of its DATA_DIR, or lower DISK_RESERVE; how much is missing: \
                         crm-relay health"
            .to_owned(),
        "too_slow" => "ask for less: --since 1h, --source NAME, --limit 50".to_owned(),
        "shutting_down" => "the same command again, once it runs: crm-relay health".to_owned(),
        "store_unavailable" | "broken_off" => "its log says why; how it is now: crm-relay health".to_owned(),
        "contended" => "the same command again".to_owned(),
        "misdirected" => "ADMIN_HOSTS on the server takes the name of this URL".to_owned(),
        _ => return None,
    };
    Some(step)
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
}
