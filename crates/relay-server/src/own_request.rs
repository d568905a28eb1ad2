//! A request of the server to itself, by way of its public address: known by what it carries, answered with a proof, never stored.
//!
//! Nothing is kept of one that is under way: a server that has its store alone recognises what it made itself; where several share one, each
//! does that has the same secrets, for a load balancer may lead to another of them. A stranger who sends the field anew for as long as it
//! holds is told what its sender was.

use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use relay_core::time::Wall;

use crate::secret::{NoRandomness, hex, unhex};

/// The field that carries it.
pub(crate) const FIELD: &str = "relay-own-request";
/// How far from its making one is recognised: what servers on a store may be apart, and the way.
const HOLDS: Duration = Duration::from_mins(5);
/// Bytes of a field that are looked at.
const TOKEN_BYTES_MAX: usize = 256;
const NONCE_BYTES: usize = 16;

/// Makes and recognises them.
pub(crate) struct OwnRequests(hmac::Key);

/// One of them.
pub(crate) struct OwnRequest {
    /// What the field says.
    pub(crate) token: String,
    /// What is answered, by this server and its like alone.
    pub(crate) answer: String,
}

impl OwnRequests {
    /// Those of this process alone.
    pub(crate) fn alone() -> Self {
        Self::new(&::rand::random::<[u8; 32]>())
    }

    /// Those of servers that share these secrets and a store. Whoever is asked sees what is signed by them, and could try guesses at them for as long
    /// as he likes: none of them is to stand there alone.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn make(&self, now: Wall) -> Result<OwnRequest, NoRandomness> {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(|_| NoRandomness)?;
        let said = format!("{}.{}", now.as_micros(), hex(&nonce));
        let token = format!("{said}.{}", self.signed("asked", &said));
        let answer = self.signed("answered", &token);
        Ok(OwnRequest { token, answer })
    }

    /// What is answered to one of these; `None`: it is none.
    pub(crate) fn answer(&self, token: &[u8], now: Wall) -> Option<String> {
        let token = std::str::from_utf8(token).ok().filter(|token| token.len() <= TOKEN_BYTES_MAX)?;
        let (said, tag) = token.rsplit_once('.')?;
        let made = Wall::from_micros(said.split_once('.')?.0.parse().ok()?);
        let holds = made.since(now).max(now.since(made)) <= HOLDS;
        let is_ours = hmac::verify(&self.0, message("asked", said).as_bytes(), &unhex(tag)?).is_ok();
        (holds && is_ours).then(|| self.signed("answered", token))
    }

    fn signed(&self, what: &str, said: &str) -> String {
        hex(hmac::sign(&self.0, message(what, said).as_bytes()).as_ref())
    }
}

/// What is signed: nothing else is with this key.
fn message(what: &str, said: &str) -> String {
    format!("crm-relay own request {what} {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_recognised_by_whoever_shares_the_secret_for_some_minutes() {
        let at = |seconds: i64| Wall::from_micros(1_700_000_000_000_000 + seconds * 1_000_000);
        let (ours, others) = (OwnRequests::new(&[1; 32]), OwnRequests::new(&[2; 32]));
        let made = ours.make(at(0)).unwrap();
        let answer = |of: &OwnRequests, token: &str, seconds| of.answer(token.as_bytes(), at(seconds));
        for seconds in [-300, 0, 300] {
            assert_eq!(answer(&OwnRequests::new(&[1; 32]), &made.token, seconds).as_ref(), Some(&made.answer));
        }
        for seconds in [-301, 301] {
            assert_eq!(answer(&ours, &made.token, seconds), None, "{seconds}");
        }
        assert_eq!(answer(&others, &made.token, 0), None);
        assert_ne!(ours.make(at(0)).unwrap().token, made.token);
    }

    /// S27: what is signed for whoever `PUBLIC_URL` leads to says nothing of any secret, where no other server has to know it.
    #[test]
    fn one_that_is_alone_recognises_its_own() {
        let (ours, others) = (OwnRequests::alone(), OwnRequests::alone());
        let now = Wall::from_micros(1_700_000_000_000_000);
        let made = ours.make(now).unwrap();
        assert_eq!(ours.answer(made.token.as_bytes(), now), Some(made.answer));
        assert_eq!(others.answer(made.token.as_bytes(), now), None);
    }

    /// S27: strangers send what they like.
    #[test]
    fn what_is_none_is_told_nothing() {
        let ours = OwnRequests::new(&[1; 32]);
        let now = Wall::from_micros(1_700_000_000_000_000);
        let made = ours.make(now).unwrap();
        let later = made.token.replacen("17", "18", 1);
        let long = "1.".repeat(4_000);
        let answered = [made.answer.as_str(), "", ".", "..", "a.b.c", "1.2", &later, &long, &made.token[1..]];
        for token in answered {
            assert_eq!(ours.answer(token.as_bytes(), now), None, "{token}");
        }
        assert_eq!(ours.answer(b"\xff.1.2", now), None);
    }
}
