//! The rules of the house that no compiler checks: which crate may import which, what must not be in a file, what a
//! document must keep true. Every rule reports all its offenders at once.

mod bounds;
mod circles;
mod manifests;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Lines of a source file that are not tests.
const FILE_LINES_MAX: usize = 800;
/// Files that are longer, with their length at the time: they may only shrink.
const LONGER: &[(&str, usize)] = &[];
/// Lines of ARCHITECTURE.md: a map that nobody finishes reading is none.
const ARCHITECTURE_LINES_MAX: usize = 250;

/// For each crate, those of ours it may import, in tests too. Only tests of `relay-store` are free: the simulation is
/// there, which puts machines and a store together.
const ARROWS: &[(&str, &[&str])] = &[
    ("relay-core", &[]),
    ("relay-dashboard", &["relay-core"]),
    ("relay-net", &[]),
    ("relay-providers", &["relay-core"]),
    ("relay-store", &["relay-core"]),
    ("relay-server", &["relay-core", "relay-dashboard", "relay-net", "relay-providers", "relay-store"]),
    ("relay-client", &["relay-core", "relay-net", "relay-providers"]),
    ("crm-relay", &["relay-core", "relay-net", "relay-providers", "relay-store", "relay-server", "relay-client"]),
];

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = text(&package, "name");
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name}: another crate needs an ADR and a row in ARROWS"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("a list") {
            let (to, kind) = (text(dependency, "name"), dependency["kind"].as_str().unwrap_or("normal"));
            let ours = ARROWS.iter().any(|(known, _)| *known == to);
            let is_free = to == name || (name == "relay-store" && kind == "dev");
            if ours && !allowed.contains(&to) && !is_free {
                wrong.push(format!("{name} must not import {to} ({kind})"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn one_crypto_library_is_built() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--offline", "--edges", "normal,build,dev", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("aws-lc-rs v"), "the tree has crates");
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let wrong: Vec<String> = ["ring", "openssl", "openssl-sys", "native-tls"]
        .into_iter()
        .filter(|name| names.contains(name))
        .map(|name| format!("{name} is built; see: cargo tree --invert {name}"))
        .collect();
    report(&wrong);
}

#[test]
fn the_core_is_free_of_io_clocks_and_chance() {
    // Whole words of code; comments may speak of them.
    const BANNED: &[&str] = &[
        "tokio",
        "std::net",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "async fn",
        "HashMap",
        "HashSet",
        "thread_rng",
        "rand::rng",
        "OsRng",
        "SysRng",
        "getrandom",
    ];
    // A table that nobody can go through shows no order.
    const HASHES: (&str, &str) = ("crates/relay-core/src/by_id.rs", "HashMap");
    // Which bug a test plants is said from outside; no product is built with that.
    const CANARY: (&str, &str) = ("crates/relay-core/src/canary.rs", "std::env");
    let mut wrong = Vec::new();
    for file in files("crates/relay-core/src", "rs") {
        for (number, line) in code_lines(&file) {
            let is_meant = |banned: &str| [HASHES, CANARY].contains(&(file.shown().as_str(), banned));
            for banned in BANNED.iter().filter(|banned| has_word(line, banned) && !is_meant(banned)) {
                wrong.push(format!("{}:{number}: {banned}", file.shown()));
            }
        }
    }
    report(&wrong);
}

/// Whether to ask again is decided by what an error answers, so that a new one is met everywhere; only what people hear of it goes by its name.
#[test]
fn the_machines_of_the_core_know_no_error_of_a_store_by_name() {
    let mut wrong = Vec::new();
    for file in ["hub", "jobs"].into_iter().flat_map(|room| files(&format!("crates/relay-core/src/{room}/"), "rs")) {
        if file.shown().ends_with("/hub/output.rs") {
            continue;
        }
        for (number, line) in code_lines(&file) {
            let is_named = |kind: &str| {
                line.split(kind).skip(1).any(|behind| behind.starts_with(|first: char| first.is_ascii_uppercase()))
            };
            if is_named("StoreError::") || is_named("AppendError::") {
                wrong.push(format!("{}:{number}: ask it: fault(), retry(), wants_less(), record()", file.shown()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn providers_neither_read_clocks_nor_do_io() {
    const BANNED: &[&str] = &["tokio", "std::net", "std::fs", "std::env", "SystemTime", "Instant"];
    let mut wrong = Vec::new();
    for file in files("crates/relay-providers/src", "rs") {
        for (number, line) in code_lines(&file) {
            for banned in BANNED.iter().filter(|banned| has_word(line, banned)) {
                wrong.push(format!("{}:{number}: {banned}", file.shown()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn no_file_outgrows_its_reader() {
    let mut wrong = Vec::new();
    for file in sources() {
        let lines = lines_without_tests(&file.text);
        let shown = file.shown();
        match LONGER.iter().find(|(name, _)| *name == shown) {
            Some((_, max)) if lines > *max => {
                wrong.push(format!("{shown}: {lines} lines; it may only shrink from {max}"));
            }
            Some((_, _)) if lines <= FILE_LINES_MAX => {
                wrong.push(format!("{shown}: {lines} lines; strike it off LONGER"));
            }
            None if lines > FILE_LINES_MAX => {
                wrong.push(format!("{shown}: {lines} lines without tests, at most {FILE_LINES_MAX}"));
            }
            Some(_) | None => {}
        }
    }
    report(&wrong);
}

#[test]
fn files_are_named_after_what_is_in_them() {
    const BANNED: &[&str] = &["utils", "util", "common", "manager", "helper", "helpers", "misc"];
    let mut wrong = Vec::new();
    for file in sources() {
        for part in Path::new(&file.path).iter().filter_map(|part| part.to_str()) {
            let stem = part.trim_end_matches(".rs");
            if stem.split('_').any(|word| BANNED.contains(&word)) {
                wrong.push(format!("{}: {stem} says nothing about what is in it", file.shown()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    // Put together here, so that this file does not find itself.
    let banned = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["TO", "DO"]].map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            for word in banned.iter().filter(|word| has_word(line, word)) {
                wrong.push(format!("{}:{}: {word}", file.shown(), number + 1));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_lint_that_is_silenced_says_why() {
    let mut wrong = Vec::new();
    for file in sources() {
        for kind in ["allow", "expect"] {
            for start in [format!("#[{kind}("), format!("#![{kind}(")] {
                for (at, _) in file.text.match_indices(&start) {
                    let attribute = &file.text[at..];
                    let end = attribute.find(")]").unwrap_or(attribute.len());
                    let line = file.text[..at].lines().count().max(1);
                    let is_quoted = file.text[..at].ends_with('"') || file.text[..at].ends_with('`');
                    if !attribute[..end].contains("reason") && !is_quoted {
                        wrong.push(format!("{}:{line}: {start}..)] without a reason", file.shown()));
                    }
                }
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_promise_has_a_test_and_every_citation_a_promise() {
    let contract = read("docs/internals/contract.md");
    let promised: BTreeSet<String> =
        contract.lines().filter_map(|line| number_at(line.strip_prefix("- **")?)).collect();
    assert!(promised.len() > 30, "docs/internals/contract.md no longer lists its promises as `- **I1 ...`");
    let mut cited: BTreeMap<String, String> = BTreeMap::new();
    for file in sources().into_iter().filter(|file| !file.shown().contains("/tests/tidy/")) {
        for number in citations(test_text(&file)) {
            cited.entry(number).or_insert_with(|| file.shown());
        }
    }
    let unknown = cited.iter().filter(|(number, _)| !promised.contains(*number));
    let mut wrong: Vec<String> =
        unknown.map(|(number, file)| format!("{file} cites {number}, which is no promise")).collect();
    wrong.extend(
        promised.iter().filter(|number| !cited.contains_key(*number)).map(|number| format!("no test cites {number}")),
    );
    report(&wrong);
}

#[test]
fn every_named_log_line_is_explained() {
    let known = read("docs/operating/monitor.md") + &read("docs/operating/troubleshoot.md");
    let mut wrong = BTreeSet::new();
    for file in sources().into_iter().filter(|file| !file.shown().contains("/tests/tidy/")) {
        for (at, start) in file.text.match_indices("event = \"") {
            let name = file.text[at + start.len()..].split('"').next().unwrap_or_default();
            // A variable of that name holds anything.
            let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if is_name && !name.is_empty() && !known.contains(&format!("`{name}`")) {
                wrong.insert(format!("{}: event={name} is in neither monitor.md nor troubleshoot.md", file.shown()));
            }
        }
    }
    report(&wrong.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_document_has_one_title_and_links_that_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in documents() {
        let prose = without_code_blocks(&file.text);
        let titles = prose.lines().filter(|line| line.starts_with("# ")).count();
        if titles != 1 {
            wrong.push(format!("{}: {titles} titles, wanted one", file.shown()));
        }
        let folder = root().join(&file.path).parent().expect("a file is in a folder").to_path_buf();
        for link in links(&prose) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { root().join(&file.path) } else { folder.join(path) };
            if !target.exists() {
                wrong.push(format!("{}: {link} leads nowhere", file.shown()));
            } else if let Some(anchor) =
                anchor.filter(|_| target.extension().is_some_and(|extension| extension == "md"))
            {
                let text = fs::read_to_string(&target).expect("a document can be read");
                if !without_code_blocks(&text).lines().any(|line| line.starts_with('#') && slug(line) == anchor) {
                    wrong.push(format!("{}: {link} names no heading", file.shown()));
                }
            }
        }
    }
    report(&wrong);
}

#[test]
fn documents_name_only_make_targets_that_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .filter(|target| !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        .collect();
    let mut wrong = Vec::new();
    for file in documents() {
        for (at, _) in file.text.match_indices("make ") {
            let quoted = file.text[..at].ends_with(['`', '\n']);
            let target: String =
                file.text[at + "make ".len()..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if quoted && !target.is_empty() && !targets.contains(target.as_str()) {
                wrong.push(format!("{}: there is no `make {target}`", file.shown()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_map_is_short_and_names_symbols_that_exist() {
    let map = read("ARCHITECTURE.md");
    let mut wrong = Vec::new();
    let lines = map.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        wrong.push(format!("ARCHITECTURE.md: {lines} lines, at most {ARCHITECTURE_LINES_MAX}"));
    }
    let code: String = sources().into_iter().map(|file| file.text).collect();
    for quoted in map.split('`').skip(1).step_by(2) {
        let is_file = quoted.contains('/') && !quoted.contains(['*', '{', ' ']) && !quoted.starts_with('/');
        let is_there = |folder: &str| root().join(folder).join(quoted).exists();
        let in_crates = ARROWS.iter().any(|(name, _)| is_there(&format!("crates/{name}/src")));
        if is_file && !is_there("") && !is_there("crates") && !in_crates {
            wrong.push(format!("ARCHITECTURE.md: there is no {quoted}"));
        }
        let last = quoted.rsplit("::").next().unwrap_or(quoted).trim_end_matches("()");
        let is_symbol =
            !is_file && !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_code = quoted.contains("::") || quoted.ends_with("()");
        if is_symbol && is_code && !has_word(&code, last) {
            wrong.push(format!("ARCHITECTURE.md: the code has no {quoted}"));
        }
    }
    report(&wrong);
}

#[test]
fn the_example_environment_has_every_setting_with_its_default() {
    let reference = read("docs/reference/settings.md");
    let mut wrong = Vec::new();
    let mut known = BTreeMap::new();
    for row in reference.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        // What `dev` has instead stands behind it.
        let default = cells[3].split('`').next().unwrap_or_default();
        known.insert(cells[1].to_owned(), default.to_owned());
    }
    assert!(known.len() > 30, "docs/reference/settings.md no longer lists the settings in a table");
    let example = read(".env.example");
    let given: BTreeMap<&str, &str> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#').unwrap_or(line).split_once('='))
        .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        .collect();
    for (name, default) in &known {
        match given.get(name.as_str()) {
            None => wrong.push(format!(".env.example lacks {name}")),
            Some(value) if !default.is_empty() && value != default => {
                wrong.push(format!(".env.example: {name}={value}, but the default is {default}"));
            }
            Some(_) => {}
        }
    }
    let unknown = given.keys().filter(|name| !known.contains_key(**name));
    wrong.extend(unknown.map(|name| format!(".env.example: there is no setting {name}")));
    report(&wrong);
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<String> = files("docs/adr", "md").into_iter().map(|file| file.name()).collect();
    names.sort();
    let wrong: Vec<String> = names
        .iter()
        .zip(1..)
        .filter(|(name, number)| !name.starts_with(&format!("{number:04}-")))
        .map(|(name, number)| format!("docs/adr/{name}: {number:04} comes here"))
        .collect();
    assert!(names.len() >= 6, "decisions went missing: {names:?}");
    report(&wrong);
}

#[test]
fn nothing_refers_to_one_machine() {
    // Put together here, so that this file does not find itself.
    let banned = [
        ["/wo", "rk/"],
        ["sha", "red/"],
        ["/tmp/", "wt"],
        ["index.", "crates.io"],
        ["static.", "crates.io"],
        ["pypi", ".org"],
        ["npm", "js.org"],
    ];
    let banned = banned.map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for file in tracked() {
        if ["Cargo.lock", "package-lock.json", "deny.toml"].contains(&file.name().as_str()) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for word in banned.iter().filter(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}: {word}", file.shown(), number + 1));
            }
        }
    }
    report(&wrong);
}

/// A text file of the repository.
struct File {
    /// From the repository's root.
    path: PathBuf,
    text: String,
}

impl File {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The workspace's packages. Without dependencies, so that nothing is resolved or fetched.
fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("a text")
}

/// Every Rust file of the crates, tests and benches included, and of the fuzz targets.
fn sources() -> Vec<File> {
    ["crates", "fuzz/src", "fuzz/targets"].into_iter().flat_map(|folder| files(folder, "rs")).collect()
}

/// Every document.
fn documents() -> Vec<File> {
    let mut found = files("docs", "md");
    found.extend(
        in_folder(&root())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "md"))
            .filter_map(|path| load(&path)),
    );
    found
}

/// Everything a maintainer reads: sources, documents, scripts, manifests.
fn tracked() -> Vec<File> {
    let mut found = sources();
    found.extend(documents());
    found.extend(["http", "json"].into_iter().flat_map(|extension| files("fixtures", extension)));
    found.extend(in_folder(&root().join("crates/crm-relay/tests/vendors")).into_iter().filter_map(|path| load(&path)));
    let below = |folder: &str| in_folders(&root().join(folder));
    found.extend(["contrib", ".github"].into_iter().flat_map(below).filter_map(|path| load(&path)));
    for folder in [".", "scripts", ".ci"] {
        let paths = in_folder(&root().join(folder)).into_iter();
        // In a linked worktree `.git` is a file that names this machine's paths.
        found.extend(
            paths.filter(|path| path.file_name().is_some_and(|name| name != ".git")).filter_map(|path| load(&path)),
        );
    }
    for (name, _) in ARROWS {
        found.extend(load(&root().join("crates").join(name).join("Cargo.toml")));
    }
    found
}

fn files(folder: &str, extension: &str) -> Vec<File> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.extend(load(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// All files below a folder.
fn in_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { in_folders(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

fn load(path: &Path) -> Option<File> {
    let text = fs::read_to_string(path).ok()?;
    let path = path.canonicalize().ok()?.strip_prefix(root()).ok()?.to_path_buf();
    Some(File { path, text })
}

/// Lines before the file's own test module.
fn lines_without_tests(text: &str) -> usize {
    tests_at(text).map_or(text, |at| &text[..at]).lines().count()
}

/// Where the file's own test module begins; `mod tests;` leads to another file and is none.
fn tests_at(text: &str) -> Option<usize> {
    let starts = text.match_indices("\n#[cfg(test)]\nmod ").map(|(at, _)| at + 1);
    starts.into_iter().find(|at| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{')))
}

/// Whether all of a file is tests.
fn is_test(file: &File) -> bool {
    let path = file.shown();
    path.ends_with("/tests.rs") || ["/tests/", "/benches/", "/conformance"].iter().any(|part| path.contains(part))
}

/// What of a file is tests.
fn test_text(file: &File) -> &str {
    if is_test(file) { &file.text } else { tests_at(&file.text).map_or("", |at| &file.text[at..]) }
}

/// Code lines with their numbers: no comments, no tests.
fn code_lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines = if is_test(file) { 0 } else { lines_without_tests(&file.text) };
    file.text.lines().take(lines).enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or(line)))
}

/// `I7` or `S13` citations, as whole words.
fn citations(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| number_at(word).as_deref() == Some(*word)).map(str::to_owned).collect()
}

/// The promise's number that `text` starts with.
fn number_at(text: &str) -> Option<String> {
    let digits: String = text.strip_prefix(['I', 'S'])?.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty() && digits.len() <= 2).then(|| format!("{}{digits}", &text[..1]))
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !(before.is_some_and(is_part) || after.is_some_and(is_part) && word.ends_with(is_part))
    })
}

fn without_code_blocks(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// Targets of links inside the repository.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchor that a forge makes of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
