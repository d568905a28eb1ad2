//! Connections: how they are dialled and served, and what they are made of. Bytes on sockets, no word of webhooks.
//!
//! **Invariant:** imports none of our crates, reads neither arguments nor environment, decides nothing about what is said on a
//! connection.

pub mod cidr;
pub mod dial;
pub mod limits;
pub mod origin;
pub mod proxies;
pub mod proxy_protocol;
pub mod serve;
pub mod shortage;
pub mod sites;
pub mod tls;
