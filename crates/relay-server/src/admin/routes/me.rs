//! Whoever asks: how he reads, his password, his sessions.

use axum::{
    Extension, Json,
    response::{AppendHeaders, IntoResponse},
};
use http::{HeaderMap, StatusCode, header};
use relay_dashboard::viewer::{Theme, Zone};
use relay_net::origin::Origin;

use super::session::no_session;
use crate::{
    admin::{
        DONE, Of,
        problem::{AdminError, At, Body},
    },
    api::{MeAsk, MeDto, PasswordAsk, SessionLineDto},
    people::{Present, Seen, cookie, document::Reading},
    principal::Principal,
};

pub(super) async fn show(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
) -> Result<Json<MeDto>, AdminError> {
    let (reading, has_password, sessions) = match &present {
        Some(Extension(present)) => {
            let everybody = state.people.everybody().await?;
            let line = |seen| SessionLineDto::new(seen, present.handle());
            let sessions = everybody.sessions_of(&present.name).iter().map(line).collect();
            (present.reading.clone(), present.has_password, sessions)
        }
        None => (Reading::default(), false, Vec::new()),
    };
    let Reading { theme, zone, keys } = reading;
    let (who, role) = (who.name.to_string(), who.role.as_str().to_owned());
    Ok(Json(MeDto { who, role, has_password, theme, zone, keys, sessions }))
}

pub(super) async fn update(
    Of(state): Of,
    present: Option<Extension<Present>>,
    Body(asked): Body<MeAsk>,
) -> Result<StatusCode, AdminError> {
    let Some(Extension(present)) = present else { return Err(no_session()) };
    let Reading { theme, zone, keys } = present.reading.clone();
    let theme = word("theme", asked.theme, theme, &Theme::ALL.map(Theme::as_str))?;
    let zone = word("zone", asked.zone, zone, &Zone::ALL.map(Zone::as_str))?;
    let reading = Reading { theme, zone, keys: asked.keys.unwrap_or(keys) };
    state.people.read_as(&present, reading).await?;
    Ok(DONE)
}

fn word(field: &str, asked: Option<String>, before: String, known: &[&str]) -> Result<String, AdminError> {
    let word = asked.unwrap_or(before);
    if known.contains(&word.as_str()) {
        return Ok(word);
    }
    Err(AdminError::Invalid(format!("no {field} {word:?}; known: {}", known.join(", "))))
}

/// The session goes on under another secret; all others of the user are over.
pub(super) async fn password(
    Of(state): Of,
    present: Option<Extension<Present>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Body(asked): Body<PasswordAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let Some(Extension(present)) = present else { return Err(no_session()) };
    let seen = Seen::of(origin, &headers);
    let old = asked.old.map(|old| old.0);
    let secret = state.people.set_password(&present, old, asked.new.0, &seen).await?;
    Ok((DONE, AppendHeaders([(header::SET_COOKIE, cookie::set(&headers, &secret))])))
}

pub(super) async fn end_session(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    At(handle): At<String>,
) -> Result<StatusCode, AdminError> {
    let Some(Extension(present)) = present else { return Err(no_session()) };
    if state.people.end(&present, &handle, &who).await? {
        return Ok(DONE);
    }
    // Another's is none of his, and he does not learn whether there is one (S34).
    Err(AdminError::Unknown(format!("no session {:?} of yours", handle.chars().take(32).collect::<String>())))
}
