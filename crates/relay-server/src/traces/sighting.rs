//! What is remembered of a webhook while its commit is waited for.

use http::StatusCode;
use relay_core::{
    hub::Accepting,
    id::EventId,
    name::Name,
    time::Wall,
    trace::{Acceptance, TraceContext, Traced},
};

use super::Traces;

/// A webhook that may turn out to be traced: whether it is follows from its id.
pub(crate) struct Sighting {
    sender: Option<TraceContext>,
    began: Wall,
    asked: Wall,
}

impl Sighting {
    /// Of a request that goes to the store, whose head was there then.
    pub(crate) fn of(accepting: &Accepting, began: Wall) -> Self {
        Self { sender: TraceContext::of_headers(&accepting.headers), began, asked: accepting.received_at }
    }

    /// It is this event, which was durable and answered then.
    pub(crate) fn tell(
        self,
        traces: &Traces,
        (event, source): (EventId, Name),
        (durable, ended, status): (Wall, Wall, StatusCode),
    ) {
        let Self { sender, began: begun, asked } = self;
        let Some(trace) = traces.sampling().trace_under(event, sender) else { return };
        let status = status.as_u16();
        traces.put(Traced::Accepted(Box::new(Acceptance {
            trace,
            event,
            source,
            begun,
            asked,
            durable,
            ended,
            status,
        })));
    }
}
