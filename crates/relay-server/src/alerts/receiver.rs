//! Whom an alert tells: what waits for him, and how it is sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_core::{
    alert::{Message, pause_after},
    limits,
    name::Name,
    time::Wall,
};
use tokio::{sync::Notify, time::sleep};

use super::{command, format, notice::{Speaker, Notice}};
use crate::{
    clock::Clock,
    config::{
        DeclaredAlert,
        alert::{Post, Way},
    },
    fetch::{self, Fetcher},
    metrics::{Metrics, Telling},
    untold::Untold,
};

/// Tries that may fail before it counts that nobody is told.
const FAILED_SHOWN: u32 = 3;

/// Whom an alert tells.
pub(crate) struct Receiver {
    alert: DeclaredAlert,
    from: Speaker,
    fetcher: Arc<Fetcher>,
    clock: Clock,
    metrics: Arc<Metrics>,
    untold: Untold,
    queue: Mutex<Queue>,
    came: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Notice>,
    is_sending: bool,
    /// Messages that nobody took, for who made them.
    given_up: Vec<Message>,
    /// Another server tells what is of the store by now: what is being tried says nothing of it any more.
    has_left: bool,
    account: Account,
}

/// What became of the messages of an alert since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) told: u64,
    pub(crate) untold: u64,
    pub(crate) waiting: usize,
    /// When somebody was last told.
    pub(crate) told_at: Option<Wall>,
    /// Why the latest try failed, if it did.
    pub(crate) error: Option<String>,
}

impl Receiver {
    pub(super) fn new(
        alert: DeclaredAlert,
        from: Speaker,
        fetcher: Arc<Fetcher>,
        clock: Clock,
        metrics: Arc<Metrics>,
        untold: Untold,
    ) -> Self {
        let (queue, came) = (Mutex::default(), Notify::new());
        metrics.alert(alert.name.as_str(), None);
        Self { alert, from, fetcher, clock, metrics, untold, queue, came }
    }

    pub(crate) const fn name(&self) -> &Name {
        &self.alert.name
    }

    /// As it is declared.
    pub(crate) const fn declared(&self) -> &DeclaredAlert {
        &self.alert
    }

    /// What became of its messages.
    pub(crate) fn account(&self) -> Account {
        let queue = self.lock();
        Account { waiting: queue.waiting.len() + usize::from(queue.is_sending), ..queue.account.clone() }
    }

    /// Whether nothing is on its way, and nothing was given up that has not been taken back.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.waiting.is_empty() && !queue.is_sending && queue.given_up.is_empty()
    }

    /// Whether a message more may wait.
    pub(super) fn has_room(&self) -> bool {
        self.lock().waiting.len() < limits::ALERT_MESSAGES_MAX
    }

    /// A message to be sent, where there [is room](Self::has_room).
    pub(super) fn put(&self, notice: Notice) {
        self.lock().waiting.push_back(notice);
        self.came.notify_one();
    }

    /// The messages that were given up since this was asked.
    pub(super) fn take_given_up(&self) -> Vec<Message> {
        std::mem::take(&mut self.lock().given_up)
    }

    /// Another server tells what is of the store: what waits says nothing of it. It knows what was on its way, and tells or ends it.
    pub(super) fn leave(&self) {
        let mut queue = self.lock();
        queue.has_left = queue.is_sending;
        for notice in &mut queue.waiting {
            notice.leave();
        }
        queue.waiting.retain(|notice| !notice.is_empty());
    }

    /// Sends what waits, for as long as it is polled.
    pub(crate) async fn run(&self) {
        loop {
            let Some(notice) = self.next() else {
                self.came.notified().await;
                continue;
            };
            self.deliver(notice).await;
            let mut queue = self.lock();
            (queue.is_sending, queue.has_left) = (false, false);
        }
    }

    fn next(&self) -> Option<Notice> {
        let mut queue = self.lock();
        let next = queue.waiting.pop_front();
        queue.is_sending = next.is_some();
        next
    }

    async fn deliver(&self, mut notice: Notice) {
        let mut done = 0;
        for failed in 1_u32.. {
            let Err(why) = self.send(&notice, &mut done).await else {
                self.told(&notice);
                return;
            };
            if failed == 1 {
                let alert = self.alert.name.as_str();
                tracing::warn!(event = "alert_failed", alert, why, "tried again, with growing pauses");
            }
            self.lock().account.error = Some(why.clone());
            if failed >= FAILED_SHOWN {
                self.untold.fails(&self.alert.name, &why, self.clock.now().mono);
            }
            let Some(pause) = pause_after(failed) else {
                self.untold.fails(&self.alert.name, &why, self.clock.now().mono);
                self.give_up(notice, &why);
                return;
            };
            sleep(pause).await;
            if std::mem::take(&mut self.lock().has_left) {
                notice.leave();
                // What was done of it is counted from its beginning, which is another.
                done = 0;
            }
            if notice.is_empty() {
                return;
            }
        }
    }

    /// One try of a message beside those that wait.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) async fn send_once(&self, notice: &Notice) -> Result<(), String> {
        let sent = self.send(notice, &mut 0).await;
        if sent.is_ok() {
            self.told(notice);
        }
        sent
    }

    /// Sends it, but what of it was sent already.
    async fn send(&self, notice: &Notice, done: &mut usize) -> Result<(), String> {
        match &self.alert.way {
            Way::Command(asked) => {
                let input = format::webhook(notice, &self.from_of(notice)).to_string();
                command::run(asked, input.as_bytes()).await
            }
            Way::Post(post) => self.post(post, notice, done).await,
        }
    }

    async fn post(&self, post: &Post, notice: &Notice, done: &mut usize) -> Result<(), String> {
        let requests = format::requests(notice, post, &self.from_of(notice), self.clock.present())?;
        for request in requests.into_iter().skip(*done) {
            let (url, allow_private) = (&post.url, post.allow_private);
            let asked = fetch::Post {
                url,
                headers: &request.headers,
                body: request.body,
                allow_private,
                allow_plain: allow_private,
            };
            self.fetcher.post(asked).await.map_err(|error| error.to_string())?;
            *done += 1;
        }
        Ok(())
    }

    fn from_of(&self, notice: &Notice) -> Speaker {
        let server = notice.server.as_ref().unwrap_or(&self.from.server).clone();
        Speaker { server, ..self.from.clone() }
    }

    fn told(&self, notice: &Notice) {
        self.untold.works(&self.alert.name);
        self.metrics.alert(self.alert.name.as_str(), Some(Telling::Told));
        {
            let account = &mut self.lock().account;
            account.told += 1;
            (account.told_at, account.error) = (Some(self.clock.wall()), None);
        }
        let Message { begun, over, lasting, .. } = &notice.message;
        let (begun, over, lasting) = (begun.len(), over.len(), lasting.len());
        tracing::info!(
            event = "alert_told",
            alert = self.alert.name.as_str(),
            begun,
            over,
            lasting,
            test = notice.is_test
        );
    }

    fn give_up(&self, notice: Notice, why: &str) {
        self.metrics.alert(self.alert.name.as_str(), Some(Telling::Untold));
        {
            let mut queue = self.lock();
            queue.account.untold += 1;
            // What it said is told anew by who made it; of another server nobody here can.
            queue.given_up.extend(Some(notice.message).filter(|_| notice.server.is_none()));
        }
        tracing::warn!(event = "alert_untold", alert = self.alert.name.as_str(), why, "a message is given up");
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
