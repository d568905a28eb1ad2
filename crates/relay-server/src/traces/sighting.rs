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

    /// It is this event, which was durable and answered then by the clock that it was seen by. What is told is by the one that `received_at`
    /// is, which all servers on a store have: another one of them may tell of its tries.
    pub(crate) fn tell(
        self,
        traces: &Traces,
        (event, source): (EventId, Name),
        received_at: Wall,
        (durable, ended, status): (Wall, Wall, StatusCode),
    ) {
        let Self { sender, began, asked } = self;
        let Some(trace) = traces.sampling().trace_under(event, sender) else { return };
        let shared = |at: Wall| at + received_at.since(asked) - asked.since(received_at);
        let [begun, durable, ended] = [began, durable, ended].map(shared);
        let (asked, status) = (received_at, status.as_u16());
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
