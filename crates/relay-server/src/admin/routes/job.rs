//! Jobs: how far a command is that changes many, and its end before it is through.
//!
//! How far it is stands in the store, whoever runs it: a command line, a page, this server or another. To stop one is a step of it that does
//! nothing and is the last: whoever runs it finds it over behind the step that is under way.

use axum::{Extension, Json};
use relay_core::{
    id::{IdError, JobId},
    storage::{Mark, Step, Stepped},
};

use super::preview::mark;
use crate::{
    admin::{
        Of,
        problem::{AdminError, At},
    },
    api::JobDto,
    principal::Principal,
    state::State,
};

/// How often a stop is tried, while steps go on.
const TRIES: u32 = 20;

pub(super) async fn show(Of(state): Of, At(id): At<String>) -> Result<Json<JobDto>, AdminError> {
    let (id, mark) = begun(&state, &id).await?;
    Ok(Json(shown(id, &mark)))
}

pub(super) async fn stop(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(id): At<String>,
) -> Result<Json<JobDto>, AdminError> {
    let (id, mut mark) = begun(&state, &id).await?;
    if mark.is_over {
        return Ok(Json(shown(id, &mark)));
    }
    state.registry.note(state.audited(&who, "job.stop", id.to_string())).await?;
    for _ in 0..TRIES {
        let last = Step::stop(id, &mark, &who.name);
        let (Stepped::Done { mark: now, .. } | Stepped::Elsewhere(now)) = state.upkeep.step(last).await?;
        if now.is_over {
            return Ok(Json(shown(id, &now)));
        }
        mark = now;
    }
    Err(AdminError::Busy(format!("{id} goes on faster than it is stopped")))
}

/// One that has begun, with how far it is.
async fn begun(state: &State, id: &str) -> Result<(JobId, Mark), AdminError> {
    let id: JobId = id.parse().map_err(|error: IdError| AdminError::Invalid(error.to_string()))?;
    let mark = mark(state, id).await?;
    if mark.steps == 0 {
        return Err(AdminError::Unknown(format!("no job {id}: it has not begun, or ended more than a week ago")));
    }
    Ok((id, mark))
}

fn shown(id: JobId, mark: &Mark) -> JobDto {
    let stopped_by = mark.stopped_by().map(ToOwned::to_owned);
    JobDto { job: id.to_string(), matched: mark.matched, changed: mark.changed, is_over: mark.is_over, stopped_by }
}
