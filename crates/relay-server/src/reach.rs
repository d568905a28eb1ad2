//! Whether `PUBLIC_URL` leads to this server: it asks itself by way of that, as a sender would.
//!
//! **Invariant:** one question at a time, and none while the last answer is fresh. A name of the public internet is asked at public
//! addresses alone (S16), whoever has a say in where it leads; what is written as an address or a name of this network is the operator's
//! own word.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use tokio::{sync::Mutex, time::Instant};

use relay_core::{name::Name, time::Wall};

use crate::{
    fetch::{Asked, Fetcher, Post, may_be_public},
    own_request::{self, OwnRequests},
};

/// From the name's lookup to the answer.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);
/// How long an answer holds for whoever asks next.
const FRESH: Duration = Duration::from_secs(2);
/// Bytes of an answer that are compared.
const ANSWER_BYTES_MAX: usize = 128;

/// Asks, and keeps what was answered.
pub(crate) struct Reach {
    fetcher: Fetcher,
    latest: Mutex<Option<(Instant, Reached)>>,
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// To this server, or one like it on the same store.
    Here,
    /// To somebody else, who answers with this status.
    Elsewhere(StatusCode),
    /// To an address inside, which is none that senders have.
    Inside,
    /// To nobody who answers.
    Silent,
    /// To somebody whose TLS or HTTP does not hold, and why.
    Unfit(String),
    /// It could not be asked from here, and why: senders may fare better.
    Unasked(String),
}

impl Reach {
    pub(crate) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, latest: Mutex::default() }
    }

    /// Asks at a `PUBLIC_URL`, below the path that webhooks to a source come by, or says what was answered just now.
    pub(crate) async fn ask(&self, public_url: &str, source: &Name, own: &OwnRequests, present: Wall) -> Reached {
        let mut latest = self.latest.lock().await;
        if let Some((at, reached)) = &*latest
            && at.elapsed() < FRESH
        {
            return reached.clone();
        }
        let reached = self.ask_anew(public_url, source, own, present).await;
        *latest = Some((Instant::now(), reached.clone()));
        reached
    }

    /// Sends something to this server, as a sender would.
    pub(crate) async fn send(&self, post: Post<'_>, most: usize) -> Asked {
        self.fetcher.ask(post, most).await
    }

    async fn ask_anew(&self, public_url: &str, source: &Name, own: &OwnRequests, present: Wall) -> Reached {
        let Ok(url) = format!("{public_url}/webhook/{source}").parse::<Uri>() else {
            return Reached::Unfit("it is not a URL".into());
        };
        let made = match own.make(present) {
            Ok(made) => made,
            Err(error) => return Reached::Unasked(error.to_string()),
        };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let headers = [(Bytes::from_static(own_request::FIELD.as_bytes()), Bytes::from(made.token))];
        let (body, allow_private) = (Bytes::new(), !may_be_public(host));
        let post = Post { url: &url, headers: &headers, body, allow_private, allow_plain: true, within: WITHIN };
        match self.fetcher.ask(post, ANSWER_BYTES_MAX).await {
            Asked::Answered(StatusCode::OK, answer) if answer == made.answer => Reached::Here,
            Asked::Answered(status, _) => Reached::Elsewhere(status),
            Asked::Inside => Reached::Inside,
            Asked::Silent => Reached::Silent,
            Asked::Unfit(why) => Reached::Unfit(why),
            Asked::Unasked(why) => Reached::Unasked(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use futures_util::FutureExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::fetch::{Fetching, Names};

    const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);

    fn own() -> OwnRequests {
        OwnRequests::new(&[7; 32])
    }

    /// S16, S17: a name of the internet that leads inside is not asked there, however often it is asked where it leads.
    #[tokio::test]
    async fn a_public_name_that_leads_inside_is_not_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lookups);
        let names = Names::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
        });
        let reach = Reach::new(Fetcher::new(Fetching { names, ..Fetching::default() }).unwrap());
        let url = format!("http://relay.example.com:{port}");
        for _ in 0..10 {
            assert_eq!(reach.ask(&url, &Name::fallback(), &own(), NOW).await, Reached::Inside);
        }
        assert_eq!(lookups.load(Ordering::Relaxed), 1, "an answer holds for a moment");
        assert!(listener.accept().now_or_never().is_none());
    }

    /// What is written as an address is the operator's own word; whoever says yes without the proof is somebody else, and whoever
    /// says much is not read to the end.
    #[tokio::test]
    async fn only_the_proof_is_an_answer_of_ones_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/relay", listener.local_addr().unwrap());
        let answers = tokio::spawn(async move {
            for is_proof in [true, false] {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = socket.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                assert!(head.starts_with("POST /relay/webhook/default HTTP/1.1\r\n"), "{head}");
                let token = head.lines().find_map(|line| line.strip_prefix("relay-own-request: ")).unwrap();
                let body = if is_proof { own().answer(token.as_bytes(), NOW).unwrap() } else { "x".repeat(100_000) };
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                // It may have heard enough.
                let _ = socket.write_all(answer.as_bytes()).await;
            }
            // One that speaks no HTTP.
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            assert!(socket.read(&mut head).await.unwrap() > 0);
            socket.write_all(b"220 mail.example.com ESMTP\r\n").await.unwrap();
        });
        let reach = || Reach::new(Fetcher::default());
        assert_eq!(reach().ask(&url, &Name::fallback(), &own(), NOW).await, Reached::Here);
        assert_eq!(reach().ask(&url, &Name::fallback(), &own(), NOW).await, Reached::Elsewhere(StatusCode::OK));
        let unfit = reach().ask(&url, &Name::fallback(), &own(), NOW).await;
        assert!(matches!(unfit, Reached::Unfit(_)), "{unfit:?}");
        answers.await.unwrap();
        // Nobody listens any more: whether that is so for senders nobody can tell from here.
        assert!(matches!(reach().ask(&url, &Name::fallback(), &own(), NOW).await, Reached::Unasked(_)));
    }
}
