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
use relay_core::{id::JobId, storage::StoreError};
use relay_store::copy::BackupError;
use serde::de::DeserializeOwned;

use super::code::AdminCode;
use crate::{api::ProblemDto, principal::Permission, registry::RegistryError};

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
    /// Whoever asks may not do that.
    #[error("whoever reads the store of a server that does not run may look, and this needs the permission {}", .0.as_str())]
    Forbidden(Permission),
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
    #[error(
        "the server is about to stop; {changed} were changed, and the same command with \"job\": \"{job}\" does the rest"
    )]
    Interrupted {
        /// The command's id.
        job: JobId,
        /// What it has done.
        changed: u64,
    },
    /// The store could not, in the middle of a bulk command.
    #[error("{error}; {changed} were changed, and the same command with \"job\": \"{job}\" does the rest")]
    Broken {
        /// The command's id.
        job: JobId,
        /// What it has done.
        changed: u64,
        /// Why it is not through.
        error: StoreError,
    },
    /// The command ended without an answer.
    #[error("the command was broken off; the server's log says why")]
    BrokenOff,
}

impl AdminError {
    fn status_and_code(&self) -> (StatusCode, AdminCode) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, AdminCode::Unauthorized),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, AdminCode::Misdirected),
            Self::Foreign => (StatusCode::FORBIDDEN, AdminCode::ForeignSite),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, AdminCode::Forbidden),
            Self::TooManyTokens(_) => (StatusCode::TOO_MANY_REQUESTS, AdminCode::RateLimited),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, AdminCode::Invalid),
            Self::Unknown(_) => (StatusCode::NOT_FOUND, AdminCode::Unknown),
            Self::Conflict(_) => (StatusCode::CONFLICT, AdminCode::Conflict),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, AdminCode::TooLarge),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, AdminCode::Timeout),
            Self::WrongMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, AdminCode::MethodNotAllowed),
            Self::Stopping | Self::Interrupted { .. } => (StatusCode::SERVICE_UNAVAILABLE, AdminCode::ShuttingDown),
            Self::BrokenOff => (StatusCode::INTERNAL_SERVER_ERROR, AdminCode::BrokenOff),
            Self::Registry(error) => of_registry(error),
            Self::Store(error) | Self::Broken { error, .. } => of_store(error),
            Self::Backup(error) => of_backup(error),
        }
    }
}

fn of_registry(error: &RegistryError) -> (StatusCode, AdminCode) {
    match error {
        RegistryError::Invalid(_) | RegistryError::Source { .. } => (StatusCode::BAD_REQUEST, AdminCode::Invalid),
        RegistryError::Unknown { .. } => (StatusCode::NOT_FOUND, AdminCode::Unknown),
        RegistryError::Taken { .. } => (StatusCode::CONFLICT, AdminCode::Taken),
        RegistryError::Declared { .. } => (StatusCode::CONFLICT, AdminCode::Declared),
        RegistryError::LastRoute { .. } => (StatusCode::CONFLICT, AdminCode::LastRoute),
        RegistryError::Conflict(_) => (StatusCode::CONFLICT, AdminCode::Conflict),
        RegistryError::Contended => (StatusCode::CONFLICT, AdminCode::Contended),
        RegistryError::NoRandomness(_) => (StatusCode::INTERNAL_SERVER_ERROR, AdminCode::NoRandomness),
        RegistryError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, AdminCode::Damaged),
        RegistryError::Store(error) => of_store(error),
    }
}

fn of_backup(error: &BackupError) -> (StatusCode, AdminCode) {
    match error {
        BackupError::UnderWay => (StatusCode::CONFLICT, AdminCode::Conflict),
        BackupError::Full => (StatusCode::INSUFFICIENT_STORAGE, AdminCode::StoreFull),
        BackupError::Outgrown { .. } => (StatusCode::INSUFFICIENT_STORAGE, AdminCode::Outgrown),
        BackupError::Stalled => (StatusCode::REQUEST_TIMEOUT, AdminCode::Timeout),
        BackupError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, AdminCode::ShuttingDown),
        BackupError::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, AdminCode::TooSlow),
        BackupError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, AdminCode::StoreUnavailable),
    }
}

fn of_store(error: &StoreError) -> (StatusCode, AdminCode) {
    match error {
        StoreError::Unavailable | StoreError::Away | StoreError::Unknown => {
            (StatusCode::SERVICE_UNAVAILABLE, AdminCode::StoreUnavailable)
        }
        StoreError::Full => (StatusCode::INSUFFICIENT_STORAGE, AdminCode::StoreFull),
        StoreError::Damaged { .. } | StoreError::Later { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, AdminCode::Damaged)
        }
        StoreError::TooSlow { .. } => (StatusCode::SERVICE_UNAVAILABLE, AdminCode::TooSlow),
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let wait = if let Self::TooManyTokens(wait) = &self { Some(wait.as_secs() + 1) } else { None };
        let body = ProblemDto {
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: code.as_str().to_owned(),
            detail: self.to_string(),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What ends a copy is told by the same word whether the copy had begun or not.
    #[test]
    fn a_backup_that_fails_has_one_code() {
        let errors = [
            BackupError::UnderWay,
            BackupError::Stopped,
            BackupError::Full,
            BackupError::Outgrown { bytes: 1 },
            BackupError::Stalled,
            BackupError::NotNow("no memory".into()),
            BackupError::Unavailable,
        ];
        for error in errors {
            assert_eq!(of_backup(&error).1.as_str(), error.code(), "{error:?}");
        }
    }
}
