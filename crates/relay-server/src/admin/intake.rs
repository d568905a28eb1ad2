//! Takes in the bodies of commands: how large they may be and how long they may take.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::problem::AdminError;

/// Far more than the ids of any command: 2 MB.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long a body may take as a whole, from its head on.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Hands a request on only once its body is there, so that no command waits for a sender.
pub(super) async fn whole(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return AdminError::TooLarge.into_response(),
        Ok(Err(error)) => return AdminError::Invalid(format!("the body ended early: {error}")).into_response(),
        Err(_) => return AdminError::Slow.into_response(),
    };
    next.run(Request::from_parts(head, Body::from(body))).await
}
