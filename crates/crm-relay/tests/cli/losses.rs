//! What is lost or may be: whoever asks is told, from then on.

use std::fs;

use crate::place::Place;

/// What `audit` tells people, and how it ends.
fn audit(place: &Place) -> (String, Option<i32>) {
    let output = place.cli(&["audit"]);
    (place.transcript(&output), output.status.code())
}

/// I5, I18: a database that was put back from a copy is refused; once that is accepted, `audit` says how much is missing.
#[test]
fn an_accepted_loss_is_no_nothing_is_missing() {
    let place = Place::new();
    let server = place.server();
    place.send();
    assert_eq!(server.terminate(), Some(0));
    let (told, code) = audit(&place);
    assert!(told.contains("nothing is missing") && code == Some(0), "{told}");
    let before = fs::read(place.path("data/store.db")).unwrap();
    let server = place.server();
    place.send();
    place.send();
    assert_eq!(server.terminate(), Some(0));
    fs::write(place.path("data/store.db"), before).unwrap();

    let accepted = place.transcript(&place.cli(&["store", "check", "--accept-loss"]));
    assert!(accepted.contains("2 events are missing, which crm-relay audit goes on to say"), "{accepted}");
    for _ in 0..2 {
        let (told, code) = audit(&place);
        assert!(!told.contains("nothing is missing") && told.contains("lost: "), "{told}");
        assert!(told.contains("accepted by store check: 2 events") && code == Some(0), "{told}");
        drop(place.server());
    }
    let report = place.json(&["audit"]);
    let gap = &report["unknown"][0];
    assert_eq!((&gap["why"], &gap["events"]), (&"accepted".into(), &2.into()), "{report}");
}

/// I18: half a ledger starts the server, which says what that means, and so does `audit`.
#[test]
fn a_ledger_that_was_cut_is_told_of() {
    let place = Place::new();
    let server = place.server();
    let mut sent = 0;
    let cut = loop {
        // Until the slot that is left is the latest one: of the other nobody knows what it named.
        place.send();
        sent += 1;
        let ledger = fs::read(place.path("data/ledger")).unwrap();
        let commit = |slot: usize| u64::from_le_bytes(ledger[slot + 24..slot + 32].try_into().unwrap());
        if commit(0) > commit(512) || sent > 50 {
            break ledger[..512].to_vec();
        }
    };
    drop(server);
    fs::write(place.path("data/ledger"), cut).unwrap();
    let server = place.server();
    place.wait_for("server.log", "listening");
    let told = place.read("server.log");
    let is_told = told.contains("ledger_doubtful");
    drop(server);
    let (told, code) = audit(&place);
    let is_said = told.contains("unknown: ") && told.contains("its last commit may be missing");
    // Between the look at the ledger and its end the server may have made one commit more: then nothing is in doubt.
    assert!(is_told == is_said && code == Some(0), "{told}");
    assert!(is_said || told.contains("nothing is missing"), "{told}");
}
