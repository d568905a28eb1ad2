//! What a client says of itself at `/health`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `degraded`: it is not connected, or lacks something.
    pub status: String,
    /// Of the program.
    pub version: String,
    /// What it lacks, each with what gives it.
    pub reasons: Vec<String>,
    /// Whether it has a session.
    pub connected: bool,
    /// Since the start of the process.
    pub reconnects: u64,
    /// Those it serves, by name.
    pub destinations: Vec<DestinationHealth>,
}

/// One destination that a client serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationHealth {
    /// Its name.
    pub destination: String,
    /// Deliveries it holds now.
    pub held: i64,
    /// Tries since the start of the process by the class of their outcome, each class a field of its own.
    #[serde(flatten)]
    pub forwarded: BTreeMap<String, u64>,
}
