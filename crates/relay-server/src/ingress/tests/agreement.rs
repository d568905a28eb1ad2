//! The guard changes nothing about requests that are as they should be.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use relay_net::serve::Seated;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};

use crate::ingress::{
    Patience,
    http1::{Guarded, Switch},
};

/// What a handler sees of a request.
type Seen = (String, String, Vec<(String, Vec<u8>)>, Bytes);

/// A valid request, framed by its length or in chunks of that size.
fn valid_request() -> impl Strategy<Value = Vec<u8>> {
    let line = ("GET|POST|PUT|BREW", "/[a-z%./]{0,20}(\\?[a-z=&?/]{0,20})?").prop_map(|(m, t)| format!("{m} {t}"));
    let field = ("x-[a-z]{1,8}", "[!-~]([ -~\t]{0,40}[!-~])?").prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    let body = prop::collection::vec(any::<u8>(), 0..3_000);
    let framing = prop::option::of((8usize..900, "(;[a-z]{1,4}=[a-z]{0,4})?"));
    (line, prop::collection::vec(field, 0..6), body, framing).prop_map(|(line, fields, body, framing)| {
        let mut bytes = format!("{line} HTTP/1.1\r\nHost: a:1\r\n{}", fields.concat()).into_bytes();
        let Some((size, extension)) = framing else {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
            return bytes;
        };
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(size) {
            bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    })
}

/// Sends bytes in pieces to the HTTP library, behind whatever `wrap` puts around the socket; gives what a handler saw.
async fn seen<S>(bytes: &[u8], pieces: &[usize], wrap: impl FnOnce(DuplexStream) -> S) -> Vec<Seen>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (near, far) = tokio::io::duplex(1_500);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let request = (head.method.to_string(), head.uri.to_string(), fields.collect(), body);
            seen.lock().unwrap().push(request);
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    let served = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(wrap(far)), service);
    let (mut answers, mut requests) = tokio::io::split(near);
    let sent = async {
        let mut rest = bytes;
        for size in pieces.iter().cycle() {
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            requests.write_all(piece).await.unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        requests.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (served, (), read) = tokio::join!(served, sent, answers.read_to_end(&mut heard));
    served.unwrap();
    read.unwrap();
    seen.lock().unwrap().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// I3: valid requests, in any pieces, reach the handler as they do without the guard.
    #[test]
    fn valid_requests_are_seen_as_without_the_guard(
        requests in prop::collection::vec(valid_request(), 1..40),
        pieces in prop::collection::vec(1usize..2_000, 1..6),
    ) {
        let bytes = requests.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let guard = |far| Guarded::new(far, Arc::<Switch>::default(), Seated::alone(), Patience::default());
        let guarded = runtime.block_on(seen(&bytes, &pieces, guard));
        let bare = runtime.block_on(seen(&bytes, &pieces, |far| far));
        prop_assert_eq!(bare.len(), requests.len());
        prop_assert_eq!(guarded, bare);
    }
}
