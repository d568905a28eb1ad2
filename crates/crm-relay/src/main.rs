//! Webhooks, delivered behind the firewall, none lost.
fn main() {}
