//! Follows one connection's bytes from request to request and says how many of them may go on to the HTTP library.
//!
//! **Invariant:** no IO here. What [`Framing::judge`] does not pass stays with the caller and comes again with more behind it.

use relay_core::limits;

use super::{
    chunks::Chunks,
    head::{Framed, Head},
    rewrite::Rewrite,
};
use crate::ingress::flaw::Flaw;

/// Where a connection's incoming bytes stand.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// The request at hand asks for another protocol.
    upgrade: bool,
}

#[derive(Debug)]
enum At {
    Head(Head),
    Length {
        left: u64,
    },
    Chunks(Chunks),
    /// Behind a request that asks for another protocol: whether HTTP goes on depends on its answer.
    Undecided,
    /// A flaw was found: nothing goes on.
    Stopped,
}

/// What [`Framing::judge`] says of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// How many bytes at their front may go on.
    pub(super) pass: usize,
    /// Why no more than these, unless more bytes have to come first.
    pub(super) stop: Option<Stop>,
}

/// Why nothing further may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The next head has a flaw; it must be answered, and nothing behind it read.
    Flawed(Flaw),
    /// The body breaks the rules of chunks; it has no end.
    BrokenBody,
    /// Wait for [`Framing::http_goes_on`].
    Undecided,
    /// There are more requests than are let through at a time: judge the rest again later.
    Enough,
    /// The head that follows, so many bytes, goes on with another target; what is behind it comes again.
    Rewrite { head: usize, target: Rewrite },
}

impl Default for Framing {
    fn default() -> Self {
        Self { at: At::Head(Head::default()), upgrade: false }
    }
}

impl Framing {
    /// Judges bytes: those that were not passed by the call before, and more behind them.
    pub(super) fn judge(&mut self, input: &[u8]) -> Judged {
        let (mut pass, mut heads) = (0, 0);
        loop {
            let rest = &input[pass..];
            let moved = match &mut self.at {
                At::Head(_) if heads == limits::PIPELINED_MAX && !rest.is_empty() => {
                    return Judged { pass, stop: Some(Stop::Enough) };
                }
                At::Head(head) => match head.read(rest) {
                    Ok(None) => return Judged { pass, stop: None },
                    Ok(Some(complete)) => {
                        heads += 1;
                        self.upgrade = complete.upgrade;
                        self.at = match complete.body {
                            Framed::Length(left) => At::Length { left },
                            Framed::Chunked => At::Chunks(Chunks::default()),
                        };
                        if let Some(target) = complete.rewrite {
                            return Judged { pass, stop: Some(Stop::Rewrite { head: complete.len, target }) };
                        }
                        complete.len
                    }
                    Err(flaw) => return self.stop(pass, Stop::Flawed(flaw)),
                },
                At::Length { left } => {
                    let here = (*left).min(rest.len() as u64);
                    *left -= here;
                    if *left == 0 {
                        self.at = self.behind_request();
                    } else if rest.is_empty() {
                        return Judged { pass, stop: None };
                    }
                    here as usize
                }
                At::Chunks(chunks) => match chunks.read(rest) {
                    Ok(here) => {
                        if chunks.is_ended() {
                            self.at = self.behind_request();
                        } else if rest.is_empty() {
                            return Judged { pass, stop: None };
                        }
                        here
                    }
                    Err((here, _)) => return self.stop(pass + here, Stop::BrokenBody),
                },
                At::Undecided => return Judged { pass, stop: Some(Stop::Undecided) },
                At::Stopped => return Judged { pass, stop: None },
            };
            pass += moved;
        }
    }

    /// The request that asked for another protocol was answered with HTTP.
    pub(super) fn http_goes_on(&mut self) {
        *self = Self::default();
    }

    /// Whether a request is complete and the next has not begun (or is not passed yet).
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.at, At::Head(_))
    }

    fn behind_request(&self) -> At {
        if self.upgrade { At::Undecided } else { At::Head(Head::default()) }
    }

    fn stop(&mut self, pass: usize, stop: Stop) -> Judged {
        self.at = At::Stopped;
        Judged { pass, stop: Some(stop) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str = "GET /webhook HTTP/1.1\r\nHost: a\r\n\r\n";

    /// Judges bytes that come in pieces, as a caller does; gives what went on and why it stopped.
    fn feed(bytes: &[u8], pieces: &[usize]) -> (Vec<u8>, Option<Stop>) {
        let (mut framing, mut held, mut passed) = (Framing::default(), Vec::new(), Vec::new());
        let mut sizes = pieces.iter().cycle();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*sizes.next().unwrap_or(&1)).clamp(1, rest.len()));
            rest = behind;
            held.extend_from_slice(piece);
            let judged = framing.judge(&held);
            passed.extend(held.drain(..judged.pass));
            if judged.stop.is_some() {
                return (passed, judged.stop);
            }
        }
        (passed, None)
    }

    #[test]
    fn requests_follow_each_other_whole() {
        let post = "POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        let all = format!("{GET}{post}{chunked}{GET}{post}");
        for piece in [1, 2, 7, 64, 10_000] {
            assert_eq!(feed(all.as_bytes(), &[piece]), (all.clone().into_bytes(), None));
        }
    }

    /// S9: a peer that asks and reads nothing is answered a few times, not a thousand.
    #[test]
    fn few_requests_go_on_at_a_time() {
        let mut framing = Framing::default();
        let all = GET.repeat(limits::PIPELINED_MAX + 1);
        let some = GET.len() * limits::PIPELINED_MAX;
        assert_eq!(framing.judge(all.as_bytes()), Judged { pass: some, stop: Some(Stop::Enough) });
        assert_eq!(framing.judge(GET.as_bytes()), Judged { pass: GET.len(), stop: None });
        assert_eq!(framing.judge(&all.as_bytes()[..some]), Judged { pass: some, stop: None });
    }

    #[test]
    fn a_flawed_head_never_goes_on_and_what_was_before_it_does() {
        let all = format!("{GET}GET / HTTP/1.1\n\n{GET}");
        assert_eq!(feed(all.as_bytes(), &[all.len()]), (GET.into(), Some(Stop::Flawed(Flaw::LineEnd))));
    }

    #[test]
    fn what_follows_an_upgrade_waits_for_its_answer() {
        let upgrade = "GET /connect HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
        let mut framing = Framing::default();
        let all = format!("{upgrade}\0\0");
        assert_eq!(framing.judge(all.as_bytes()), Judged { pass: upgrade.len(), stop: Some(Stop::Undecided) });
        framing.http_goes_on();
        assert_eq!(framing.judge(GET.as_bytes()), Judged { pass: GET.len(), stop: None });
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_judged_the_same_in_any_pieces(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n: GPOST/h1.0aHhost,;5"[..])], 0..400),
            pieces in prop::collection::vec(1usize..40, 1..5),
        ) {
            prop_assert_eq!(feed(&bytes, &pieces), feed(&bytes, &[bytes.len().max(1)]));
        }

        #[test]
        fn flawed_requests_are_judged_the_same_in_any_pieces(
            at in 0usize..120,
            byte in any::<u8>(),
            pieces in prop::collection::vec(1usize..40, 1..5),
        ) {
            let mut bytes = format!("{GET}POST /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n").into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            prop_assert_eq!(feed(&bytes, &pieces), feed(&bytes, &[bytes.len()]));
        }
    }
}
