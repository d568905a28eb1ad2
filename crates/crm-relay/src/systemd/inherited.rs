//! Sockets that listen already when this process starts: those of a `.socket` unit, in which connections wait while no
//! server runs.

use std::net::TcpListener;

use listenfd::ListenFd;
use relay_server::Inherited;
use rustix::net::sockopt::socket_acceptconn;

use crate::exit::{Exit, Failure};

/// The sockets that are this process's, by their names (`FileDescriptorName=`): `public` and `admin`. To be called before there
/// are threads, for it takes them out of the environment.
///
/// # Errors
/// One with another name, twice the same, or one that does not listen for TCP connections.
pub(crate) fn inherited() -> Result<Inherited, Failure> {
    let names = crate::config::environment("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = ListenFd::from_env();
    let mut sockets = Inherited::default();
    for (at, name) in names_of(&names, given.len()).into_iter().enumerate() {
        let place = match name.as_str() {
            "public" => &mut sockets.public,
            "admin" => &mut sockets.admin,
            _ => return Err(refused(&name, "is called neither public nor admin: FileDescriptorName=public")),
        };
        if place.is_some() {
            return Err(refused(&name, "is there twice: one ListenStream= for each name"));
        }
        let listener = given.take_tcp_listener(at).ok().flatten().filter(listens);
        *place = Some(listener.ok_or_else(|| refused(&name, "does not listen for TCP: ListenStream=0.0.0.0:8080"))?);
    }
    Ok(sockets)
}

fn listens(socket: &TcpListener) -> bool {
    socket_acceptconn(socket).unwrap_or(false)
}

/// One name for each socket. Without names the first is the public one, and the second the admin's.
fn names_of(text: &str, count: usize) -> Vec<String> {
    let text = if text.is_empty() { "public:admin" } else { text };
    let mut names: Vec<String> = text.split(':').map(str::to_owned).collect();
    names.resize(count, String::new());
    names
}

fn refused(name: &str, want: &str) -> Failure {
    Failure::new(Exit::Configuration, format!("a socket that was handed over ({name:?}) {want}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_has_a_name() {
        assert_eq!(names_of("", 0), [""; 0]);
        assert_eq!(names_of("", 1), ["public"]);
        assert_eq!(names_of("", 3), ["public", "admin", ""]);
        assert_eq!(names_of("admin:public", 2), ["admin", "public"]);
        assert_eq!(names_of("crm-relay-server.socket", 1), ["crm-relay-server.socket"]);
    }
}
