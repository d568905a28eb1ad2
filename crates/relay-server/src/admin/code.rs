//! The stable words that errors of the admin API carry, each with its status.

use http::StatusCode;

/// What kind of error an answer of the admin API is; scripts may rely on its text. The strict reader in front of the API
/// answers with codes of its own ([`Code`](crate::error::Code)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminCode {
    /// The command ended without an answer.
    BrokenOff,
    /// It cannot be done in this state.
    Conflict,
    /// Somebody else keeps changing it.
    Contended,
    /// A stored record does not read.
    Damaged,
    /// The configuration file has it.
    Declared,
    /// Whoever asks may not do that.
    Forbidden,
    /// A page of another site asks.
    ForeignSite,
    /// A value, filter or field is not acceptable.
    Invalid,
    /// A source never is without a route.
    LastRoute,
    /// The path is right and the method is not.
    MethodNotAllowed,
    /// It was asked under a name that is not the listener's.
    Misdirected,
    /// The system gives no random numbers.
    NoRandomness,
    /// The store that this server has does not do that.
    NotHere,
    /// The store was written faster than a copy of it was taken.
    Outgrown,
    /// Too many wrong tokens came from there.
    RateLimited,
    /// The server is about to stop.
    ShuttingDown,
    /// The store cannot be reached; nothing was changed.
    StoreAway,
    /// There is no room on disk.
    StoreFull,
    /// The store has failed, or is closed.
    StoreUnavailable,
    /// The name exists already.
    Taken,
    /// The body, or whoever takes an answer, is too slow.
    Timeout,
    /// The body is larger than any command's.
    TooLarge,
    /// The store has no time or means for it now.
    TooSlow,
    /// No or the wrong admin token.
    Unauthorized,
    /// The store did not answer: it may be done.
    Uncertain,
    /// There is no such thing.
    Unknown,
}

impl AdminCode {
    /// Every code.
    pub const ALL: [Self; 26] = [
        Self::BrokenOff,
        Self::Conflict,
        Self::Contended,
        Self::Damaged,
        Self::Declared,
        Self::Forbidden,
        Self::ForeignSite,
        Self::Invalid,
        Self::LastRoute,
        Self::MethodNotAllowed,
        Self::Misdirected,
        Self::NoRandomness,
        Self::NotHere,
        Self::Outgrown,
        Self::RateLimited,
        Self::ShuttingDown,
        Self::StoreAway,
        Self::StoreFull,
        Self::StoreUnavailable,
        Self::Taken,
        Self::Timeout,
        Self::TooLarge,
        Self::TooSlow,
        Self::Unauthorized,
        Self::Uncertain,
        Self::Unknown,
    ];

    /// Its text, as in the `code` member.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrokenOff => "broken_off",
            Self::Conflict => "conflict",
            Self::Contended => "contended",
            Self::Damaged => "damaged",
            Self::Declared => "declared",
            Self::Forbidden => "forbidden",
            Self::ForeignSite => "foreign_site",
            Self::Invalid => "invalid",
            Self::LastRoute => "last_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Misdirected => "misdirected",
            Self::NoRandomness => "no_randomness",
            Self::NotHere => "not_here",
            Self::Outgrown => "outgrown",
            Self::RateLimited => "rate_limited",
            Self::ShuttingDown => "shutting_down",
            Self::StoreAway => "store_away",
            Self::StoreFull => "store_full",
            Self::StoreUnavailable => "store_unavailable",
            Self::Taken => "taken",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Unauthorized => "unauthorized",
            Self::Uncertain => "uncertain",
            Self::Unknown => "unknown",
        }
    }

    /// The HTTP status that it is told with, always the same.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::ForeignSite => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict | Self::Contended | Self::Declared | Self::LastRoute | Self::Taken => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::BrokenOff | Self::Damaged | Self::NoRandomness => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotHere => StatusCode::NOT_IMPLEMENTED,
            Self::ShuttingDown | Self::StoreAway | Self::StoreUnavailable | Self::TooSlow | Self::Uncertain => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Outgrown | Self::StoreFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds one adds it to the list too: the next steps of the command line and the document of the API are held
    /// against that list.
    #[test]
    fn the_list_holds_every_code_once() {
        // The last one's number counts those before it.
        assert_eq!(AdminCode::ALL.len(), AdminCode::Unknown as usize + 1);
        for (number, code) in AdminCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, number, "{code:?}");
        }
    }
}
