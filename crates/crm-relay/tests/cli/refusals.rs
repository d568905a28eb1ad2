//! Every error says what was wrong, where, and what to type next; on a terminal of 80 columns.

use crate::{
    place::Place,
    session::{on_a_terminal, plain, too_wide},
};

/// Where a command is given.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Nothing runs and nothing is stored.
    Nowhere,
    /// A server runs.
    Server,
    /// The server is stopped.
    Store,
}

/// What goes wrong most, with its exit code.
const REFUSED: &[(At, &[&str], i32)] = &[
    (At::Nowhere, &["status"], 69),
    (At::Nowhere, &["event", "list"], 69),
    (At::Nowhere, &["send"], 2),
    (At::Nowhere, &["send", "--to", "127.0.0.1:9", "--set", "key=a-key-that-nobody-asks-for"], 69),
    (At::Nowhere, &["audit", "--admin-url", "http://127.0.0.1:9"], 69),
    (At::Nowhere, &["audit", "--admin-url", "ftp://x"], 78),
    (At::Nowhere, &["audit", "--admin-url", "http://127.0.0.1:9", "--admin-token", "@nowhere"], 2),
    (At::Nowhere, &["health", "--client"], 2),
    (At::Nowhere, &["store", "check"], 69),
    (At::Nowhere, &["store", "backup", "copy"], 69),
    (At::Nowhere, &["store", "restore", "nowhere"], 2),
    (At::Nowhere, &["store", "restore", "."], 74),
    (At::Nowhere, &["client", "--to", "3000"], 78),
    (At::Nowhere, &["client", "--url", "localhost:9", "--token", "crk_0123456789abcdef0123456789", "--to", "3000"], 78),
    (At::Nowhere, &["client", "--url", "localhost:9", "--token", "@nowhere", "--to", "3000"], 2),
    (At::Nowhere, &["dev", "--to", "99999"], 78),
    (At::Nowhere, &["dev", "--to", "ftp://x"], 78),
    (At::Nowhere, &["server", "--config", "nowhere.toml"], 78),
    (At::Nowhere, &["receive", "--listen", "nowhere"], 2),
    (At::Nowhere, &["provider", "show", "strip"], 1),
    (At::Nowhere, &["provider", "show", "nothing-like-it"], 1),
    (At::Nowhere, &["send", "--rate", "0"], 2),
    (At::Nowhere, &["send", "--body", "nowhere.json"], 2),
    (At::Nowhere, &["event", "list", "--since", "yesterday"], 2),
    (At::Nowhere, &["listen"], 2),
    (At::Nowhere, &["dead", "redriev"], 2),
    (At::Nowhere, &["event", "show"], 2),
    (At::Nowhere, &["delivery", "list", "--status", "500"], 2),
    (At::Nowhere, &["send", "--count", "many"], 2),
    (At::Nowhere, &["send", "--count", "0"], 2),
    (At::Nowhere, &["send", "--count", "2", "--rate", "1e-320"], 2),
    (At::Nowhere, &["send", "--to", ""], 2),
    (At::Nowhere, &["provider", "show", ""], 1),
    (At::Nowhere, &["event", "list", "--limit", "0"], 2),
    (At::Nowhere, &["event", "list", "--since", "2026-01-31", "--until", "2026-01-30"], 2),
    (At::Nowhere, &["event", "replay", "--all", "--rate", "0"], 2),
    (At::Nowhere, &["dead", "redrive", "--all", "--rate", "1", "--start-at", "soon"], 2),
    (At::Nowhere, &["token", "update", "office"], 2),
    (At::Nowhere, &["source", "update", "default"], 2),
    (At::Nowhere, &["source", "update", "default", "--provider", "strip"], 1),
    (At::Nowhere, &["route", "update", "default", "default"], 2),
    (At::Nowhere, &["route", "update", "default", "default", "--ttl", ""], 2),
    (At::Nowhere, &["source", "show", ""], 2),
    (At::Server, &["server", "--server-port", "0"], 69),
    (At::Server, &["source", "delete", "nope"], 1),
    (At::Server, &["source", "show", "a b"], 2),
    (At::Server, &["key", "list", "--source", "nope"], 1),
    (At::Server, &["audit-log", "--who", "nobody"], 2),
    (At::Server, &["dead", "redrive", "evt_zz"], 2),
    (At::Server, &["source", "show", "shop"], 1),
    (At::Server, &["source", "create", "default"], 1),
    (At::Server, &["source", "create", "Shop!"], 2),
    (At::Server, &["source", "create", "pay", "--provider", "stripe"], 2),
    (At::Server, &["source", "create", "pay", "--provider", "stripe", "--set", "endpoint_secret=abc"], 2),
    (At::Server, &["source", "create", "pay", "--provider", "stripe", "--set", "endpoint_secret"], 2),
    (At::Server, &["source", "update", "default", "--unset", "nothing"], 2),
    (At::Server, &["source", "await-secret", "default"], 2),
    (At::Server, &["route", "create", "shop", "crm"], 1),
    (At::Server, &["route", "show", "default", "crm"], 1),
    (At::Server, &["route", "create", "default", "crm", "--ttl", "soon"], 2),
    (At::Server, &["route", "create", "default", "crm", "--ttl", "1s", "--max-retries", "5"], 2),
    (At::Server, &["route", "delete", "default", "default"], 1),
    (At::Server, &["key", "create", "shop", "ci"], 1),
    (At::Server, &["key", "show", "default", "ci"], 1),
    (At::Server, &["token", "create", "office", "--destination", "crm"], 2),
    (At::Server, &["token", "show", "office"], 1),
    (At::Server, &["destination", "show", "crm"], 1),
    (At::Server, &["destination", "pause", "crm"], 1),
    (At::Server, &["event", "show", "last"], 1),
    (At::Server, &["event", "replay", "last"], 1),
    (At::Server, &["event", "replay", "nope", "evt_00000000-0000-7000-8000-000000000000"], 1),
    (At::Server, &["event", "replay", "--all", "--cursor", "TYPO"], 2),
    (At::Server, &["event", "list", "--cursor", "TYPO"], 2),
    (At::Server, &["event", "list", "--source", "shop"], 1),
    (At::Server, &["audit-log", "--cursor", "TYPO"], 2),
    (At::Server, &["delivery", "show", "last"], 1),
    (At::Server, &["delivery", "show", "evt_00000000"], 2),
    (At::Server, &["delivery", "list", "--cursor", "TYPO"], 2),
    (At::Server, &["delivery", "list", "--event", "nope"], 2),
    (At::Server, &["delivery", "cancel", "--all", "--reason", "busy"], 2),
    (At::Server, &["dead", "show", "job_00000000-0000-7000-8000-000000000000"], 2),
    (At::Server, &["dead", "list", "--cursor", "TYPO"], 2),
    (At::Server, &["dead", "redrive", "--status", "HTTP"], 2),
    (At::Server, &["dead", "redrive", "--destination", "crm", "--dry-run"], 1),
    (At::Server, &["dead", "purge", "last"], 1),
    (At::Server, &["event", "show", "nope"], 2),
    (At::Server, &["event", "show", "evt_00000000-0000-7000-8000-000000000000"], 1),
    (At::Server, &["event", "replay", "evt_00000000-0000-7000-8000-000000000000"], 1),
    (At::Server, &["delivery", "show", "dlv_00000000"], 1),
    (At::Server, &["delivery", "list", "--state", "faild"], 2),
    (At::Server, &["dead", "list", "--reason", "nope"], 2),
    (At::Server, &["dead", "redrive"], 2),
    (At::Server, &["dead", "redrive", "dlv_00000000-0000-7000-8000-000000000000"], 1),
    (At::Server, &["invite", "default"], 1),
    (At::Server, &["invite", "shop", "--token-file", "there"], 2),
    (At::Server, &["send", "--provider", "stripe"], 2),
    (At::Server, &["send", "--source", "shop"], 1),
    (At::Server, &["store", "backup", "data"], 1),
    (At::Server, &["store", "backup", "nowhere/copy"], 1),
    (At::Server, &["store", "check"], 69),
    (At::Store, &["dead", "redrive", "--all"], 69),
    (At::Store, &["source", "create", "shop"], 69),
    (At::Store, &["store", "restore", "copy"], 1),
];

/// Words of which at least one stands in an error that leads on.
pub(crate) const LEADS_ON: &[&str] =
    &["crm-relay ", " --", "want ", "known: ", "mkdir ", "Name ", "name a ", "RELAY_", "CLIENT_LISTEN"];

#[test]
fn every_error_ends_with_the_next_step() {
    let place = Place::new();
    place.write("there", "something");
    let (mut shown, mut faults) = (Vec::new(), Vec::new());
    let mut tell = |at: At| {
        for (_, args, code) in REFUSED.iter().filter(|(of, ..)| *of == at) {
            let (ended, screen) = on_a_terminal(&place, args, &[]);
            let text = place.redact(plain(&screen).trim_end());
            let line = text.replace('\n', " ");
            if ended != Some(*code) || !too_wide(&screen).is_empty() || !LEADS_ON.iter().any(|word| line.contains(word))
            {
                faults.push(format!("{args:?} ended with {ended:?}, is too wide or leads nowhere:\n{text}\n"));
            }
            shown.push(format!("$ crm-relay {}\n{text}\n", args.join(" ")));
        }
    };
    tell(At::Nowhere);
    let server = place.server();
    tell(At::Server);
    let copy = place.cli(&["store", "backup", "copy"]);
    assert!(copy.status.success(), "{copy:?}");
    assert_eq!(server.terminate(), Some(0));
    tell(At::Store);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    insta::assert_snapshot!(shown.join("\n"));
}
