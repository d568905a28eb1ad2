//! The store: a copy of it while the server goes on.

use axum::{Extension, Json, body::Body as Stream, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use relay_store::{
    copy::{Backup, BackupError, Copying, Frame, Piece},
    seam::Rekeyed,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{
        Of,
        problem::{AdminError, Body},
    },
    api::{BackupAsk, RekeyAsk, RekeyDto},
    principal::Principal,
};

/// Streams a copy as frames: see [`Frame`]. It ends with the connection, and with the server.
pub(super) async fn backup(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(asked): Body<BackupAsk>,
) -> Result<Response, AdminError> {
    if asked.into.is_some() {
        return Err(AdminError::Invalid(
            "the copy is the answer, and whoever asks for it writes it: crm-relay store backup DIR; send {}".into(),
        ));
    }
    let copying = state.upkeep.backup().await?;
    let Backup { commit, events, .. } = copying.backup;
    state.registry.note(state.audited(&who, "store.backup", format!("commit {commit}, {events} events"))).await?;
    let mut response = Response::new(frames(copying, state.supervisor.stopping()));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// A step of sealing anew what is stored. The audit log has the begin of a pass and its end.
pub(super) async fn rekey(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(asked): Body<RekeyAsk>,
) -> Result<Json<RekeyDto>, AdminError> {
    let key = state.promises.sealed_with;
    if let Some(number) = key.filter(|_| asked.from.is_none()) {
        // One that seals with an older key goes on to, which nobody would need any more by what is stored.
        let servers = state.health.report().await?.hub.servers;
        if let Some(other) = servers.iter().find(|server| !server.same_config) {
            return Err(AdminError::Conflict(format!(
                "the server {} has another configuration, and may seal with another key: restart it with this one's first",
                other.about.name
            )));
        }
        state.registry.note(state.audited(&who, "store.rekey", format!("with key {number}"))).await?;
    }
    let Rekeyed { read, sealed, left, next, retired } = state.upkeep.rekey(asked.from).await?;
    for number in &retired {
        state.registry.note(state.audited(&who, "store.retire-key", format!("key {number}"))).await?;
    }
    Ok(Json(RekeyDto { key, read, sealed, left, next, retired }))
}

/// What is left to say.
enum Left {
    About(Copying),
    Pieces(Copying),
    Nothing,
}

fn frames(copying: Copying, stop: CancellationToken) -> Stream {
    Stream::from_stream(stream::unfold(Left::About(copying), move |left| {
        let stop = stop.clone();
        async move {
            let (frame, left) = match left {
                Left::About(copying) => (Frame::About(Box::new(copying.backup.clone())), Left::Pieces(copying)),
                Left::Pieces(copying) => next(copying, &stop).await,
                Left::Nothing => return None,
            };
            Some((Ok::<Bytes, BackupError>(frame.encode()), left))
        }
    }))
}

async fn next(mut copying: Copying, stop: &CancellationToken) -> (Frame, Left) {
    // Cancel safety: a piece that was not taken stays in the channel.
    let piece = tokio::select! {
        biased;
        () = stop.cancelled() => Some(Err(BackupError::Stopped)),
        piece = copying.pieces.recv() => piece,
    };
    match piece {
        Some(Ok(Piece::Bytes(bytes))) => (Frame::Bytes(bytes), Left::Pieces(copying)),
        Some(Ok(Piece::End(manifest))) => (Frame::End(manifest), Left::Nothing),
        Some(Err(error)) => (Frame::failed(&error), Left::Nothing),
        None => (Frame::failed(&BackupError::Unavailable), Left::Nothing),
    }
}
