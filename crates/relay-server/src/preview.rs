//! Previews: what a dry run counted, signed, so that the command which brings it does that and nothing else.
//!
//! Nothing is kept of one: it says itself what it is of, and the mark of its job in the store says whether it was used. A server that has its
//! store alone takes what it signed since it began; where several share one, each takes those of the others, for they share secrets.

use std::time::Duration;

use aws_lc_rs::hmac;
use relay_core::{id::JobId, jobs::Last, time::Wall};

use crate::secret::{hex, sha256, unhex};

/// How long one is good. A command that has begun by then goes on.
pub(crate) const HOLDS: Duration = Duration::from_mins(10);
/// Bytes of a text that are looked at: the longest that is made is shorter.
const TEXT_BYTES_MAX: usize = 320;
/// What a text begins with; another number: others fields.
const BEGIN: &str = "prv1";

/// What stands where there is no bound.
const ALL: &str = "all";

/// Signs them, and tells which are its own.
pub(crate) struct Previews(hmac::Key);

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preview {
    /// Under which the command runs: so it runs once.
    pub(crate) job: JobId,
    /// As of when it was counted; what is named is what it is at any time.
    pub(crate) as_of: Option<Wall>,
    /// Until when a command begins by it.
    pub(crate) good_until: Wall,
    /// At most so many.
    pub(crate) limit: Option<u64>,
    /// How many that were.
    pub(crate) matched: u64,
    /// The last of them, where there may be more behind it.
    pub(crate) last: Option<Last>,
    /// For whom.
    pub(crate) who: u64,
    /// Of what: the action, its filter, where it leads.
    pub(crate) what: u64,
}

/// Why a text is no preview for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PreviewError {
    /// Nobody here signed that.
    #[error(
        "this preview is of a server with other secrets or of before this one began, or its text is not whole; {AGAIN}"
    )]
    NotOurs,
    /// It was made for somebody else.
    #[error("this preview was made for somebody else; {AGAIN}")]
    Foreign,
    /// It is of another command.
    #[error("this preview is of another command: what is asked for, or where routes lead, has changed since; {AGAIN}")]
    Changed,
    /// It is of fewer.
    #[error("this preview is of {0} at most; want a limit of no more, or another preview")]
    Fewer(u64),
    /// It is of another job.
    #[error("this preview is of {0}; want that job or none")]
    OtherJob(JobId),
    /// Its time is over.
    #[error("this preview is older than 10 min; {AGAIN}")]
    Old,
    /// It was used.
    #[error(
        "this preview was used already: {job} has changed {changed}; with \"job\": \"{job}\" the same command does the rest, if any is left"
    )]
    Used {
        /// The job that it was used by.
        job: JobId,
        /// What that has changed so far.
        changed: u64,
    },
}

/// What to do about most of them.
const AGAIN: &str = "ask with dry_run, look at what it counts, and bring the preview of that answer";

impl Previews {
    /// Those of servers that share these secrets and a store: who has one could try guesses at them, and none of them stands there alone. Of one
    /// that shares none, those of this process.
    pub(crate) fn of(secrets: Option<&[[u8; 32]; 3]>) -> Self {
        secrets.map_or_else(Self::alone, |secrets| Self::new(secrets.as_flattened()))
    }

    /// Those of this process alone.
    pub(crate) fn alone() -> Self {
        Self::new(&rand::random::<[u8; 32]>())
    }

    fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// As text.
    pub(crate) fn sign(&self, preview: &Preview) -> String {
        let Preview { job, as_of, good_until, limit, matched, last, who, what } = preview;
        let (as_of, good_until) = (or_all(as_of.map(Wall::as_micros)), good_until.as_micros());
        let (limit, last) = (or_all(*limit), or_all(last.map(|last| format!("{}-{:x}", last.at.as_micros(), last.id))));
        let said = format!("{BEGIN}.{job}.{as_of}.{good_until}.{limit}.{matched}.{last}.{who:016x}.{what:016x}");
        let tag = hex(hmac::sign(&self.0, message(&said).as_bytes()).as_ref());
        format!("{said}.{tag}")
    }

    /// What one says that was signed here, for this asker and what he asks for.
    ///
    /// # Errors
    /// [`PreviewError`], but for what only time and the store tell.
    pub(crate) fn read(&self, text: &str, who: u64, what: u64) -> Result<Preview, PreviewError> {
        let preview = self.opened(text).ok_or(PreviewError::NotOurs)?;
        if preview.who != who {
            return Err(PreviewError::Foreign);
        }
        if preview.what != what {
            return Err(PreviewError::Changed);
        }
        Ok(preview)
    }

    fn opened(&self, text: &str) -> Option<Preview> {
        let (said, tag) = text.rsplit_once('.').filter(|_| text.len() <= TEXT_BYTES_MAX)?;
        hmac::verify(&self.0, message(said).as_bytes(), &unhex(tag)?).ok()?;
        let parts: Vec<&str> = said.split('.').collect();
        let [BEGIN, job, as_of, good_until, limit, matched, last, who, what] = parts.as_slice() else { return None };
        let moment = |text: &str| text.parse().ok().map(Wall::from_micros);
        Some(Preview {
            job: job.parse().ok()?,
            as_of: if *as_of == ALL { None } else { Some(moment(as_of)?) },
            good_until: moment(good_until)?,
            limit: if *limit == ALL { None } else { Some(limit.parse().ok()?) },
            matched: matched.parse().ok()?,
            last: if *last == ALL { None } else { Some(read_last(last)?) },
            who: u64::from_str_radix(who, 16).ok()?,
            what: u64::from_str_radix(what, 16).ok()?,
        })
    }
}

fn or_all(part: Option<impl ToString>) -> String {
    part.map_or_else(|| ALL.to_owned(), |part| part.to_string())
}

fn read_last(text: &str) -> Option<Last> {
    let (at, id) = text.rsplit_once('-')?;
    Some(Last { at: Wall::from_micros(at.parse().ok()?), id: u128::from_str_radix(id, 16).ok()? })
}

/// Somebody, as a preview names him.
pub(crate) fn whom(name: &str) -> u64 {
    let digest = sha256(format!("preview for {name}").as_bytes());
    u64::from_be_bytes(*digest.first_chunk().expect("a digest is longer"))
}

/// What is signed: nothing else that is with this key begins so.
fn message(said: &str) -> String {
    format!("crm-relay preview {said}")
}

#[cfg(test)]
mod tests {
    use relay_core::id::IdMint;

    use super::*;

    fn preview() -> Preview {
        let now = Wall::from_micros(1_700_000_000_000_000);
        let (job, who) = (IdMint::new(0, 1).job(now), whom("user:alice"));
        let last = Some(Last { at: Wall::MIN, id: u128::MAX });
        Preview { job, as_of: Some(now), good_until: now + HOLDS, limit: Some(37), matched: 37, last, who, what: 7 }
    }

    /// I12: a preview says what it is of to whoever signed it, and to those who share the secret.
    #[test]
    fn what_was_signed_is_read_where_the_secret_is_shared() {
        let made = preview();
        let text = Previews::new(&[1; 32]).sign(&made);
        assert_eq!(Previews::new(&[1; 32]).read(&text, made.who, 7), Ok(made));
        let of_all = Preview { limit: None, as_of: None, last: None, ..made };
        let ours = Previews::new(&[1; 32]);
        assert_eq!(ours.read(&ours.sign(&of_all), made.who, 7), Ok(of_all));
        let (limit, as_of, good_until) = (Some(u64::MAX), Some(Wall::MIN), Wall::MIN);
        assert!(ours.sign(&Preview { limit, as_of, good_until, matched: u64::MAX, ..made }).len() < TEXT_BYTES_MAX);
        for other in [Previews::new(&[2; 32]), Previews::alone()] {
            assert_eq!(other.read(&text, made.who, 7), Err(PreviewError::NotOurs));
        }
        assert_eq!(ours.read(&text, whom("user:bob"), 7), Err(PreviewError::Foreign));
        assert_eq!(ours.read(&text, made.who, 8), Err(PreviewError::Changed));
    }

    /// I12: nobody makes one himself, or another one of one.
    #[test]
    fn what_is_no_preview_is_told_so() {
        let (ours, made) = (Previews::new(&[1; 32]), preview());
        let text = ours.sign(&made);
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'1' { b'2' } else { b'1' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(ours.read(&other, made.who, 7), Err(PreviewError::NotOurs), "{other}");
            assert_eq!(ours.read(&text[..at], made.who, 7), Err(PreviewError::NotOurs), "{at}");
        }
        for strange in ["", ".", "prv1", "prv1......", "\u{0}.é", &"1.".repeat(4_000)] {
            assert_eq!(ours.read(strange, made.who, 7), Err(PreviewError::NotOurs), "{strange:?}");
        }
    }
}
