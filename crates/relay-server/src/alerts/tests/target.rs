//! Whoever is told: answers as it is told to, and keeps what it got.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A receiver over plain HTTP. It serves until the test's runtime ends.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    /// What is answered next, before 204 for ever; nothing: silence.
    answers: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Target {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self { addr: listener.local_addr().unwrap(), got: Arc::default(), answers: Arc::default() };
        let serving = target.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(socket).await });
            }
        });
        target
    }

    /// Answers these heads first; an empty one is silence.
    pub(crate) fn answer(&self, heads: &[&'static str]) {
        self.answers.lock().unwrap().extend(heads);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until that many requests came.
    pub(crate) async fn until(&self, count: usize) -> Vec<Got> {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.got().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{count} were to come, there are {:?}", self.got());
        self.got()
    }

    async fn serve(&self, mut socket: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let Ok(1..) = socket.read_buf(&mut bytes).await else { return };
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let fields = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
            let headers: Vec<(String, String)> =
                fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse::<usize>().unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            bytes.drain(..end + 4);
            break (Got { path, headers, body: Vec::new() }, length);
        };
        while bytes.len() < length {
            let Ok(1..) = socket.read_buf(&mut bytes).await else { return };
        }
        self.got.lock().unwrap().push(Got { body: bytes, ..head });
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or("HTTP/1.1 204 No Content\r\n\r\n");
        if answer.is_empty() {
            return std::future::pending().await;
        }
        // Whoever asks may have enough.
        let _ = socket.write_all(answer.as_bytes()).await;
    }
}
