//! The ceiling: a bare hyper server that reads the body and answers as the relay does, storing nothing.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const ANSWER: &[u8] =
    br#"{"event_id":"evt_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a","received_at":"2026-01-01T00:00:00.000000Z"}"#;

/// Serves until killed; prints its address first.
pub(crate) fn serve() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        println!("{}", listener.local_addr().expect("bound"));
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let _ = socket.set_nodelay(true);
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                // A load generator that closes its socket is no fault.
                let _ = connection.serve_connection(TokioIo::new(socket), service_fn(answer)).await;
            });
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let response = Response::builder().status(202).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from_static(ANSWER))).expect("static parts"))
}
