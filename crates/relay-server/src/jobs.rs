//! Runs jobs: asks the store for what the machine wants, and tells the hub what became of which delivery.
//!
//! **Invariant:** nothing here decides about a delivery.

use relay_core::jobs::{Job, Outcome, Output};
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
) -> Outcome {
    loop {
        if supervisor.is_stopping() {
            job.stop();
        }
        match job.poll(clock.wall()) {
            Some(Output::Ask(op)) => {
                let answer = perform_job(store, op).await;
                job.handle(answer);
            }
            Some(Output::Tell(told)) => {
                hub.tell(Event::Touched(told.touched)).await;
                if !told.woken.is_empty() {
                    hub.tell(Event::Woken(told.woken.into_iter().collect())).await;
                }
            }
            Some(Output::Pause(pause)) => tokio::time::sleep(pause).await,
            Some(Output::Over) | None => {
                if let Some(outcome) = job.outcome() {
                    return outcome;
                }
            }
        }
    }
}
