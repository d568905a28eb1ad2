//! One word, one thing: a type that is called by a word of the glossary is the only one of that name in the rooms that are named for it. In the
//! core no two types have one name, and in the store none has that of another which had several meanings once, but for those that are said here.

use std::{collections::BTreeMap, path::Path};

use super::{ARROWS, code_lines, files, is_test, report};

/// Words, and in which rooms of the crates a type of that name is: what it means there.
const WORDS: &[(&str, &[(&str, &str)])] = &[
    ("Change", &[("relay-core/delivery", "what was decided about a delivery")]),
    ("Config", &[("relay-client/config", "what a crate is configured with"), ("relay-server/config", "the same")]),
    ("Delivery", &[("relay-core/delivery", "one event on its way along one route")]),
    (
        "Event",
        &[
            ("relay-core/event", "a stored request"),
            ("relay-client/run", "what can happen to the dialer"),
            ("relay-server/hub", "what can happen to the hub's driver"),
        ],
    ),
    ("Gate", &[("relay-server/connect", "lets clients in")]),
    ("Held", &[("relay-core/hub", "a lease, as the hub holds it")]),
    ("Lease", &[("relay-core/delivery", "a time-boxed, fenced claim on a delivery")]),
    ("Line", &[("relay-core/hub", "what waits in its order"), ("relay-store/sqlite", "the same, on disk")]),
    ("Outgoing", &[("relay-core/outbox", "a body on its way to a client")]),
    (
        "Place",
        &[
            ("relay-store/memory", "where a row stands in a listing"),
            ("relay-store/redis", "the same"),
            ("relay-store/sqlite", "the same"),
        ],
    ),
    ("Plan", &[("crm-relay/config", "what the settings of a server come to")]),
    ("Refused", &[]),
    ("Served", &[("relay-core/wire", "a destination of a Hello")]),
    ("Session", &[("relay-core/hub", "a client's, from its Hello on")]),
    ("Settings", &[("relay-server/ingress", "what an operator decides about the public listener")]),
    ("SignIn", &[("relay-server/people", "that somebody signed in, until he leaves")]),
    ("TextLine", &[("crm-relay/render", "a line of a body, as it is shown")]),
    (
        "Token",
        &[
            ("relay-core/delivery", "the fence of a lease"),
            ("relay-providers/code", "a JSON Web Token"),
            ("relay-server/document", "lets a client in"),
        ],
    ),
];

/// Names that several types of the core have, and why.
const SHARED_IN_CORE: &[(&str, &str)] = &[
    ("Input", "what goes into a machine: each of them has one"),
    ("Output", "what comes out of it"),
    ("Setup", "what it begins with"),
    ("Notice", "what it has to say to people"),
    ("Phase", "where it is, known to it alone"),
    ("Answer", "of a target, to a sender, and the first of them as it goes over the wire"),
    ("Kind", "of what is short in the hub's rooms, and of what an alert tells"),
    ("Message", "of a session, and of an alert"),
];

/// Names of which there is one type in the store.
const ONCE_IN_STORE: &[&str] = &["Names", "Part", "Sealed", "Shelf", "Standing", "Watch", "Why"];

#[test]
fn in_the_core_and_the_store_a_name_is_that_of_one_type() {
    let mut wrong = Vec::new();
    for package in ["relay-core", "relay-store"] {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files(&format!("crates/{package}/src/"), "rs").into_iter().filter(|file| !is_test(file)) {
            for (number, line) in code_lines(&file) {
                if let Some(name) = declared(line) {
                    found.entry(name.to_owned()).or_default().push(format!("{}:{number}", file.shown()));
                }
            }
        }
        let shared = |name: &str| SHARED_IN_CORE.iter().any(|(known, _)| *known == name);
        let is_to_be_one =
            |name: &str| if package == "relay-core" { !shared(name) } else { ONCE_IN_STORE.contains(&name) };
        for (name, at) in &found {
            if at.len() > 1 && is_to_be_one(name) {
                wrong.push(format!("{name} is two things in {package}: {}", at.join(", ")));
            } else if at.len() == 1 && package == "relay-core" && shared(name) {
                wrong.push(format!("{name} is one thing in {package}: strike it off SHARED_IN_CORE"));
            }
        }
        let gone = ONCE_IN_STORE.iter().filter(|name| package == "relay-store" && !found.contains_key(**name));
        wrong.extend(gone.map(|name| format!("no {name} is in {package} any more: strike it off ONCE_IN_STORE")));
    }
    report(&wrong);
}

/// The type that a line declares beside others, not within one.
fn declared(line: &str) -> Option<&str> {
    let seen = match line.strip_prefix("pub(") {
        Some(behind) => behind.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let (kind, behind) = seen.split_once(' ')?;
    let name = behind.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
    ["struct", "enum", "trait", "type", "union"].contains(&kind).then_some(name)
}

#[test]
fn one_word_is_one_thing() {
    let mut found: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for (package, _) in ARROWS {
        let source = format!("crates/{package}/src/");
        for file in files(&source, "rs").into_iter().filter(|file| !is_test(file)) {
            let room = room(package, &file.shown()[source.len()..]);
            for (number, line) in code_lines(&file) {
                let Some((word, _)) = WORDS.iter().find(|(word, _)| declares(line, word)) else { continue };
                found.entry((*word, room.clone())).or_default().push(format!("{}:{number}", file.shown()));
            }
        }
    }
    let mut wrong = Vec::new();
    for ((word, room), at) in &found {
        let is_known = WORDS.iter().any(|(known, rooms)| known == word && rooms.iter().any(|(of, _)| of == room));
        if !is_known {
            wrong.push(format!("{word} means something else already, or nothing yet in {room}: {}", at.join(", ")));
        } else if at.len() > 1 {
            wrong.push(format!("{word} twice in {room}: {}", at.join(", ")));
        }
    }
    for (word, rooms) in WORDS {
        let gone = rooms.iter().filter(|(room, _)| !found.contains_key(&(*word, (*room).to_owned())));
        wrong.extend(gone.map(|(room, _)| format!("no {word} is in {room} any more: strike it off WORDS")));
    }
    report(&wrong);
}

/// Crate and module that a file is of: `relay-core/hub` of `hub/room/line.rs`.
fn room(package: &str, path: &str) -> String {
    let first = path.split('/').next().unwrap_or(path);
    format!("{package}/{}", Path::new(first).file_stem().map_or(first, |stem| stem.to_str().unwrap_or(first)))
}

/// Whether code declares a type of that name.
fn declares(line: &str, word: &str) -> bool {
    ["struct ", "enum ", "trait ", "type ", "union "].iter().any(|kind| {
        line.split(kind).skip(1).any(|behind| {
            let name: String = behind.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            name == word
        })
    })
}
