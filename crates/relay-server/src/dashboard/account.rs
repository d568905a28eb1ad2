//! Where one signs in, whoever looks himself, and the users.

use axum::{extract::Query, response::Response};
use http::HeaderMap;
use relay_core::time::Wall;
use relay_dashboard::{
    screen::{Login, Me, SessionLine, UserLine, UserState, Users, Way},
    viewer,
};
use relay_net::sites::is_loopback;
use serde::Deserialize;

use super::frame::{Drawn, Looking, drawn, redirect};
use crate::{
    admin::problem::AdminError,
    people::{SessionSeen, document::User},
    principal::{Principal, Role},
};

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    next: Option<String>,
}

/// Who is in already and came from a page is led back there.
pub(super) async fn login(looking: Looking, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    let next = asked.next.as_deref().and_then(|next| looking.site().page(next));
    if let Some(next) = next.filter(|_| looking.present.is_some()) {
        return redirect(&next);
    }
    let way = match way(&looking, &headers).await {
        Ok(way) => way,
        Err(error) => return looking.answer(Err(error)),
    };
    let page = relay_dashboard::page::Page { viewer: None, ..looking.page.clone() };
    drawn(&Login { page, way })
}

async fn way(looking: &Looking, headers: &HeaderMap) -> Result<Way, AdminError> {
    let host = headers.get(http::header::HOST).map(http::HeaderValue::as_bytes).unwrap_or_default();
    // Browsers say what a request is for over TLS and on loopback alone. Whether they may sign in is judged when they do.
    if !is_loopback(host) && !headers.contains_key("sec-fetch-mode") {
        return Ok(Way::Plain);
    }
    Ok(if looking.state.people.has_users().await? { Way::Open } else { Way::NoUser })
}

pub(super) async fn me(looking: Looking) -> Response {
    let drawn = draw_me(&looking).await;
    looking.answer(drawn)
}

async fn draw_me(looking: &Looking) -> Result<Drawn, AdminError> {
    let sessions = match &looking.present {
        Some(present) => {
            let everybody = looking.state.people.everybody().await?;
            let his = everybody.sessions_of(&present.name).iter();
            his.map(|seen| session_line(seen, present.handle())).collect()
        }
        None => Vec::new(),
    };
    let present = looking.present.as_ref();
    let user = present.is_some_and(|present| present.user.is_some());
    let has_password = present.is_some_and(|present| present.has_password);
    Ok(Drawn::page(&Me { page: looking.page.clone(), user, has_password, sessions }, false))
}

fn session_line(seen: &SessionSeen, this: &str) -> SessionLine {
    SessionLine {
        handle: seen.handle().to_owned(),
        began_at: seen.began_at,
        used_at: seen.used_at,
        peer: seen.peer.clone(),
        agent: seen.agent.clone(),
        this: seen.handle() == this,
    }
}

pub(super) async fn users(looking: Looking) -> Response {
    let drawn = draw_users(&looking).await;
    looking.answer(drawn)
}

async fn draw_users(looking: &Looking) -> Result<Drawn, AdminError> {
    let everybody = looking.state.people.everybody().await?;
    let me = looking.who.name.strip_prefix(Principal::USER);
    let users = everybody.users.iter().map(|user| user_line(user, everybody.open(user), me)).collect();
    Ok(Drawn::page(&Users { page: looking.page.clone(), users }, false))
}

fn user_line(user: &User, sessions: u64, me: Option<&str>) -> UserLine {
    let state = match user {
        User { disabled: true, .. } => UserState::Disabled,
        User { password: None, .. } => UserState::Invited,
        User { .. } => UserState::Active,
    };
    let role = match user.role {
        Role::Admin => viewer::Role::Admin,
        Role::Operator => viewer::Role::Operator,
        Role::Viewer | Role::Reader | Role::Sender | Role::Stranger => viewer::Role::Viewer,
    };
    UserLine {
        name: user.name.to_string(),
        role,
        state,
        sessions,
        signed_in_at: user.signed_in_at.map(Wall::from_micros),
        me: me == Some(user.name.as_str()),
    }
}
