//! Errors of the admin API as problem JSON: a stable `code`, and words that say what to do next.

use std::time::Duration;

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use relay_core::storage::StoreError;
use relay_store::copy::BackupError;
use serde::de::DeserializeOwned;

use crate::registry::RegistryError;

/// Every `code` that the admin API answers with, beside those of the strict reader in front of it.
pub const ADMIN_CODES: [&str; 22] = [
    "broken_off",
    "conflict",
    "contended",
    "damaged",
    "declared",
    "foreign_site",
    "invalid",
    "last_route",
    "method_not_allowed",
    "misdirected",
    "no_randomness",
    "outgrown",
    "rate_limited",
    "shutting_down",
    "store_full",
    "store_unavailable",
    "taken",
    "timeout",
    "too_large",
    "too_slow",
    "unauthorized",
    "unknown",
];

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdminError {
    /// No or the wrong admin token.
    #[error("the admin token is missing or wrong; it stands in DATA_DIR/credentials as ADMIN_TOKEN")]
    Unauthorized,
    /// It was asked under a name that is not the listener's.
    #[error("the admin API is not asked under this name; ADMIN_HOSTS lists further ones")]
    Misdirected,
    /// A page of another site asks.
    #[error("pages of other sites may not ask the admin API")]
    Foreign,
    /// Too many wrong admin tokens came from there.
    #[error("too many wrong tokens came from this address; come again in {} s", .0.as_secs() + 1)]
    TooManyTokens(Duration),
    /// A value is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// What was asked for cannot be done to it in its state.
    #[error("{0}")]
    Conflict(String),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no copy of the store.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The body is larger than any command's.
    #[error("the body is larger than 2 MB; name fewer things at once")]
    TooLarge,
    /// The body takes too long to arrive.
    #[error("the body did not arrive within 30 s")]
    Slow,
    /// The path is right and the method is not.
    #[error("{0}")]
    WrongMethod(String),
    /// The server stops.
    #[error("the server is about to stop")]
    Stopping,
    /// The server stops in the middle of a bulk command.
    #[error("the server is about to stop; the same command with \"job\": \"{job}\" does the rest")]
    Interrupted {
        /// The command's id.
        job: String,
    },
    /// The command ended without an answer.
    #[error("the command was broken off; the server's log says why")]
    BrokenOff,
}

impl AdminError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            Self::Foreign => (StatusCode::FORBIDDEN, "foreign_site"),
            Self::TooManyTokens(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::Unknown(_) => (StatusCode::NOT_FOUND, "unknown"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Self::WrongMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Stopping | Self::Interrupted { .. } => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
            Self::BrokenOff => (StatusCode::INTERNAL_SERVER_ERROR, "broken_off"),
            Self::Registry(error) => of_registry(error),
            Self::Store(error) => of_store(error),
            Self::Backup(error) => (of_backup(error), error.code()),
        }
    }
}

fn of_registry(error: &RegistryError) -> (StatusCode, &'static str) {
    match error {
        RegistryError::Invalid(_) | RegistryError::Source { .. } => (StatusCode::BAD_REQUEST, "invalid"),
        RegistryError::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown"),
        RegistryError::Taken { .. } => (StatusCode::CONFLICT, "taken"),
        RegistryError::Declared { .. } => (StatusCode::CONFLICT, "declared"),
        RegistryError::LastRoute { .. } => (StatusCode::CONFLICT, "last_route"),
        RegistryError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
        RegistryError::Contended => (StatusCode::CONFLICT, "contended"),
        RegistryError::NoRandomness(_) => (StatusCode::INTERNAL_SERVER_ERROR, "no_randomness"),
        RegistryError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        RegistryError::Store(error) => of_store(error),
    }
}

fn of_backup(error: &BackupError) -> StatusCode {
    match error {
        BackupError::UnderWay => StatusCode::CONFLICT,
        BackupError::Full | BackupError::Outgrown { .. } => StatusCode::INSUFFICIENT_STORAGE,
        BackupError::Stalled => StatusCode::REQUEST_TIMEOUT,
        BackupError::Stopped | BackupError::NotNow(_) | BackupError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn of_store(error: &StoreError) -> (StatusCode, &'static str) {
    match error {
        StoreError::Unavailable | StoreError::Away | StoreError::Unknown => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
        }
        StoreError::Full => (StatusCode::INSUFFICIENT_STORAGE, "store_full"),
        StoreError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        StoreError::TooSlow { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_slow"),
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        debug_assert!(ADMIN_CODES.contains(&code), "{code} is not among them, and has no next step");
        let wait = if let Self::TooManyTokens(wait) = &self { Some(wait.as_secs() + 1) } else { None };
        let body = serde_json::json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": code,
            "detail": self.to_string(),
        });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"crm-relay admin\""));
        }
        response
    }
}

/// A JSON body, taken in already, whose faults are problems like any other.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, state: &S) -> Result<Self, AdminError> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(AdminError::Invalid(JsonRejection::body_text(&rejection))),
        }
    }
}

/// A query whose faults are problems like any other.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(AdminError::Invalid(QueryRejection::body_text(&rejection))),
        }
    }
}

/// The names and ids in a path; their faults are problems like any other.
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(at)) => Ok(Self(at)),
            Err(rejection) => Err(AdminError::Invalid(PathRejection::body_text(&rejection))),
        }
    }
}
