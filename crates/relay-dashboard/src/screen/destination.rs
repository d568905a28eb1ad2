//! A destination: who takes what goes there, what waits, and which routes lead there.

use std::time::Duration;

use askama::Template;
use relay_core::{name::Name, time::Wall};

use super::{Circuit, RouteLine};
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "destination.html")]
pub struct DestinationPage {
    /// The frame.
    pub page: Page,
    /// Which, and how it is.
    pub destination: DestinationFacts,
}

/// What is known of a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationFacts {
    /// Its name.
    pub name: Name,
    /// An operator paused it.
    pub paused: bool,
    /// Whether tries get through.
    pub circuit: Circuit,
    /// Ready, scheduled or leased.
    pub waiting: u64,
    /// Delivered, and kept.
    pub delivered: u64,
    /// Dead and expired.
    pub dead: u64,
    /// How long the oldest has been due.
    pub oldest: Option<Duration>,
    /// When the next one expires.
    pub next_expiry: Option<Wall>,
    /// Clients that serve it at this server.
    pub clients: Vec<ClientLine>,
    /// Those that are not among them.
    pub more_clients: u64,
    /// Clients that serve it at others.
    pub elsewhere: u64,
    /// What leads there.
    pub routes: Vec<RouteLine>,
}

/// A client that serves a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLine {
    /// As it calls itself.
    pub label: String,
    /// What let it in.
    pub token: String,
    /// From where it came.
    pub peer: String,
    /// Since when it has been there.
    pub since: Wall,
    /// Deliveries that it holds.
    pub held: u64,
    /// Deliveries that it may hold.
    pub slots: u64,
    /// Since when it does not get through to the target.
    pub open_since: Option<Wall>,
    /// It does not get through to the target.
    pub circuit_open: bool,
    /// When it tries again; none: a try is under way.
    pub next_try: Option<Wall>,
    /// Why it does not get through.
    pub error: Option<String>,
}

impl DestinationPage {
    const TAB: Tab = Tab::Elsewhere;
    const SCRIPT: Script = Script::Acts;
}

impl DestinationFacts {
    fn clients(&self) -> u64 {
        self.clients.len() as u64 + self.more_clients + self.elsewhere
    }
}
