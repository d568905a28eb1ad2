//! The screens: one a file, each a view model of the core's values and its template.

mod access;
mod again;
mod alerts;
mod audit;
mod choice;
mod dead;
mod deliveries;
mod destination;
mod event;
mod events;
mod hour;
mod key;
mod login;
mod me;
mod outcome;
mod overview;
mod problem;
mod proof;
mod route;
mod source;
mod sources;
mod users;
mod why;
mod wizard;

pub use self::{
    access::{Access, RotationLine, SettingLine, TokenLine},
    again::Again,
    alerts::{Alerts, ConditionLine, ReceiverLine},
    audit::{Audit, AuditFilter, AuditLine, AuditLines, AuditList},
    dead::{Dead, DeadFilter, DeadGroups, GroupLine},
    deliveries::{Deliveries, DeliveriesFilter, DeliveryLine, DeliveryLines, DeliveryList},
    destination::{ClientLine, DestinationFacts, DestinationPage},
    event::{Became, DeliveryFacts, EventBecame, EventCurl, EventFacts, EventPage, Header, Payload, Try},
    events::{EventLine, EventLines, EventList, Events, EventsFilter, LookedThrough, MarkedBetween, SendersAsked},
    hour::Hour,
    key::KeyLine,
    login::{Login, Way},
    me::{Me, SessionLine},
    outcome::Outcome,
    overview::{Circuit, DestinationLine, Overview, OverviewLive, Reason, Situation, SourceLine},
    problem::Problem,
    proof::{NoVerdict, Proof},
    route::RouteLine,
    source::{EventName, Parameter, RefusalLine, SourceCounters, SourceFacts, SourcePage},
    sources::{ListedSource, MissedLine, Sources},
    users::{UserLine, UserState, Users},
    why::{CheckLine, Found, HopLine, Why},
    wizard::{ParameterField, Platform, Wizard, WizardForm},
};

/// What can be drawn.
pub trait Screen: askama::Template {
    /// As HTML.
    fn html(&self) -> String {
        self.render().expect("no filter fails, and a string takes whatever is written")
    }
}

impl<T: askama::Template> Screen for T {}
