//! Users, sessions and links as they are stored: JSON. The one place that knows their bytes.
//!
//! **Invariant:** as in [`document`]: a field is never renamed and never changes its meaning, and a new one has a
//! default; one that is not known here is refused, for it may be what keeps somebody out.

use relay_core::{name::Name, time::Wall};
use relay_dashboard::viewer::{Theme, Zone};
use serde::{Deserialize, Serialize};

use super::password::Digest;
use crate::{
    document,
    principal::{Principal, Role},
};

/// Who may in by name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    /// His name.
    #[serde(with = "document::text")]
    pub(crate) name: Name,
    /// What he may do.
    #[serde(with = "role")]
    pub(crate) role: Role,
    /// What his password is known by; none: he comes in by a link alone.
    #[serde(default)]
    pub(crate) password: Option<Digest>,
    /// Sessions and links of an earlier one are over.
    #[serde(default)]
    pub(crate) generation: u64,
    /// Nobody comes in by that name.
    #[serde(default)]
    pub(crate) disabled: bool,
    /// How he reads.
    #[serde(default)]
    pub(crate) reading: Reading,
    /// When he was made.
    #[serde(with = "document::micros")]
    pub(crate) created_at: Wall,
    /// When he last signed in, in microseconds since the epoch.
    #[serde(default)]
    pub(crate) signed_in_at: Option<i64>,
}

/// How somebody reads pages, in the words of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reading {
    /// Of [`Theme`].
    pub(crate) theme: String,
    /// Of [`Zone`].
    pub(crate) zone: String,
    /// Keys do something.
    pub(crate) keys: bool,
}

/// What is stored under the digest of a secret that lets somebody in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// A cookie.
    #[serde(rename = "session")]
    SignIn(SignIn),
    /// Begins a session, once.
    Link(Link),
}

/// Whose a session or a link is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Holder {
    /// As the audit log calls him: `user:alice`, or `cli` and `admin`, who are no users.
    pub(super) name: String,
    /// The user's, when it began.
    #[serde(default)]
    pub(super) generation: u64,
}

/// That somebody signed in, until he leaves: what pages and the API call his session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// Whose.
    pub(super) holder: Holder,
    /// When it began.
    #[serde(with = "document::micros")]
    pub(super) began_at: Wall,
    /// When it was last known to be used.
    #[serde(with = "document::micros")]
    pub(super) used_at: Wall,
    /// From where it began.
    #[serde(default)]
    pub(super) peer: String,
    /// The browser, as it called itself then.
    #[serde(default)]
    pub(super) agent: String,
    /// How its holder reads, if he is no user.
    #[serde(default)]
    pub(super) reading: Reading,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    /// Whom it lets in.
    pub(super) holder: Holder,
    /// Until then.
    #[serde(with = "document::micros")]
    pub(super) until: Wall,
}

impl Holder {
    /// The user, if he is one.
    pub(super) fn user(&self) -> Option<Name> {
        self.name.strip_prefix(Principal::USER)?.parse().ok()
    }

    /// Whether what he began stands: he is that user, as he was then, and may in; or he is no user, and the token is the one of then.
    pub(super) fn stands(&self, user: Option<&User>, of_token: u64) -> bool {
        if !self.name.starts_with(Principal::USER) {
            return self.generation == of_token;
        }
        user.is_some_and(|user| *self == user.holder() && !user.disabled)
    }
}

impl User {
    /// Whose his sessions are.
    pub(super) fn holder(&self) -> Holder {
        Holder { name: format!("{}{}", Principal::USER, self.name), generation: self.generation }
    }
}

impl Default for Reading {
    fn default() -> Self {
        let (theme, zone) = (Theme::default().as_str().to_owned(), Zone::default().as_str().to_owned());
        Self { theme, zone, keys: true }
    }
}

mod role {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::principal::Role;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
    pub(super) fn serialize<S: Serializer>(role: &Role, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(role.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Role, D::Error> {
        let word = String::deserialize(input)?;
        Role::of_user(&word).ok_or_else(|| D::Error::custom(format!("no role {word:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Unread, golden, parse, render};

    #[test]
    fn a_document_of_version_1_is_read_and_written_byte_for_byte() {
        golden::holds::<User>("user");
        golden::holds::<Entry>("session");
        golden::holds::<Entry>("link");
    }

    #[test]
    fn a_document_of_an_earlier_version_still_reads() {
        let user: User = parse(r#"{"name":"alice","role":"operator","created_at":5}"#).unwrap();
        assert!(user.password.is_none() && !user.disabled && user.generation == 0);
        assert_eq!(
            (user.reading.theme.as_str(), user.reading.zone.as_str(), user.reading.keys),
            ("system", "local", true)
        );
        assert_eq!(parse::<User>(&render(&user)).unwrap(), user);
        let link: Entry = parse(r#"{"link":{"holder":{"name":"cli"},"until":7}}"#).unwrap();
        let Entry::Link(link) = link else { panic!("it is a link") };
        assert_eq!((link.holder.user(), user.holder().user()), (None, Some(user.name)));
        let session = r#"{"session":{"holder":{"name":"user:bob"},"began_at":1,"used_at":2}}"#;
        let Entry::SignIn(session) = parse(session).unwrap() else { panic!("it is a session") };
        assert_eq!(session.holder.user(), "bob".parse().ok());
        // What a later version asks of somebody is not passed over by this one.
        let later = [
            parse::<User>(r#"{"name":"alice","role":"admin","created_at":5,"second_factor":"x"}"#).err(),
            parse::<User>(
                r#"{"name":"alice","role":"admin","created_at":5,"reading":{"theme":"dark","zone":"utc","keys":true,"size":2}}"#,
            )
            .err(),
            parse::<Entry>(r#"{"session":{"holder":{"name":"cli"},"began_at":1,"used_at":2,"bound_to":"x"}}"#).err(),
            parse::<Entry>(r#"{"session":{"holder":{"name":"cli","realm":"x"},"began_at":1,"used_at":2}}"#).err(),
            parse::<Entry>(r#"{"link":{"holder":{"name":"cli"},"until":7,"times":2}}"#).err(),
            parse::<Entry>(r#"{"passkey":{"holder":{"name":"cli"}}}"#).err(),
        ];
        for unread in later {
            assert!(matches!(unread, Some(Unread::Later(_))), "{unread:?}");
        }
        for none in
            [r#"{"name":"alice","role":"reader","created_at":5}"#, r#"{"name":"user:a","role":"admin","created_at":5}"#]
        {
            assert!(parse::<User>(none).is_err(), "{none}");
        }
    }
}
