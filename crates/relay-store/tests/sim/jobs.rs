//! Operators' commands as jobs of the core: an operation of the store at a time, with everything else going on in between.
//! Servers die in the middle, answers are lost, and some command is given again under the id that it had.

use std::{collections::BTreeMap, time::Duration};

use rand::RngExt as _;
use relay_core::{
    delivery::{Delivery, State},
    hub::Input,
    id::{DeliveryId, IdMint, JobId},
    jobs::{Action, Command, End, Job, JobOp, JobStored, Output, Target},
    storage::{DeliveryFilter, EventFilter, Step},
    time::Wall,
};

use crate::{
    operator::Fate,
    plan::pick,
    world::{What, World},
};

/// How often an operator gives one command.
const GIVEN_MAX: u32 = 4;

/// A command that an operator gave, and may give again.
pub(crate) struct Given {
    command: Command,
    /// Most deliveries of one step.
    page_max: u32,
    job: Job,
    /// In which life of the server.
    epoch: u64,
    /// Asked of the store, and has not taken effect.
    pending: Option<JobOp>,
    times: u32,
}

impl World {
    /// A command about some of those that it is for: named, or all that match.
    pub(crate) fn give(&mut self, action: Action, wall: Wall) {
        let target = if matches!(action, Action::Replay { .. }) {
            let from = pick(&mut self.operator, &self.plan.sources).clone();
            let source = Some(from).filter(|_| self.operator.random_bool(0.7));
            Target::Events(EventFilter { source, ..EventFilter::default() })
        } else if self.operator.random_bool(0.5) {
            let mut chosen: Vec<Delivery> = self.store.deliveries();
            let applies = |state: State| action.states().contains(&state);
            chosen.retain(|found| applies(found.state) && self.operator.random_bool(0.3));
            Target::Ids(chosen.iter().map(|found| found.id).collect())
        } else {
            let to = pick(&mut self.operator, &self.plan.destinations).clone();
            let destination = Some(to).filter(|_| self.operator.random_bool(0.7));
            Target::Matching(DeliveryFilter { destination, ..DeliveryFilter::default() })
        };
        let job = IdMint::new(0, self.operator.random()).job(wall);
        let limit = self.operator.random_bool(0.2).then(|| self.operator.random_range(1..10));
        let command = Command {
            job,
            fingerprint: 0,
            action,
            target,
            pick: None,
            limit,
            cursor: None,
            as_of: None,
            last: None,
            dry_run: false,
            audit: None,
        };
        let page_max = self.operator.random_range(1..=4);
        let running = Job::new(command.clone()).by(page_max);
        let Some(epoch) = self.server.as_ref().map(|server| server.epoch) else { return };
        let given = Given { command, page_max, job: running, epoch, pending: None, times: 1 };
        self.given.insert(job, given);
        self.job_goes_on(job, epoch);
    }

    /// The same command under the same id, by whoever heard no answer, or does not believe it.
    pub(crate) fn give_again(&mut self, id: JobId) {
        self.turn_to_some();
        let Some(epoch) = self.server.as_ref().map(|server| server.epoch) else { return };
        let up = self.healed_at.is_none();
        let Some(given) = self.given.get_mut(&id).filter(|given| given.times < GIVEN_MAX && up) else { return };
        given.times += 1;
        given.job = Job::new(given.command.clone()).by(given.page_max);
        (given.epoch, given.pending) = (epoch, None);
        self.tell(format_args!("operator gives {id} again"));
        self.job_goes_on(id, epoch);
    }

    /// Does what the job wants, until it waits.
    pub(crate) fn job_goes_on(&mut self, id: JobId, epoch: u64) {
        self.turn_to(epoch);
        let Some(skew) = self.server.as_ref().filter(|server| server.epoch == epoch).map(|server| server.skew) else {
            return;
        };
        // What is to end by then is nobody's to change any more.
        while self.healed_at.is_none() {
            let wall = self.wall(skew);
            let Some(given) = self.given.get_mut(&id).filter(|given| given.epoch == epoch) else { return };
            match given.job.poll(wall) {
                Some(Output::Ask(op)) => {
                    given.pending = Some(op);
                    let span = self.store_takes();
                    return self.after(span, What::JobActs { job: id, epoch });
                }
                Some(Output::Tell(told)) => {
                    for touched in told.touched {
                        self.server_handles(Input::Touched(touched));
                    }
                    for name in told.woken {
                        self.server_handles(Input::Woken(name));
                    }
                }
                Some(Output::Pause(pause)) => return self.after(pause, What::JobGoesOn { job: id, epoch }),
                Some(Output::Over) => return self.job_is_over(id),
                Some(Output::Mint(count)) => {
                    let Some(server) = &mut self.server else { return };
                    given.job.mint((0..count).map(|_| server.hub.mint_delivery(wall)).collect());
                }
                None => return,
            }
        }
    }

    /// What a job asked for takes effect, and is answered, or not.
    pub(crate) fn job_acts(&mut self, id: JobId, epoch: u64) {
        self.turn_to(epoch);
        let Some(skew) = self.server.as_ref().filter(|server| server.epoch == epoch).map(|server| server.skew) else {
            return;
        };
        let Some(op) = self.given.get_mut(&id).and_then(|given| given.pending.take()) else { return };
        let wall = self.wall(skew);
        let answer = match self.fate(epoch) {
            Fate::Away => self.store.turn_job_away(op),
            Fate::Unheard { happens } if matches!(op, JobOp::Step(_)) => {
                self.perform_job(&op, wall, happens);
                self.store.job_unheard(op)
            }
            Fate::Heard | Fate::Unheard { .. } => self.perform_job(&op, wall, true),
        };
        self.tell(format_args!("store answers {id}: {answer:?}"));
        if let Some(given) = self.given.get_mut(&id).filter(|given| given.epoch == epoch) {
            given.job.handle(answer);
        }
        let span = self.store_takes();
        self.after(span, What::JobGoesOn { job: id, epoch });
    }

    /// The server is gone: what its jobs asked for happened, or did not. Nobody is told, and some are given again.
    pub(crate) fn jobs_die(&mut self, epoch: u64, wall: Wall, clean: bool) {
        // One that has been given again goes on elsewhere.
        let alone = self.plan.servers == 1;
        let its_own = self.given.iter_mut().filter(|(_, given)| alone || given.epoch == epoch);
        let pending: Vec<(JobId, Option<JobOp>)> = its_own.map(|(id, given)| (*id, given.pending.take())).collect();
        for (id, op) in pending {
            if let Some(op) = op
                && (clean || self.operator.random_bool(0.5))
            {
                self.tell(format_args!("step of {id} happened, unanswered"));
                self.perform_job(&op, wall, true);
            }
            self.perhaps_again(id, 0.5);
        }
    }

    fn job_is_over(&mut self, id: JobId) {
        let Some(outcome) = self.given.get(&id).and_then(|given| given.job.outcome()) else { return };
        self.tell(format_args!("{id} is over: {outcome:?}"));
        if outcome.end == End::Done {
            self.oracle.job_is_over(id, outcome.changed);
        }
        self.perhaps_again(id, 0.3);
    }

    fn perhaps_again(&mut self, id: JobId, chance: f64) {
        if self.operator.random_bool(chance) {
            let span = Duration::from_millis(self.operator.random_range(0..40_000));
            self.after(span, What::GiveAgain(id));
        }
    }

    /// The oracle sees what each step met, and what it left.
    fn perform_job(&mut self, op: &JobOp, wall: Wall, happens: bool) -> JobStored {
        self.store.tell_time(wall);
        let JobOp::Step(asked) = op else { return self.store.perform_job(op.clone()) };
        let step = asked.ask.clone();
        let met: BTreeMap<DeliveryId, Delivery> =
            named(&step).filter_map(|id| Some((id, self.store.delivery(id)?))).collect();
        let new = |made: &&Delivery| self.store.delivery(made.id).is_none();
        let made: Vec<Delivery> = step.make.iter().filter(new).cloned().collect();
        let answer = if happens { self.store.perform_job(op.clone()) } else { self.store.job_unheard(op.clone()) };
        self.oracle.stepped(&step, &met, &self.store);
        self.oracle.made(step.job, made, &self.store);
        answer
    }

    pub(crate) fn store_takes(&mut self) -> Duration {
        Duration::from_micros(self.operator.random_range(0..=self.plan.faults.store_ms * 1_000))
    }
}

/// The deliveries that a step is about.
fn named(step: &Step) -> impl Iterator<Item = DeliveryId> {
    step.settle.iter().map(|change| change.next.id).chain(step.retire.iter().map(|ended| ended.id))
}
