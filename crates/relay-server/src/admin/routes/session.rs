//! Signing in and out, and links that sign in.

use std::time::Duration;

use axum::{
    Extension, Json,
    response::{AppendHeaders, IntoResponse},
};
use http::{HeaderMap, StatusCode, header};
use relay_net::origin::Origin;

use crate::{
    admin::{
        DONE, Of,
        problem::{AdminError, Body},
    },
    api::{LinkDto, SessionDto, Shown, SignInAsk},
    clock::rfc3339,
    people::{Entered, Present, Seen, cookie},
    principal::Principal,
};

/// How long a link of `crm-relay dashboard` is good: until it is opened.
pub(crate) const LINK_KEPT: Duration = Duration::from_mins(1);

/// Signs in, by name and password or by a link. The session's secret is in a cookie, and nowhere else.
pub(super) async fn begin(
    Of(state): Of,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Body(asked): Body<SignInAsk>,
) -> Result<impl IntoResponse, AdminError> {
    if state.dashboard.is_none() {
        return Err(AdminError::Unknown("the dashboard is off (DASHBOARD)".into()));
    }
    if !cookie::Reached::of(&headers).is_private() {
        return Err(AdminError::Plain);
    }
    let seen = Seen::of(origin, &headers);
    let entered = match asked {
        SignInAsk { name: None, password: None, link: Some(Shown(link)) } => state.people.enter(&link, &seen).await?,
        SignInAsk { name: Some(name), password: Some(Shown(password)), link: None } => {
            state.people.sign_in(&name, password, &seen).await?
        }
        SignInAsk { .. } => return Err(AdminError::Invalid("want a name and a password, or a link".into())),
    };
    let Entered { secret, name: who, has_password } = entered;
    let cookie = AppendHeaders([(header::SET_COOKIE, cookie::set(&headers, &secret))]);
    Ok((cookie, Json(SessionDto { who, has_password })))
}

/// Signs out.
pub(super) async fn end(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, AdminError> {
    let Some(Extension(present)) = present else { return Err(no_session()) };
    state.people.end(&present, present.handle(), &who).await?;
    Ok((DONE, AppendHeaders([(header::SET_COOKIE, cookie::forget(&headers))])))
}

/// Makes a link that lets whoever asks in by a browser, as who he is.
pub(super) async fn link(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
) -> Result<impl IntoResponse, AdminError> {
    if present.is_some() {
        return Err(AdminError::Conflict("whoever asks is in already; this is for crm-relay dashboard".into()));
    }
    let base = state.dashboard_url().ok_or_else(|| AdminError::Conflict(NOWHERE.into()))?;
    let (link, until) = state.people.link(&who, LINK_KEPT).await?;
    let link = Shown(format!("{base}login#{link}"));
    Ok((StatusCode::CREATED, Json(LinkDto { link, until: rfc3339(until) })))
}

/// Why there is no link.
const NOWHERE: &str = "there is no dashboard: DASHBOARD or ADMIN_LISTEN is off";

pub(super) fn no_session() -> AdminError {
    AdminError::Conflict("whoever asks has no session: this is for browsers that have signed in".into())
}
