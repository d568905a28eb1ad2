//! What templates may do with a value: each filter takes one type.

#![expect(
    unreachable_pub,
    clippy::inline_always,
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "the macro writes them so"
)]

use std::time::Duration;

use askama::{Result, Values};
use relay_core::time::Wall;

use crate::{show, url::Url};

/// A value of that type, behind as many references as a template puts before it.
pub(crate) trait Of<T> {
    /// It.
    fn of(&self) -> &T;
}

macro_rules! values {
    ($($type:ty),*) => {$(
        impl Of<$type> for $type {
            fn of(&self) -> &$type {
                self
            }
        }

        impl<V: Of<$type>> Of<$type> for &V {
            fn of(&self) -> &$type {
                (**self).of()
            }
        }
    )*};
}

values!(Url, u64, Wall, Duration);

/// The only values that may stand in `href`, `src` or `action`.
#[askama::filter_fn]
pub(crate) fn url<T: Of<Url>>(url: T, _: &dyn Values) -> Result<String> {
    Ok(url.of().to_string())
}

/// See [`show::count`].
#[askama::filter_fn]
pub(crate) fn count<T: Of<u64>>(count: T, _: &dyn Values) -> Result<String> {
    Ok(show::count(*count.of()))
}

/// See [`show::size`].
#[askama::filter_fn]
pub(crate) fn size<T: Of<u64>>(bytes: T, _: &dyn Values) -> Result<String> {
    Ok(show::size(*bytes.of()))
}

/// See [`show::span`].
#[askama::filter_fn]
pub(crate) fn span<T: Of<Duration>>(span: T, _: &dyn Values) -> Result<String> {
    Ok(show::span(*span.of()))
}

/// See [`show::iso`].
#[askama::filter_fn]
pub(crate) fn iso<T: Of<Wall>>(at: T, _: &dyn Values) -> Result<String> {
    Ok(show::iso(*at.of()))
}

/// See [`show::full`].
#[askama::filter_fn]
pub(crate) fn full<T: Of<Wall>>(at: T, _: &dyn Values) -> Result<String> {
    Ok(show::full(*at.of()))
}

/// See [`show::clock`].
#[askama::filter_fn]
pub(crate) fn clock<T: Of<Wall>, N: Of<Wall>>(at: T, _: &dyn Values, now: N) -> Result<String> {
    Ok(show::clock(*at.of(), *now.of()))
}

/// See [`show::ago`].
#[askama::filter_fn]
pub(crate) fn ago<T: Of<Wall>, N: Of<Wall>>(at: T, _: &dyn Values, now: N) -> Result<String> {
    Ok(show::ago(*at.of(), *now.of()))
}
