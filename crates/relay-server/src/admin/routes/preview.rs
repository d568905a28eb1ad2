//! What holds a command that changes many to what its preview counted.

use relay_core::{
    id::{IdError, IdMint, JobId},
    jobs::{JobSums, Last},
    storage::{Mark, Step, Stepped},
    time::Wall,
};

use crate::{
    admin::problem::AdminError,
    api::BulkDto,
    clock::rfc3339,
    preview::{HOLDS, Preview, PreviewError, whom},
    principal::Principal,
    state::State,
};

/// What a command says of its preview, and how much it wants to be about.
pub(super) struct Given<'a> {
    pub(super) preview: Option<&'a str>,
    pub(super) job: Option<&'a str>,
    pub(super) limit: Option<u64>,
    pub(super) dry_run: bool,
    /// It is about what matches, and not about what it names.
    pub(super) is_open: bool,
}

/// Under which job a command runs, how far that is, as of when, and to which at most.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) as_of: Option<Wall>,
    pub(super) last: Option<Last>,
    pub(super) mark: Mark,
    /// What the preview counted, and its limit.
    pub(super) counted: Option<(u64, Option<u64>)>,
}

/// What this command, `what` in short, is held to.
///
/// # Errors
/// `Invalid`; `Preview`; `Conflict` for who came in by the dashboard and brings none; `Store`.
pub(super) async fn terms(
    state: &State,
    who: &Principal,
    what: u64,
    given: &Given<'_>,
) -> Result<(JobId, Terms), AdminError> {
    let job = given.job.map(str::parse).transpose().map_err(|error: IdError| AdminError::Invalid(error.to_string()))?;
    let now = state.clock.wall();
    let new = || IdMint::new(0, rand::random()).job(now);
    match given.preview {
        Some(_) if given.dry_run => {
            Err(AdminError::Invalid("a dry run makes a preview, and takes none; leave out preview or dry_run".into()))
        }
        Some(text) => {
            let preview = state.previews.read(text, whom(&who.name), what)?;
            Ok(begun(state, &preview, job, given.limit).await?)
        }
        // What is named is meant whatever the time is, and however a clock was set.
        None if given.dry_run => {
            Ok((job.unwrap_or_else(new), Terms { as_of: given.is_open.then_some(now), ..Terms::default() }))
        }
        None if given.is_open && who.has_session() => Err(AdminError::Conflict(
            "what matches is previewed first: ask with dry_run, look at what it counts, and bring the preview of that answer".into(),
        )),
        None => match job {
            Some(job) => Ok((job, Terms { mark: mark(state, job).await?, ..Terms::default() })),
            None => Ok((new(), Terms::default())),
        },
    }
}

/// The same by its preview: it begins once, and not late; what has begun goes on if its job is named.
async fn begun(
    state: &State,
    preview: &Preview,
    job: Option<JobId>,
    limit: Option<u64>,
) -> Result<(JobId, Terms), AdminError> {
    if job.is_some_and(|job| job != preview.job) {
        return Err(PreviewError::OtherJob(preview.job).into());
    }
    if let Some(most) = preview.limit.filter(|most| limit.is_none_or(|limit| limit > *most)) {
        return Err(PreviewError::Fewer(most).into());
    }
    let mark = mark(state, preview.job).await?;
    match mark.steps {
        0 if state.clock.wall() > preview.good_until => return Err(PreviewError::Old.into()),
        1.. if job.is_none() => return Err(PreviewError::Used { job: preview.job, changed: mark.changed }.into()),
        _ => {}
    }
    let counted = Some((preview.matched, preview.limit));
    Ok((preview.job, Terms { as_of: preview.as_of, last: preview.last, mark, counted }))
}

/// How far a job is: that of one that has not begun has no steps.
pub(super) async fn mark(state: &State, job: JobId) -> Result<Mark, AdminError> {
    let (Stepped::Elsewhere(mark) | Stepped::Done { mark, .. }) = state.upkeep.step(Step::look(job)).await?;
    Ok(mark)
}

/// What a dry run answers, with the preview that its command brings: as of when it counted, at most how many, and what it came to.
pub(super) fn previewed(
    state: &State,
    who: &Principal,
    what: u64,
    (as_of, limit): (Option<Wall>, Option<u64>),
    (job, sums): (JobId, &JobSums),
    counted: BulkDto,
) -> BulkDto {
    let now = state.clock.wall();
    let (good_until, matched) = (now + HOLDS, sums.matched);
    let preview = Preview { job, as_of, good_until, limit, matched, last: sums.last, who: whom(&who.name), what };
    BulkDto {
        as_of: Some(rfc3339(as_of.unwrap_or(now))),
        preview: Some(state.previews.sign(&preview)),
        good_until: Some(rfc3339(good_until)),
        example: sums.example.map(|example| example.to_string()),
        ..counted
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use relay_store::memory::MemoryStore;

    use super::*;
    use crate::principal::Via;

    fn given<'a>(preview: &'a str, job: Option<&'a str>, limit: Option<u64>) -> Given<'a> {
        Given { preview: Some(preview), job, limit, dry_run: false, is_open: true }
    }

    /// A preview of this state, `age` old.
    fn signed(state: &State, age: Duration, limit: Option<u64>) -> (Preview, String) {
        let as_of = state.clock.wall() - age;
        let (job, who) = (IdMint::new(0, rand::random()).job(as_of), whom("cli"));
        let (good_until, last) = (as_of + HOLDS, Some(Last { at: as_of, id: 7 }));
        let preview = Preview { job, as_of: Some(as_of), good_until, limit, matched: 9, last, who, what: 7 };
        let text = state.previews.sign(&preview);
        (preview, text)
    }

    fn cli() -> Principal {
        Principal::nobody("cli")
    }

    /// I12: a command begins by its preview while that is good, and is about no more.
    #[tokio::test]
    async fn a_preview_is_good_for_ten_minutes_and_for_so_many() {
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let (fresh, text) = signed(&state, Duration::from_mins(9), Some(5));
        let job = fresh.job.to_string();
        for job in [None, Some(job.as_str())] {
            let (job, found) = terms(&state, &cli(), 7, &given(&text, job, Some(5))).await.unwrap();
            assert_eq!((job, found.as_of, found.last), (fresh.job, fresh.as_of, fresh.last));
            assert_eq!(found.counted, Some((9, Some(5))));
        }
        for limit in [None, Some(6)] {
            let refused = terms(&state, &cli(), 7, &given(&text, None, limit)).await.err().unwrap();
            assert_eq!(refused, PreviewError::Fewer(5).into());
        }
        let (old, text) = signed(&state, Duration::from_mins(11), None);
        let job = old.job.to_string();
        for job in [None, Some(job.as_str())] {
            let refused = terms(&state, &cli(), 7, &given(&text, job, None)).await.err();
            assert_eq!(refused, Some(PreviewError::Old.into()), "{job:?}");
        }
        let other = terms(&state, &Principal::nobody("user:bob"), 7, &given(&text, None, None)).await.err();
        assert_eq!(other, Some(PreviewError::Foreign.into()));
    }

    /// I12: one that was used is told so by whichever server has the store, and what has begun goes on however long it takes.
    #[tokio::test]
    async fn what_has_begun_goes_on_and_does_not_begin_again() {
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let (old, text) = signed(&state, Duration::from_mins(30), None);
        let begins = Step { before: 0, matched: 3, ..Step::look(old.job) };
        assert!(matches!(state.upkeep.step(begins).await, Ok(Stepped::Done { .. })));
        let used = terms(&state, &cli(), 7, &given(&text, None, None)).await.err();
        assert_eq!(used, Some(PreviewError::Used { job: old.job, changed: 0 }.into()));
        let job = old.job.to_string();
        let (_, goes_on) = terms(&state, &cli(), 7, &given(&text, Some(&job), None)).await.unwrap();
        assert_eq!((goes_on.mark.steps, goes_on.mark.matched), (1, 3), "where it stands");
    }

    /// I12: by the dashboard nobody changes many that he was not shown.
    #[tokio::test]
    async fn whoever_has_a_session_brings_a_preview_of_what_matches() {
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let via = Via { credential: Some(Principal::SESSION.to_owned()), ..Via::default() };
        let alice = Principal { via, ..Principal::nobody("user:alice") };
        let asked = |dry_run, is_open| Given { preview: None, job: None, limit: None, dry_run, is_open };
        let refused = terms(&state, &alice, 7, &asked(false, true)).await.err().unwrap().to_string();
        assert!(refused.contains("ask with dry_run"), "{refused}");
        assert!(terms(&state, &alice, 7, &asked(false, false)).await.is_ok(), "what is named was shown");
        assert!(terms(&state, &alice, 7, &asked(true, true)).await.unwrap().1.as_of.is_some());
        let (_, of_named) = terms(&state, &alice, 7, &asked(true, false)).await.unwrap();
        assert!(of_named.as_of.is_none(), "a clock that was set back hides none that is named");
        assert!(terms(&state, &cli(), 7, &asked(false, true)).await.unwrap().1.as_of.is_none());
    }
}
