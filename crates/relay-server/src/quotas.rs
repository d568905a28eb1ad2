//! What sources took today, of those that bound it: counted here, and kept over restarts in `DATA_DIR/quotas.json`.
//!
//! The file is written every few seconds, and at the end. A process that is killed in between forgets what came since then, so that
//! a source takes that much more on such a day.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use relay_core::{
    name::Name,
    quota::{Day, Measure, Near, Over, Quota},
    time::Wall,
};
use relay_store::private;
use serde_json::{Map, Value, json};

use crate::clock::Clock;

/// Between two looks at whether there is anything to write.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// What the sources took today.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    days: Mutex<BTreeMap<Name, Day>>,
    /// Something was taken since the file was written.
    changed: AtomicBool,
}

impl Quotas {
    /// As an earlier run left them in this directory.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let path = path(data_dir);
        let days = match fs::read(&path).map(|text| read(&text)) {
            Ok(Some(days)) => days,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Ok(None) | Err(_) => {
                tracing::warn!(
                    event = "quotas_unread",
                    path = %path.display(),
                    "what the sources took today does not read: it is counted from now on"
                );
                BTreeMap::new()
            }
        };
        Self { days: Mutex::new(days), changed: AtomicBool::new(false) }
    }

    /// Whether a source may take anything more today. Where it bounds nothing, nothing is looked at.
    ///
    /// # Errors
    /// A quota is used up.
    pub(crate) fn check(&self, source: &Name, quota: &Quota, now: impl FnOnce() -> Wall) -> Result<(), Over> {
        if quota.is_none() {
            return Ok(());
        }
        // None was counted yet: there is room.
        let checked = self.lock().get_mut(source).map_or(Ok(()), |day| day.check(quota, now()));
        checked.inspect_err(|over| tell_over(source, over))
    }

    /// Holds room for an event with so many bytes until what holds it is settled; nothing where the source bounds nothing.
    ///
    /// # Errors
    /// A quota is used up, or held; nothing is held then.
    pub(crate) fn hold(
        self: &Arc<Self>,
        source: &Name,
        quota: &Quota,
        bytes: usize,
        now: impl FnOnce() -> Wall,
    ) -> Result<Option<Box<Hold>>, Over> {
        if quota.is_none() {
            return Ok(None);
        }
        let held = self.lock().entry(source.clone()).or_default().hold(quota, bytes as u64, now());
        held.inspect_err(|over| tell_over(source, over))?;
        let (quotas, source, quota, bytes) = (Arc::clone(self), source.clone(), *quota, bytes as u64);
        Ok(Some(Box::new(Hold { quotas, source, quota, bytes, is_counted: false })))
    }

    /// How much a source has taken today.
    pub(crate) fn used(&self, source: &Name, measure: Measure, now: Wall) -> u64 {
        self.lock().get(source).map_or(0, |day| day.used(measure, now))
    }

    /// Keeps the file in step for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>, data_dir: PathBuf, clock: Clock) {
        let mut failed = false;
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            let (quotas, dir) = (Arc::clone(&self), data_dir.clone());
            // A disk that is slow holds up this task alone.
            let written = tokio::task::spawn_blocking(move || quotas.write(&dir, clock.wall())).await;
            let Ok(Err(error)) = written else {
                failed = false;
                continue;
            };
            if !std::mem::replace(&mut failed, true) {
                tracing::warn!(event = "quotas_unwritten", %error, "what the sources took today is tried to be written again");
            }
        }
    }

    /// Writes the file, if anything was taken since it was.
    ///
    /// # Errors
    /// Those of the system: the next time does it.
    pub(crate) fn write(&self, data_dir: &Path, now: Wall) -> io::Result<()> {
        // Before the look at what was taken: what is taken from now on is written the next time.
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let text = self.written(now);
        private::replace(&path(data_dir), text.as_bytes()).inspect_err(|_| self.changed.store(true, Ordering::Relaxed))
    }

    fn written(&self, now: Wall) -> String {
        let mut days = self.lock();
        // Those of sources that have gone, or that have had nothing today.
        days.retain(|_, day| day.is_held() || Measure::ALL.into_iter().any(|measure| day.used(measure, now) > 0));
        let sources: Map<String, Value> = days
            .iter()
            .map(|(name, day)| (name.to_string(), json!(Measure::ALL.map(|measure| day.used(measure, now)))))
            .collect();
        json!({ "day": Day::number(now), "sources": sources }).to_string()
    }

    /// Does something with the day of a source of which something is held, and which is there therefore.
    fn day<T>(&self, source: &Name, done: impl FnOnce(&mut Day) -> T) -> Option<T> {
        self.lock().get_mut(source).map(done)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Day>> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is held of a source's quotas for one event, while it is being stored: whoever waits for that may go away meanwhile.
#[derive(Debug)]
pub(crate) struct Hold {
    quotas: Arc<Quotas>,
    source: Name,
    quota: Quota,
    bytes: u64,
    is_counted: bool,
}

impl Hold {
    /// It is stored, and was not before.
    pub(crate) fn count(mut self) {
        self.is_counted = true;
        let near = self.quotas.day(&self.source, |day| day.count(&self.quota, self.bytes));
        self.quotas.changed.store(true, Ordering::Relaxed);
        near.into_iter().flatten().for_each(|near| tell_near(&self.source, &near));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_counted {
            self.quotas.day(&self.source, |day| day.release(self.bytes));
        }
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("quotas.json")
}

/// What the file says; none if it is another.
fn read(text: &[u8]) -> Option<BTreeMap<Name, Day>> {
    let found: Value = serde_json::from_slice(text).ok()?;
    let number = found.get("day")?.as_i64()?;
    let day = |(name, used): (&String, &Value)| {
        let used = used.as_array()?;
        Some((name.parse().ok()?, Day::new(number, used.first()?.as_u64()?, used.get(1)?.as_u64()?)))
    };
    found.get("sources")?.as_object()?.iter().map(day).collect()
}

fn tell_near(source: &Name, near: &Near) {
    let Near { measure, used, quota } = near;
    tracing::warn!(
        event = "quota_near",
        %source,
        measure = measure.as_str(),
        used,
        quota,
        "four fifths of what the source takes in a day (UTC) are used"
    );
}

fn tell_over(source: &Name, over: &Over) {
    if over.is_first {
        tracing::warn!(
            event = "quota_reached",
            %source,
            measure = over.measure.as_str(),
            quota = over.quota,
            for_s = over.wait.as_secs(),
            "the source takes no more today (UTC): what comes is answered 429"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S36: what was taken today is known after a restart; what was taken yesterday, or does not read, is nothing.
    #[test]
    fn what_was_taken_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (shop, crm): (Name, Name) = ("shop".parse().unwrap(), "crm".parse().unwrap());
        let (today, tomorrow) = (Wall::MIN + Duration::from_hours(30), Wall::MIN + Duration::from_hours(50));
        let quota = Quota { events: Some(3), bytes: None };
        let quotas = Arc::new(Quotas::open(dir.path()));
        let hold = |source| quotas.hold(source, &quota, 7, || today).map(Option::unwrap);
        quotas.write(dir.path(), today).unwrap();
        assert!(!path(dir.path()).exists(), "there is nothing to write");
        for _ in 0..3 {
            hold(&shop).unwrap().count();
        }
        let held = hold(&crm).unwrap();
        assert!(hold(&shop).is_err());
        quotas.write(dir.path(), today).unwrap();
        assert!(quotas.lock()[&crm].is_held(), "what is being stored is not forgotten by writing");
        drop(held);
        let quotas = Quotas::open(dir.path());
        assert_eq!(quotas.used(&shop, Measure::Bytes, today), 21);
        assert_eq!(quotas.used(&crm, Measure::Events, today), 0);
        assert!(quotas.check(&shop, &quota, || today).is_err() && quotas.check(&crm, &quota, || today).is_ok());
        assert!(quotas.check(&shop, &quota, || tomorrow).is_ok());
        for text in ["", "{}", r#"{"day":1,"sources":{"shop":[1]}}"#, r#"{"day":1,"sources":{"../x":[1,2]}}"#] {
            fs::write(path(dir.path()), text).unwrap();
            assert_eq!(Quotas::open(dir.path()).used(&shop, Measure::Events, today), 0, "{text}");
        }
    }

    /// S36: as many as are left are stored at a time, and what is not stored is as if it had not come.
    #[test]
    fn what_is_being_stored_is_spoken_for() {
        let (quotas, shop): (_, Name) = (Arc::new(Quotas::default()), "shop".parse().unwrap());
        let (quota, now) = (Quota { events: Some(2), bytes: None }, Wall::MIN);
        let hold = || quotas.hold(&shop, &quota, 7, || now);
        let (first, second) = (hold().unwrap(), hold().unwrap());
        assert!(hold().unwrap_err().is_held && quotas.check(&shop, &quota, || now).is_err());
        first.unwrap().count();
        drop(second);
        assert_eq!(quotas.used(&shop, Measure::Events, now), 1);
        hold().unwrap().unwrap().count();
        assert!(!hold().unwrap_err().is_held);
    }

    /// Nothing is kept of a source that bounds nothing.
    #[test]
    fn nothing_is_kept_without_a_quota() {
        let (quotas, shop) = (Arc::new(Quotas::default()), "shop".parse().unwrap());
        let never = || -> Wall { unreachable!("the time is not asked for") };
        quotas.check(&shop, &Quota::default(), never).unwrap();
        assert!(quotas.hold(&shop, &Quota::default(), 7, never).unwrap().is_none());
        assert!(quotas.lock().is_empty());
    }
}
