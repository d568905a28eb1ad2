//! Runs jobs: asks the store for what the machine wants, and tells the hub what became of which delivery.
//!
//! **Invariant:** nothing here decides about a delivery.

use relay_core::jobs::{Job, JobSums, Output};
use relay_store::seam::{Trades, perform_job};

use crate::{
    clock::Clock,
    hub::{Event, Handle},
    supervise::Supervisor,
};

/// Runs one to its end, or to the server's: what is under way then is waited for.
pub(crate) async fn run(
    mut job: Job,
    store: Trades<'_>,
    hub: &Handle,
    clock: &Clock,
    supervisor: &Supervisor,
) -> JobSums {
    let stopping = supervisor.stopping();
    loop {
        if stopping.is_cancelled() {
            job.stop();
        }
        match job.poll(clock.wall()) {
            Some(Output::Ask(op)) => {
                let answer = perform_job(store, op).await;
                job.handle(answer);
            }
            // A hub that has ended gives none: the server stops.
            Some(Output::Mint(count)) => match hub.mint(count).await {
                Some(ids) => job.mint(ids),
                None => job.stop(),
            },
            Some(Output::Tell(told)) => {
                hub.tell(Event::Changed(told)).await;
            }
            // Cancel safety: neither has anything to lose.
            Some(Output::Pause(pause)) => tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            },
            Some(Output::Over) | None => {
                if let Some(outcome) = job.outcome() {
                    return outcome;
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Duration};

    use relay_core::{
        delivery::{Delivery, Reason, State},
        id::{DeliveryId, IdMint},
        jobs::{Action, Command, End, ForHub, Target},
        storage::{DeliveryFilter, StoreError},
        time::Wall,
    };
    use relay_store::{
        memory::{MemoryStore, Trouble},
        seam::Queue as _,
    };

    use super::*;
    use crate::tests::{append, event};

    /// A dead letter, stored.
    pub(crate) async fn dead(store: &MemoryStore, mint: &mut IdMint, now: Wall) -> DeliveryId {
        let event = event(mint, now, "in");
        let made =
            Delivery::ready(mint.delivery(now), &event, "crm".parse().unwrap(), false, now, Duration::from_hours(1));
        let (id, reason) = (made.id, Some(Reason::Rejected));
        let deliveries = vec![Delivery { state: State::Dead, reason, ..made }];
        assert!(store.append(vec![append(event, deliveries)]).await.iter().all(Result::is_ok));
        id
    }

    fn redrive(mint: &mut IdMint, now: Wall) -> Command {
        let ttl_default = Duration::from_hours(1);
        Command {
            job: mint.job(now),
            fingerprint: 0,
            action: Action::Redrive { ttl: BTreeMap::new(), ttl_default, pace: None },
            target: Target::Matching(DeliveryFilter::default()),
            pick: None,
            limit: None,
            cursor: None,
            as_of: None,
            last: None,
            dry_run: false,
            audit: None,
        }
    }

    /// I12, I19: answers that are lost for a while hold a command up, and no longer; it is done once, and the hub hears what
    /// was made due.
    #[tokio::test(start_paused = true)]
    async fn a_command_waits_for_a_store_that_does_not_answer() {
        let store = Arc::new(MemoryStore::new());
        let admin = crate::offline::tests::admin(Arc::clone(&store) as Arc<dyn relay_store::Store>).await;
        let (hub, mut inlet) = Handle::new();
        let (mut mint, now) = (IdMint::new(0, 1), admin.clock.wall());
        let id = dead(&store, &mut mint, now).await;
        store.set_trouble(vec![(Trouble::Step, StoreError::Unknown)]);
        let job = Job::new(redrive(&mut mint, now));
        let run = run(job, Trades::of(&*store), &hub, &admin.clock, &admin.supervisor);
        let recovers = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            store.set_trouble(Vec::new());
        };
        let (outcome, ()) = tokio::join!(run, recovers);
        assert_eq!((outcome.end, outcome.matched, outcome.changed), (End::Done, 1, 1));
        assert_eq!(store.delivery(id).map(|found| (found.state, found.version)), Some((State::Ready, 1)));
        let told = ForHub { touched: vec![id], woken: ["crm".parse().unwrap()].into() };
        assert!(matches!(inlet.event().await, Some(Event::Changed(heard)) if heard == told));
    }

    /// I22: a server that stops waits for no store.
    #[tokio::test(start_paused = true)]
    async fn a_stopping_server_ends_a_command_that_waits() {
        let store = Arc::new(MemoryStore::new());
        let admin = crate::offline::tests::admin(Arc::clone(&store) as Arc<dyn relay_store::Store>).await;
        let (hub, _inlet) = Handle::new();
        let (mut mint, now) = (IdMint::new(0, 1), admin.clock.wall());
        dead(&store, &mut mint, now).await;
        store.set_trouble(vec![(Trouble::Step, StoreError::Away)]);
        let job = Job::new(redrive(&mut mint, now));
        let run = run(job, Trades::of(&*store), &hub, &admin.clock, &admin.supervisor);
        let stops = async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            admin.supervisor.stop();
            tokio::time::Instant::now()
        };
        let (outcome, stopped) = tokio::join!(run, stops);
        assert_eq!((outcome.end, stopped.elapsed()), (End::Stopped, Duration::ZERO));
    }
}
