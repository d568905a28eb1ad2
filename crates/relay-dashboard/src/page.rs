//! The frame around every screen: where it is, who looks, and as of when.

use relay_core::time::Wall;

use crate::{
    asset::Asset,
    script::Script,
    text,
    url::{Site, Url},
    viewer::{Role, Theme, Viewer, Zone},
};

/// The policy that goes with each page (S26): nothing but what stands in this crate, and no string becomes markup but by the module's
/// one policy of Trusted Types.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
                          frame-ancestors 'none'; base-uri 'none'; form-action 'self'; \
                          require-trusted-types-for 'script'; trusted-types relay";

/// What all screens have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Under which path all of it is.
    pub site: Site,
    /// Who looks; nobody where one signs in.
    pub viewer: Option<Viewer>,
    /// As of when: what is shown relative is relative to that.
    pub now: Wall,
    /// Of the server.
    pub version: String,
}

/// Where in the navigation a screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// The overview.
    Overview,
    /// Events.
    Events,
    /// Deliveries.
    Deliveries,
    /// Dead letters.
    Dead,
    /// Why nothing arrives.
    Why,
    /// Sources.
    Sources,
    /// Alerts.
    Alerts,
    /// The audit log.
    Audit,
    /// Keys and tokens.
    Access,
    /// Users.
    Users,
    /// The viewer himself.
    Me,
    /// Anywhere else.
    Elsewhere,
}

/// A link of the navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub url: Url,
    /// What it says.
    pub words: &'static str,
    /// It leads here.
    pub here: bool,
}

impl Page {
    /// What the viewer may go to.
    pub fn navigation(&self, here: Tab) -> Vec<Link> {
        let Some(viewer) = &self.viewer else { return Vec::new() };
        let site = &self.site;
        let mut all = vec![
            (Tab::Overview, site.overview(), text::OVERVIEW),
            (Tab::Events, site.events(), text::EVENTS),
            (Tab::Deliveries, site.deliveries(), text::DELIVERIES),
            (Tab::Dead, site.dead(), text::DEAD),
            (Tab::Why, site.why_all(), text::WHY),
            (Tab::Sources, site.sources(), text::SOURCES),
            (Tab::Alerts, site.alerts(), text::ALERTS),
            (Tab::Audit, site.audit(), text::AUDIT),
        ];
        if viewer.role == Role::Admin {
            all.push((Tab::Access, site.access(), text::ACCESS));
            all.push((Tab::Users, site.users(), text::USERS));
        }
        all.into_iter().map(|(place, url, words)| Link { url, words, here: place == here }).collect()
    }

    pub(crate) fn style(&self) -> Url {
        self.site.asset(Asset::Style)
    }

    pub(crate) fn script(&self, script: Script) -> Url {
        self.site.asset(Asset::Script(script))
    }

    pub(crate) fn icon(&self) -> Url {
        self.site.asset(Asset::Icon)
    }

    pub(crate) fn theme(&self) -> &'static str {
        self.viewer.as_ref().map_or(Theme::System, |viewer| viewer.theme).as_str()
    }

    pub(crate) fn zone(&self) -> &'static str {
        self.viewer.as_ref().map_or(Zone::Local, |viewer| viewer.zone).as_str()
    }

    pub(crate) fn keys(&self) -> &'static str {
        if self.has_keys() { "on" } else { "off" }
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.viewer.as_ref().is_some_and(|viewer| viewer.keys)
    }

    /// Whether the viewer may change what becomes of deliveries.
    pub(crate) fn may_deliver(&self) -> bool {
        self.viewer.as_ref().is_some_and(|viewer| viewer.role >= Role::Operator)
    }

    /// Whether the viewer may change what is set up.
    pub(crate) fn may_configure(&self) -> bool {
        self.viewer.as_ref().is_some_and(|viewer| viewer.role == Role::Admin)
    }

    pub(crate) fn sees_payloads(&self) -> bool {
        self.viewer.as_ref().is_some_and(|viewer| viewer.payloads)
    }
}
