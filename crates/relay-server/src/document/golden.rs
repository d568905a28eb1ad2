//! Documents as version 1 wrote them, with every field that they may have: `fixtures/documents/v1`.
//!
//! **Invariant:** each still reads, and is written again byte for byte. A field that comes later is left out while it has its
//! default, so that these files never change.

use std::{collections::BTreeSet, fs, path::PathBuf};

use relay_store::seam::DocumentKind;
use serde::{Serialize, de::DeserializeOwned};

use super::{AlertMemory, Destination, Key, Route, SharedConfiguration, SharedSecret, Source, Token, parse, render};

/// Reads that document and writes it again.
pub(crate) fn holds<T: DeserializeOwned + Serialize>(name: &str) {
    let written = text(name);
    let read: T = parse(&written).unwrap_or_else(|why| panic!("{name}: {why:?}"));
    assert_eq!(render(&read), written, "{name}");
}

/// What that document says.
pub(crate) fn text(name: &str) -> String {
    let file = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    file.trim_end().to_owned()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/documents/v1")
}

/// Documents of that kind. Whoever adds a kind says here where it is held.
const fn of(kind: DocumentKind) -> &'static [&'static str] {
    match kind {
        DocumentKind::Source => &["source", "source_marks"],
        DocumentKind::Route => &["route"],
        DocumentKind::Destination => &["destination"],
        DocumentKind::Key => &["key"],
        DocumentKind::Token => &["token"],
        DocumentKind::Shared => &["shared_configuration", "shared_secret"],
        // The second is `relay_name`'s.
        DocumentKind::Alert => &["alert", "relay"],
        // These are `people::document`'s.
        DocumentKind::User => &["user"],
        DocumentKind::Session => &["session", "link"],
        // `fetch::shelf`'s.
        DocumentKind::FetchedKey => &["fetched_key"],
        // The store's own, held by its golden files.
        DocumentKind::Migration | DocumentKind::Cipher => &[],
    }
}

#[test]
fn a_document_of_version_1_is_read_and_written_byte_for_byte() {
    holds::<Source>("source");
    holds::<Source>("source_marks");
    holds::<Route>("route");
    holds::<Destination>("destination");
    holds::<Key>("key");
    holds::<Token>("token");
    holds::<SharedConfiguration>("shared_configuration");
    holds::<SharedSecret>("shared_secret");
    holds::<AlertMemory>("alert");
}

#[test]
fn each_kind_of_document_has_its_file() {
    let wanted: BTreeSet<String> =
        DocumentKind::ALL.iter().flat_map(|kind| of(*kind)).map(|name| format!("{name}.json")).collect();
    let found = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), wanted);
}
