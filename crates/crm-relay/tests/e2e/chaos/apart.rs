//! Networks and mounts of a run's own, which are gone with its processes: each client is on a machine of its own, as far as the
//! network goes, with one link to the server and one to its target.
//!
//! As root, or where anybody may make a user namespace.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::process::wait_for;

/// Where the server listens.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);
/// Where the targets do.
pub(super) const TARGETS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 2);
/// Says to a process that it runs in namespaces of its own.
const INSIDE: &str = "CHAOS_INSIDE";

/// Whether this process does.
pub(super) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a test of this program once more, in namespaces of its own; nothing where they cannot be made. What it prints is given, or
/// seen at once if it `is_watched`.
pub(super) fn run_inside(test: &str, is_watched: bool) -> Option<Output> {
    let own: &[&str] =
        [&["--net", "--mount"][..], &["--map-root-user", "--net", "--mount"]].into_iter().find(|own| {
            let mut tried = Command::new("unshare");
            tried.args(*own).args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null());
            tried.status().is_ok_and(|status| status.success())
        })?;
    let mut again = Command::new("unshare");
    again.args(own).arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    if is_watched {
        again.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    Some(again.output().unwrap())
}

/// Gives this process's network its addresses.
pub(super) fn addresses() {
    ip(&[], "link set lo up");
    ip(&[], &format!("address add {SERVER}/32 dev lo"));
    ip(&[], &format!("address add {TARGETS}/32 dev lo"));
}

/// A small disk. Gone when dropped.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of so many MiB at `dir`, if it can be had.
    pub(super) fn at(dir: &Path, mib: u64) -> Option<Self> {
        let options = format!("size={mib}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "chaos"]).arg(dir).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(dir.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The network of one client. Gone when dropped.
pub(super) struct Link {
    number: usize,
    /// Keeps the network while its input is open.
    holder: Child,
}

impl Link {
    /// Makes a network with a link to [`SERVER`] and one to [`TARGETS`].
    pub(super) fn lay(number: usize) -> Self {
        let holder = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let (pid, ours) = (holder.id().to_string(), network("self"));
        wait_for("a network of its own", || network(&pid).filter(|theirs| Some(theirs) != ours.as_ref()));
        let link = Self { number, holder };
        ip(&link.within(), "link set lo up");
        for (name, subnet) in [("relay", 10 + number), ("office", 20 + number)] {
            ip(&[], &format!("link add {name}{number} type veth peer name {name} netns {pid}"));
            ip(&[], &format!("address add 10.213.{subnet}.1/24 dev {name}{number}"));
            ip(&[], &format!("link set {name}{number} up"));
            ip(&link.within(), &format!("address add 10.213.{subnet}.2/24 dev {name}"));
        }
        ip(&link.within(), "link set office up");
        ip(&link.within(), &format!("route add {TARGETS} via 10.213.{}.1", 20 + number));
        link.mend_here();
        link
    }

    /// What to start a process behind so that it is in this network.
    pub(super) fn within(&self) -> Vec<String> {
        ["nsenter", "--target", &self.holder.id().to_string(), "--net"].map(str::to_owned).to_vec()
    }

    /// Takes the client's end of the link to the server away.
    pub(super) fn cut_here(&self) {
        ip(&self.within(), "link set relay down");
    }

    /// Brings it back.
    pub(super) fn mend_here(&self) {
        ip(&self.within(), "link set relay up");
        ip(&self.within(), &format!("route replace {SERVER} via 10.213.{}.1", 10 + self.number));
    }

    /// Takes the server's end of it away.
    pub(super) fn cut_there(&self) {
        ip(&[], &format!("link set relay{} down", self.number));
    }

    /// Brings it back.
    pub(super) fn mend_there(&self) {
        ip(&[], &format!("link set relay{} up", self.number));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// `ip ARGS`, here or behind another command.
fn ip(wrapper: &[String], args: &str) {
    let mut words = wrapper.iter().map(String::as_str).chain(["ip"]).chain(args.split(' '));
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}
