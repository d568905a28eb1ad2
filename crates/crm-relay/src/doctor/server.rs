//! What a server knows of the way, asked by its admin API; or its store, where it does not run.

use std::path::PathBuf;

use relay_server::api::{CheckDto, Hop, WhyDto};

use super::{Examined, store};
use crate::{
    admin_client::{Api, Found, query},
    config::layers::Layers,
    exit::Failure,
    place,
};

/// `None`: neither is here. `shared`: the store is in a Redis, and none is looked for in a directory.
///
/// # Errors
/// Those of the admin API, and that the store can be read by nobody.
pub(super) async fn examine(layers: &Layers, source: Option<&str>, shared: bool) -> Result<Option<Examined>, Failure> {
    let holds_store = |dirs: Vec<PathBuf>| dirs.into_iter().find(|dir| !shared && place::holds_store(dir));
    match Found::server_or_store(layers, holds_store).await? {
        Found::Server(api) => Ok(Some(ask(&api, source).await?)),
        Found::Store { dir, store } => Ok(Some(store::examine(&dir, &store).await?)),
        Found::Nothing => Ok(None),
    }
}

async fn ask(api: &Api, source: Option<&str>) -> Result<Examined, Failure> {
    let about = source.map(|source| ("source", source.to_owned()));
    let why: WhyDto = api.get(&query("/api/v1/why", about)).await?;
    // Whoever may only look may not have it asked, and what the server said of the rest holds all the same.
    let reached: CheckDto = api.order("/api/v1/public-url").await.unwrap_or_else(|failure| {
        let said = format!("whether PUBLIC_URL leads to this server was not asked: {}", failure.text);
        CheckDto::unknown(Hop::Server, "public_url", said)
    });
    let mut checks = why.checks;
    // Behind what else is said of the server.
    let at = checks.iter().position(|check| check.hop != Hop::Server).unwrap_or(checks.len());
    checks.insert(at, reached);
    Ok(Examined { at: vec![api.to_string()], checks })
}
