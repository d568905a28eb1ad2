//! Who asks, what he may do, and from where: what the admin API judges by, and what the audit log says of a change.

use http::HeaderMap;
use relay_core::{limits, time::Wall};
use relay_net::origin::Origin;
use relay_store::seam::AuditEntry;
use serde::{Deserialize, Serialize};

/// Names the user who asks, as the asker has it: nobody checked that.
const CLAIMED_USER: &str = "relay-user";

/// Who asks, what he may do, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `cli`, `admin`, `config`, `sender` or `server`.
    pub name: &'static str,
    /// What he may do.
    pub role: Role,
    /// From where; nothing where nobody asked.
    pub via: Via,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Operator,
    /// Look, and nothing else: a command that reads the store of a server that does not run.
    Reader,
    /// Nothing at the admin API: senders only cause what is written down.
    Sender,
}

/// What a route of the admin API needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// To look.
    See,
    /// To change what becomes of deliveries: redrive, replay, cancel, purge, pause.
    Deliver,
    /// To change sources, routes, keys and tokens.
    Configure,
    /// To get at what is secret: a handed-over secret, a signature, a copy of everything.
    Reveal,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 4] = [Self::See, Self::Deliver, Self::Configure, Self::Reveal];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Deliver => "deliver",
            Self::Configure => "configure",
            Self::Reveal => "reveal",
        }
    }
}

impl Role {
    /// Whether somebody of this role may do that.
    pub const fn may(self, permission: Permission) -> bool {
        match self {
            Self::Operator => true,
            Self::Reader => matches!(permission, Permission::See),
            Self::Sender => false,
        }
    }
}

/// From where somebody asked: kept as JSON with the line of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// Whom it came from: the other end of the socket, or whom a trusted proxy brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The user who opened the admin socket, as the system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The name of what let it in; never its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Who it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_user: Option<String>,
}

/// A way in to the admin API.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// How the audit log calls who comes in there.
    pub name: &'static str,
    /// What he may do.
    pub role: Role,
    /// The name of what let him in.
    pub credential: Option<&'static str>,
}

impl Entrance {
    /// The listener, for who shows the admin token.
    pub const LISTENER: Self = Self { name: "admin", role: Role::Operator, credential: Some("ADMIN_TOKEN") };
    /// The socket: whoever may open the file may do everything.
    pub const SOCKET: Self = Self { name: "cli", role: Role::Operator, credential: None };
    /// A command that reads the store itself.
    pub const STORE: Self = Self { name: "cli", role: Role::Reader, credential: None };
}

impl Principal {
    /// Whoever may stand in the audit log.
    pub(crate) const ALL: [&str; 5] = ["cli", "admin", "config", "sender", "server"];
    /// The configuration file, and what exists out of the box.
    pub const CONFIG: Self = Self::nobody("config");
    /// The server itself: a time that was set has come.
    pub const SERVER: Self = Self::nobody("server");

    pub(crate) const fn nobody(name: &'static str) -> Self {
        let via = Via { peer: None, uid: None, credential: None, claimed_user: None };
        Self { name, role: Role::Operator, via }
    }

    /// A sender at the public listener.
    pub fn sender(origin: Origin) -> Self {
        let via = Via { peer: origin.shown(), ..Via::default() };
        Self { name: "sender", role: Role::Sender, via }
    }

    /// Somebody at an entrance of the admin API, as the request says it of him.
    pub fn at(entrance: &Entrance, origin: Origin, headers: &HeaderMap) -> Self {
        let via = Via {
            peer: origin.shown(),
            uid: origin.uid(),
            credential: entrance.credential.map(str::to_owned),
            claimed_user: headers.get(CLAIMED_USER).and_then(|value| claimed(value.as_bytes())),
        };
        Self { name: entrance.name, role: entrance.role, via }
    }

    /// A line of the audit log.
    pub(crate) fn audited(&self, at: Wall, action: &str, subject: impl Into<String>) -> AuditEntry {
        AuditEntry {
            at,
            who: self.name.into(),
            action: action.into(),
            subject: subject.into(),
            origin: self.via.written(),
        }
    }
}

impl Via {
    /// As it was written; `None` where nobody asked, or a later version knows more than this one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn written(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        serde_json::to_string(self).expect("it has string keys, strings and numbers only")
    }
}

/// Anybody may write anything there: a little of it, visible.
fn claimed(value: &[u8]) -> Option<String> {
    let begin = &value[..value.len().min(limits::CLAIMED_USER_BYTES_MAX)];
    let visible: String = String::from_utf8_lossy(begin).chars().filter(|char| !char.is_control()).collect();
    let visible = visible.trim();
    (!visible.is_empty()).then(|| visible.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_place_survives_its_line() {
        let mut headers = HeaderMap::new();
        headers.insert(CLAIMED_USER, HeaderValue::from_static("ada"));
        let origin = Origin::of("192.0.2.7:5151".parse().unwrap());
        let principal = Principal::at(&Entrance::LISTENER, origin, &headers);
        let entry = principal.audited(Wall::MIN, "token.create", "crm");
        assert_eq!(Via::read(&entry.origin), Some(principal.via));
        assert_eq!(entry.origin, r#"{"peer":"192.0.2.7:5151","credential":"ADMIN_TOKEN","claimed_user":"ada"}"#);
        let nobody = Principal::CONFIG.audited(Wall::MIN, "source.declare", "shop").origin;
        assert_eq!((nobody.as_str(), Via::read(&nobody)), ("", None));
    }

    #[test]
    fn who_reads_a_store_only_looks_and_a_sender_does_nothing() {
        let may = |role: Role| Permission::ALL.map(|permission| role.may(permission));
        assert_eq!(may(Role::Operator), [true; 4]);
        assert_eq!(may(Role::Reader), [true, false, false, false]);
        assert_eq!(may(Principal::sender(Origin::local()).role), [false; 4]);
        assert_eq!((Entrance::SOCKET.role, Entrance::STORE.role), (Role::Operator, Role::Reader));
    }

    /// S27: whatever is claimed stays one short word.
    #[test]
    fn what_is_claimed_is_short_and_visible() {
        assert_eq!(claimed(b" ada\x1b[2J "), Some("ada[2J".to_owned()));
        assert_eq!(claimed(&[b'a'; 9_000]).unwrap().len(), limits::CLAIMED_USER_BYTES_MAX);
        assert_eq!(claimed(b" \x00\n"), None);
        assert_eq!(claimed("J\u{f6}rg\u{9b}".as_bytes()), Some("J\u{f6}rg".to_owned()));
    }
}
