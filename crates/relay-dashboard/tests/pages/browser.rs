//! Pages in a real browser: Chromium, driven by `tests/look/look.mjs`, which says what it looks for.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use relay_dashboard::asset::Asset;

use crate::{
    escaping::PAYLOADS,
    sample::{Words, screens},
};

/// Every screen in every state, at both widths and in both themes: what axe-core knows to keep people out is not there.
#[test]
fn nothing_keeps_anybody_from_reading_a_screen() {
    let folder = Folder::new("screens");
    for (name, html) in screens(&Words::usual()) {
        folder.write(name, &html);
    }
    for (name, html) in screens(&Words::long()) {
        folder.write(&format!("{name}-long"), &html);
    }
    folder.look();
}

/// Main screens look as the documents show them; with `BLESS` their pictures are taken anew.
#[test]
fn pictures_of_the_documents_show_how_screens_look() {
    let folder = Folder::new("pictured");
    for (name, html) in screens(&Words::usual()) {
        folder.write(name, &html);
    }
    folder.compare_pictures();
}

/// S26: 40 payloads in all places at once: no dialog opens, no policy is broken, nothing is asked of anybody else.
#[test]
fn no_payload_does_anything_in_a_browser() {
    let folder = Folder::new("payloads");
    for (number, payload) in PAYLOADS.into_iter().enumerate() {
        let words = Words {
            body: payload.into(),
            header_name: payload.into(),
            header_value: payload.into(),
            path: payload.into(),
            query: payload.into(),
            name: (number % 2 == 0).then(|| payload.into()),
            error: payload.into(),
            answer: payload.into(),
            reason: payload.into(),
            agent: payload.into(),
            claimed: payload.into(),
            find: Some(payload.into()),
            lines: 2,
        };
        let told = [
            "event",
            "events-open",
            "events-fault",
            "overview-trouble",
            "deliveries",
            "audit",
            "me",
            "problem",
            "source",
            "source-declared",
            "sources",
            "destination",
            "alerts",
            "dead",
            "why",
        ];
        for (name, html) in screens(&words).into_iter().filter(|(name, _)| told.contains(name)) {
            folder.write(&format!("payload-{number:02}-{name}"), &html);
        }
    }
    folder.look();
}

/// Screens as files, with what they load. It stays, with its pictures, for whoever wants to look.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("it can be emptied");
        }
        fs::create_dir_all(folder.join("assets")).expect("it can be made");
        for asset in Asset::all() {
            fs::write(folder.join("assets").join(asset.name()), asset.bytes()).expect("it can be written");
        }
        Self(folder)
    }

    fn write(&self, name: &str, html: &str) {
        fs::write(self.0.join(format!("{name}.html")), html).expect("it can be written");
    }

    /// Of the screens that the documents show.
    fn compare_pictures(&self) {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dashboard");
        let told = self.run(Some(&to));
        // Past what the harness keeps to itself: where the browser is another, that is all there is to see.
        io::stderr().write_all(told.as_bytes()).expect("it can be told");
    }

    #[expect(clippy::print_stderr, reason = "figures of a test, for whoever asks for them")]
    fn look(&self) {
        let told = self.run(None);
        eprintln!("{}", told.trim());
    }

    fn run(&self, pictures: Option<&Path>) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/look/look.mjs");
        // Beside what cargo builds.
        let libraries = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vendors").join("browser");
        assert!(libraries.join("node_modules").exists(), "{} is not there: make setup", libraries.display());
        let looked = Command::new("node")
            .arg(script)
            .arg(&self.0)
            .env("BROWSER_LIBRARIES", libraries)
            .envs(pictures.map(|to| ("PICTURES", to)))
            .output()
            .expect("node runs: make setup");
        let (told, said) = (String::from_utf8_lossy(&looked.stdout), String::from_utf8_lossy(&looked.stderr));
        assert!(looked.status.success(), "{told}\n{said}");
        told.into_owned()
    }
}
