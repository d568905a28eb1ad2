//! What the service manager is told of this process, and what it hands over: systemd's protocol of readiness and its
//! sockets (`sd_notify(3)`, `sd_listen_fds(3)`). Without systemd both do nothing.

mod inherited;

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

pub(crate) use inherited::inherited;

/// So often within the time that it allows the watchdog is told that this process is alive: once may be late.
const BEATS: u32 = 3;

/// Who started this process, if it wants to hear of it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifier {
    to: Option<SocketAddr>,
    /// How long it may hear nothing before it ends the process.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As this process's environment names it.
    pub(crate) fn of_environment() -> Self {
        Self::of(&crate::config::environment, process::id())
    }

    fn of(environment: &dyn Fn(&str) -> Option<String>, own: u32) -> Self {
        let to = environment("NOTIFY_SOCKET").and_then(|path| address(&path).ok());
        let number = |name: &str| environment(name).and_then(|text| text.parse::<u64>().ok());
        // A watchdog of another process is inherited with its environment.
        let is_own = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(own));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_own).map(Duration::from_micros);
        Self { to, watchdog }
    }

    /// It does what it is for from now on; also after [`reloading`](Self::reloading).
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration anew, and says when it is ready again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It stops.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is under way");
    }

    /// Tells the watchdog that this process is alive, each time that `beat` says so, for as long as it is polled.
    pub(crate) async fn keep_watchdog<B: Future<Output = ()>>(&self, beat: impl Fn() -> B) -> Infallible {
        let Some(within) = self.watchdog else { return pending().await };
        loop {
            beat().await;
            self.tell("WATCHDOG=1");
            sleep(within / BEATS).await;
        }
    }

    /// Whoever does not listen is not waited for: it is told again, or ends the process as it would if nothing came.
    fn tell(&self, state: &str) {
        let Some(to) = &self.to else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to_addr(state.as_bytes(), to)
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "the service manager does not hear");
        }
    }
}

/// A path, or behind `@` a name without a file.
fn address(text: &str) -> io::Result<SocketAddr> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if text.starts_with('/') => SocketAddr::from_pathname(text),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn notifier(pairs: &[(&str, &str)]) -> Notifier {
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Notifier::of(&find, 7)
    }

    #[test]
    fn a_socket_is_a_path_or_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("crm-relay-test-{}", process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (text, socket) in [(path.display().to_string(), by_path), (format!("@{name}"), by_name)] {
            let notifier = notifier(&[("NOTIFY_SOCKET", &text)]);
            notifier.ready("serving");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=serving");
            notifier.reloading();
            let told = heard(&socket);
            let micros = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0);
        }
        for nobody in ["", "relative", "vsock:2:1234", "/nowhere/at/all"] {
            notifier(&[("NOTIFY_SOCKET", nobody)]).stopping();
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_none_of_ours() {
        let within = |pairs: &[(&str, &str)]| notifier(pairs).watchdog;
        let minute = Some(Duration::from_mins(1));
        assert_eq!(within(&[("WATCHDOG_USEC", "60000000")]), minute);
        assert_eq!(within(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "7")]), minute);
        assert_eq!(within(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(within(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(within(&[("WATCHDOG_USEC", "soon")]), None);
    }
}
