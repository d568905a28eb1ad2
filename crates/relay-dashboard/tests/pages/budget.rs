//! What pages may weigh, as sent: `docs/internals/dashboard.md`.

use std::{fs, path::Path};

use crate::sample::{Words, access_at_its_bound, screens};
use relay_dashboard::asset::Asset;

const ASSET_BYTES_MAX: usize = 24 * 1024;
const PAGE_BYTES_MAX: usize = 60 * 1024;
const PICTURE_BYTES_MAX: u64 = 150_000;
/// The page, its assets, the live stream, one fragment.
const REQUESTS_MAX: usize = 6;

#[test]
fn what_pages_load_is_small_and_little() {
    for asset in Asset::all() {
        assert!(asset.bytes().len() <= ASSET_BYTES_MAX, "{}: {} bytes", asset.name(), asset.bytes().len());
    }
    for (name, html) in screens(&Words::usual()) {
        assert!(html.len() <= PAGE_BYTES_MAX, "{name}: {} bytes", html.len());
        assert!(html.matches("<script ").count() <= 1, "{name} has scripts that no budget counts together");
        let loaded = html.matches(" src=\"").count() + html.matches("<link ").count();
        assert!(1 + loaded + 2 <= REQUESTS_MAX, "{name} loads {loaded}");
    }
}

/// Each key and token brings its questions.
#[test]
fn as_many_keys_and_tokens_as_are_listed_are_no_heavy_page() {
    let html = access_at_its_bound();
    assert!(html.len() <= PAGE_BYTES_MAX, "{} bytes", html.len());
}

/// Whatever a body is, its page stays within what one of that length may weigh.
#[test]
fn no_body_makes_a_page_heavy() {
    for body in ["<", "\u{202e}", "\n", "\"", "{\"a\":1}\n"] {
        let words = Words { body: body.repeat(200_000).into_bytes(), ..Words::usual() };
        for (name, html) in screens(&words).into_iter().filter(|(name, _)| name.starts_with("event")) {
            assert!(html.len() <= PAGE_BYTES_MAX, "{name}: {} bytes of {body:?}", html.len());
        }
    }
}

/// Whoever reads a document waits for its pictures: they are few and small, and each is shown.
#[test]
fn pictures_of_the_documents_are_small_and_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shown = ["README.md", "docs/operating/dashboard.md"].map(|page| fs::read_to_string(root.join(page)).unwrap());
    let taken = fs::read_dir(root.join("docs/dashboard")).expect("it can be read").map(|entry| entry.unwrap());
    let taken: Vec<_> = taken.collect();
    assert!(taken.len() >= 8, "there are {} pictures", taken.len());
    for picture in taken {
        let name = picture.file_name().into_string().unwrap();
        let bytes = picture.metadata().unwrap().len();
        assert!(bytes <= PICTURE_BYTES_MAX, "{name}: {bytes} bytes");
        assert!(shown.iter().any(|text| text.contains(&format!("dashboard/{name}"))), "{name} is shown nowhere");
    }
}

/// What is taken out of an asset for its way stands in no text of it.
#[test]
fn no_text_of_a_script_goes_over_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/script");
    let paths = fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read").path());
    let sources: Vec<String> = paths.map(|path| fs::read_to_string(path).expect("it is text")).collect();
    assert!(sources.len() > 8, "the scripts are somewhere else");
    let is_comment = |line: &&str| line.trim() == "//" || line.trim_start().starts_with("// ");
    for line in sources.iter().flat_map(|source| source.lines()).filter(|line| !is_comment(line)) {
        assert!(!line.trim_start().starts_with("//"), "a comment has a space in it: {line}");
        assert!(line.matches('`').count() % 2 == 0, "a template goes over lines: {line}");
        assert!(!line.contains(" // "), "a comment stands behind code, and would take the next line with it: {line}");
    }
}

/// R8: whatever changes by itself says as of when it is: live, or when it was looked at.
#[test]
fn every_screen_of_what_changes_says_how_old_it_is() {
    let still = ["login", "problem", "me", "wizard", "again", "source-new"];
    for (name, html) in screens(&Words::usual()) {
        let is_still = name.contains(".fragment") || still.iter().any(|still| name.starts_with(still));
        let says = html.contains(" id=\"pulse\"") || html.contains(">looked at ");
        assert!(is_still || says, "{name}");
    }
}

#[test]
fn every_screen_is_a_whole_document_with_one_title() {
    for words in [Words::usual(), Words::long()] {
        for (name, html) in screens(&words).into_iter().filter(|(name, _)| !name.contains(".fragment")) {
            assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{name}");
            assert_eq!(html.matches("<h1").count(), 1, "{name}");
        }
    }
}
