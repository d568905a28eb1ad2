//! The PROXY protocol: what a load balancer says before the first byte of a connection that it passes on, in version 1 or 2.
//!
//! Nobody else may say it: whoever reads it has looked at whose socket it is. Not a byte behind it is taken, so that TLS
//! or HTTP begins where it ends.
//!
//! **Source** The PROXY protocol, versions 1 & 2 (haproxy.org, doc/proxy-protocol.txt), sections 2.1 and 2.2.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::limits;

/// How a header of version 2 begins: no protocol begins like that.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How a line of version 1 begins.
const BEGINNING: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;

/// What such a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Whom the connection comes from.
    From(SocketAddr),
    /// Nothing: the proxy speaks for itself, as for its health checks, or knows nobody.
    Nobody,
}

/// Why a connection has no such header.
#[derive(Debug)]
pub enum Missing {
    /// Its peer said something else.
    Another,
    /// Its peer went away, said nothing in time, or the socket failed.
    Failed(io::Error),
}

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads the header within this time, and nothing behind it. Dropped, part of it may have been read: such a connection is of no
/// use any more.
///
/// # Errors
/// [`Missing`].
pub async fn take(socket: &mut TcpStream, within: Duration) -> Result<Said, Missing> {
    let header = async {
        let mut begin = [0; SIGNATURE.len()];
        socket.read_exact(&mut begin).await?;
        if begin == SIGNATURE {
            return binary(socket).await;
        }
        if !begin.starts_with(BEGINNING) {
            return Err(Missing::Another);
        }
        let line = line(socket, &begin).await?;
        from_line(&line).ok_or(Missing::Another)
    };
    timeout(within, header).await.unwrap_or_else(|_| Err(Missing::Failed(io::ErrorKind::TimedOut.into())))
}

/// The rest of a header of version 2.
async fn binary(socket: &mut TcpStream) -> Result<Said, Missing> {
    let mut fixed = [0; 4];
    socket.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > limits::PROXY_HEADER_BYTES_MAX {
        return Err(Missing::Another);
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    from_binary(command, family, &rest).ok_or(Missing::Another)
}

/// A line of version 1, of which the beginning has been read. What is there is looked at before it is taken, for what stands
/// behind the line is not ours.
async fn line(socket: &mut TcpStream, begin: &[u8]) -> Result<Vec<u8>, Missing> {
    let mut line = begin.to_vec();
    while line.len() < LINE_BYTES_MAX {
        let mut next = [0; LINE_BYTES_MAX];
        let room = LINE_BYTES_MAX - line.len();
        let there = socket.peek(&mut next[..room]).await?;
        if there == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let end = next[..there].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(there, |at| at + 1);
        socket.read_exact(&mut next[..taken]).await?;
        line.extend_from_slice(&next[..taken]);
        if end.is_some() {
            return Ok(line);
        }
    }
    Err(Missing::Another)
}

/// What a line of version 1 says; none if it is not one.
fn from_line(line: &[u8]) -> Option<Said> {
    let words = str::from_utf8(line.strip_suffix(b"\r\n")?.strip_prefix(BEGINNING)?).ok()?;
    let words: Vec<&str> = words.split(' ').collect();
    let (is_v4, [from, to, from_port, to_port]) = match words[..] {
        // Whatever follows it says nothing.
        ["UNKNOWN", ..] => return Some(Said::Nobody),
        ["TCP4", from, to, from_port, to_port] => (true, [from, to, from_port, to_port]),
        ["TCP6", from, to, from_port, to_port] => (false, [from, to, from_port, to_port]),
        _ => return None,
    };
    let address = |text: &str| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == is_v4);
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (from, _, port, _) = (address(from)?, address(to)?, port(from_port)?, port(to_port)?);
    Some(Said::From(SocketAddr::new(from, port)))
}

/// What a header of version 2 says; none if it is not one. What stands behind its addresses is left alone.
fn from_binary(command: u8, family: u8, rest: &[u8]) -> Option<Said> {
    match (command, family) {
        // The proxy itself; or it knows no address, or none that this relay could.
        (0x20, _) | (0x21, 0x00 | 0x31) => Some(Said::Nobody),
        (0x21, 0x11) => {
            let (from, rest) = rest.split_first_chunk::<4>()?;
            Some(Said::From(SocketAddr::new(Ipv4Addr::from(*from).into(), port_behind::<4>(rest)?)))
        }
        (0x21, 0x21) => {
            let (from, rest) = rest.split_first_chunk::<16>()?;
            Some(Said::From(SocketAddr::new(Ipv6Addr::from(*from).into(), port_behind::<16>(rest)?)))
        }
        _ => None,
    }
}

/// The first of two ports, behind the other address.
fn port_behind<const ADDRESS: usize>(rest: &[u8]) -> Option<u16> {
    let (_, ports) = rest.split_first_chunk::<ADDRESS>()?;
    let ([high, low, _, _], _) = ports.split_first_chunk::<4>()?;
    Some(u16::from_be_bytes([*high, *low]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn binary_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn of_v4() -> Vec<u8> {
        let rest = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb, 0x04, 0, 1, 0];
        binary_header(0x21, 0x11, &rest)
    }

    fn of_v6() -> Vec<u8> {
        let from: Ipv6Addr = "2001:db8::7".parse().unwrap();
        binary_header(0x21, 0x21, &[&from.octets()[..], &[0; 16], &[0x12, 0x67, 0, 80]].concat())
    }

    /// What is read of these bytes, sent one by one or at once; and what is left behind it.
    async fn read(bytes: &[u8], one_by_one: bool, within: Duration) -> (Result<Said, Missing>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut here, mut there) = (here.unwrap(), there.unwrap().0);
        here.set_nodelay(true).unwrap();
        let said = bytes.to_vec();
        let sending = async {
            for piece in said.chunks(if one_by_one { 1 } else { usize::MAX }) {
                let _ = here.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = here.shutdown().await;
        };
        let ((), taken) = tokio::join!(sending, take(&mut there, within));
        let mut rest = Vec::new();
        let _ = there.read_to_end(&mut rest).await;
        (taken, rest)
    }

    #[tokio::test]
    async fn both_versions_say_whom_they_bring_and_nothing_behind_is_taken() {
        let v4 = Said::From("203.0.113.9:4711".parse().unwrap());
        let v6 = Said::From("[2001:db8::7]:4711".parse().unwrap());
        let headers: [(Vec<u8>, Said); 8] = [
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n".to_vec(), v4),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(), v6),
            (b"PROXY UNKNOWN\r\n".to_vec(), Said::Nobody),
            (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n".to_vec(), Said::Nobody),
            (of_v4(), v4),
            (of_v6(), v6),
            (binary_header(0x20, 0x00, b""), Said::Nobody),
            (binary_header(0x21, 0x31, &[0; 216]), Said::Nobody),
        ];
        for (header, wanted) in headers {
            for behind in ["", "\x16", "GET / HTTP/1.1\r\n\r\n"] {
                for one_by_one in [true, false] {
                    let said = [&header[..], behind.as_bytes()].concat();
                    let (taken, rest) = read(&said, one_by_one, LONG).await;
                    assert_eq!((taken.unwrap(), rest), (wanted, behind.as_bytes().to_vec()), "{header:?}");
                }
            }
        }
    }

    /// S15: what is no such header ends the connection; it is never guessed at.
    #[tokio::test]
    async fn anything_else_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        for said in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 +471 443\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 65536 443\r\n",
            b"PROXY TCP4  203.0.113.9 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\n",
            b"proxy TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
            long.as_bytes(),
            &binary_header(0x11, 0x11, &[0; 12]),
            &binary_header(0x22, 0x11, &[0; 12]),
            &binary_header(0x21, 0x12, &[0; 12]),
            &binary_header(0x21, 0x11, &[0; 11]),
            &binary_header(0x21, 0x21, &[0; 12]),
            &binary_header(0x21, 0x11, &[0; limits::PROXY_HEADER_BYTES_MAX + 1]),
            &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0],
        ] {
            let (taken, _) = read(said, false, LONG).await;
            assert!(matches!(taken, Err(Missing::Another)), "{taken:?}: {}", String::from_utf8_lossy(said));
        }
    }

    /// S9: one that does not come has its time, one that ends early is none.
    #[tokio::test]
    async fn half_a_header_is_given_up() {
        for said in [&b""[..], b"PROXY TCP4 203.0.113.9", &of_v6()[..20]] {
            let (taken, _) = read(said, false, LONG).await;
            let Err(Missing::Failed(error)) = taken else { panic!("{taken:?}") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let taken = take(&mut there.unwrap().0, Duration::from_millis(20)).await;
        assert!(matches!(taken, Err(Missing::Failed(error)) if error.kind() == io::ErrorKind::TimedOut));
        drop(here);
    }

    /// What a header says, read in another way than by the code above: all of it at once, with the bytes behind it; none if that is no
    /// header, or not the whole of one.
    fn said_by(bytes: &[u8]) -> Option<(Said, usize)> {
        if let Some(rest) = bytes.strip_prefix(&SIGNATURE) {
            let length = usize::from(rest.get(2).copied()?) << 8 | usize::from(rest.get(3).copied()?);
            let body = rest.get(4..4 + length).filter(|_| length <= limits::PROXY_HEADER_BYTES_MAX)?;
            let port = |at: usize| Some(u16::from(*body.get(at)?) << 8 | u16::from(*body.get(at + 1)?));
            let said = match (rest[0], rest[1]) {
                (0x20, _) | (0x21, 0x00 | 0x31) => Said::Nobody,
                (0x21, 0x11) => {
                    body.get(11)?;
                    Said::From(([body[0], body[1], body[2], body[3]], port(8)?).into())
                }
                (0x21, 0x21) => {
                    body.get(35)?;
                    Said::From((<[u8; 16]>::try_from(&body[..16]).ok()?, port(32)?).into())
                }
                _ => return None,
            };
            return Some((said, 16 + length));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = str::from_utf8(&bytes[..=end]).ok().filter(|line| line.len() <= LINE_BYTES_MAX)?;
        let line = line.strip_suffix("\r\n")?.strip_prefix("PROXY ")?;
        if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
            return Some((Said::Nobody, end + 1));
        }
        let mut words = line.split(' ');
        let family = words.next()?;
        let mut ip = || match family {
            "TCP4" => words.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => words.next()?.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        };
        let (from, _to) = (ip()?, ip()?);
        let mut port = || words.next().filter(|word| !word.contains('+'))?.parse::<u16>().ok();
        let (port, _) = (port()?, port()?);
        words.next().is_none().then_some((Said::From((from, port).into()), end + 1))
    }

    /// A header of either version, as a balancer writes it, and what it says.
    fn header() -> impl Strategy<Value = (Vec<u8>, Said)> {
        let more = || proptest::collection::vec(any::<u8>(), 0..40);
        let ports = || (any::<u16>(), any::<u16>());
        let v4 = |from, port| Said::From(SocketAddr::new(IpAddr::V4(from), port));
        let v6 = |from, port| Said::From(SocketAddr::new(IpAddr::V6(from), port));
        prop_oneof![
            (any::<Ipv4Addr>(), any::<Ipv4Addr>(), ports()).prop_map(move |(from, to, (port, other))| {
                (format!("PROXY TCP4 {from} {to} {port} {other}\r\n").into_bytes(), v4(from, port))
            }),
            (any::<Ipv6Addr>(), any::<Ipv6Addr>(), ports()).prop_map(move |(from, to, (port, other))| {
                (format!("PROXY TCP6 {from} {to} {port} {other}\r\n").into_bytes(), v6(from, port))
            }),
            "( [ -~]{0,60})?".prop_map(|rest| (format!("PROXY UNKNOWN{rest}\r\n").into_bytes(), Said::Nobody)),
            (any::<Ipv4Addr>(), any::<Ipv4Addr>(), ports(), more()).prop_map(move |(from, to, (port, other), more)| {
                let rest =
                    [&from.octets()[..], &to.octets(), &port.to_be_bytes(), &other.to_be_bytes(), &more].concat();
                (binary_header(0x21, 0x11, &rest), v4(from, port))
            }),
            (any::<Ipv6Addr>(), any::<Ipv6Addr>(), ports(), more()).prop_map(move |(from, to, (port, other), more)| {
                let rest =
                    [&from.octets()[..], &to.octets(), &port.to_be_bytes(), &other.to_be_bytes(), &more].concat();
                (binary_header(0x21, 0x21, &rest), v6(from, port))
            }),
            (any::<u8>(), more()).prop_map(|(family, more)| (binary_header(0x20, family, &more), Said::Nobody)),
            (prop_oneof![Just(0x00), Just(0x31)], more())
                .prop_map(|(family, more)| (binary_header(0x21, family, &more), Said::Nobody)),
        ]
    }

    fn in_runtime<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// S15: a header says what it says, however its bytes come, and nothing behind it is taken; cut at any byte it is none, and with
        /// any byte of it changed it is what another reader takes it for, or none.
        #[test]
        fn headers_are_read_whole_or_not_at_all(
            (header, said) in header(),
            behind in proptest::collection::vec(any::<u8>(), 0..30),
            flips in proptest::collection::vec(1_u8.., 600),
        ) {
            prop_assert_eq!(said_by(&header), Some((said, header.len())), "the other reader");
            in_runtime(async {
                let whole = [&header[..], &behind].concat();
                for one_by_one in [false, true] {
                    let (taken, rest) = read(&whole, one_by_one, LONG).await;
                    prop_assert_eq!((taken.ok(), &rest), (Some(said), &behind));
                }
                for end in 0..header.len() {
                    let (taken, _) = read(&header[..end], false, LONG).await;
                    let is_cut = matches!(&taken, Err(Missing::Failed(error)) if error.kind() == io::ErrorKind::UnexpectedEof);
                    prop_assert!(is_cut, "cut at {}: {:?}", end, taken);
                }
                for (at, flip) in (0..header.len()).zip(flips) {
                    let mut garbled = whole.clone();
                    garbled[at] ^= flip;
                    let wanted = said_by(&garbled);
                    let (taken, rest) = read(&garbled, false, LONG).await;
                    prop_assert_eq!(taken.ok(), wanted.map(|(said, _)| said), "byte {} is {:#x}", at, garbled[at]);
                    if let Some((_, end)) = wanted {
                        prop_assert_eq!(&rest, &garbled[end..], "byte {} is {:#x}", at, garbled[at]);
                    }
                }
                Ok(())
            })?;
        }

        /// Hostile bytes are read or refused, and nothing else.
        #[test]
        fn any_bytes_are_read_or_refused(command: u8, family: u8, rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (from_binary(command, family, &rest), from_line(&rest));
            let line = [BEGINNING, &rest, b"\r\n"].concat();
            let _ = from_line(&line);
        }
    }
}
