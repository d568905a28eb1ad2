//! What the manifests name is used: a dependency that nothing names is built, audited and updated for nothing.

use std::collections::BTreeSet;

use crate::{ARROWS, File, code_lines, files, has_word, read, report};

/// One line of a manifest that names a dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    /// Of `[dev-dependencies]`.
    dev: bool,
    name: String,
}

impl Named {
    /// As code names it.
    fn in_code(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The dependencies that a manifest names.
fn named(manifest: &str) -> BTreeSet<Named> {
    let mut found = BTreeSet::new();
    let mut section = String::new();
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut section);
        } else if section.ends_with("dependencies") && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default().to_owned();
            found.insert(Named { dev: section.ends_with("dev-dependencies"), name });
        }
    }
    found
}

/// The code of a product, without its tests and comments.
fn product(folder: &str) -> String {
    lines(&files(folder, "rs"), |file| code_lines(file).map(|(_, line)| line.to_owned()).collect())
}

/// All code, tests included.
fn all(folder: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or(line).to_owned();
    lines(&files(folder, "rs"), |file| file.text.lines().map(code).collect())
}

/// The fuzz targets are part of the test that replays their corpus.
fn fuzz_of(name: &str) -> String {
    if name == "crm-relay" { all("fuzz/targets") + &all("fuzz/src") } else { String::new() }
}

fn lines(files: &[File], of: impl Fn(&File) -> Vec<String>) -> String {
    files.iter().flat_map(of).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_dependency_is_used_where_it_is_named() {
    let mut wrong = Vec::new();
    for (name, _) in ARROWS {
        let (code, tests) = (product(&format!("crates/{name}/src")), all(&format!("crates/{name}")) + &fuzz_of(name));
        let named = named(&read(&format!("crates/{name}/Cargo.toml")));
        assert!(!named.is_empty(), "{name} has dependencies");
        for dependency in named.iter().filter(|dependency| dependency.name != *name) {
            let (in_code, in_tests) = (has_word(&code, &dependency.in_code()), has_word(&tests, &dependency.in_code()));
            let shown = &dependency.name;
            match (dependency.dev, in_code, in_tests) {
                (_, false, false) => wrong.push(format!("{name}: nothing uses {shown}")),
                (false, false, true) => wrong.push(format!("{name}: {shown} is used by tests alone: dev-dependencies")),
                _ => {}
            }
        }
    }
    let fuzz = all("fuzz/targets") + &all("fuzz/src");
    for dependency in named(&read("fuzz/Cargo.toml")) {
        if !has_word(&fuzz, &dependency.in_code()) {
            wrong.push(format!("fuzz: nothing uses {}", dependency.name));
        }
    }
    report(&wrong);
}

#[test]
fn the_workspace_names_no_dependency_that_no_crate_has() {
    let of_crates: BTreeSet<String> = ARROWS
        .iter()
        .flat_map(|(name, _)| named(&read(&format!("crates/{name}/Cargo.toml"))))
        .map(|named| named.name)
        .collect();
    let workspace = named(&read("Cargo.toml"));
    assert!(workspace.len() > 30, "Cargo.toml no longer lists [workspace.dependencies]");
    let unused = workspace.into_iter().filter(|named| !of_crates.contains(&named.name));
    report(&unused.map(|named| format!("no crate has {}", named.name)).collect::<Vec<_>>());
}

#[test]
fn dependencies_are_read_as_manifests_have_them() {
    let manifest = "[dependencies]\nbytes.workspace = true\nrand = \"1\"\n# old = \"1\"\n[dev-dependencies]\n\
                    serde-x = { path = \".\" }\n[target.'cfg(unix)'.dependencies]\nnix = \"1\"\n[features]\nx = []\n";
    let named: Vec<_> = named(manifest).into_iter().map(|named| (named.dev, named.in_code())).collect();
    let expected = [(false, "bytes"), (false, "nix"), (false, "rand"), (true, "serde_x")];
    assert_eq!(named, expected.map(|(dev, name)| (dev, name.to_owned())));
}
