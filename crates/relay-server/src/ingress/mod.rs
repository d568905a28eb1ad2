//! The public listener: takes webhooks in, checks that they are genuine, and hands them to the hub.
//!
//! Bytes pass `http1` (strict framing, time limits, hyper), which asks `rules` what a request must be in any version of HTTP; then
//! `webhook` (limits, source, body, check, hub).
//!
//! **Invariant:** nothing is answered 2xx before the hub said that it is durable; nothing of a request but its
//! source's name and a method that the source takes goes into a log.

mod arrival;
mod backend;
mod buckets;
mod cors;
mod decoded;
mod door;
mod errand;
mod fields;
mod flaw;
mod http1;
mod introductions;
mod listener;
mod path;
mod patience;
mod porch;
#[doc(hidden)]
pub mod reading;
mod respond;
mod rules;
mod seam;
mod seat;
#[cfg(test)]
mod tests;
mod uploads;
mod verify;
mod webhook;

use std::{sync::Arc, time::Duration};

use relay_net::{proxies::Proxies, serve::Bounds, sites::Hosts, tls};

use crate::budget::Budget;

pub(crate) use backend::Backend;
pub(crate) use flaw::Flaw;
pub(crate) use http1::{Answers, Connection};
pub(crate) use introductions::{Introduced, Introductions};
pub(crate) use listener::{CONNECT, INTAKE_WITHIN, NO_SESSIONS, POLL, serve};
pub use path::Prefix;
pub(crate) use path::source_of;
pub use patience::Patience;
pub(crate) use porch::Books;
pub use relay_net::origin::{Address, Origin};
pub(crate) use rules::SentQuery;
pub(crate) use seam::{Body, Elsewhere};
pub(crate) use seat::unless_given_up;

/// What an operator decides about the public listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest body.
    pub body_bytes_max: u64,
    /// Memory for bodies.
    pub budget: Arc<Budget>,
    /// How long a dedupe key is remembered.
    pub dedupe_window: Duration,
    /// Origins that get CORS headers; empty: none.
    pub cors_origins: Vec<String>,
    /// Under which URL senders reach the listener, without a trailing `/`.
    pub public_url: Option<String>,
    /// Its path.
    pub prefix: Prefix,
    /// Names under which it may be asked; none: under any.
    pub allowed_hosts: Hosts,
    /// The proxies that are believed whom they bring.
    pub proxies: Arc<Proxies>,
    /// They say it by the PROXY protocol, on each connection; without it nobody is heard.
    pub proxy_protocol: bool,
    /// How many connections there may be.
    pub connections: Bounds,
    /// How long peers may take.
    pub patience: Patience,
    /// With what it speaks TLS; `None`: it speaks plain HTTP.
    pub tls: Option<Arc<tls::Server>>,
}

impl Settings {
    /// Those of a server's configuration.
    pub fn new(config: &crate::Config, budget: Arc<Budget>, tls: Option<Arc<tls::Server>>) -> Self {
        Self {
            body_bytes_max: config.body_bytes_max,
            budget,
            dedupe_window: config.dedupe_window,
            cors_origins: config.cors_origins.clone(),
            public_url: config.public_url.clone(),
            prefix: Prefix::of(config.public_url.as_deref()),
            allowed_hosts: Hosts::new(&config.allowed_hosts),
            proxies: Arc::clone(&config.proxies),
            proxy_protocol: config.proxy_protocol.public,
            connections: Bounds::public(),
            patience: Patience::default(),
            tls,
        }
    }
}
