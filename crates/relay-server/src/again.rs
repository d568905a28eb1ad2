//! A store that did not answer, asked again: for calls that do nothing twice.

use std::time::Duration;

use relay_core::storage::StoreError;
use tokio::time::{Instant, sleep};

/// How long a command that may be done is asked for again, before whoever gave it hears that nobody knows.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two calls.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes a call until it is answered, with whether an earlier one may be done already. A store that says that nothing was changed
/// is believed, unless an earlier call may be done.
///
/// # Errors
/// [`StoreError::Unknown`] where it may be done and nobody said so in time; what the store says otherwise.
pub(crate) async fn until_answered<T, F>(call: impl Fn(bool) -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (until, mut may_be_done) = (Instant::now() + WITHIN, false);
    loop {
        let error = match call(may_be_done).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        may_be_done |= error.is_unknown();
        if error.is_final() || !may_be_done {
            return Err(error);
        }
        if Instant::now() >= until {
            return Err(StoreError::Unknown);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn asked(answers: &[Result<u8, StoreError>]) -> (Result<u8, StoreError>, Vec<bool>) {
        let told = RefCell::new(Vec::new());
        let call = |may_be_done| {
            let mut told = told.borrow_mut();
            let answer = answers[told.len().min(answers.len() - 1)].clone();
            told.push(may_be_done);
            async move { answer }
        };
        let answer = until_answered(call).await;
        (answer, told.into_inner())
    }

    /// What is known is said at once; what may be done is asked for again, whatever the store says meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_until_it_is_known() {
        assert_eq!(asked(&[Ok(1)]).await, (Ok(1), vec![false]));
        for known in [StoreError::Away, StoreError::Full, StoreError::TooSlow { after: PAUSE }, StoreError::Unavailable]
        {
            assert_eq!(asked(&[Err(known.clone()), Ok(1)]).await, (Err(known), vec![false]));
        }
        let later = [Err(StoreError::Unknown), Err(StoreError::Away), Err(StoreError::Full), Ok(1)];
        assert_eq!(asked(&later).await, (Ok(1), vec![false, true, true, true]));
        let failed = [Err(StoreError::Unknown), Err(StoreError::Unavailable)];
        assert_eq!(asked(&failed).await.0, Err(StoreError::Unavailable));
        let began = Instant::now();
        let (answer, told) = asked(&[Err(StoreError::Unknown), Err(StoreError::Away)]).await;
        assert_eq!((answer, began.elapsed()), (Err(StoreError::Unknown), WITHIN));
        assert_eq!(told.len(), 26);
    }
}
