//! What of the reasons of `/health` is which condition, how bad, and whose.

use relay_core::{
    alert::{Came, Condition, Key, Kind, Scope, Severity},
    limits,
    name::Name,
    storage::StoreError,
};

use crate::health::Reason;

/// What the reasons say, one condition of each name. `shares`: several servers share the store, and what is said of its room is
/// of all of them.
pub(super) fn of(reasons: &[Reason], shares: bool) -> Vec<Condition> {
    let mut all: Vec<Condition> = Vec::new();
    for found in reasons.iter().flat_map(|reason| each(reason, shares)) {
        match all.iter_mut().find(|known| known.key == found.key) {
            None => all.push(found),
            // Several clients of a destination, several things that a store says of itself.
            Some(known) => {
                known.severity = known.severity.max(found.severity);
                if known.words.len() < limits::WORDS_BYTES_MAX {
                    known.words.push_str("; ");
                    known.words.push_str(&found.words);
                }
            }
        }
    }
    all
}

/// One, but of dead letters: what its target would not have is another matter than what did not come to it in time.
fn each(reason: &Reason, shares: bool) -> Vec<Condition> {
    let (kind, subject, severity, scope) = place(reason, shares);
    let Reason::DeadLetters { destination, dead, expired } = reason else {
        let key = Key { kind, subject: subject.cloned(), scope };
        return vec![Condition { key, severity, words: reason.to_string(), count: 0 }];
    };
    let dead_words = format!("destination {destination}: {dead} dead; crm-relay dead list, then redrive or purge");
    let expired_words = format!(
        "destination {destination}: {expired} expired, which did not arrive within their TTL; they are kept: crm-relay dead redrive --destination \
         {destination} --reason expired"
    );
    let of = |kind, severity, words, count| {
        let key = Key { kind, subject: Some(destination.clone()), scope };
        (count > 0).then_some(Condition { key, severity, words, count })
    };
    let both = [of(kind, severity, dead_words, *dead), of(Kind::Expired, Severity::Critical, expired_words, *expired)];
    both.into_iter().flatten().collect()
}

/// What kind of thing a reason tells, of what, and how bad it is.
pub(crate) fn kind(reason: &Reason) -> (Kind, Option<&Name>, Severity) {
    let (kind, subject, severity, _) = place(reason, false);
    (kind, subject, severity)
}

/// The name of what a reason says, and how bad it is.
fn place(reason: &Reason, shares: bool) -> (Kind, Option<&Name>, Severity, Scope) {
    use Scope::{Server, Store};
    use Severity::{Critical, Info, Warning};
    let of_room = if shares { Store } else { Server };
    match reason {
        Reason::NoClient { destination, .. } => (Kind::NoClient, Some(destination), Critical, Store),
        Reason::CircuitOpen { destination, .. } => (Kind::DestinationDown, Some(destination), Critical, Server),
        Reason::Stalled { destination, .. } => (Kind::Stalled, Some(destination), Critical, Server),
        Reason::HalfTtl { destination, .. } => (Kind::HalfTtl, Some(destination), Warning, Store),
        Reason::DeadLetters { destination, .. } => (Kind::DeadLetters, Some(destination), Warning, Store),
        Reason::Paused { destination, .. } => (Kind::Paused, Some(destination), Info, Store),
        Reason::Full { .. } | Reason::MemoryFull { .. } => (Kind::Disk, None, Critical, of_room),
        Reason::NearlyFull { .. } | Reason::MemoryRunsOut { .. } => (Kind::Disk, None, Warning, of_room),
        Reason::Damaged { .. } => (Kind::Store, None, Critical, Store),
        Reason::SourceBroken { source, .. } => (Kind::Source, Some(source), Critical, Store),
        Reason::OldSecretBroken { source, .. } => (Kind::Source, Some(source), Warning, Store),
        Reason::Store { commits: false, .. } | Reason::NoCommit { .. } => (Kind::Store, None, Critical, Server),
        Reason::Store { commits: true, .. } => (Kind::Store, None, Warning, Server),
        Reason::ClockMoved(_) => (Kind::Clock, None, Warning, Server),
        Reason::ClockApart(_) => (Kind::Clock, None, Critical, Server),
        Reason::OtherConfiguration { .. } => (Kind::Configuration, None, Warning, Server),
        Reason::CertificateEnds { left: Some(_), .. } => (Kind::Certificate, None, Warning, Server),
        Reason::CertificateEnds { left: None, .. } => (Kind::Certificate, None, Critical, Server),
        Reason::Backup(wanting) => {
            (Kind::Backup, None, if wanting.missed.is_some() { Critical } else { Warning }, Server)
        }
        Reason::Untold { alert, .. } => (Kind::Alert, Some(alert), Warning, Server),
    }
}

/// The store does not say how it is.
pub(super) fn unknown(error: &StoreError) -> Condition {
    of_server(Kind::Store, None, Severity::Critical, format!("the store does not say how it is: {error}"))
}

/// A source refuses most of what comes.
pub(super) fn refused(came: Came) -> Condition {
    let Came { source, refused, accepted } = came;
    let words = format!(
        "source {source}: {refused} requests refused and {accepted} accepted within {} min; crm-relay source show {source}",
        limits::REFUSED_WITHIN.as_secs() / 60
    );
    of_server(Kind::Refused, Some(source), Severity::Warning, words)
}

/// A condition of this server.
fn of_server(kind: Kind, subject: Option<Name>, severity: Severity, words: String) -> Condition {
    let key = Key { kind, subject, scope: Scope::Server };
    Condition { key, severity, words, count: 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_core::storage::Apart;

    use super::*;
    use crate::{backups::Wanting, clock::Drift};

    /// An operator is told what it is, of whom, how bad, and whether all servers that share a store say the same.
    #[test]
    fn each_reason_is_told_as_what_it_is() {
        use Scope::{Server, Store};
        use Severity::{Critical, Info, Warning};
        let crm = || -> Name { "crm".parse().unwrap() };
        let (hour, what) = (Duration::from_hours(1), String::new);
        let backup = |missed| Wanting { dir: what(), age: None, missed, trouble: None, is_known: true };
        let circuit = Reason::CircuitOpen {
            destination: crm(),
            client: what(),
            since: hour,
            waiting: 1,
            next_try: None,
            error: None,
        };
        let no_client = Reason::NoClient { destination: crm(), since: hour, waiting: 1, first_expiry: None };
        let (full, nearly) = (Reason::Full { free: None, reserve: 1 }, Reason::NearlyFull { free: 1 });
        let memory = Reason::MemoryFull { used: 1, bound: 1 };
        let runs_out = Reason::MemoryRunsOut { bytes_a_day: 1, kept: hour, bound: 1 };
        let half = Reason::HalfTtl { destination: crm(), waiting: 1, first_expiry: hour };
        let ends = |left| Reason::CertificateEnds { left, file: what(), trouble: None };
        let of_store = |commits| Reason::Store { what: what(), commits };
        let all = [
            (no_client, Kind::NoClient, Some("crm"), Critical, Store),
            (circuit, Kind::DestinationDown, Some("crm"), Critical, Server),
            (
                Reason::Stalled { destination: crm(), oldest: hour, waiting: 1 },
                Kind::Stalled,
                Some("crm"),
                Critical,
                Server,
            ),
            (half, Kind::HalfTtl, Some("crm"), Warning, Store),
            (Reason::Paused { destination: crm(), waiting: 1 }, Kind::Paused, Some("crm"), Info, Store),
            (full, Kind::Disk, None, Critical, Server),
            (nearly, Kind::Disk, None, Warning, Server),
            (memory, Kind::Disk, None, Critical, Server),
            (runs_out, Kind::Disk, None, Warning, Server),
            (Reason::Damaged { records: 1 }, Kind::Store, None, Critical, Store),
            (Reason::SourceBroken { source: crm(), what: what() }, Kind::Source, Some("crm"), Critical, Store),
            (Reason::OldSecretBroken { source: crm(), what: what() }, Kind::Source, Some("crm"), Warning, Store),
            (of_store(false), Kind::Store, None, Critical, Server),
            (of_store(true), Kind::Store, None, Warning, Server),
            (Reason::NoCommit { since: hour }, Kind::Store, None, Critical, Server),
            (Reason::ClockMoved(Drift::default()), Kind::Clock, None, Warning, Server),
            (Reason::ClockApart(Apart { by: hour, ahead: true }), Kind::Clock, None, Critical, Server),
            (Reason::OtherConfiguration { servers: Vec::new() }, Kind::Configuration, None, Warning, Server),
            (ends(Some(hour)), Kind::Certificate, None, Warning, Server),
            (ends(None), Kind::Certificate, None, Critical, Server),
            (Reason::Backup(backup(None)), Kind::Backup, None, Warning, Server),
            (Reason::Backup(backup(Some(hour))), Kind::Backup, None, Critical, Server),
            (Reason::Untold { alert: crm(), since: hour, why: what() }, Kind::Alert, Some("crm"), Warning, Server),
        ];
        for (reason, kind, subject, severity, scope) in all {
            let told = of(std::slice::from_ref(&reason), false);
            let [one] = &told[..] else { panic!("{reason:?}: {told:?}") };
            let is = (one.key.kind, one.key.subject.as_ref().map(Name::as_str), one.severity, one.key.scope);
            assert_eq!(is, (kind, subject, severity, scope), "{reason:?}");
        }
        // Room in a store that servers share is the same for all of them.
        assert_eq!(of(&[Reason::NearlyFull { free: 1 }], true)[0].key.scope, Store);
    }

    /// What did not arrive in time is the loss that an operator fears: it is critical and told by itself, beside what a target would not have.
    #[test]
    fn what_expired_is_critical_and_told_apart_from_what_is_dead() {
        let told = |dead, expired| {
            let destination = "crm".parse().unwrap();
            let conditions = of(&[Reason::DeadLetters { destination, dead, expired }], false);
            conditions.into_iter().map(|one| (one.key.kind, one.severity, one.count)).collect::<Vec<_>>()
        };
        let (dead, expired) = ((Kind::DeadLetters, Severity::Warning, 3), (Kind::Expired, Severity::Critical, 2));
        assert_eq!((told(3, 2), told(3, 0), told(0, 2)), (vec![dead, expired], vec![dead], vec![expired]));
    }
}
