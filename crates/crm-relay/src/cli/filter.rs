//! Which deliveries, and which events: what lists and bulk commands have in common.

use clap::Args;

use relay_server::api::BulkAsk;

use super::listing::Range;
use crate::{exit::Failure, render::time};

/// Deliveries along some routes.
#[derive(Clone, Debug, Args)]
pub(super) struct Along {
    /// To this destination only
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// From this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// Dead letters.
#[derive(Clone, Debug, Args)]
pub(super) struct Ended {
    #[command(flatten)]
    along: Along,
    #[arg(
        help = "That ended for this reason only: refused, rejected, busy, lost_leases, expired",
        long,
        value_name = "REASON"
    )]
    reason: Option<String>,
    #[command(flatten)]
    range: Range,
}

/// Events.
#[derive(Clone, Debug, Args)]
pub(super) struct Received {
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Of events with such a name only; * stands for any text, ? for one character
    #[arg(long = "name", value_name = "PATTERN")]
    pattern: Option<String>,
    #[command(flatten)]
    range: Range,
}

/// Names and values, as the admin API takes them.
pub(super) type Parameters = Vec<(&'static str, String)>;

impl Along {
    /// As parameters of the admin API.
    pub(super) fn parameters(self) -> Parameters {
        given([("destination", self.destination), ("source", self.source)])
    }
}

impl Ended {
    /// As parameters of the admin API.
    ///
    /// # Errors
    /// Text that is no time.
    pub(super) fn parameters(self) -> Result<Parameters, Failure> {
        let mut parameters = self.along.parameters();
        parameters.extend(given([("reason", self.reason)]));
        parameters.extend(self.range.parameters(time::now())?);
        Ok(parameters)
    }
}

impl Ended {
    /// As bounds of a command.
    ///
    /// # Errors
    /// Text that is no time.
    pub(super) fn bounds(self) -> Result<BulkAsk, Failure> {
        let (since, until) = self.range.bounds(time::now())?;
        let Along { destination, source } = self.along;
        Ok(BulkAsk { destination, source, reason: self.reason, since, until, ..BulkAsk::default() })
    }
}

impl Received {
    /// The source that was named.
    pub(super) fn source(&self) -> Option<String> {
        self.source.clone()
    }

    /// As parameters of the admin API.
    ///
    /// # Errors
    /// Text that is no time.
    pub(super) fn parameters(self) -> Result<Parameters, Failure> {
        let mut parameters = given([("source", self.source), ("name", self.pattern)]);
        parameters.extend(self.range.parameters(time::now())?);
        Ok(parameters)
    }
}

/// Those that were given.
pub(super) fn given(options: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Parameters {
    options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
