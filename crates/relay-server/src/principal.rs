//! Who asks, what he may do, and from where: what the admin API judges by, and what the audit log says of a change.

use std::borrow::Cow;

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
    /// `cli`, `admin`, `config`, `sender`, `server` or `stranger`; of a user of the dashboard `user:NAME`.
    pub name: Cow<'static, str>,
    /// What he may do.
    pub role: Role,
    /// From where; nothing where nobody asked.
    pub via: Via,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// See payloads, and change what becomes of deliveries.
    Operator,
    /// Look at what is no payload.
    Viewer,
    /// Look at everything, and nothing else: a command that reads the store of a server that does not run.
    Reader,
    /// Nothing at the admin API: senders only cause what is written down.
    Sender,
    /// Sign in: nobody knows who asks.
    Stranger,
}

/// What a route of the admin API needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// To sign in.
    Enter,
    /// To look.
    See,
    /// To see bodies, queries, values of headers and answers of targets.
    Payload,
    /// To see who may in.
    Access,
    /// To change what is one's own: how one reads, the password, the sessions.
    Own,
    /// To change what becomes of deliveries: redrive, replay, cancel, pause.
    Deliver,
    /// To remove what is stored before its retention is over.
    Purge,
    /// To change sources, routes, keys, tokens and users.
    Configure,
    /// To get at what is secret: a handed-over secret, a signature, a copy of everything.
    Reveal,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 9] = [
        Self::Enter,
        Self::See,
        Self::Payload,
        Self::Access,
        Self::Own,
        Self::Deliver,
        Self::Purge,
        Self::Configure,
        Self::Reveal,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::See => "see",
            Self::Payload => "payload",
            Self::Access => "access",
            Self::Own => "own",
            Self::Deliver => "deliver",
            Self::Purge => "purge",
            Self::Configure => "configure",
            Self::Reveal => "reveal",
        }
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [Self::Admin, Self::Operator, Self::Viewer, Self::Reader, Self::Sender, Self::Stranger];
    /// Those that a user of the dashboard may have, from the least.
    pub const OF_USERS: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Whether somebody of this role may do that.
    pub const fn may(self, permission: Permission) -> bool {
        use Permission::{Access, Deliver, Enter, Own, Payload, See};
        match self {
            Self::Admin => true,
            Self::Operator => matches!(permission, Enter | See | Own | Payload | Deliver),
            Self::Viewer => matches!(permission, Enter | See | Own),
            Self::Reader => matches!(permission, See | Payload | Access),
            Self::Sender => false,
            Self::Stranger => matches!(permission, Enter),
        }
    }

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Reader => "reader",
            Self::Sender => "sender",
            Self::Stranger => "stranger",
        }
    }

    /// The one of that word, if a user may have it.
    pub fn of_user(word: &str) -> Option<Self> {
        Self::OF_USERS.into_iter().find(|role| role.as_str() == word)
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
    pub const LISTENER: Self = Self { name: "admin", role: Role::Admin, credential: Some("ADMIN_TOKEN") };
    /// The socket: whoever may open the file may do everything.
    pub const SOCKET: Self = Self { name: "cli", role: Role::Admin, credential: None };
    /// A command that reads the store itself.
    pub const STORE: Self = Self { name: "cli", role: Role::Reader, credential: None };
}

impl Principal {
    /// Whoever may stand in the audit log.
    pub(crate) const ALL: [&str; 6] = ["cli", "admin", "config", "sender", "server", "stranger"];
    /// What the name of a user of the dashboard begins with.
    pub(crate) const USER: &str = "user:";
    /// Lets in whoever came in by the dashboard.
    pub(crate) const SESSION: &str = "session";
    /// The configuration file, and what exists out of the box.
    pub const CONFIG: Self = Self::nobody("config");
    /// The server itself: a time that was set has come.
    pub const SERVER: Self = Self::nobody("server");

    pub(crate) const fn nobody(name: &'static str) -> Self {
        let via = Via { peer: None, uid: None, credential: None, claimed_user: None };
        Self { name: Cow::Borrowed(name), role: Role::Admin, via }
    }

    /// A sender at the public listener.
    pub fn sender(origin: Origin) -> Self {
        let via = Via { peer: origin.shown(), ..Via::default() };
        Self { name: Cow::Borrowed("sender"), role: Role::Sender, via }
    }

    /// Somebody at the admin listener who shows nothing that is known.
    pub(crate) fn stranger(origin: Origin) -> Self {
        let via = Via { peer: origin.shown(), ..Via::default() };
        Self { name: Cow::Borrowed("stranger"), role: Role::Stranger, via }
    }

    /// Whether he came in by the dashboard, as a user or by a link.
    pub(crate) fn has_session(&self) -> bool {
        self.via.credential.as_deref() == Some(Self::SESSION)
    }

    /// Somebody at an entrance of the admin API, as the request says it of him.
    pub fn at(entrance: &Entrance, origin: Origin, headers: &HeaderMap) -> Self {
        let via = Via {
            peer: origin.shown(),
            uid: origin.uid(),
            credential: entrance.credential.map(str::to_owned),
            claimed_user: headers.get(CLAIMED_USER).and_then(|value| claimed(value.as_bytes())),
        };
        Self { name: Cow::Borrowed(entrance.name), role: entrance.role, via }
    }

    /// A line of the audit log.
    pub(crate) fn audited(&self, at: Wall, action: &str, subject: impl Into<String>) -> AuditEntry {
        AuditEntry {
            at,
            who: self.name.as_ref().into(),
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

    /// S34: each role may what those before it may and more; who reads a store only looks, a sender does nothing, and whom nobody
    /// knows signs in.
    #[test]
    fn roles_may_what_the_table_says() {
        let may = |role: Role| Permission::ALL.map(|permission| u8::from(role.may(permission)));
        assert_eq!(may(Role::Admin), [1; 9]);
        assert_eq!(may(Role::Operator), [1, 1, 1, 0, 1, 1, 0, 0, 0]);
        assert_eq!(may(Role::Viewer), [1, 1, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(may(Role::Reader), [0, 1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(may(Principal::stranger(Origin::local()).role), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(may(Principal::sender(Origin::local()).role), [0; 9]);
        assert_eq!((Entrance::SOCKET.role, Entrance::STORE.role), (Role::Admin, Role::Reader));
        assert_eq!((Role::of_user("operator"), Role::of_user("reader")), (Some(Role::Operator), None));
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
