//! Canaries: known bugs, planted one at a time at the decision that they belong to. Tests that miss one prove nothing.
//!
//! **Invariant:** without the feature `canaries`, which no product is built with, there is none, and nothing of this is left in the
//! program. With it the environment says which one is planted (`CANARY`): `make canaries` runs the simulation with each in
//! turn, and with those of SQLite's store (`sqlite_`), in which the simulation has no part, the store's own tests.

/// All there are.
pub const ALL: [&str; 46] = [
    "outage_charged",
    "three_xx_success",
    "delay_by_tries",
    "refused_opens_the_circuit",
    "fresh_circuit_closed",
    "charged_while_open",
    "no_shares",
    "slow_retries_take_all",
    "loss_on_hand_back",
    "no_fence",
    "resumed_keeps_released",
    "ack_before_commit",
    "settled_before_commit",
    "hub_foreign_report_forgotten",
    "hub_hello_too_late",
    "narrowed_stays",
    "default_cap",
    "cap_from_queue",
    "borrows_all",
    "instance_unbound",
    "foreign_report",
    "expired_again",
    "strays_stay",
    "unknown_accepted",
    "purged_is_swallowed",
    "copies_alike",
    "small_behind_large",
    "grace_by_the_clock",
    "slow_keep_room",
    "adopt_without_keeper",
    "lapse_early",
    "loss_while_elsewhere",
    "unknown_is_no",
    "takeover",
    "stale_count",
    "pressed_twice",
    "everybody_is_janitor",
    "clock_apart",
    "circuits_stay",
    "schedule_forgotten",
    "dedupe_before_commit",
    "skip_fence",
    "step_twice",
    "purged_in_part_is_lost",
    "sqlite_ballast_forgotten",
    "sqlite_backup_goes_on",
];

/// Whether this one is planted.
#[cfg(not(feature = "canaries"))]
#[inline]
pub const fn is(_name: &str) -> bool {
    false
}

/// Whether this one is planted.
#[cfg(feature = "canaries")]
pub fn is(name: &str) -> bool {
    static PLANTED: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| {
        let planted = std::env::var("CANARY").ok()?;
        assert!(ALL.contains(&planted.as_str()), "there is no canary {planted}: see canary.rs");
        Some(planted)
    });
    PLANTED.as_deref() == Some(name)
}
