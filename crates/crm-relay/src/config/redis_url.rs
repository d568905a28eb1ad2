//! The URL of a Redis, as people write it.

use std::collections::BTreeMap;

/// The usual port.
const PORT: u16 = 6379;
/// That of a sentinel.
const SENTINEL_PORT: u16 = 26_379;
/// More hosts are hardly meant.
const HOSTS_MAX: usize = 16;
/// What a URL may begin with, for whoever wrote another.
const WANT: &str = "want redis://host:port, rediss:// for TLS, host:port, redis+sentinel://host,host,host/NAME, or \
                    redis+cluster://host,host,host";

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) is_cluster: bool,
    /// One node, each of the sentinels, or some nodes of a cluster.
    pub(super) hosts: Vec<(String, u16)>,
    /// What sentinels call the primary; `None`: there are none.
    pub(super) master: Option<String>,
    pub(super) user: Option<String>,
    /// Never shown.
    pub(super) password: Option<Password>,
    pub(super) database: Option<u32>,
}

/// A password; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(pub(super) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

/// What kind of Redis a scheme stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Node,
    Sentinel,
    Cluster,
}

/// What a scheme says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheme {
    shape: Shape,
    pub(super) is_tls: bool,
}

impl Scheme {
    /// That of a URL, whatever stands behind it; `None`: it is none of those.
    pub(super) fn of(text: &str) -> Option<Self> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let (shape, is_tls) = match scheme.as_deref() {
            None if text.contains(":/") => return None,
            None | Some("redis") => (Shape::Node, false),
            Some("rediss") => (Shape::Node, true),
            Some("redis+sentinel") => (Shape::Sentinel, false),
            Some("rediss+sentinel") => (Shape::Sentinel, true),
            Some("redis+cluster") => (Shape::Cluster, false),
            Some("rediss+cluster") => (Shape::Cluster, true),
            Some(_) => return None,
        };
        Some(Self { shape, is_tls })
    }

    pub(super) fn is_cluster(self) -> bool {
        self.shape == Shape::Cluster
    }
}

/// Reads a URL.
///
/// # Errors
/// All that would be right, and nothing of the URL.
pub(super) fn read(text: &str) -> Result<Url, String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    // Up to the last `@`: a password may hold anything.
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let Some(Scheme { shape, is_tls }) = Scheme::of(text) else { return Err(of_no_scheme(text, login, place)) };
    let mut faults = Vec::new();
    if place.contains(['?', '#']) {
        faults.push("what stands behind ? or # has no meaning here: leave it out".to_owned());
    }
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let usual = if shape == Shape::Sentinel { SENTINEL_PORT } else { PORT };
    let hosts: Vec<(String, u16)> =
        hosts.split(',').filter_map(|host| noted(host_and_port(host, usual), &mut faults)).collect();
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let database = match (shape, &path[..]) {
        (Shape::Sentinel, []) => {
            faults.push("the name of the master is missing: redis+sentinel://host,host,host/NAME".to_owned());
            None
        }
        (Shape::Sentinel, [_]) | (Shape::Node, []) | (Shape::Cluster, [] | ["0"]) => None,
        (Shape::Cluster, _) => {
            faults.push("a cluster has database 0 only".to_owned());
            None
        }
        (Shape::Sentinel, [_, number]) | (Shape::Node, [number]) => noted(database_number(number), &mut faults),
        (Shape::Sentinel | Shape::Node, _) => {
            faults.push("the path is the number of a database, or nothing".to_owned());
            None
        }
    };
    let (user, password) = noted(login.map_or(Ok((None, None)), user_and_password), &mut faults).unwrap_or_default();
    let named = path.first().filter(|_| shape == Shape::Sentinel);
    let master = named.and_then(|name| noted(decoded(name), &mut faults));
    match shape {
        Shape::Node if hosts.len() > 1 => faults.push("several hosts: want one".to_owned()),
        Shape::Node | Shape::Sentinel | Shape::Cluster => {}
    }
    let is_cluster = shape == Shape::Cluster;
    if hosts.len() > HOSTS_MAX {
        faults.push(format!("want {HOSTS_MAX} hosts at most"));
    }
    for (at, host) in hosts.iter().enumerate() {
        if hosts[..at].contains(host) {
            faults.push("a host stands there twice".to_owned());
            break;
        }
    }
    if faults.is_empty() {
        Ok(Url { is_tls, is_cluster, hosts, master, user, password, database })
    } else {
        Err(faults.join("; "))
    }
}

/// What is wrong with one that begins otherwise: also what stands behind that, whatever it should have been.
fn of_no_scheme(text: &str, login: Option<&str>, place: &str) -> String {
    if !text.contains("://") {
        return format!("two slashes stand behind the colon; {WANT}");
    }
    let mut faults = vec![WANT.to_owned()];
    let hosts = place.split(['/', '?', '#']).next().unwrap_or_default();
    let mut more = Vec::new();
    for host in hosts.split(',') {
        noted(host_and_port(host, PORT), &mut more);
    }
    noted(login.map_or(Ok((None, None)), user_and_password), &mut more);
    faults.extend(more.into_iter().filter(|fault| !fault.contains(WANT)));
    faults.join("; ")
}

/// Where nodes are reached that others know at another address: `host:port=host:port`, with commas between them.
///
/// # Errors
/// What would be right.
pub(super) fn read_map(text: &str) -> Result<BTreeMap<String, String>, String> {
    const WANT: &str = "want what others call a node and where it is reached: 10.0.0.1:6379=redis-1.example:6379,...";
    let mut map = BTreeMap::new();
    for pair in text.split(',') {
        let (named, reached) = pair.split_once('=').ok_or(WANT)?;
        let read = |text: &str| host_and_port(text.trim(), 0).ok().filter(|(_, port)| *port > 0).map(shown_host);
        let (named, reached) = read(named).zip(read(reached)).ok_or(WANT)?;
        if map.insert(named.clone(), reached).is_some() {
            return Err(format!("{named} stands there twice"));
        }
    }
    Ok(map)
}

/// As it may be shown: without user and password, or not at all.
pub(super) fn shown(text: &str) -> String {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    match read(text) {
        Ok(Url { hosts, master, database, user, password, .. }) => {
            let login = if user.is_some() || password.is_some() { "redacted@" } else { "" };
            let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
            let hosts = hosts.into_iter().map(shown_host).collect::<Vec<_>>().join(",");
            let master = master.map_or_else(String::new, |name| format!("/{name}"));
            let database = database.map_or_else(String::new, |number| format!("/{number}"));
            format!("{scheme}{login}{hosts}{master}{database}")
        }
        Err(_) => "redacted".to_owned(),
    }
}

fn shown_host((host, port): (String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn noted<T>(read: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    read.map_err(|fault| {
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    })
    .ok()
}

fn host_and_port(text: &str, usual: u16) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if text.matches(':').count() > 1 => {
            return Err("an IPv6 address stands in brackets: [::1]:6379".to_owned());
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
    if !is_host {
        return Err(format!("no host; {WANT}"));
    }
    let port = match port {
        None => usual,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err("the port is 1 to 65535".to_owned()),
        },
    };
    Ok((host.to_owned(), port))
}

fn database_number(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| *number <= DATABASE_MAX);
    number.ok_or_else(|| format!("the path is the number of a database, 0 to {DATABASE_MAX}, or nothing"))
}

/// No Redis has more.
pub(super) const DATABASE_MAX: u32 = 1_000_000;

fn user_and_password(login: &str) -> Result<(Option<String>, Option<Password>), String> {
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    let password = password.map(decoded).transpose()?.filter(|password| !password.is_empty());
    Ok((user, password.map(Password)))
}

/// Without percent-encoding.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let escaped = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("a % in a user or a password is written as %25")?);
        rest = &rest[2..];
    }
    let want = "a user or a password is UTF-8 without control characters";
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control)).ok_or_else(|| want.to_owned())
}

/// The words of `REDIS_DURABILITY`.
pub(super) const DURABILITIES: &[&str] = &["auto", "everysec", "fsync", "replicated", "fsync-replicated"];

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Url {
        let hosts = vec![(host.to_owned(), port)];
        Url { is_tls: false, is_cluster: false, hosts, master: None, user: None, password: None, database: None }
    }

    #[test]
    fn a_node_is_written_in_several_ways() {
        let password = |text: &str| Some(Password(text.to_owned()));
        for (text, want) in [
            ("redis.local", node("redis.local", 6379)),
            ("redis.local:7000", node("redis.local", 7000)),
            ("[::1]:7000", node("::1", 7000)),
            ("redis://10.0.0.1", node("10.0.0.1", 6379)),
            ("redis://[::1]/", node("::1", 6379)),
            ("REDIS://h:1/3", Url { database: Some(3), ..node("h", 1) }),
            ("rediss://h", Url { is_tls: true, ..node("h", 6379) }),
            ("redis://:a@b:c/d@h:1", Url { password: password("a@b:c/d"), ..node("h", 1) }),
            ("redis://u:p%40%25@h", Url { user: Some("u".into()), password: password("p@%"), ..node("h", 6379) }),
        ] {
            assert_eq!(read(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn sentinels_are_written_with_what_they_call_the_primary() {
        let hosts = |all: &[(&str, u16)]| all.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        let usual = [("h1", 26_379), ("::1", 7), ("h3", 26_379)];
        let plain = Url { hosts: hosts(&usual), master: Some("main".into()), ..node("", 1) };
        assert_eq!(read("redis+sentinel://h1,[::1]:7,h3/main"), Ok(plain.clone()));
        assert_eq!(read("redis+sentinel://h1,[::1]:7,h3/main/3"), Ok(Url { database: Some(3), ..plain.clone() }));
        let (user, password) = (Some("u".into()), Some(Password("p".into())));
        assert_eq!(read("rediss+sentinel://u:p@h1,[::1]:7,h3/main"), Ok(Url { is_tls: true, user, password, ..plain }));
    }

    #[test]
    fn a_cluster_is_written_with_some_of_its_nodes() {
        let hosts = vec![("h1".to_owned(), 6379), ("::1".to_owned(), 7)];
        let plain = Url { is_cluster: true, hosts, ..node("", 1) };
        assert_eq!(read("redis+cluster://h1,[::1]:7"), Ok(plain.clone()));
        assert_eq!(read("redis+cluster://h1,[::1]:7/0"), Ok(plain.clone()));
        assert_eq!(read("rediss+cluster://h1,[::1]:7"), Ok(Url { is_tls: true, ..plain }));
    }

    #[test]
    fn a_map_of_addresses_is_read_whole_or_not_at_all() {
        let map = read_map("10.0.0.1:6379=h:1, [::1]:2=[::2]:3").map(|map| map.into_iter().collect::<Vec<_>>());
        let pairs = [("10.0.0.1:6379", "h:1"), ("[::1]:2", "[::2]:3")];
        assert_eq!(map, Ok(pairs.map(|(named, at)| (named.to_owned(), at.to_owned())).to_vec()));
        for text in ["", "h:1", "h=h:1", "h:1=h", "h:1=h:0", "h:1=h:2,", "h:1=h:2,h:1=h:3"] {
            assert!(read_map(text).is_err(), "{text}");
        }
    }

    /// Whatever is wrong is said at once, and what does not work yet is not taken for something else.
    #[test]
    fn every_fault_of_a_url_is_said_and_nothing_of_it() {
        for (text, wants) in [
            ("http://canary@h:6379", &["want redis://"][..]),
            ("redis://", &["no host"]),
            ("redis://u:canary@h:0/x?y", &["1 to 65535", "number of a database", "behind ?"]),
            ("redis://h:99999", &["1 to 65535"]),
            ("::1", &["brackets"]),
            ("redis://h1,h2", &["want one"]),
            ("redis://u:canary%zz@h", &["%25"]),
            ("redis+sentinel://canary@h1:0,h2", &["name of the master", "1 to 65535"]),
            ("rediss+sentinel://h1,h2:26379,h1/main", &["stands there twice"]),
            ("redis+sentinel://h1/main/x", &["number of a database"]),
            ("redis+cluster://h1,h2/3", &["database 0 only"]),
            ("rediss+cluster://canary@h1:0,h1/3", &["database 0 only", "1 to 65535"]),
            ("redis://h/1/2", &["number of a database"]),
        ] {
            let said = read(text).expect_err(text);
            for want in wants {
                assert!(said.contains(want), "{text}: {said}");
            }
            assert!(!said.contains("canary"), "{said}");
        }
    }

    /// S27: a URL is shown without user and password, and not at all where it does not read.
    #[test]
    fn a_url_is_shown_without_its_login() {
        for (text, want) in [
            ("redis://u:canary@h:1/3", "redis://redacted@h:1/3"),
            ("canary@h:1", "redacted@h:1"),
            ("h", "h:6379"),
            ("rediss://[::1]", "rediss://[::1]:6379"),
            ("redis+sentinel://u:canary@h1,h2:1/main/3", "redis+sentinel://redacted@h1:26379,h2:1/main/3"),
            ("redis+cluster://u:canary@h1,h2:1/0", "redis+cluster://redacted@h1:6379,h2:1"),
            ("u:canary@", "redacted"),
            ("redis://u:canary@h:0", "redacted"),
        ] {
            assert_eq!(shown(text), want);
        }
    }
}
