//! The committed corpus of the fuzz targets, run through each target's own function: what a fuzzer once found stays found,
//! without a fuzzer. `BLESS=1` writes the seeds anew that have gone stale.

#[path = "../../../fuzz/src/lib.rs"]
pub mod fuzz;

use std::{
    fs,
    path::{Path, PathBuf},
};

use relay_providers::providers;

/// Largest file of the corpus: it is read by people and cloned by everybody.
const FILE_BYTES_MAX: usize = 8 * 1024;

#[test]
fn every_file_of_the_corpus_runs_through_its_target() {
    for (target, run) in fuzz::TARGETS {
        let files = files(target);
        assert!(!files.is_empty(), "fuzz/corpus/{target} is empty");
        for (path, bytes) in files {
            assert!(bytes.len() <= FILE_BYTES_MAX, "{} has {} bytes", path.display(), bytes.len());
            // The name is in the captured output if it panics.
            eprintln!("{}", path.display());
            run(&bytes);
        }
    }
}

#[test]
fn every_target_is_a_program_and_has_a_corpus() {
    let listed: Vec<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("targets"), listed);
    assert_eq!(names("corpus"), listed);
}

/// A fuzzer that starts from refused requests alone never gets past a signature.
#[test]
fn seeds_are_worth_starting_from() {
    for provider in providers() {
        let name = provider.name;
        let signed = fuzz::request::sample(fuzz::request::acting(name.as_bytes()).expect("a provider of the table"));
        holds("verify", name, fuzz::verify::is_genuine, || fuzz::request::written(name, &signed));
        let body = [name.as_bytes(), b"\n", &signed.body].concat();
        holds("signed", name, |found| found.starts_with(format!("{name}\n").as_bytes()), || body.clone());
    }
    for (name, bytes) in fuzz::record::samples() {
        holds("record", name, fuzz::record::is_record, || bytes.clone());
    }
    for line in include_str!("../../../fixtures/wire/v1/messages.hex").lines() {
        let (name, hex) = line.split_once(' ').expect("a name and hex digits");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        holds("wire", name, fuzz::wire::is_message, || (0..hex.len()).step_by(2).map(byte).collect());
    }
}

/// Looks at a seed, or writes it.
fn holds(target: &str, name: &str, is_good: impl Fn(&[u8]) -> bool, make: impl Fn() -> Vec<u8>) {
    let path = root().join("corpus").join(target).join(name);
    let found = fs::read(&path).unwrap_or_default();
    if !is_good(&found) && std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(&path, make()).expect("a seed can be written");
    }
    let found = fs::read(&path).unwrap_or_default();
    assert!(is_good(&found), "fuzz/corpus/{target}/{name} is stale: BLESS=1 cargo test -p crm-relay --test corpus");
}

fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(root().join("corpus").join(target)).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
