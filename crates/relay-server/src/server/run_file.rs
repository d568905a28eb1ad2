//! What says that a server runs, and where it listens: `DATA_DIR/run.json`, beside the socket for operators and lines of the log.

use std::{fs, future::pending, path::PathBuf, time::Duration};

use relay_store::private;
use tokio::time::sleep;

use super::Server;
use crate::{start_error::StartError, state::Listening, supervise::TaskKind};

/// Between two tries to write `run.json` on a full disk.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

impl Server {
    /// Takes away what says that the server runs.
    pub(super) fn withdraw(&self) {
        for name in ["run.json", "admin.sock"] {
            // Somebody may have removed it already.
            let _ = fs::remove_file(self.config.data_dir.join(name));
        }
    }

    /// Says where it listens, in the log and in `run.json`.
    pub(super) fn announce(&self) -> Result<(), StartError> {
        let (promises, tls) = (&self.admin.promises, self.certificate.is_some());
        let (backend, durability, sealed_with) = (promises.backend, promises.durability, promises.sealed_with);
        tracing::info!(event = "store", backend, durability, sealed_with);
        // Whoever asks where it listens is told nothing: it does not.
        let Some(public) = self.public.map(|addr| addr.to_string()) else { return Ok(()) };
        let admin = self.admin_addr.map(|addr| addr.to_string());
        tracing::info!(event = "listening", name = "public", addr = public, tls);
        if let Some(addr) = &admin {
            tracing::info!(event = "listening", name = "admin", addr);
        }
        let redirect = self.redirect_addr.map(|addr| addr.to_string());
        if let Some(addr) = &redirect {
            tracing::info!(event = "listening", name = "redirect", addr);
        }
        let clients = self.clients_addr.map(|addr| addr.to_string());
        if let Some(addr) = &clients {
            tracing::info!(event = "listening", name = "clients", addr);
        }
        let (host, proxy_protocol) = (self.config.allowed_hosts.first().cloned(), self.config.proxy_protocol.public);
        let run = serde_json::json!({
            "pid": std::process::id(),
            "public": public,
            "tls": tls,
            "host": host,
            "url": self.config.public_url,
            "proxy_protocol": proxy_protocol,
            "redirect": redirect,
            "clients": clients,
            "admin": admin,
        });
        let path = self.config.data_dir.join("run.json");
        match private::replace(&path, run.to_string().as_bytes()) {
            Ok(()) => {}
            // A full disk is left by settling and retention, which nobody would do without a server (I16).
            Err(error) if private::is_no_room(&error) => self.announce_later(path, run.to_string()),
            Err(source) => return Err(StartError::Write { path, source }),
        }
        // Set once: a server starts once.
        let _ = self.admin.listening.set(Listening { public, tls, host, proxy_protocol, admin });
        Ok(())
    }

    /// Writes `run.json` once there is room for it.
    fn announce_later(&self, path: PathBuf, run: String) {
        tracing::warn!(event = "not_announced", path = %path.display(), "the disk is full; written once there is room");
        self.supervisor.spawn(TaskKind::Watch, "announce", async move {
            loop {
                sleep(ANNOUNCE_EVERY).await;
                if private::replace(&path, run.as_bytes()).is_ok() {
                    return pending().await;
                }
            }
        });
    }
}
