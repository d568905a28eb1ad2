//! What webhooks are taken in with, once there is a store.

use std::sync::Arc;

use relay_core::{
    hub::{Accepting, Answer},
    name::Name,
};
use relay_net::origin::Origin;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    fetch::Keyring,
    guesses::Guesses,
    hub::Handle,
    intake::Intake,
    own_request::OwnRequests,
    principal::Principal,
    quotas::{Hold, Quotas},
    registry::{Registry, RegistryError},
    supervise::{Supervisor, TaskKind},
    traces::Traces,
};

/// What webhooks are taken in with, once there is a store.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) registry: Arc<Registry>,
    pub(crate) hub: Handle,
    /// Keys and certificates that providers name.
    pub(crate) keyring: Arc<Keyring>,
    /// What sources took today, of those that bound it.
    pub(crate) quotas: Arc<Quotas>,
    /// Who shows wrong secrets.
    pub(crate) guesses: Arc<Guesses>,
    /// What this server asks itself by way of its public address.
    pub(crate) own_requests: Arc<OwnRequests>,
    pub(crate) supervisor: Supervisor,
    /// Is cancelled when no webhook is taken any more.
    pub(crate) refusing: CancellationToken,
    /// Where it is told what was taken in.
    pub(crate) traces: Option<Arc<Traces>>,
}

impl Backend {
    /// The source of that name in the present snapshot.
    pub(super) fn source(&self, name: &[u8]) -> Option<Arc<Intake>> {
        let name = std::str::from_utf8(name).ok()?;
        self.registry.directory().intakes.get(name).cloned()
    }

    /// Makes a verified request durable; completes when that is certain, or certainly not going to be known. What is held for it is
    /// counted when it is stored, also if nobody waits for that any more.
    pub(super) async fn accept(&self, request: Box<Accepting>, hold: Option<Box<Hold>>) -> Answer {
        self.hub.accept(request, hold).await
    }

    /// Keeps a secret durably that the source's platform handed over; an error says what the operator can do. Goes on to its end when the
    /// sender goes away: what is half done helps nobody.
    pub(super) async fn adopt(
        &self,
        source: &Name,
        origin: Origin,
        parameter: &'static str,
        value: String,
    ) -> Result<(), String> {
        let (registry, name) = (Arc::clone(&self.registry), source.clone());
        let (answer, answered) = oneshot::channel();
        self.supervisor.spawn(TaskKind::Command, "adopt", async move {
            // The sender may have gone away.
            let _ = answer.send(registry.adopt(&name, parameter, &value, &Principal::sender(origin)).await);
            Ok(())
        });
        let kept = answered.await.map_err(|_| "it was broken off; the platform is to send it again".to_owned())?;
        kept.map_err(|error| match error {
            RegistryError::Declared { at, .. } => format!(
                "the source is declared in {at}, where the platform cannot write: take it out there, reload the server (SIGHUP), and \
                 make it with: crm-relay source create {source} --provider NAME"
            ),
            other => other.to_string(),
        })
    }
}
