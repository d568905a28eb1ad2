//! Who asks for a change, and from where: what the audit log says of it.

use http::HeaderMap;
use relay_core::{limits, time::Wall};
use relay_store::seam::AuditEntry;
use serde::{Deserialize, Serialize};

use crate::origin::Origin;

/// Names the user who asks, as the asker has it: nobody checked that.
const CLAIMED_USER: &str = "relay-user";

/// Who asks for a change, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// `cli`, `admin`, `config`, `sender` or `server`.
    pub who: &'static str,
    /// From where; nothing where nobody asked.
    pub place: Place,
}

/// From where somebody asked: kept as JSON with the line of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The other end of the socket.
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

impl Asker {
    /// Whoever may stand in the audit log.
    pub(crate) const ALL: [&str; 5] = ["cli", "admin", "config", "sender", "server"];
    /// The configuration file, and what exists out of the box.
    pub const CONFIG: Self = Self::nobody("config");
    /// The server itself: a time that was set has come.
    pub const SERVER: Self = Self::nobody("server");

    pub(crate) const fn nobody(who: &'static str) -> Self {
        Self { who, place: Place { peer: None, uid: None, credential: None, claimed_user: None } }
    }

    /// A sender at the public listener.
    pub fn sender(origin: Origin) -> Self {
        Self { who: "sender", place: Place { peer: origin.peer.map(|peer| peer.to_string()), ..Place::default() } }
    }

    /// Somebody at the admin API, whom this credential let in.
    pub fn operator(who: &'static str, origin: Origin, credential: Option<&str>, headers: &HeaderMap) -> Self {
        let place = Place {
            peer: origin.peer.map(|peer| peer.to_string()),
            uid: origin.uid,
            credential: credential.map(str::to_owned),
            claimed_user: headers.get(CLAIMED_USER).and_then(|value| claimed(value.as_bytes())),
        };
        Self { who, place }
    }

    /// A line of the audit log.
    pub(crate) fn audited(&self, at: Wall, action: &str, subject: impl Into<String>) -> AuditEntry {
        AuditEntry {
            at,
            who: self.who.into(),
            action: action.into(),
            subject: subject.into(),
            origin: self.place.written(),
        }
    }
}

impl Place {
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
        let asker = Asker::operator("admin", origin, Some("ADMIN_TOKEN"), &headers);
        let entry = asker.audited(Wall::MIN, "token.create", "crm");
        assert_eq!(Place::read(&entry.origin), Some(asker.place));
        assert_eq!(entry.origin, r#"{"peer":"192.0.2.7:5151","credential":"ADMIN_TOKEN","claimed_user":"ada"}"#);
        let nobody = Asker::CONFIG.audited(Wall::MIN, "source.declare", "shop").origin;
        assert_eq!((nobody.as_str(), Place::read(&nobody)), ("", None));
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
