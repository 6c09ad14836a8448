//! What holds for every store, tested on each.

mod assets;
mod backfill;
mod clean;
mod commit;
mod leadership;
mod lists;
mod outbox;
mod record;

/// Each of these tests on each store.
macro_rules! on_every_store {
    ($($module:ident :: $name:ident,)*) => {
        mod memory {
            use super::*;
            $(#[test] fn $name() { fixture::run(async { $module::$name(TestStore::memory().await).await }); })*
        }
        mod sqlite {
            use super::*;
            $(#[test] fn $name() { fixture::run(async { $module::$name(TestStore::sqlite().await).await }); })*
        }
        mod postgres {
            use super::*;
            $(#[test] fn $name() { fixture::run(async { $module::$name(TestStore::postgres().await).await }); })*
        }
    };
}

use crate::fixture::{self, TestStore};

on_every_store! {
    assets::who_leads_next_knows_what_was_queued,
    assets::lists_say_who_names_them_and_what_came_of_it,
    assets::a_run_may_be_of_very_many_events,
    assets::names_may_be_long_and_of_any_letters,
    assets::two_events_under_one_key_are_refused_and_so_is_one_of_no_asset,
    assets::old_events_go_once_nothing_waits_with_them,
    backfill::a_dag_has_one_backfill_at_a_time,
    backfill::its_dates_come_in_their_order,
    commit::what_is_committed_is_loaded,
    commit::that_everything_is_paused_is_kept_until_it_is_not,
    commit::deletions_take_all_that_is_theirs,
    commit::deletions_come_before_the_rest,
    commit::of_two_values_for_a_key_the_last_counts,
    commit::a_batch_that_refers_to_nothing_is_a_bug_and_writes_nothing,
    commit::a_nul_in_a_text_is_no_obstacle,
    commit::numbers_are_never_given_twice,
    commit::a_leader_loads_what_is_unfinished,
    commit::subscribers_hear_what_was_written,
    commit::a_version_is_written_once,
    leadership::one_of_two_contenders_leads,
    leadership::a_stale_fence_writes_nothing,
    leadership::who_comes_back_under_its_name_leads_at_once,
    leadership::of_many_contenders_at_once_one_leads,
    leadership::servers_say_that_they_are_there,
    lists::a_page_far_from_the_first_is_like_another,
    lists::dags_by_what_they_are,
    lists::runs_by_what_they_are,
    lists::task_instances_by_what_they_are,
    lists::what_a_task_instance_left,
    lists::pools_with_the_slots_taken,
    lists::ticks_that_reach_into_a_time,
    lists::a_page_counts_no_further_than_asked,
    outbox::a_delivery_is_claimed_once_and_ends,
    outbox::what_is_on_its_way_for_too_long_is_sent_again,
    outbox::what_waits_or_is_held_can_be_dropped,
    outbox::what_is_in_doubt_is_held_where_it_says_so_until_somebody_sends_it,
    outbox::what_is_more_than_a_burst_is_told_in_one_when_its_time_has_come,
    outbox::a_digest_ends_for_all_it_tells_of,
    outbox::what_is_called_is_claimed_apart_from_what_is_told,
    outbox::the_outbox_can_be_searched,
    record::connections_are_put_as_allowed,
    record::a_new_key_replaces_every_secret,
    record::accounts_and_their_tokens,
    record::the_deployment_with_the_highest_number_counts,
    record::import_errors_keep_their_number,
    record::notes_stay_when_a_run_is_written,
    record::configuration_is_made_once,
    record::the_audit_log_has_what_changed_and_nothing_else,
    clean::runs_go_with_all_that_is_theirs_but_never_the_latest,
    clean::what_an_open_run_may_depend_on_stays,
    clean::a_run_that_is_larger_than_a_step_goes_in_several,
    clean::the_rest_goes_by_age,
    clean::versions_go_with_their_last_run,
}
