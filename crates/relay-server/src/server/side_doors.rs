//! The listeners beside the public one that strangers reach: where clients alone are taken, and where others are sent to TLS.

use std::sync::Arc;

use relay_net::serve::Listener;

use super::Server;
use crate::{
    acme::Challenges,
    clients::{self, Gatehouse, Trusted},
    ingress::{Introductions, Patience},
    redirect::{self, Redirect, Signpost},
    supervise::TaskKind,
};

impl Server {
    /// Sends whoever comes without TLS to where it is spoken.
    pub(super) fn spawn_redirect(&self, listener: Listener, challenges: Arc<Challenges>) {
        let redirect = Redirect::to(self.config.public_url.as_deref().unwrap_or_default(), challenges);
        let introductions = self.introductions(redirect::NAME, self.config.proxy_protocol.redirect);
        let signpost = Signpost { redirect, books: self.books(), introductions };
        let stop = self.accepting.clone();
        self.supervisor.spawn(TaskKind::Public, "redirect", async move {
            redirect::serve(listener, signpost, stop).await;
            Ok(())
        });
    }

    /// Takes clients where nobody else is taken.
    pub(super) fn spawn_clients(&self, listener: Listener, trusted: Trusted) {
        let (books, stop) = (self.books(), self.accepting.clone());
        let introductions = self.introductions(clients::NAME, self.config.proxy_protocol.clients);
        let gatehouse = Gatehouse { tls: trusted.tls(), gate: self.gate.clone(), books, introductions };
        self.supervisor.spawn(TaskKind::Public, "clients", async move {
            clients::serve(listener, gatehouse, stop).await;
            Ok(())
        });
        self.supervisor.spawn(TaskKind::Watch, "client-authorities", async move {
            trusted.keep().await;
            Ok(())
        });
    }

    /// Whom proxies bring to a listener, if they are to say so there before anything else.
    fn introductions(&self, listener: &'static str, asked: bool) -> Option<Introductions> {
        let proxies = Arc::clone(&self.config.proxies);
        asked.then(|| Introductions::new(listener, proxies, self.books(), Patience::default().handshake))
    }
}
