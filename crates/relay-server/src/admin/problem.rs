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
use relay_core::{fault::Retry, id::JobId, storage::StoreError};
use relay_store::copy::BackupError;
use serde::de::DeserializeOwned;

use super::code::AdminCode;
use crate::{
    api::ProblemDto,
    people::{PasswordError, SignInError},
    preview::PreviewError,
    principal::{Permission, Role},
    registry::RegistryError,
};

/// When to come again where nobody knows better.
const SECOND: Duration = Duration::from_secs(1);

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AdminError {
    /// No or the wrong admin token.
    #[error(
        "the admin token is missing or wrong, and so is a session; the token is in DATA_DIR/credentials as ADMIN_TOKEN"
    )]
    Unauthorized,
    /// It was asked under a name that is not the listener's.
    #[error("the admin API is not asked under this name; ADMIN_HOSTS lists further ones")]
    Misdirected,
    /// A page of another site asks.
    #[error("pages of other sites may not ask the admin API")]
    Foreign,
    /// Whoever asks may not do that.
    #[error("{} may not do that: it needs the permission {}", whose(*.0), .1.as_str())]
    Forbidden(Role, Permission),
    /// Whoever signs in would show a password or a link to everybody on the way.
    #[error(
        "nobody signs in over plain HTTP: come by https, or on the server's machine (also through ssh -L) by its loopback \
         address"
    )]
    Plain,
    /// A name, a password or a link was wrong.
    #[error("{0}")]
    NotIn(String),
    /// There are as many streams as there may be.
    #[error("there are as many streams as there may be; ask for the numbers now and then instead")]
    TooManyStreams,
    /// There is no time for it now.
    #[error("{0}; come again in a moment")]
    Busy(String),
    /// Too many wrong admin tokens came from there.
    #[error("too many wrong tokens or passwords came from this address; come again in {} s", .0.as_secs() + 1)]
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
    /// What a command brings is no preview of it.
    #[error(transparent)]
    Preview(#[from] PreviewError),
    /// The registry refused.
    #[error(transparent)]
    Registry(RegistryError),
    /// The store did not do it.
    #[error("{}", said(.0))]
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
    #[error("{error}: {changed} were changed, and the same command with \"job\": \"{job}\" does the rest")]
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
    fn code(&self) -> AdminCode {
        match self {
            Self::Unauthorized | Self::NotIn(_) => AdminCode::Unauthorized,
            Self::Misdirected => AdminCode::Misdirected,
            Self::Foreign => AdminCode::ForeignSite,
            Self::Forbidden(..) | Self::Plain => AdminCode::Forbidden,
            Self::Busy(_) => AdminCode::TooSlow,
            Self::TooManyTokens(_) | Self::TooManyStreams => AdminCode::RateLimited,
            Self::Invalid(_) => AdminCode::Invalid,
            Self::Unknown(_) => AdminCode::Unknown,
            Self::Conflict(_) | Self::Preview(_) => AdminCode::Conflict,
            Self::TooLarge => AdminCode::TooLarge,
            Self::Slow => AdminCode::Timeout,
            Self::WrongMethod(_) => AdminCode::MethodNotAllowed,
            Self::Stopping | Self::Interrupted { .. } => AdminCode::ShuttingDown,
            Self::BrokenOff => AdminCode::BrokenOff,
            Self::Registry(error) => of_registry(error),
            Self::Store(error) | Self::Broken { error, .. } => of_store(error),
            Self::Backup(error) => of_backup(error),
        }
    }

    /// Whether the same command may succeed later.
    fn retry(&self) -> Retry {
        match self {
            Self::TooManyTokens(wait) => Retry::After(*wait + SECOND),
            Self::Stopping | Self::Interrupted { .. } | Self::TooManyStreams | Self::Busy(_) => Retry::After(SECOND),
            Self::Store(error) | Self::Broken { error, .. } => error.retry(),
            Self::Registry(error) => error.retry(),
            Self::Backup(error) => error.retry(),
            Self::Unauthorized
            | Self::Misdirected
            | Self::Foreign
            | Self::Forbidden(..)
            | Self::Plain
            | Self::NotIn(_)
            | Self::Invalid(_)
            | Self::Unknown(_)
            | Self::Conflict(_)
            | Self::Preview(_)
            | Self::TooLarge
            | Self::Slow
            | Self::WrongMethod(_)
            | Self::BrokenOff => Retry::Never,
        }
    }
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Store(error) => Self::Store(error),
            other => Self::Registry(other),
        }
    }
}

impl From<SignInError> for AdminError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::TooMany(wait) => Self::TooManyTokens(wait),
            SignInError::Wrong | SignInError::LinkOver => Self::NotIn(error.to_string()),
            SignInError::Password(PasswordError::Busy) => Self::Busy(error.to_string()),
            SignInError::Password(PasswordError::NoMeans(error)) => Self::Registry(error.into()),
            SignInError::Registry(error) => error.into(),
        }
    }
}

/// What somebody of a role is called who is told that he may not.
const fn whose(role: Role) -> &'static str {
    match role {
        Role::Reader => "whoever reads the store of a server that does not run",
        Role::Admin => "an admin",
        Role::Operator => "an operator",
        Role::Viewer => "a viewer",
        Role::Sender => "a sender",
        Role::Stranger => "whoever has not signed in",
    }
}

/// What a store that did not do something has to say to whoever asked for it: what is known, and what to do.
fn said(error: &StoreError) -> String {
    match error {
        StoreError::Away => {
            "the store cannot be reached for now, and nothing was changed: ask again in a moment".to_owned()
        }
        StoreError::Unknown => "the store did not answer, so this may be done: look (list, show) before you give the \
                                command again"
            .to_owned(),
        StoreError::Full => "the store is full, and nothing was changed: there is room again once deliveries have \
                             ended and their retention is over, or when somebody makes some"
            .to_owned(),
        StoreError::TooSlow { .. } => format!("{error}, and nothing was changed: ask for less, or later"),
        StoreError::Unavailable => {
            "the store has failed or is closed, and the server ends: its log says why, and its next start what holds"
                .to_owned()
        }
        StoreError::Damaged { .. } | StoreError::Later { .. } => error.to_string(),
    }
}

fn of_registry(error: &RegistryError) -> AdminCode {
    match error {
        RegistryError::Invalid(_) | RegistryError::Source { .. } => AdminCode::Invalid,
        RegistryError::Unknown { .. } => AdminCode::Unknown,
        RegistryError::Taken { .. } => AdminCode::Taken,
        RegistryError::Declared { .. } => AdminCode::Declared,
        RegistryError::LastRoute { .. } => AdminCode::LastRoute,
        RegistryError::Conflict(_) => AdminCode::Conflict,
        RegistryError::Contended => AdminCode::Contended,
        RegistryError::NoRandomness(_) => AdminCode::NoRandomness,
        RegistryError::Damaged { .. } | RegistryError::Later { .. } => AdminCode::Damaged,
        RegistryError::Store(error) | RegistryError::Partly { error, .. } => of_store(error),
    }
}

fn of_backup(error: &BackupError) -> AdminCode {
    match error {
        BackupError::UnderWay => AdminCode::Conflict,
        BackupError::Full => AdminCode::StoreFull,
        BackupError::Outgrown { .. } => AdminCode::Outgrown,
        BackupError::Stalled => AdminCode::Timeout,
        BackupError::Stopped => AdminCode::ShuttingDown,
        BackupError::NotNow(_) => AdminCode::TooSlow,
        BackupError::NotHere => AdminCode::NotHere,
        BackupError::Unavailable => AdminCode::StoreUnavailable,
    }
}

fn of_store(error: &StoreError) -> AdminCode {
    match error {
        StoreError::Unavailable => AdminCode::StoreUnavailable,
        StoreError::Away => AdminCode::StoreAway,
        StoreError::Unknown => AdminCode::Uncertain,
        StoreError::Full => AdminCode::StoreFull,
        StoreError::Damaged { .. } | StoreError::Later { .. } => AdminCode::Damaged,
        StoreError::TooSlow { .. } => AdminCode::TooSlow,
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let code = self.code();
        let status = code.status();
        let wait = match self.retry() {
            Retry::Never => None,
            // Only where it says "not now": whoever makes room, or lost a race, knows when.
            _ if status == StatusCode::INSUFFICIENT_STORAGE => None,
            Retry::Backoff => (status == StatusCode::SERVICE_UNAVAILABLE).then_some(SECOND),
            Retry::After(wait) => Some(wait),
        };
        let body = ProblemDto {
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: code.as_str().to_owned(),
            detail: self.to_string(),
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
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
            BackupError::NotHere,
            BackupError::Unavailable,
        ];
        for error in errors {
            assert_eq!(of_backup(&error).as_str(), error.code(), "{error:?}");
        }
    }

    /// What a store could not do is told as what it is, with what to do: never as a fault of the server's.
    #[test]
    fn what_a_store_could_not_do_is_told_with_what_to_do() {
        let slow = StoreError::TooSlow { after: Duration::from_secs(1) };
        for (error, status, code, wait, words) in [
            (StoreError::Away, 503, "store_away", Some("1"), "nothing was changed: ask again"),
            (StoreError::Unknown, 503, "uncertain", Some("1"), "may be done: look"),
            (slow, 503, "too_slow", Some("1"), "ask for less, or later"),
            (StoreError::Full, 507, "store_full", None, "nothing was changed"),
            (StoreError::Unavailable, 503, "store_unavailable", None, "its log says why"),
        ] {
            for told in [AdminError::from(error.clone()), AdminError::from(RegistryError::Store(error.clone()))] {
                assert_eq!(told.code().as_str(), code);
                assert!(told.to_string().contains(words), "{told}");
                let answer = told.into_response();
                let after = answer.headers().get(header::RETRY_AFTER).map(|after| after.to_str().unwrap());
                assert_eq!((answer.status().as_u16(), after), (status, wait), "{error:?}");
            }
        }
        let partly = AdminError::from(RegistryError::Partly { done: 1, all: 2, error: StoreError::Away });
        assert!(!partly.to_string().contains("nothing was changed"));
        assert_eq!(partly.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
