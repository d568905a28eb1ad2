//! Keys of ours that somebody made something else: of another type they are put aside, and made again; with an expiry they lose that.

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    keys::{Key, Wanted},
    reply::{Fault, Replies, Reply},
    scripts::Script,
};

/// How a key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Of the type that it should be, or not there.
    pub(super) is_right: bool,
    /// It goes by itself.
    pub(super) expires: bool,
}

/// What came of a look at some keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// So many were put aside.
    pub(super) aside: u64,
    /// So many were to expire, and are not any more.
    pub(super) kept: u64,
}

impl Core {
    /// How these are, each of which should be of that type.
    pub(super) async fn how_are(&self, keys: &[(&Key, &str)]) -> Result<Vec<Found>, Fault> {
        let ask = |(key, _): &(&Key, &str)| [Command::new("TYPE").arg(key), Command::new("PTTL").arg(key)];
        let mut replies = Replies::new(self.nodes.ask(keys.iter().flat_map(ask).collect()).await?);
        let mut found = Vec::with_capacity(keys.len());
        for (_, of_type) in keys {
            let (is, left) = (replies.next()?.bytes()?, replies.next()?.number()?);
            found.push(Found { is_right: is == of_type.as_bytes() || is == b"none", expires: left >= 0 });
        }
        Ok(found)
    }

    /// Puts those aside that are of another type, and keeps those that are to expire; each is named.
    pub(super) async fn put_right(&self, wanted: &[Wanted]) -> Result<Done, Fault> {
        let keys: Vec<(&Key, &str)> = wanted.iter().map(|wanted| (&wanted.key, wanted.of_type)).collect();
        let mut done = Done::default();
        for (wanted, found) in wanted.iter().zip(self.how_are(&keys).await?) {
            if !found.is_right || found.expires {
                done.join(self.put_one_right(wanted).await?);
            }
        }
        Ok(done)
    }

    /// How many would be; nothing is changed.
    pub(super) async fn how_many(&self, wanted: &[Wanted]) -> Result<Done, Fault> {
        let keys: Vec<(&Key, &str)> = wanted.iter().map(|wanted| (&wanted.key, wanted.of_type)).collect();
        let mut done = Done::default();
        self.how_are(&keys).await?.into_iter().for_each(|found| done.join(found.into()));
        Ok(done)
    }

    /// The same for one that was found so. Whoever else does it meanwhile, it is done once.
    pub(super) async fn put_one_right(&self, wanted: &Wanted) -> Result<Done, Fault> {
        self.life.check()?;
        let Wanted { key, of_type, aside, instead } = wanted;
        let call = Script::Aside.call(&[key.clone(), aside.clone()], [of_type.as_bytes(), instead]);
        let mut answers = Replies::new(self.nodes.commit(Urgency::Upkeep, call).await?.many()?);
        let mut was_done = || answers.next().and_then(Reply::number).map(|done| u64::from(done > 0));
        let done = Done { aside: was_done()?, kept: was_done()? };
        if done.aside > 0 {
            let key = String::from_utf8_lossy(aside).into_owned();
            tracing::error!(
                event = "key_aside",
                key,
                "a key of ours was of another type: what it held is under this name now, and ours is made again"
            );
        }
        if done.kept > 0 {
            let key = String::from_utf8_lossy(key).into_owned();
            tracing::error!(event = "key_kept", key, "somebody had set a key of ours to expire: it stays");
        }
        Ok(done)
    }

    /// Looks at the keys of the registry. Who has begun no store looks at none: they may be another program's.
    pub(super) async fn put_registry_right(&self) -> Result<(), Fault> {
        if !self.acknowledged.has_begun() {
            return Ok(());
        }
        self.put_right(&self.space.of_registry()).await.map(drop)
    }
}

/// What is to be done about it.
impl From<Found> for Done {
    fn from(found: Found) -> Self {
        Self { aside: u64::from(!found.is_right), kept: u64::from(found.expires) }
    }
}

impl Done {
    fn join(&mut self, other: Self) {
        self.aside += other.aside;
        self.kept += other.kept;
    }
}
