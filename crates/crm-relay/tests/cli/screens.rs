//! What stands on a terminal of 80 columns: nothing is wider, columns stand below each other, and no line is torn.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    place::{Place, wait_until},
    session::{on_a_terminal, plain, too_wide},
};

/// Every list, show and overview that somebody on night shift looks at.
#[test]
fn lists_and_overviews_fit_eighty_columns() {
    let place = Place::new();
    let server = place.server_with(&[("PUBLIC_URL", "https://relay.example.com")]);
    let (_receiver, target) = place.receiver(&["--status", "422", "--fail-first", "1"]);
    let _client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    place.write("body.json", r#"{"type":"contact.created","data":{"name":"Ada Lovelace","note":"one\ntwo"}}"#);
    for dead in 1..=2_usize {
        let _ = place.cli(&["send", "--body", "body.json"]);
        wait_until("a dead letter", || place.json(&["dead", "list"])["items"].as_array().unwrap().len() == dead);
    }
    let made = place.cli(&["invite", "customer-portal-of-the-north", "--destination", "customer-relations-north"]);
    assert!(made.status.success(), "{made:?}");
    let _ = place.cli(&["destination", "pause", "customer-relations-north"]);
    let post = |path: &str| {
        let url = format!("{}{path}", place.server_url());
        let output = std::process::Command::new("curl").args(["-s", "-d", "{}", &url]).output();
        assert!(output.is_ok_and(|output| output.status.success()));
    };
    post("/webhook/strpie");
    wait_until("the client in the status", || place.json(&["status"])["destinations"][1]["clients"] == 1);

    let commands: &[&[&str]] = &[
        &["status"],
        &["health"],
        &["audit"],
        &["audit-log", "--who", "config"],
        &["event", "list"],
        &["event", "show", "last"],
        &["delivery", "list"],
        &["delivery", "show", "last"],
        &["dead", "list"],
        &["dead", "summary"],
        &["source", "list"],
        &["source", "show", "customer-portal-of-the-north"],
        &["route", "list"],
        &["route", "show", "default", "default"],
        &["key", "list"],
        &["token", "list"],
        &["destination", "list"],
        &["destination", "show", "default"],
        &[
            "invite",
            "stripe",
            "--provider",
            "hmac",
            "--set",
            "header=X-Sig",
            "--set",
            "secret=0123456789abcdef01234567",
        ],
    ];
    insta::assert_snapshot!(screens(&place, commands));
    // These change with every provider, and with who runs the test.
    let _fit =
        screens(&place, &[&["audit-log"], &["provider", "list"], &["provider", "show", "meta"], &["send", "--list"]]);

    // The same of a server that does not run.
    assert_eq!(server.terminate(), Some(0));
    insta::assert_snapshot!(screens(&place, &[&["status"]]));
}

/// What senders and targets write to take over a screen: a sequence of ESC and of C1, a change of direction, and what begins,
/// rings and leaves a line.
const STEERING: &str = "\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{7}\r\u{85}\u{2028}\tx";

/// S27: whatever senders and targets write, no list, show or overview prints a character that steers, but line feeds.
#[test]
fn what_others_write_steers_no_screen() {
    let place = Place::new();
    let _server = place.server();
    let (url, token) = (place.server_url(), place.secret("RELAY_TOKEN"));
    let settings = [("RELAY_URL", &*url), ("RELAY_TOKEN", &*token), ("REPORT_ANSWERS", "body")];
    let _client = place.start("client", &["client", "--to", &hostile_target()], &settings);
    place.wait_for("server.log", "client_joined");
    // A head takes no ASCII that steers.
    let words: String = STEERING.chars().filter(|char| !char.is_ascii_control()).collect();
    let fields = format!(
        "X-Api-Key: {}\r\nUser-Agent: {words}\r\nContent-Type: text/plain; a={words}\r\n",
        place.secret("API_KEY")
    );
    let path = "%1b%5b2J%c2%9b%e2%80%ae%0a";
    assert_eq!(post(&place, &format!("/webhook/default/{path}?q={words}&r={path}"), &fields), 202);
    assert_eq!(post(&place, &format!("/webhook/str{path}"), &fields), 404);
    wait_until("a dead letter", || place.json(&["dead", "list"])["items"].as_array().unwrap().len() == 1);
    wait_until("the client in the status", || place.json(&["status"])["destinations"][0]["clients"] == 1);

    let commands: &[&[&str]] = &[
        &["status"],
        &["health"],
        &["audit-log"],
        &["event", "list"],
        &["event", "show", "last"],
        &["delivery", "list"],
        &["delivery", "show", "last"],
        &["dead", "list"],
        &["dead", "show", "last"],
        &["dead", "summary"],
        &["source", "list"],
        &["source", "show", "default"],
        &["route", "list"],
        &["destination", "list"],
        &["destination", "show", "default"],
    ];
    let mut shown = String::new();
    for args in commands {
        for form in [None, Some("--json")] {
            let output = place.cli(&args.iter().copied().chain(form).collect::<Vec<_>>());
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(steers(&text), None, "{args:?} {form:?}: {text:?}");
            shown += &text;
        }
        let (_, screen) = on_a_terminal(&place, args, &[]);
        assert_eq!(steers(&without_colours(&screen)), None, "{args:?}: {screen:?}");
    }
    for told in ["no such webhook", "31m"] {
        assert!(shown.contains(told), "{told} was shown nowhere, and nothing was tried: {shown}");
    }
}

/// The first character that steers, but for what ends a line or, where nobody looks on, a cell.
fn steers(text: &str) -> Option<char> {
    let is_mark = |char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().find(|char| !matches!(char, '\n' | '\t') && (char.is_control() || is_mark(*char)))
}

/// Without our own colours, and only those.
fn without_colours(screen: &str) -> String {
    let mut parts = screen.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|char: char| !char.is_ascii_digit() && char != ';');
        match end.filter(|end| part[*end..].starts_with('m')) {
            Some(end) => text += &part[end + 1..],
            None => text.extend(["\u{1b}[", part]),
        }
    }
    text
}

/// Posts such a webhook; the status of the answer.
fn post(place: &Place, target: &str, fields: &str) -> u16 {
    let addr = place.server_url().replace("http://", "");
    let mut socket = TcpStream::connect(&addr).unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n",
        STEERING.len()
    );
    socket.write_all(format!("{head}{STEERING}").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

/// A target that refuses in words like those.
fn hostile_target() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request);
            let body = format!("no such webhook: {STEERING}\nand {STEERING}");
            let words: String = STEERING.chars().filter(|char| !char.is_ascii_control()).collect();
            let answer = format!(
                "HTTP/1.1 422 no {words}\r\nContent-Type: text/plain\r\nRetry-After: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                "\u{202e}",
                body.len()
            );
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    url
}

/// What a platform needs, and where that is, with the command to copy.
#[test]
fn every_provider_is_shown_within_eighty_columns() {
    let place = Place::new();
    for provider in relay_providers::providers() {
        let (code, screen) = on_a_terminal(&place, &["provider", "show", provider.name], &[]);
        // A document's address is one word, however long it is.
        let wide: Vec<String> = too_wide(&screen).into_iter().filter(|line| !line.contains("https://")).collect();
        assert_eq!((code, wide), (Some(0), Vec::new()), "{}", provider.name);
        let copied = screen.lines().filter(|line| line.trim_start().starts_with("\u{1b}[36m")).map(plain);
        let long: Vec<String> = copied.filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{}: {long:?}", provider.name);
    }
}

/// Help is read on the same terminal.
#[test]
fn help_fits_eighty_columns() {
    let place = Place::new();
    let commands: &[&[&str]] =
        &[&["-h"], &["dev", "-h"], &["client", "-h"], &["server", "-h"], &["send", "-h"], &["dead", "redrive", "-h"]];
    let mut shown = Vec::new();
    for args in commands {
        let (code, screen) = on_a_terminal(&place, args, &[]);
        assert_eq!((code, too_wide(&screen)), (Some(0), Vec::new()), "{args:?}");
        shown.push(format!("$ crm-relay {}\n{}", args.join(" "), plain(&screen)));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

/// Screens without what changes from run to run.
fn screens(place: &Place, commands: &[&[&str]]) -> String {
    let (mut shown, mut faults) = (Vec::new(), Vec::new());
    for args in commands {
        let (code, screen) = on_a_terminal(place, args, &[]);
        faults.extend(too_wide(&screen).into_iter().map(|line| format!("{args:?} is too wide: {line}")));
        let screen = plain(&screen);
        faults.extend(torn(&screen).into_iter().map(|line| format!("{args:?} has torn columns: {line}")));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let same = |line: &str| times(&blanks(&place.redact(line))).replace(&format!("{host}  "), "[HOST]  ");
        let lines: Vec<String> = screen.lines().map(same).collect();
        shown.push(format!("$ crm-relay {}\n{}\n[exit {}]\n", args.join(" "), lines.join("\n"), code.unwrap()));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    shown.join("\n")
}

/// Rows of tables in which a column does not begin below its heading.
fn torn(screen: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_heading = |line: &str| {
        line.contains("  ") && !line.starts_with(' ') && line.chars().all(|c| c.is_ascii_uppercase() || c == ' ')
    };
    let mut starts: Vec<usize> = Vec::new();
    for line in screen.lines() {
        let cells: Vec<char> = line.chars().collect();
        if is_heading(line) {
            starts = (1..cells.len()).filter(|at| cells[*at] != ' ' && cells[at - 1] == ' ').collect();
            // A heading of two words is one column.
            starts.retain(|at| at.checked_sub(2).is_some_and(|before| cells[before] == ' '));
        } else if line.is_empty() || line.contains(": ") {
            starts.clear();
        }
        if starts.iter().any(|at| cells.get(at - 1).is_some_and(|before| *before != ' ')) {
            found.push(line.to_owned());
        }
    }
    found
}

/// How wide a column is depends on what is in it: two blanks between two.
fn blanks(line: &str) -> String {
    let margin = line.len() - line.trim_start().len();
    let parts: Vec<&str> = line.trim().split("  ").map(str::trim).filter(|part| !part.is_empty()).collect();
    format!("{}{}", &line[..margin], parts.join("  "))
}

/// `3s`, `in 2m`, `3 ms` and instances of clients, which are others in the next run.
fn times(line: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_age = |word: &str| word.ends_with(['s', 'm']) && is_number(&word[..word.len() - 1]);
    let is_instance = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words: Vec<&str> = line.split(' ').collect();
    let word = |(index, word): (usize, &&str)| {
        let counts_time = matches!(words.get(index + 1), Some(&("ms" | "s" | "s," | "min")));
        let is_user = index > 0 && words[index - 1] == "uid";
        // The last column of a list of tries.
        let is_took = line.contains("[TIME]  HTTP ") && index + 1 == words.len();
        match *word {
            word if is_age(word) => "[AGE]".to_owned(),
            word if is_instance(word) => "[INSTANCE]".to_owned(),
            word if is_number(word) && (counts_time || is_user || is_took) => "[N]".to_owned(),
            word => word.to_owned(),
        }
    };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}
