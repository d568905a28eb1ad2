//! How SQLite finds what each statement asks for: by a key or an index that ends where what is wanted ends, never by going
//! through all there is. What an operation costs is counted in `cost_tests.rs`; this looks at every statement there is.

use std::{fs, path::Path};

use rusqlite::Connection;

use super::files::schema;

/// Statements that go through a whole table, as far as they are told apart, and why they may.
const WHOLE: &[(&str, &str)] = &[
    ("open.rs SELECT count(*) FROM sqlite_schema", "of the tables themselves"),
    ("gap.rs", "gaps are read by an audit: as many as there were restores"),
    ("check.rs", "a check reads everything, with no store open"),
    ("accept.rs", "an accepted loss reads everything, with no store open"),
    ("book.rs SELECT name FROM names INDEXED BY", "a check, of names that do not read"),
    ("recount.rs", "a recount reads everything, on a connection of its own"),
    ("slack.rs", "a page by its number, which a virtual table does not call a search"),
    ("backup.rs", "a backup reads everything, on a connection of its own"),
    ("of_source.rs SELECT source", "recounts, and makes the table anew in a check"),
    ("named.rs SELECT source, minute, name, events FROM named ORDER", "a check compares all of it with the events"),
    ("event_names.rs", "at the start, as the counters: 250 of a source at most"),
    ("unrouted.rs SELECT (SELECT count(*)", "a check reads everything, with no store open"),
    ("unrouted.rs DELETE FROM replays WHERE NOT EXISTS", "an accepted loss, with no store open"),
    ("unrouted.rs SELECT seq FROM events", "the same"),
    ("documents.rs SELECT kind FROM", "at the start: documents are few"),
    ("settle.rs SELECT seq FROM deliveries WHERE state = 20", "a planted bug"),
    ("retain.rs SELECT seq, at FROM audit ORDER BY seq LIMIT ?1", "in the order of the key, and no further than LIMIT"),
];

/// Every statement in the sources of the store, with the name of its file.
fn statements() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sqlite");
    let rooms = ["write", "read", "verify", "files"].map(|room| dir.join(room));
    let mut found = Vec::new();
    for entry in rooms.iter().flat_map(|room| fs::read_dir(room).expect("the sources are there")) {
        let path = entry.expect("is readable").path();
        let file = path.file_name().expect("has a name").to_string_lossy().into_owned();
        if path.extension().is_none_or(|ending| ending != "rs") || file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("is readable");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n").replace("\\\"", "");
        // Between an odd quotation mark and the next stands a text.
        for literal in code.split('"').skip(1).step_by(2) {
            let verb = literal.split_whitespace().next().unwrap_or_default();
            let is_whole = literal.contains(" FROM ") || matches!(verb, "UPDATE" | "INSERT");
            if matches!(verb, "SELECT" | "UPDATE" | "DELETE" | "INSERT") && is_whole {
                let sql = literal.split_whitespace().collect::<Vec<_>>().join(" ");
                // Any table stands for all that a statement is made for.
                found.push((file.clone(), sql.replace("{table}", "events")));
            }
        }
    }
    found
}

/// I15: no statement goes through a whole table or sorts one, but for those named above.
#[test]
fn every_statement_has_its_index() {
    let db = Connection::open_in_memory().expect("opens");
    schema::create(&db).expect("makes tables");
    let statements = statements();
    assert!(statements.len() > 80, "only {} statements were found", statements.len());
    let mut faults = Vec::new();
    let mut used = vec![false; WHOLE.len()];
    for (file, sql) in statements {
        let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("is a statement");
        let steps = explained.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>();
        let steps = steps.expect("is explained");
        let walks = |step: &String| step.starts_with("SCAN") || step.contains("TEMP B-TREE");
        let Some(step) = steps.iter().find(|step| walks(step) && *step != "SCAN CONSTANT ROW") else { continue };
        let named = format!("{file} {sql}");
        match WHOLE.iter().position(|(start, _)| named.starts_with(start)) {
            Some(index) => used[index] = true,
            None => faults.push(format!("{named}: {step}")),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let unused: Vec<_> = WHOLE.iter().zip(used).filter(|(_, used)| !used).map(|((start, _), _)| start).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}
