//! Users and sessions.

use relay_core::time::Wall;

use crate::{
    api::{SessionLineDto, UserDto},
    clock::rfc3339,
    people::{SessionSeen, document::User},
};

impl SessionLineDto {
    /// `this`: the handle of the session that asks.
    pub(crate) fn new(seen: &SessionSeen, this: &str) -> Self {
        Self {
            handle: seen.handle().to_owned(),
            began_at: rfc3339(seen.began_at),
            used_at: rfc3339(seen.used_at),
            peer: seen.peer.clone(),
            agent: seen.agent.clone(),
            this: seen.handle() == this,
        }
    }
}

impl UserDto {
    /// `sessions`: of his, how many are open.
    pub(crate) fn new(user: &User, sessions: u64) -> Self {
        let state = match user {
            User { disabled: true, .. } => "disabled",
            User { password: None, .. } => "invited",
            User { .. } => "active",
        };
        let name = user.name.to_string();
        Self {
            sessions,
            role: user.role.as_str().to_owned(),
            state: state.to_owned(),
            created_at: rfc3339(user.created_at),
            signed_in_at: user.signed_in_at.map(Wall::from_micros).map(rfc3339),
            link: None,
            link_until: None,
            name,
        }
    }
}
