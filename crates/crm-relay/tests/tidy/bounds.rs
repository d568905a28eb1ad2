//! Bounds of the core stand in one file: who wants to know what may grow, and how far, reads that one.

use super::{code_lines, files, report};

/// Numbers of the core that are no bounds: of a format, or how something is reckoned.
const NO_BOUNDS: &[(&str, &str)] = &[
    ("delivery/retry.rs", "STANDARD_WEBHOOKS"),
    ("event.rs", "ERASED"),
    ("id.rs", "COUNTER_BITS"),
    ("id.rs", "COUNTER_MASK"),
    ("id.rs", "PREFIX_BYTES"),
    ("id.rs", "TAIL_BITS"),
    ("id.rs", "BITS"),
    ("id.rs", "MASK"),
    ("by_id.rs", "SPREAD"),
    ("quota.rs", "DAY"),
    ("trace.rs", "SAMPLED"),
    ("trace.rs", "RANDOM"),
    ("trace.rs", "BYTES"),
    ("trace.rs", "ALL"),
    ("trace.rs", "ACCEPT"),
    ("trace.rs", "COMMIT"),
    ("trace.rs", "WAIT"),
    ("trace.rs", "FORWARD"),
    ("trace.rs", "SPANS"),
    ("wire/codec.rs", "ID_BYTES"),
    ("wire/codec.rs", "DIGEST_BYTES"),
    ("wire/mod.rs", "VERSION"),
];

#[test]
fn the_bounds_of_the_core_stand_in_one_file() {
    let source = "crates/relay-core/src/";
    let mut wrong = Vec::new();
    let mut found = Vec::new();
    for file in files(source, "rs") {
        let shown = file.shown();
        let path = &shown[source.len()..];
        if path == "limits.rs" || path.ends_with("_tests.rs") {
            continue;
        }
        for (number, line) in code_lines(&file) {
            let Some(name) = number_of(line) else { continue };
            if NO_BOUNDS.contains(&(path, name)) {
                found.push((path.to_owned(), name.to_owned()));
            } else {
                wrong.push(format!("{shown}:{number}: {name} belongs into limits.rs, or is no bound: NO_BOUNDS"));
            }
        }
    }
    let is_gone = |(path, name): &&(&str, &str)| !found.iter().any(|(of, known)| of == path && known == name);
    wrong.extend(NO_BOUNDS.iter().filter(is_gone).map(|(path, name)| format!("{path} has no {name}: strike it off")));
    report(&wrong);
}

/// The name of the number, or span of time, that a line gives one.
fn number_of(line: &str) -> Option<&str> {
    const NUMBERS: &[&str] = &["u8", "u16", "u32", "u64", "u128", "usize", "i32", "i64", "f32", "f64", "Duration"];
    let (before, behind) = line.split_once("const ")?;
    let is_declared = before.trim().is_empty() || before.trim().starts_with("pub");
    let (name, kind) = behind.split_once(": ")?;
    let kind = kind.trim_start_matches('[').split([' ', ';', '=']).next()?;
    (is_declared && NUMBERS.contains(&kind)).then_some(name)
}
