//! One word, one thing: a type that is called by a word of the glossary, or by one that had several meanings once, is the only one
//! of that name in its crate.

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
    (
        "Line",
        &[
            ("relay-core/hub", "what waits in its order"),
            ("relay-store/sqlite", "the same, on disk"),
            ("crm-relay/render", "a line of text"),
        ],
    ),
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
    (
        "Session",
        &[("relay-core/hub", "a client's, from its Hello on"), ("relay-server/people", "of somebody who signed in")],
    ),
    ("Settings", &[("relay-server/ingress", "what an operator decides about the public listener")]),
    (
        "Token",
        &[
            ("relay-core/delivery", "the fence of a lease"),
            ("relay-providers/code", "a JSON Web Token"),
            ("relay-server/document", "lets a client in"),
        ],
    ),
];

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
