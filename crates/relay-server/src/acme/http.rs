//! How an authority is reached: over TLS, through the proxy that leads there, each request on a connection of its own.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use relay_net::dial::Peer;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::fetch::ProxyChoice;

/// How long an authority may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer: a chain of certificates has a few thousand.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The way to an authority.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) proxy: ProxyChoice,
}

impl HttpClient for Way {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let way = self.clone();
        Box::pin(async move {
            let answered = timeout(ANSWER_WITHIN, way.ask(request)).await;
            answered.map_err(|_| said("the authority gives no answer within 30 s"))?.map(BytesResponse::from)
        })
    }
}

fn said(why: &'static str) -> Error {
    Error::Other(why.into())
}

impl Way {
    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Full<Bytes>>, Error> {
        let other = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
        let (mut head, body) = request.into_parts();
        let url = std::mem::take(&mut head.uri);
        let (Some("https"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(said("the authority names a URL that is not https"));
        };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| other(error.into()))?;
        head.headers.insert(header::HOST, host);
        head.uri =
            Uri::from(url.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")));
        let Ok(body) = body.collect().await.map(Collected::to_bytes);
        let peer = Peer {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(443),
            proxy: self.proxy.of_url(&url),
            tls: Some(self.tls),
        };
        let stream = peer.dial().await.map_err(|error| other(error.into()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| other(error.into()))?;
        let exchange = async {
            let response = sender.send_request(Request::from_parts(head, Full::new(body))).await;
            let (head, body) = response.map_err(|error| other(error.into()))?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(other)?;
            Ok(Response::from_parts(head, Full::new(body.to_bytes())))
        };
        // Its own end is no end of the exchange, which may still have something to read.
        let connection = connection.then(|_| std::future::pending());
        tokio::select! {
            answered = exchange => answered,
            never = connection => never,
        }
    }
}
