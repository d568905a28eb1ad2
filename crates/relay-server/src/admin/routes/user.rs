//! Users of the dashboard.

use axum::{Extension, Json, response::IntoResponse};
use http::StatusCode;

use crate::{
    admin::{
        Of, name,
        problem::{AdminError, At, Body},
    },
    api::{List, Shown, UserAsk, UserDto, UserUpdateAsk},
    clock::rfc3339,
    people::{UserChange, document::User},
    principal::{Principal, Role},
    state::State,
};

pub(super) async fn list(Of(state): Of) -> Result<Json<List<UserDto>>, AdminError> {
    let everybody = state.people.everybody().await?;
    let items = everybody.users.iter().map(|user| UserDto::new(user, everybody.open(user))).collect();
    Ok(Json(List { items, next: None }))
}

pub(super) async fn create(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(asked): Body<UserAsk>,
) -> Result<impl IntoResponse, AdminError> {
    let (name, role) = (name(&asked.name)?, role(&asked.role)?);
    let password = asked.password.map(|password| password.0);
    let invited = password.is_none();
    let user = state.people.create(name, role, password, &who).await?;
    let made = UserDto::new(&user, 0);
    let made = if invited { with_link(&state, made, state.people.first_link(&user, &who).await?) } else { made };
    Ok((StatusCode::CREATED, Json(made)))
}

pub(super) async fn update(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(user): At<String>,
    Body(asked): Body<UserUpdateAsk>,
) -> Result<Json<UserDto>, AdminError> {
    let change = UserChange { role: asked.role.as_deref().map(role).transpose()?, disabled: asked.disabled };
    if change == UserChange::default() {
        return Err(AdminError::Invalid("want a role, or disabled".into()));
    }
    let user = state.people.change(&name(&user)?, change, &who).await?;
    Ok(Json(shown(&state, &user).await?))
}

/// Takes his password and his sessions, and gives a link by which he chooses another.
pub(super) async fn reset(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(user): At<String>,
) -> Result<impl IntoResponse, AdminError> {
    let (user, link, until) = state.people.reset(&name(&user)?, &who).await?;
    Ok((StatusCode::CREATED, Json(with_link(&state, UserDto::new(&user, 0), (link, until)))))
}

async fn shown(state: &State, user: &User) -> Result<UserDto, AdminError> {
    Ok(UserDto::new(user, state.people.everybody().await?.open(user)))
}

fn with_link(state: &State, user: UserDto, (link, until): (String, relay_core::time::Wall)) -> UserDto {
    // Where the dashboard is off it is below whatever address that will have.
    let base = state.dashboard_url().unwrap_or_else(|| "/".to_owned());
    UserDto { link: Some(Shown(format!("{base}login#{link}"))), link_until: Some(rfc3339(until)), ..user }
}

fn role(word: &str) -> Result<Role, AdminError> {
    let known = || Role::OF_USERS.map(Role::as_str).join(", ");
    let shown: String = word.chars().take(32).collect();
    Role::of_user(word).ok_or_else(|| AdminError::Invalid(format!("no role {shown:?}; known: {}", known())))
}
