//! Bytes on their way to whoever wants them as they are.

use std::convert::Infallible;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use tokio::sync::OwnedSemaphorePermit;

/// Handed to the connection at a time: what it has not taken yet is in memory under the place of its answer.
const PIECE_BYTES: usize = 64 * 1024;

/// An answer of these bytes, never to be interpreted by whoever shows it (S26). It keeps its place until all but the last of it is taken.
pub(super) fn download(bytes: Bytes, place: OwnedSemaphorePermit) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
    ];
    let pieces = stream::unfold((bytes, place), |(mut left, place)| async move {
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (left, place)))
    });
    (fields, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_place_is_free_again_once_the_last_piece_is_taken() {
        let places = Arc::new(Semaphore::new(1));
        for length in [0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 7] {
            let bytes = Bytes::from((0..length).map(|byte| byte as u8).collect::<Vec<_>>());
            let answer = download(bytes.clone(), Arc::clone(&places).try_acquire_owned().unwrap());
            assert_eq!(answer.headers()[header::CONTENT_LENGTH], length.to_string().as_str());
            let mut body = answer.into_body();
            let mut got = Vec::new();
            while let Some(piece) = body.frame().await {
                got.extend_from_slice(piece.unwrap().data_ref().unwrap());
                assert!(places.available_permits() == 0 || got.len() == length, "{} of {length}", got.len());
            }
            drop(body);
            assert_eq!((got, places.available_permits()), (bytes.to_vec(), 1));
        }
    }
}
