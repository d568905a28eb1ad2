//! The URL of a Redis, as people write it.

/// The usual port.
const PORT: u16 = 6379;
/// What a URL may begin with, for whoever wrote another.
const WANT: &str = "want redis://host:port, rediss:// for TLS, or host:port";
/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
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

/// Reads a URL.
///
/// # Errors
/// All that would be right, and nothing of the URL.
pub(super) fn read(text: &str) -> Result<Url, String> {
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let (shape, is_tls) = match scheme.map(str::to_ascii_lowercase).as_deref() {
        None if text.contains(":/") => return Err(format!("two slashes stand behind the colon; {WANT}")),
        None | Some("redis") => (Shape::Node, false),
        Some("rediss") => (Shape::Node, true),
        Some("redis+sentinel") => (Shape::Sentinel, false),
        Some("rediss+sentinel") => (Shape::Sentinel, true),
        Some("redis+cluster") => (Shape::Cluster, false),
        Some("rediss+cluster") => (Shape::Cluster, true),
        Some(_) => return Err(WANT.to_owned()),
    };
    let mut faults = Vec::new();
    // Up to the last `@`: a password may hold anything.
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    if place.contains(['?', '#']) {
        faults.push("what stands behind ? or # has no meaning here: leave it out".to_owned());
    }
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let hosts: Vec<Option<(String, u16)>> =
        hosts.split(',').map(|host| noted(host_and_port(host), &mut faults)).collect();
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
    match shape {
        Shape::Node if hosts.len() > 1 => faults.push("several hosts: want one".to_owned()),
        Shape::Node => {}
        Shape::Sentinel => {
            faults.push("Sentinel is not spoken yet; want the primary itself: redis://host:port".to_owned());
        }
        Shape::Cluster => faults.push("Cluster is not spoken yet; want a single node: redis://host:port".to_owned()),
    }
    match hosts.into_iter().flatten().next() {
        Some((host, port)) if faults.is_empty() => Ok(Url { is_tls, host, port, user, password, database }),
        _ if faults.is_empty() => Err(WANT.to_owned()),
        _ => Err(faults.join("; ")),
    }
}

/// As it may be shown: without user and password, or not at all.
pub(super) fn shown(text: &str) -> String {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    match read(text) {
        Ok(Url { host, port, database, user, password, .. }) => {
            let login = if user.is_some() || password.is_some() { "redacted@" } else { "" };
            let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            let database = database.map_or_else(String::new, |number| format!("/{number}"));
            format!("{scheme}{login}{host}:{port}{database}")
        }
        Err(_) => "redacted".to_owned(),
    }
}

fn noted<T>(read: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    read.map_err(|fault| {
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    })
    .ok()
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
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
        None => PORT,
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
        Url { is_tls: false, host: host.into(), port, user: None, password: None, database: None }
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
            ("redis+sentinel://canary@h1:0,h2", &["name of the master", "1 to 65535", "not spoken yet"]),
            ("rediss+sentinel://h1,h2,h3/main", &["Sentinel is not spoken yet"]),
            ("redis+cluster://h1,h2/3", &["database 0 only", "not spoken yet"]),
            ("rediss+cluster://h1", &["Cluster is not spoken yet"]),
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
            ("u:canary@", "redacted"),
            ("redis://u:canary@h:0", "redacted"),
        ] {
            assert_eq!(shown(text), want);
        }
    }
}
