//! What sealing costs: the same ingest into a clear store and into one with a key, in turns.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use crate::{Settings, load, report::Report};

/// Enough for the writer never to wait.
const SOCKETS: usize = 64;

/// Row `ingest_64_sealed`, against the clear one.
pub(crate) async fn measure(settings: &Settings, report: &mut Report) {
    let (mut rates, mut ratios) = (vec![], vec![]);
    for _ in 0..settings.rounds {
        let span = Duration::from_secs(settings.seconds);
        let dir = tempfile::tempdir().expect("a directory");
        let keys = dir.path().join("keys");
        fs::write(&keys, "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("is written");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o400)).expect("is its owner's");
        let keys = keys.display().to_string();
        let more = [("ENCRYPTION_KEY_FILE", keys.as_str())];
        let [clear, sealed] = load::without_and_with(&more, dir.path(), SOCKETS, span).await;
        rates.push(sealed);
        ratios.push(sealed / clear);
    }
    report.add("ingest_64_sealed", &rates, "events/s", Some(&ratios));
}
