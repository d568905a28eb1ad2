//! What is worth a look although the server does its work: why something may not come in, or nobody fetch it. Each ends with
//! what to type next.
//!
//! No reason to be degraded: strangers and clients can cause all of these.

use std::fmt;

use relay_core::{hub::UnroutedView, limits, name::Name, time::Wall};

use crate::{
    clock::rough,
    directory::Directory,
    guesses::{Entrance, SESSIONS_FULL, Wrong},
    refusals::{Refusals, Tally, came_from},
};

/// One thing worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A source has refused webhooks within the last hour.
    Refused { source: Name, checks: Vec<(&'static str, Tally)>, now: Wall },
    /// Clients want to serve what no route leads to.
    Unrouted(UnroutedView),
    /// Tokens were refused within the last hour.
    Tokens { entrance: Entrance, tally: Tally, now: Wall },
    /// Clients were refused for having too many sessions of one token.
    Sessions { tally: Tally, now: Wall },
    /// There are more of a kind.
    More { what: &'static str, count: usize, see: &'static str },
}

/// All that is worth a look now, the likeliest causes first, a limited number of each kind.
pub(crate) fn hints(refusals: &Refusals, directory: &Directory, unrouted: &[UnroutedView], now: Wall) -> Vec<Hint> {
    let mut hints: Vec<Hint> = unrouted.iter().cloned().map(Hint::Unrouted).collect();
    hints.extend(Entrance::ALL.into_iter().flat_map(|entrance| of_entrance(refusals, entrance, now)));
    let mut refused: Vec<Hint> = directory
        .sources
        .values()
        .filter_map(|entry| {
            let mut checks = refusals.tallies(entry.document.name.as_str(), now);
            // What is older was another source's of that name.
            checks.retain(|(_, tally)| tally.last >= entry.document.created_at);
            checks.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.count));
            (!checks.is_empty()).then(|| Hint::Refused { source: entry.document.name.clone(), checks, now })
        })
        .collect();
    let more = refused.len().saturating_sub(limits::HINTS_SHOWN);
    refused.truncate(limits::HINTS_SHOWN);
    hints.extend(refused);
    let told = Hint::More { what: "sources that refuse webhooks", count: more, see: "crm-relay source show NAME" };
    hints.extend((more > 0).then_some(told));
    hints
}

fn of_entrance(refusals: &Refusals, entrance: Entrance, now: Wall) -> impl Iterator<Item = Hint> {
    let tallies = refusals.tallies(entrance.about(), now).into_iter();
    tallies.filter_map(move |(kind, tally)| match kind {
        // Whoever shows none at all is a scanner and no client.
        kind if kind == Wrong::Missing.as_str() => None,
        SESSIONS_FULL => Some(Hint::Sessions { tally, now }),
        _ => Some(Hint::Tokens { entrance, tally, now }),
    })
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { source, checks, now } => {
                write!(f, "source {source} refused webhooks: ")?;
                for (at, (check, tally)) in checks.iter().enumerate() {
                    write!(f, "{}{} {check}", if at == 0 { "" } else { ", " }, tally.count)?;
                }
                let last = checks.iter().map(|(_, tally)| tally.last).max().unwrap_or(*now);
                write!(f, ", the latest {} ago; which and why: crm-relay source show {source}", rough(now.since(last)))
            }
            Self::Unrouted(UnroutedView { destination, clients, label, token }) => {
                let who = if *clients == 1 { "a client serves".to_owned() } else { format!("{clients} clients serve") };
                write!(
                    f,
                    "{who} destination {destination} ({label}, token {token}) and no route leads to it: serve what \
                     crm-relay route list shows, or: crm-relay route create SOURCE {destination}"
                )
            }
            Self::Tokens { entrance, tally, now } => {
                let (whose, next) = match entrance {
                    Entrance::Connect => ("of clients", "crm-relay token list, crm-relay token create NAME"),
                    Entrance::Admin => ("at the admin API", "the right one is in DATA_DIR/credentials, ADMIN_TOKEN"),
                    Entrance::Health => ("at /health", "the right one is in DATA_DIR/credentials, ADMIN_TOKEN"),
                    Entrance::SignIn => {
                        ("or passwords at /login", "who tried: crm-relay audit-log --action session.refuse")
                    }
                };
                write!(f, "wrong tokens {whose}: {}; {next}", counted(tally, *now))
            }
            Self::Sessions { tally, now } => {
                let most = limits::SESSIONS_PER_TOKEN_MAX;
                let counted = counted(tally, *now);
                write!(
                    f,
                    "clients refused, for their token has {most} sessions: {counted}; crm-relay token create NAME"
                )
            }
            Self::More { what, count, see } => write!(f, "{count} more {what}: {see}"),
        }
    }
}

/// `12, the latest 3 s ago from 192.0.2.1`
fn counted(tally: &Tally, now: Wall) -> String {
    let from = came_from(&tally.origin).map(|from| format!(" from {from}")).unwrap_or_default();
    format!("{}, the latest {} ago{from}", tally.count, rough(now.since(tally.last)))
}

#[cfg(test)]
mod tests {
    use relay_net::origin::Origin;

    use super::*;

    fn at(seconds: i64) -> Wall {
        Wall::from_micros(seconds * 1_000_000)
    }

    /// I24: each says what is wrong, how often, and what to type; what nobody can act on is left out.
    #[test]
    fn each_hint_ends_with_what_to_type() {
        let refusals = Refusals::default();
        let proxy = Origin::of("10.0.0.1:443".parse().unwrap());
        let brought = proxy.brought("192.0.2.1".parse().unwrap(), None);
        (1..=3).for_each(|second| refusals.count("/connect", "wrong", at(second), brought));
        refusals.count("/connect", "missing", at(3), brought);
        refusals.count("/connect", SESSIONS_FULL, at(3), Origin::local());
        let (label, token) = ("laptop".to_owned(), "office".parse().unwrap());
        let unrouted = [UnroutedView { destination: "crm".parse().unwrap(), clients: 1, label, token }];
        let said: Vec<String> =
            hints(&refusals, &Directory::default(), &unrouted, at(10)).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "a client serves destination crm (laptop, token office) and no route leads to it: serve what crm-relay \
                 route list shows, or: crm-relay route create SOURCE crm",
                "clients refused, for their token has 256 sessions: 1, the latest 7 s ago; crm-relay token create NAME",
                "wrong tokens of clients: 3, the latest 7 s ago from 192.0.2.1 by proxy 10.0.0.1; crm-relay token list, \
                 crm-relay token create NAME",
            ]
        );
        assert_eq!(hints(&refusals, &Directory::default(), &[], at(3_700)), []);
    }

    #[test]
    fn a_refusal_names_its_source_and_its_checks() {
        let tally = |count| Tally { count, first: at(5), last: at(5), origin: Origin::local() };
        let checks = vec![("wrong_key", tally(12)), ("stale", tally(1))];
        let hint = Hint::Refused { source: "shop".parse().unwrap(), checks, now: at(8) };
        assert_eq!(
            hint.to_string(),
            "source shop refused webhooks: 12 wrong_key, 1 stale, the latest 3 s ago; which and why: crm-relay source \
             show shop"
        );
    }
}
