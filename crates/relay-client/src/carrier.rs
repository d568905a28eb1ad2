//! What carries a session's bytes, as an operator decides it.

use std::str::FromStr;

/// `RELAY_TRANSPORT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// A WebSocket; requests where `WebSockets` do not come through.
    #[default]
    Auto,
    /// A WebSocket, whatever comes of it.
    WebSocket,
    /// Requests, without trying anything else.
    Poll,
}

impl Carrier {
    /// Every word.
    pub const WORDS: [&str; 3] = ["auto", "websocket", "poll"];
}

impl FromStr for Carrier {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "auto" => Ok(Self::Auto),
            "websocket" => Ok(Self::WebSocket),
            "poll" => Ok(Self::Poll),
            _ => Err(()),
        }
    }
}
