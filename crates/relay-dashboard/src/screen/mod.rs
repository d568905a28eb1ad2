//! The screens: one a file, each a view model of the core's values and its template.

mod again;
mod audit;
mod choice;
mod dead;
mod deliveries;
mod event;
mod events;
mod login;
mod me;
mod outcome;
mod overview;
mod problem;
mod users;
mod why;

pub use self::{
    again::Again,
    audit::{Audit, AuditFilter, AuditLine, AuditLines, AuditList},
    dead::{Dead, DeadFilter, DeadGroups, GroupLine},
    deliveries::{Deliveries, DeliveriesFilter, DeliveryLine, DeliveryLines, DeliveryList},
    event::{DeliveryFacts, EventFacts, EventPage, Header, Payload, Try},
    events::{EventLine, EventLines, EventList, Events, EventsFilter, LookedThrough, SendersAsked},
    login::{Login, Way},
    me::{Me, SessionLine},
    outcome::Outcome,
    overview::{Circuit, DestinationLine, Overview, OverviewLive, Reason, Situation, SourceLine},
    problem::Problem,
    users::{UserLine, UserState, Users},
    why::{CheckLine, Found, HopLine, Why},
};

/// What can be drawn.
pub trait Screen: askama::Template {
    /// As HTML.
    fn html(&self) -> String {
        self.render().expect("no filter fails, and a string takes whatever is written")
    }
}

impl<T: askama::Template> Screen for T {}
