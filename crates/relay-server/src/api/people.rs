//! Users of the dashboard, their sessions, and how one signs in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shown;

/// By what somebody signs in: a name and a password, or a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInAsk {
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// His password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Shown>,
    /// What stands behind the `#` of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub link: Option<Shown>,
}

/// Who has signed in. The session is in the answer's cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionDto {
    /// `user:alice`; `cli` or `admin` who came in by a link of `crm-relay dashboard`.
    pub who: String,
    /// A user without a password chooses one first.
    pub has_password: bool,
}

/// A link that lets somebody in once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkDto {
    /// Whole, to be opened in a browser.
    #[schema(value_type = String)]
    pub link: Shown,
    /// It is good until then.
    pub until: String,
}

/// Whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeDto {
    /// `user:alice`, `cli` or `admin`.
    pub who: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// He is a user and has a password.
    pub has_password: bool,
    /// `system`, `light` or `dark`.
    pub theme: String,
    /// `local` or `utc`.
    pub zone: String,
    /// Keys do something on pages.
    pub keys: bool,
    /// His sessions, the latest used first.
    pub sessions: Vec<SessionLineDto>,
}

/// A session of a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionLineDto {
    /// What ends it: `DELETE /me/sessions/{handle}`.
    pub handle: String,
    /// When it began.
    pub began_at: String,
    /// When it was last known to be used, to ten minutes.
    pub used_at: String,
    /// From where it began.
    pub peer: String,
    /// The browser, as it calls itself.
    pub agent: String,
    /// It is the one that asks.
    pub this: bool,
}

/// How somebody reads; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeAsk {
    /// `system`, `light` or `dark`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<String>,
    /// `local` or `utc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Keys do something on pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<bool>,
}

/// Another password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordAsk {
    /// The present one, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub old: Option<Shown>,
    /// 12 characters or more.
    #[schema(value_type = String)]
    pub new: Shown,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserDto {
    /// His name.
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// `active`, `invited` (he has no password yet) or `disabled`.
    pub state: String,
    /// Sessions that are open.
    pub sessions: u64,
    /// When he was made.
    pub created_at: String,
    /// When he last signed in.
    pub signed_in_at: Option<String>,
    /// Lets him in once; in the one answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub link: Option<Shown>,
    /// That is good until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_until: Option<String>,
}

/// A user to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserAsk {
    /// His name.
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// Left out: he comes in by the link of the answer, and chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Shown>,
}

/// What is changed of a user; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserUpdateAsk {
    /// `viewer`, `operator` or `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// He may not in; his sessions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}
