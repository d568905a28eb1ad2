//! Whom an alert tells: what waits for him, and how it is sent.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use relay_core::{
    alert::{Message, pause_after},
    limits,
    name::Name,
    time::Wall,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    command, format,
    notice::{Notice, Speaker},
};
use crate::{
    clock::{Clock, rough},
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
    /// He refuses for good: nothing is sent before, unless somebody tries it by hand and is heard.
    closed_until: Option<Instant>,
    /// Tries that nobody answered in their time, since one was answered.
    silent: u32,
    account: Account,
}

/// A try that told nobody.
struct Unsent {
    why: String,
    /// What was answered, if anything was.
    status: Option<StatusCode>,
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
        let queue = self.lock();
        queue.closed_until.is_none() && queue.waiting.len() < limits::ALERT_MESSAGES_MAX
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
            self.until_open().await;
            let Some(notice) = self.next() else {
                self.came.notified().await;
                continue;
            };
            self.deliver(notice).await;
            let mut queue = self.lock();
            (queue.is_sending, queue.has_left) = (false, false);
        }
    }

    /// Waits while he refuses for good.
    async fn until_open(&self) {
        loop {
            let Some(until) = self.lock().closed_until else { return };
            tokio::select! {
                () = sleep_until(until) => self.lock().closed_until = None,
                // Something came, or he was told by hand.
                () = self.came.notified() => {}
            }
        }
    }

    fn next(&self) -> Option<Notice> {
        let mut queue = self.lock();
        let next = queue.waiting.pop_front();
        queue.is_sending = next.is_some();
        next
    }

    async fn deliver(&self, mut notice: Notice) {
        let (mut done, mut refusals) = (0, 0);
        for failed in 1_u32.. {
            let Err(unsent) = self.send(&notice, &mut done).await else {
                self.told(&notice);
                return;
            };
            refusals = if unsent.is_refusal() { refusals + 1 } else { 0 };
            let Unsent { why, status } = unsent;
            if failed == 1 {
                let alert = self.alert.name.as_str();
                tracing::warn!(event = "alert_failed", alert, why, "tried again, with growing pauses");
            }
            self.lock().account.error = Some(why.clone());
            if failed >= FAILED_SHOWN {
                self.untold.fails(&self.alert.name, &why, self.clock.now().mono);
            }
            if refusals >= limits::ALERT_REFUSALS_MAX {
                self.close(notice, &why, status);
                return;
            }
            let Some(pause) = pause_after(failed) else {
                self.untold.fails(&self.alert.name, &why, self.clock.now().mono);
                self.give_up(notice, &why, status);
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
        sent.map_err(|unsent| unsent.why)
    }

    /// Sends it, but what of it was sent already.
    async fn send(&self, notice: &Notice, done: &mut usize) -> Result<(), Unsent> {
        match &self.alert.way {
            Way::Command(asked) => {
                let input = format::webhook(notice, &self.speaker_of(notice)).to_string();
                let within = self.patience();
                self.timed(command::run(asked, input.as_bytes(), within), within).await.map_err(Unsent::from)
            }
            Way::Post(post) => self.post(post, notice, done).await,
        }
    }

    /// How long the next try may take. What he needed once he has from the beginning the next time.
    pub(super) fn patience(&self) -> Duration {
        let doublings = self.lock().silent.min(16);
        (limits::ALERT_TIMEOUT * (1 << doublings)).min(limits::ALERT_TIMEOUT_MAX)
    }

    /// Makes a try, and notes whether it took all of its time.
    async fn timed<T, E>(&self, asked: impl Future<Output = Result<T, E>>, within: Duration) -> Result<T, E> {
        let began = Instant::now();
        let answer = asked.await;
        if answer.is_err() && began.elapsed() >= within {
            self.lock().silent += 1;
        }
        answer
    }

    async fn post(&self, post: &Post, notice: &Notice, done: &mut usize) -> Result<(), Unsent> {
        let requests = format::requests(notice, post, &self.speaker_of(notice), self.clock.present())?;
        for request in requests.into_iter().skip(*done) {
            let (url, allow_private, within) = (&post.url, post.allow_private, self.patience());
            let asked = fetch::Post {
                url,
                headers: &request.headers,
                body: request.body,
                allow_private,
                allow_plain: allow_private,
                within,
            };
            let sent = self.timed(self.fetcher.post(asked), within).await;
            sent.map_err(|error| Unsent { why: error.to_string(), status: error.status })?;
            *done += 1;
        }
        Ok(())
    }

    fn speaker_of(&self, notice: &Notice) -> Speaker {
        let server = notice.server.as_ref().unwrap_or(&self.from.server).clone();
        Speaker { server, ..self.from.clone() }
    }

    fn told(&self, notice: &Notice) {
        self.untold.works(&self.alert.name);
        self.metrics.alert(self.alert.name.as_str(), Some(Telling::Told));
        {
            let mut queue = self.lock();
            queue.closed_until = None;
            let account = &mut queue.account;
            account.told += 1;
            (account.told_at, account.error) = (Some(self.clock.wall()), None);
        }
        self.came.notify_one();
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

    /// He refuses for good: that is told to others, and he is asked again after a while, for somebody may have put it right.
    fn close(&self, notice: Notice, why: &str, status: Option<StatusCode>) {
        let pause = limits::ALERT_REFUSED_PAUSE;
        let words = format!("{why}, which is for good: nobody is told for {}, then it is tried again", rough(pause));
        self.untold.fails(&self.alert.name, &words, self.clock.now().mono);
        self.lock().closed_until = Some(Instant::now() + pause);
        self.give_up(notice, &words, status);
    }

    fn give_up(&self, notice: Notice, why: &str, status: Option<StatusCode>) {
        self.metrics.alert(self.alert.name.as_str(), Some(Telling::Untold));
        {
            let mut queue = self.lock();
            queue.account.untold += 1;
            // What it said is told anew by who made it; of another server nobody here can.
            queue.given_up.extend(Some(notice.message).filter(|_| notice.server.is_none()));
        }
        let (alert, status) = (self.alert.name.as_str(), status.map(|status| status.as_u16()));
        tracing::warn!(event = "alert_untold", alert, status, why, "a message is given up");
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsent {
    /// Whether he says that he will not take it: another try says the same, until somebody changes something.
    fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| matches!(status.as_u16(), 400 | 401 | 403 | 404 | 405 | 410 | 413 | 422))
    }
}

impl From<String> for Unsent {
    fn from(why: String) -> Self {
        Self { why, status: None }
    }
}
