//! Whether a target takes a connection: nothing is asked of it, for whatever is asked may have an effect there.

use std::sync::Arc;

use relay_core::limits;
use tokio::time::Instant;

use super::Target;
use crate::{
    config::Destination,
    lacking::Lacking,
    unreached::{Whose, explain},
};

/// Connects to the target of a destination as a forward would, and says nothing there: what was found, or why there is no way.
///
/// # Errors
/// In words, at which step the way ends.
pub async fn probe(destination: &Destination) -> Result<String, String> {
    let target = Target::new(destination, Arc::<Lacking>::default()).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + destination.forward_timeout.min(limits::FORWARD_TIMEOUT);
    match target.peer.dial_until(deadline).await {
        Ok(_) if target.peer.tls.is_some() => {
            Ok(format!("{} takes connections, and its certificate is trusted", target.peer))
        }
        Ok(_) => Ok(format!("{} takes connections", target.peer)),
        Err(error) => Err(explain(&error, Whose::Target)),
    }
}
