//! What somebody does at night: groups, ids by their beginning, one secret replaced, a server that is not there.

use rustix::process::Signal;

use crate::place::{Place, Running, wait_until};

/// Dead letters are told in groups, and redriven by what they failed with.
#[test]
fn dead_letters_are_grouped_and_redriven_by_their_status() {
    let place = Place::new();
    let _server = place.server();
    let (_receiver, target) = place.receiver(&["--status", "422", "--fail-first", "2"]);
    let _client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    for dead in 1..=3_u64 {
        place.send();
        wait_until("a dead letter", || place.json(&["dead", "list"])["items"].as_array().unwrap().len() as u64 == dead);
    }
    let summary = place.json(&["dead", "summary"]);
    let groups: Vec<(u64, u64)> = summary["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["count"].as_u64().unwrap(), group["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(groups, [(2, 500), (1, 422)], "{summary}");
    let example = summary["items"][1]["example"].as_str().unwrap();
    assert!(place.cli(&["dead", "show", example]).status.success());

    let _ = place.cli(&["destination", "pause", "default"]);
    let dry = place.json(&["dead", "redrive", "--status", "500", "--dry-run"]);
    assert_eq!((dry["matched"].as_u64(), dry["changed"].as_u64()), (Some(2), Some(0)));
    assert_eq!(place.json(&["dead", "redrive", "--status", "500", "--limit", "1", "--yes"])["changed"], 1);
    assert_eq!(place.json(&["dead", "redrive", "--error", "no such words", "--yes"])["matched"], 0);
    assert_eq!(place.json(&["dead", "redrive", "--status", "500", "--yes"])["changed"], 1);
    assert_eq!(place.json(&["dead", "list"])["items"].as_array().unwrap().len(), 1);
    let log = place.json(&["audit-log", "--action", "dead"]);
    assert_eq!(log["items"].as_array().unwrap().len(), 2, "{log}");
}

/// A server, a client and a target that refuses, and the event that died there.
fn with_a_dead_letter(place: &Place) -> ([Running; 3], String) {
    let server = place.server();
    let (receiver, target) = place.receiver(&["--status", "422"]);
    let client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    let event = place.send();
    wait_until("a dead letter", || place.json(&["dead", "list"])["items"].as_array().unwrap().len() == 1);
    ([client, receiver, server], event)
}

/// An id is looked up once, whatever it is typed as: the same delivery under three names is one.
#[test]
fn an_id_is_the_same_however_it_is_typed() {
    let place = Place::new();
    let (_running, event) = with_a_dead_letter(&place);
    let dead = place.json(&["dead", "list"])["items"][0]["id"].as_str().unwrap().to_owned();
    let _ = place.cli(&["destination", "pause", "default"]);
    let done = place.cli(&["dead", "redrive", "last", &dead, &dead[..20]]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "1 delivery redriven\n");
    let open = place.cli(&["delivery", "cancel", &dead[..20], "last"]);
    assert_eq!(
        (open.status.code(), String::from_utf8(open.stdout).unwrap().as_str()),
        (Some(0), "1 delivery cancelled\n")
    );
    for id in ["last", &event, &event[..20], &dead] {
        let listed = place.json(&["delivery", "list", "--event", id]);
        assert_eq!(listed["items"][0]["id"], *dead, "{id}");
    }
}

/// `last` is the newest of what a command is about; when the last webhook came is said without looking for it.
#[test]
fn last_is_the_newest_that_a_command_takes() {
    let place = Place::new();
    let (_running, event) = with_a_dead_letter(&place);
    let dead = place.json(&["dead", "list"])["items"][0]["id"].clone();
    let _ = place.cli(&["destination", "pause", "default"]);
    let later = place.send();
    assert_ne!(event, later);
    assert_eq!(place.json(&["dead", "show", "last"])["id"], dead);
    assert_ne!(place.json(&["delivery", "show", "last"])["id"], dead);
    let received = place.json(&["event", "show", &later])["received_at"].clone();
    assert_eq!(place.json(&["status"])["last_received_at"], received);
    assert_eq!(place.json(&["source", "show", "default"])["last_received_at"], received);

    assert_eq!(place.json(&["dead", "redrive", "last"])["changed"], 1);
    let none = place.cli(&["dead", "purge", "last"]);
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.contains("no delivery is dead or expired; all of them: crm-relay dead list"), "{said}");
    assert_eq!(place.json(&["delivery", "cancel", "last"])["changed"], 1);
    // A part that is left as it is makes the answer a no; the other part is done.
    let cancelled = place.json(&["delivery", "list", "--state", "cancelled"])["items"][0]["id"].clone();
    let both = place.cli(&["delivery", "cancel", cancelled.as_str().unwrap(), dead.as_str().unwrap()]);
    let said = String::from_utf8(both.stderr).unwrap();
    assert!(both.status.code() == Some(1) && said.contains("1 of 2 deliveries left as they were"), "{said}");
    assert_eq!(place.json(&["dead", "list"])["items"][0]["id"], dead, "what was redriven goes back");
}

/// "Why does nothing arrive?": what waits says for what.
#[test]
fn a_delivery_that_waits_says_what_holds_it_up() {
    let place = Place::new();
    let _server = place.server();
    let summary = place.cli(&["dead", "summary"]);
    assert!(summary.status.success() && summary.stderr.is_empty(), "there is no example to look at: {summary:?}");
    place.send();
    let shown = || String::from_utf8(place.cli(&["delivery", "show", "last"]).stdout).unwrap();
    assert!(shown().contains("held up   no client; start one where the target is: crm-relay client\n"), "{}", shown());
    let _ = place.cli(&["destination", "pause", "default"]);
    assert!(shown().contains("held up   paused; to go on: crm-relay destination resume default\n"), "{}", shown());
    let _ = place.cli(&["delivery", "cancel", "--all", "--yes"]);
    assert!(!shown().contains("held up"), "{}", shown());
}

/// What a screen shows of a dead letter selects it, in every form in which one does; what is mistyped is told.
#[test]
fn what_is_copied_from_a_screen_selects_what_it_showed() {
    let place = Place::new();
    let _server = place.server();
    let (_receiver, target) = place.receiver(&["--status", "422"]);
    let _client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    place.send();
    wait_until("a dead letter", || place.json(&["dead", "list"])["items"].as_array().unwrap().len() == 1);
    let _ = place.cli(&["destination", "pause", "default"]);
    let cell = |text: &[u8], at: usize| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().nth(1).unwrap().split('\t').nth(at).unwrap().to_owned()
    };
    let list = place.cli(&["dead", "list"]).stdout;
    let summary = place.cli(&["dead", "summary"]).stdout;
    let shown = place.json(&["delivery", "show", "last"]);
    let of_attempt = shown["history"][0]["error"].as_str().unwrap();
    let (last, answer) = (cell(&list, 6), cell(&summary, 6));
    assert_eq!(answer, "HTTP 422 Unprocessable Entity");
    let group = place.json(&["dead", "summary"]);
    let error = group["items"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains('#'), "{error}");
    let cut: String = error.chars().take(12).chain(['…']).collect();
    let (reason, destination) = (cell(&list, 3), cell(&list, 2));
    for (flag, value) in [
        ("--error", last.as_str()),
        ("--error", &answer),
        ("--error", &error),
        ("--error", &cut),
        ("--error", of_attempt),
        ("--status", &last),
        ("--reason", &reason),
        ("--reason", &reason.to_uppercase()),
        ("--destination", &destination),
    ] {
        for verb in ["redrive", "purge"] {
            let matched = place.json(&["dead", verb, flag, value, "--dry-run"]);
            assert_eq!(matched["matched"], 1, "dead {verb} {flag} {value:?}");
        }
    }
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = place.cli(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(words), "{args:?}: {:?} {said}", output.status);
    };
    refused(&["dead", "redrive", "--status", "many", "--yes"], 2, "like 422");
    refused(&["dead", "redrive", "--error", "…", "--yes"], 2, "want some of those");
    refused(&["dead", "purge", "--reason", "tired", "--yes"], 2, "known: rejected");
    refused(&["delivery", "cancel", "--reason", "refused", "--yes"], 2, "want status or error");
    for args in
        [["dead", "redrive"], ["delivery", "cancel"], ["delivery", "list"], ["dead", "list"], ["dead", "summary"]]
    {
        refused(&[args[0], args[1], "--destination", "defualt"], 1, "known: default");
        refused(&[args[0], args[1], "--source", "defualt"], 1, "known: default");
    }
    refused(&["event", "list", "--source", "defualt"], 1, "known: default");
}

/// What takes long is done step by step: once, whole, and told in one sum.
#[test]
fn a_command_about_thousands_is_done_in_steps() {
    let place = Place::new();
    let server = place.server();
    let _ = place.cli(&["send", "--count", "2500"]);
    let audit = |field: &str| place.json(&["audit"])["deliveries"][0][field].as_u64().unwrap();
    let made = audit("created");
    assert_eq!(made, 2500);
    let some = place.json(&["delivery", "cancel", "--all", "--limit", "1200", "--yes"]);
    assert_eq!((some["matched"].as_u64(), some["changed"].as_u64()), (Some(1200), Some(1200)));
    assert_eq!(audit("cancelled"), 1200);
    let rest = place.cli(&["delivery", "cancel", "--all", "--yes"]);
    assert_eq!(String::from_utf8(rest.stdout).unwrap(), "1300 deliveries cancelled\n");
    assert!(rest.stderr.is_empty(), "progress is for terminals: {:?}", String::from_utf8_lossy(&rest.stderr));
    assert_eq!((audit("cancelled"), audit("ready")), (2500, 0));

    // A list of all is read page by page, and may be stopped between two.
    server.signal(Signal::STOP);
    let list = place.start("list", &["event", "list", "--all", "--json"], &[("DATA_DIR", "data")]);
    wait_until("the list to listen for signals", || list.catches(Signal::INT));
    list.signal(Signal::INT);
    server.signal(Signal::CONT);
    let ended = list.ended();
    let said = place.read("list.log");
    assert_eq!(ended, Some(1), "{said}");
    assert!(said.starts_with("crm-relay: interrupted: 1000 were read, none is printed."), "{said}");
}

/// Nobody types 40 characters.
#[test]
fn an_id_is_found_by_its_beginning_by_last_and_by_its_delivery() {
    let place = Place::new();
    let _server = place.server();
    let (first, last) = (place.send(), place.send());
    let id = |name: &str| place.json(&["event", "show", name])["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&first[..22]), first);
    assert_eq!(id(&last[..22].replace('-', "")), last);
    assert_eq!(id("last"), last);
    let delivery = place.json(&["delivery", "show", "last"])["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&delivery), last);
    assert_eq!(place.json(&["delivery", "list", "--event", &first[..22]])["items"].as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["delivery", "cancel", &delivery[..22]])["changed"], 1);

    let several = place.cli(&["event", "show", &first[..8]]);
    assert_eq!(several.status.code(), Some(2));
    assert!(String::from_utf8(several.stderr).unwrap().contains("several ids begin with"));
    assert_eq!(place.cli(&["event", "show", "evt_ffffffff"]).status.code(), Some(1));
}

/// What is not named stays; what only has to be the same at both ends is made up.
#[test]
fn one_parameter_is_replaced_and_the_others_stay() {
    let place = Place::new();
    let _server = place.server();
    place.write("secret.txt", "0123456789abcdef0123456789abcdef");
    let made = place.json(&["invite", "whatsapp", "--provider", "meta", "--set", "app_secret=@secret.txt"]);
    assert_eq!(made["generated"][0]["name"], "verify_token");
    assert!(made["generated"][0]["value"].as_str().unwrap().len() >= 32);
    place.write("secret.txt", "fedcba9876543210fedcba9876543210");
    let set = ["source", "update", "whatsapp", "--set", "app_secret=@secret.txt"];
    let names = |source: &serde_json::Value| {
        let all = source["parameters"].as_array().unwrap().iter();
        all.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&place.json(&set)), ["verify_token", "app_secret"]);
    assert_eq!(names(&place.json(&["source", "update", "whatsapp", "--unset", "verify_token"])), ["app_secret"]);
    let unknown = place.cli(&["source", "update", "whatsapp", "--unset", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    let refused = place.cli(&["send", "--provider", "meta", "--set", "app_secret=not-the-one-that-is-set-there"]);
    assert_eq!(refused.status.code(), Some(1), "it goes to the source of that provider");
    assert!(place.json(&["source", "show", "whatsapp"])["counters"]["refused"].to_string().contains("signature"));
}

/// The eleventh equal line says nothing new.
#[test]
fn samples_to_nobody_end_after_ten_equal_failures() {
    let place = Place::new();
    let output = place
        .run(&["send", "--to", "http://127.0.0.1:9", "--count", "2000", "--set", "key=a-key-of-nobody-at-all"], &[]);
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.matches("connection refused").count(), 1, "{text}");
    assert!(text.contains("stopped after 10 of 2000: 10 in a row failed alike"), "{text}");
}

/// A destination that nothing leads to and nothing is left of does not stay in the status for good.
#[test]
fn a_destination_whose_route_is_deleted_leaves_the_status() {
    let place = Place::new();
    let _server = place.server();
    let names = || {
        let status = place.json(&["status"]);
        let all = status["destinations"].as_array().unwrap().iter();
        all.map(|destination| destination["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    place.send();
    let _ = place.cli(&["route", "create", "default", "crm"]);
    let _ = place.cli(&["route", "delete", "default", "default"]);
    assert_eq!(names(), ["crm", "default"], "something of it waits");
    let _ = place.cli(&["delivery", "cancel", "--all", "--yes"]);
    wait_until("the status without it", || names() == ["crm"]);
}

/// "Nothing comes in": refused webhooks, clients that serve what no route leads to and refused tokens are where one looks
/// first, with what to type next; they make nothing degraded, for strangers can cause them.
#[test]
fn what_keeps_webhooks_away_is_in_the_status_with_the_next_step() {
    let place = Place::new();
    let _server = place.server();
    let said = |verb: &str| {
        let output = place.cli(&[verb]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!said("status").contains("? "));
    let wrong = place.cli(&["send", "--count", "2", "--set", "key=a-key-of-nobody-at-all"]);
    assert_eq!(wrong.status.code(), Some(1));
    let (url, token) = (place.server_url(), place.secret("RELAY_TOKEN"));
    let _elsewhere =
        place.start("client", &["client", "--to", "crm=9"], &[("RELAY_URL", &url), ("RELAY_TOKEN", &token)]);
    place.wait_for("server.log", "client_unrouted");
    let refused =
        place.run(&["client", "--to", "9"], &[("RELAY_URL", &url), ("RELAY_TOKEN", "a-token-of-nobody-at-all")]);
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    for verb in ["status", "health"] {
        // What is shown of the hub may be half a second old.
        wait_until("the hints", || said(verb).contains("crm-relay route create SOURCE crm\n"));
        let said = said(verb);
        assert!(said.contains("? a client serves destination crm ("), "{said}");
        assert!(said.contains("? wrong tokens of clients: 1, the latest ") && said.contains("crm-relay token create"));
        assert!(said.contains("? source default refused webhooks: 2 wrong_key, the latest "), "{said}");
        assert!(said.contains("crm-relay source show default\n"), "{said}");
    }
    let status = place.json(&["status"]);
    assert_eq!((status["status"].as_str(), status["hints"].as_array().unwrap().len()), (Some("ok"), 3), "{status}");
    let _ = place.cli(&["route", "create", "default", "crm"]);
    wait_until("the client to be of use", || !said("status").contains("route create"));
}

#[test]
fn help_completions_and_strict_health_are_there() {
    let place = Place::new();
    let help = place.run(&["help", "dead", "redrive"], &[]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--status <N>"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell], &[]);
        assert!(script.status.success() && String::from_utf8(script.stdout).unwrap().contains("crm-relay"), "{shell}");
    }
    let _server = place.server();
    assert_eq!(place.cli(&["health", "--strict"]).status.code(), Some(0));
}

/// What bash offers behind each word, asked as bash asks.
#[test]
fn a_shell_completes_commands_verbs_and_options() {
    let place = Place::new();
    let script = place.run(&["completions", "bash"], &[]).stdout;
    place.write("completions.bash", std::str::from_utf8(&script).unwrap());
    let ask = "source ./completions.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($#-1)); \
               _crm__relay crm-relay \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; echo \"${COMPREPLY[*]}\"";
    for (typed, offered) in [
        ("doc", "doctor"),
        ("event ", "tail"),
        ("event l", "list"),
        ("event tail --so", "--source"),
        ("status --wa", "--watch"),
        ("dlq red", "redrive"),
        ("audit-log --wh", "--who"),
        ("completions z", "zsh"),
        ("source create shop --pro", "--provider"),
    ] {
        let words: Vec<&str> = std::iter::once("crm-relay").chain(typed.split(' ')).collect();
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["-c", ask, "bash"]).args(&words).current_dir(place.path("")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.split_whitespace().any(|word| word == offered), "{typed:?}: {said} {:?}", output.stderr);
    }
}

/// A dead letter is no fault of the relay's, so plain `health` says ok; what a night shift is woken by says no.
#[test]
fn strict_health_says_no_where_a_letter_is_dead() {
    let place = Place::new();
    let (_running, _) = with_a_dead_letter(&place);
    assert_eq!(place.cli(&["health"]).status.code(), Some(0));
    let strict = place.cli(&["health", "--strict"]);
    assert_eq!(strict.status.code(), Some(1), "{strict:?}");
}
