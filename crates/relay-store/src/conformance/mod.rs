//! The conformance suite: what every backend must do, as one test per promise.
//!
//! A backend implements [`Backend`] in its test and calls [`conformance_suite!`](crate::conformance_suite), which
//! expands every case into a test of its own. The cases know only [`Store`], its trades, and the values of `relay_core::storage`.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::error::Elapsed;

use crate::Store;

pub mod append;
pub mod browse;
pub mod crash;
pub mod dedupe;
pub mod erase;
mod fixture;
pub mod jobs;
pub mod lease;
pub mod life;
pub mod marks;
pub mod owners;
pub mod registry;
pub mod replay;
pub mod retention;
pub mod settle;
pub mod transfer;

pub use fixture::{Fixture, Snapshot, at};

/// One store under test, with the powers of whoever owns its machine.
pub trait Backend: Sized {
    /// Named points of every writing operation at which [`Self::fail_at`] can end the process.
    const EDGES: &'static [&'static str];

    /// Whether leases come in one order over all of the store, and an operation is one step over all of it. Else both hold in each of its
    /// [partitions](crate::seam::Promises::partitions), and with it for all of one event.
    const STRICT_ORDER: bool = true;

    /// An empty store.
    fn fresh() -> impl Future<Output = Self>;

    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// The process is killed and starts again: nothing is closed, nothing flushed, the same data is opened.
    fn reopen(self) -> impl Future<Output = Self>;

    /// Tries to open the same data a second time for writing; whether that was refused. `None`: this backend cannot be
    /// opened twice.
    fn second_writer(&self) -> impl Future<Output = Option<bool>>;

    /// A handle of another owner on the same data, as another server has it. `None`: the declared power is [one
    /// owner](crate::seam::Promises::several_owners).
    fn second_owner(&self) -> Option<Arc<dyn Store>>;

    /// Lets the next writing operation die at one of [`Self::EDGES`].
    fn fail_at(&self, edge: &'static str);

    /// There is no room for more from now on, or there is again; returns when the store has noticed.
    fn set_full(&self, full: bool) -> impl Future<Output = ()>;
}

/// How long a case may take: hundreds of times as long as any does.
pub const ENDS_WITHIN: Duration = Duration::from_mins(4);

/// What a case came to, which has to come to an end: one that waits for ever would have no name in any log.
///
/// # Panics
/// It has not ended [within so long](ENDS_WITHIN).
pub fn ended(case: &str, running: &Result<(), Elapsed>) {
    assert!(running.is_ok(), "{case} has not ended within {ENDS_WITHIN:?}");
}

/// Expands every case of the suite into a test of its own for one [`Backend`], in the module it is called from.
#[macro_export]
macro_rules! conformance_suite {
    ($backend:ident) => {
        $crate::conformance_suite!(@ $backend, append [
            what_was_appended_reads_back_byte_for_byte,
            an_append_past_its_deadline_stores_nothing,
            answers_come_in_the_order_of_the_batch,
            sources_that_append_at_once_are_all_stored,
            a_delivery_may_be_stored_already_leased,
            large_and_empty_bodies_keep_every_byte,
            an_append_is_repeated_by_its_event,
        ]);
        $crate::conformance_suite!(@ $backend, dedupe [
            a_repeat_finds_the_first_event_and_stores_nothing,
            a_repeat_in_the_same_batch_finds_the_first,
            concurrent_repeats_make_one_event,
            a_key_is_remembered_after_reopening,
            a_key_is_free_again_when_its_window_has_passed,
            a_key_belongs_to_its_source,
            a_key_goes_with_its_event,
            an_event_is_found_by_its_key,
            a_repeat_is_told_that_deliveries_of_the_first_are_gone,
            a_repeat_names_the_deliveries_of_the_first,
            a_redrive_by_a_repeat_is_audited,
            a_key_is_not_remembered_when_nothing_was_stored,
        ]);
        $crate::conformance_suite!(@ $backend, lease [
            only_what_is_due_is_leased,
            a_passed_ttl_is_never_leased,
            the_oldest_due_comes_first_across_ready_and_scheduled,
            fewest_tries_come_first_for_a_probe,
            the_newest_never_tried_comes_first_then_fewest_tries,
            tried_and_never_tried_share_a_batch,
            no_more_tried_ones_are_leased_than_asked_for,
            a_lease_tells_what_there_is,
            the_limit_ends_the_batch,
            bodies_are_those_of_the_events,
            drained_tells_when_the_next_is_due,
            a_lease_raises_the_counter_and_carries_the_nonce,
            a_leased_delivery_is_not_leased_again,
            destinations_are_apart,
            extending_moves_the_end_only_under_the_right_token,
            an_end_is_never_moved_back,
            held_leases_are_listed_page_by_page_and_survive_reopening,
            due_names_what_waits_and_what_has_expired,
            what_is_spread_is_leased_once_and_each_part_in_order,
            no_more_tried_ones_are_leased_of_all_parts_together,
        ]);
        $crate::conformance_suite!(@ $backend, settle [
            a_change_is_applied_only_to_the_record_it_was_decided_on,
            settling_twice_changes_nothing_the_second_time,
            a_change_to_a_retired_delivery_finds_nothing,
            answers_of_a_batch_are_independent,
            earlier_tries_are_kept_as_attempts,
            outcomes_and_retries_are_counted,
            a_schedule_survives_reopening,
            finding_answers_in_order_with_gaps,
        ]);
        $crate::conformance_suite!(@ $backend, browse [
            events_come_newest_first_page_by_page,
            event_filters_select_source_and_range,
            events_are_found_and_counted_by_name,
            events_come_with_their_bodies_as_far_as_there_is_room,
            deliveries_come_newest_first_page_by_page,
            delivery_filters_select_event_destination_state_reason_and_source,
            dead_letters_are_ranged_by_when_they_ended,
            the_dead_letters_of_one_event_are_ranged_by_when_they_were_made,
            an_unknown_cursor_is_no_catastrophe,
            a_delivery_is_read_by_its_id,
        ]);
        $crate::conformance_suite!(@ $backend, jobs [
            redrive_makes_dead_and_expired_ready_again,
            a_paced_redrive_is_due_one_after_the_other,
            redrive_leaves_everything_else_alone,
            purge_removes_and_counts_as_retired,
            cancel_ends_what_is_open_also_when_leased,
            a_cancelled_redrive_goes_back_to_the_dead_letters,
            a_dry_run_counts_and_changes_nothing,
            a_repeated_command_does_nothing_twice,
            a_large_job_goes_step_by_step,
            a_job_is_audited_with_its_first_change,
            a_command_may_name_ids,
            a_step_is_done_once,
            a_step_passes_over_what_has_changed,
            what_only_settles_or_removes_is_done_without_room,
        ]);
        $crate::conformance_suite!(@ $backend, replay [
            a_replay_is_a_new_delivery_of_an_old_event,
            a_repeated_replay_stores_nothing_twice,
            a_replay_of_many_is_done_once,
            nothing_is_replayed_without_room,
        ]);
        $crate::conformance_suite!(@ $backend, erase [
            an_erased_event_keeps_its_place_and_no_word,
            nothing_is_made_of_an_erased_event,
            an_event_that_may_still_go_out_is_not_erased,
            a_command_erases_what_matches,
        ]);
        $crate::conformance_suite!(@ $backend, marks [
            an_event_is_found_by_a_value_and_how_far_is_said,
            a_definition_finds_its_own_rows_alone,
            what_is_gone_is_found_by_no_mark,
            a_marking_cut_at_any_edge_is_whole_or_absent,
        ]);
        $crate::conformance_suite!(@ $backend, registry [
            a_document_is_written_only_over_the_version_it_was_read_at,
            documents_of_a_kind_are_listed_by_name,
            a_deleted_document_can_be_made_again,
            documents_survive_reopening,
            concurrent_writers_of_a_document_have_one_winner,
            what_one_owner_writes_the_other_hears_of,
            a_version_that_was_seen_is_of_what_is_read_after_it,
            the_audit_log_is_read_newest_first_page_by_page,
            the_audit_log_is_filtered_and_survives_reopening,
        ]);
        $crate::conformance_suite!(@ $backend, retention [
            what_ended_is_retired_exactly_at_its_edge,
            nothing_open_is_ever_retired,
            an_event_goes_with_its_last_delivery,
            an_event_without_a_delivery_goes_by_time_or_with_its_replay,
            retention_goes_on_until_there_is_no_more,
            what_is_not_what_was_decided_on_is_kept,
            a_job_is_remembered_for_a_week,
            a_retired_delivery_is_gone_everywhere,
            each_partition_is_retired_by_itself,
        ]);
        $crate::conformance_suite!(@ $backend, owners [
            how_many_owners_it_takes_is_what_it_promises,
            what_one_owner_stores_the_other_leases,
            a_key_sent_to_two_owners_makes_one_event,
            a_decision_of_one_owner_meets_that_of_the_other,
            runs_hear_of_each_other_until_they_are_gone,
            a_lease_lapses_whoever_kept_it,
            leases_are_listed_by_keeper_and_by_instance,
            a_lease_that_was_adopted_is_ended_by_its_new_keeper,
            two_presses_at_two_owners_are_one,
            a_replay_that_two_owners_run_is_done_once,
            what_was_delivered_is_told_with_what_is_due,
            an_append_that_is_repeated_names_its_deliveries_as_they_are,
            what_has_expired_or_lapsed_is_named_by_partition,
        ]);
        $crate::conformance_suite!(@ $backend, transfer [
            what_is_in_any_state_is_stored_as_it_is,
            a_replay_in_any_state_is_stored_as_it_is,
            keys_are_those_of_the_events_that_hold_them,
            attempts_are_put_in_the_place_of_those_before,
            totals_are_set_and_what_is_stored_is_left_alone,
            an_id_that_is_stored_is_not_in_its_own_way,
        ]);
        $crate::conformance_suite!(@ $backend, crash [
            an_append_cut_at_any_edge_is_whole_or_absent,
            a_lease_cut_at_any_edge_is_whole_or_absent,
            an_extension_cut_at_any_edge_is_whole_or_absent,
            a_settlement_cut_at_any_edge_is_whole_or_absent,
            a_step_cut_at_any_edge_is_whole_or_absent,
            a_replay_cut_at_any_edge_is_whole_or_absent,
            a_document_cut_at_any_edge_is_whole_or_absent,
            retention_cut_at_any_edge_is_whole_or_absent,
            what_is_spread_and_cut_is_whole_in_each_part_and_done_by_the_same_call,
            whatever_was_answered_is_there_after_reopening,
        ]);
        $crate::conformance_suite!(@ $backend, life [
            a_closed_store_answers_unavailable,
            a_second_writer_is_refused,
            a_failed_store_says_so_and_answers_unavailable,
            the_id_floor_is_the_highest_id_stored,
            the_latest_moment_stored_is_known_after_a_restart,
            an_empty_store_answers_empty,
            a_condition_says_whether_it_commits,
            a_pass_of_sealing_anew_changes_no_word,
        ]);
    };
    (@ $backend:ident, $area:ident [$($case:ident),* $(,)?]) => {
        mod $area {
            use super::$backend;

            $(
                #[tokio::test]
                async fn $case() {
                    let case = $crate::conformance::$area::$case::<$backend>();
                    let running = ::tokio::time::timeout($crate::conformance::ENDS_WITHIN, case).await;
                    $crate::conformance::ended(stringify!($case), &running);
                }
            )*
        }
    };
}
