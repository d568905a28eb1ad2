//! What a process, or the machine it runs on, lacks for a connection: no fault of whoever is to be reached.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use rustix::io::Errno;

/// What is lacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// The process has as many files and sockets open as it may.
    Descriptors,
    /// The system has.
    SystemDescriptors,
    /// Every local port is in use for connections to that address.
    Ports,
    /// The kernel has no memory for it.
    Memory,
}

impl Shortage {
    /// What an error says is lacking; none if it is not that.
    pub fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE => Some(Self::Descriptors),
            Errno::NFILE => Some(Self::SystemDescriptors),
            Errno::ADDRNOTAVAIL => Some(Self::Ports),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
            _ => None,
        }
    }

    /// The error of a connection to `address`, so that [`Self::of`] judges it rightly: the system has one word for "no port is
    /// free" and for "no address of this machine leads there", as where IPv6 is off.
    pub(crate) fn told_apart(error: io::Error, address: SocketAddr) -> io::Error {
        if Self::of(&error) != Some(Self::Ports) || leads_to(address) {
            return error;
        }
        io::Error::new(io::ErrorKind::AddrNotAvailable, "no address of this machine leads there")
    }

    /// What is lacking at this moment for anything more; none: a file or socket could be opened.
    pub fn now() -> Option<io::Error> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        socket.err().filter(|error| Self::of(error).is_some())
    }

    /// What whoever runs it can do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Descriptors => {
                "raise the limit of open files (LimitNOFILE= in a unit, ulimit -n in a shell), or lower CONCURRENCY"
            }
            Self::SystemDescriptors => "raise fs.file-max, or look what holds so many files open on this machine",
            Self::Ports => {
                "widen net.ipv4.ip_local_port_range, or look what leaves so many connections to this address behind (ss -tan)"
            }
            Self::Memory => "give this machine or container more memory, or look what takes it",
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "open files: the process has as many as it may",
            Self::SystemDescriptors => "open files: the system has as many as it may",
            Self::Ports => "local ports: all are in use",
            Self::Memory => "memory of the kernel",
        })
    }
}

/// Whether this machine has an address from which another one is reached. Nothing is sent.
fn leads_to(address: SocketAddr) -> bool {
    let own = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind(SocketAddr::new(own, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_from_what_is_wrong_elsewhere() {
        let of = |errno: Errno| Shortage::of(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(of(Errno::MFILE), Some(Shortage::Descriptors));
        assert_eq!(of(Errno::NFILE), Some(Shortage::SystemDescriptors));
        assert_eq!(of(Errno::NOBUFS), Some(Shortage::Memory));
        for elsewhere in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::CONNRESET] {
            assert_eq!(of(elsewhere), None);
        }
        assert_eq!(Shortage::of(&io::ErrorKind::AddrNotAvailable.into()), None);
    }

    /// "No address" means that no port is free only where there is a way.
    #[test]
    fn no_port_is_told_from_no_way() {
        let error = || io::Error::from_raw_os_error(Errno::ADDRNOTAVAIL.raw_os_error());
        let here = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(Shortage::of(&Shortage::told_apart(error(), here)), Some(Shortage::Ports));
        // A link-local address without its link: there is no way.
        let nowhere: SocketAddr = "[fe80::1]:9".parse().expect("an address");
        assert_eq!(Shortage::of(&Shortage::told_apart(error(), nowhere)), None);
        let refused = Shortage::told_apart(io::ErrorKind::ConnectionRefused.into(), nowhere);
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
