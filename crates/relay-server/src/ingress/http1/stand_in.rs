//! The request that goes to the HTTP library in place of a flawed one, so that its answer keeps its place behind the answers of
//! the requests before it.

use http::Uri;

use crate::ingress::flaw::Flaw;

/// The authority of a request that stands in. No request of a sender has one behind the guard: targets in absolute form lose
/// theirs.
const STAND_IN: &str = "flawed";

/// What is handed on in place of a request with this flaw.
pub(super) fn stand_in(flaw: Flaw) -> String {
    format!("POST http://{STAND_IN}/{} HTTP/1.1\r\nhost: {STAND_IN}\r\nconnection: close\r\n\r\n", flaw as u8)
}

/// The flaw that a request with this target stands for, if it stands in.
pub(super) fn flaw(target: &Uri) -> Option<Flaw> {
    if target.authority()?.as_str() != STAND_IN {
        return None;
    }
    let index: usize = target.path().get(1..)?.parse().ok()?;
    Flaw::ALL.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_is_known_again_from_its_stand_in() {
        for known in Flaw::ALL {
            let head = stand_in(known);
            let uri: Uri = head.split(' ').nth(1).unwrap().parse().unwrap();
            assert_eq!(flaw(&uri), Some(known));
        }
        assert_eq!(flaw(&Uri::from_static("/flawed/3")), None);
        assert_eq!(flaw(&Uri::from_static("http://elsewhere/3")), None);
    }
}
