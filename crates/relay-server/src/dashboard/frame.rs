//! Who looks at a page, and how it is answered.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{FromRequestParts, rejection::ExtensionRejection},
    response::{Html, IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use relay_dashboard::{
    page::Page,
    screen::{Problem, Screen},
    show,
    url::{Site, Url},
    viewer::{self, Theme, Viewer, Zone},
};

use super::FRAGMENT;
use crate::{
    admin::problem::AdminError,
    people::Present,
    principal::{Permission, Principal, Role},
    state::State,
};

/// Somebody looks at a page.
#[derive(Clone)]
pub(super) struct Looking {
    pub(super) state: Arc<State>,
    /// For whom it is drawn.
    pub(super) who: Principal,
    /// His session, if he has one.
    pub(super) present: Option<Present>,
    /// The frame.
    pub(super) page: Page,
    /// The live part alone is asked for.
    pub(super) wants_fragment: bool,
}

/// A page that is to be shown.
pub(super) enum Drawn {
    /// Whole.
    Page(StatusCode, String),
    /// Its live part.
    Fragment(String),
    /// What is asked for is elsewhere.
    Elsewhere(Url),
}

impl FromRequestParts<Arc<State>> for Looking {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ExtensionRejection> {
        let Extension(who) = Extension::<Principal>::from_request_parts(parts, state).await?;
        let present: Option<Present> = parts.extensions.get().cloned();
        let page = page(state, &who, present.as_ref());
        let wants_fragment = parts.headers.contains_key(FRAGMENT);
        Ok(Self { state: Arc::clone(state), who, present, page, wants_fragment })
    }
}

impl Looking {
    /// He may see bodies, queries and values.
    pub(super) fn sees_payloads(&self) -> bool {
        self.who.role.may(Permission::Payload)
    }

    pub(super) fn site(&self) -> &Site {
        &self.page.site
    }

    /// Where one signs in, and comes to `target` from there.
    pub(super) fn login(&self, target: &str) -> Url {
        let base = self.site().base();
        let target = format!("{base}{}", target.trim_start_matches('/'));
        let login = self.site().login();
        // What is no page is led to none; what would show secrets there is asked for anew.
        match self.site().page(&target).filter(|page| *page != base) {
            Some(page) => login.with("next", page.as_str()),
            None => login,
        }
    }

    /// The answer to whoever looks.
    pub(super) fn answer(&self, drawn: Result<Drawn, AdminError>) -> Response {
        match drawn {
            Ok(Drawn::Page(status, html)) => html_of(status, html),
            Ok(Drawn::Fragment(html)) => {
                let mut answer = html_of(StatusCode::OK, html);
                // When it was drawn: by that its page puts right what it takes for now.
                let now = HeaderValue::from_str(&show::iso(self.page.now)).unwrap_or(HeaderValue::from_static("live"));
                answer.headers_mut().insert(FRAGMENT, now);
                answer
            }
            Ok(Drawn::Elsewhere(url)) => redirect(&url),
            Err(error) if self.wants_fragment => error.into_response(),
            Err(error) => self.problem(error),
        }
    }

    fn problem(&self, error: AdminError) -> Response {
        let detail = error.to_string();
        let mut answer = error.into_response();
        let status = answer.status();
        let title = status.canonical_reason().unwrap_or("Something is wrong").to_owned();
        let html = Problem { page: self.page.clone(), status: status.as_u16(), title, detail }.html();
        let mut page = html_of(status, html);
        let later = answer.headers_mut().remove(header::RETRY_AFTER);
        page.headers_mut().extend(later.map(|value| (header::RETRY_AFTER, value)));
        page
    }
}

impl Drawn {
    /// A page that is as it should be, or whose filter has a fault.
    pub(super) fn page(screen: &impl Screen, fault: bool) -> Self {
        let status = if fault { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Self::Page(status, screen.html())
    }
}

/// A screen for whoever looks, signed in or not.
pub(super) fn drawn(screen: &impl Screen) -> Response {
    html_of(StatusCode::OK, screen.html())
}

/// Sends a browser there.
pub(super) fn redirect(url: &Url) -> Response {
    // A `Url` holds nothing that no field may hold.
    let location = HeaderValue::from_str(url.as_str()).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn html_of(status: StatusCode, html: String) -> Response {
    let vary = [(header::VARY, HeaderValue::from_static("relay-fragment, cookie"))];
    (status, vary, Html(html)).into_response()
}

fn page(state: &State, who: &Principal, present: Option<&Present>) -> Page {
    let site = state.dashboard.as_ref().map(|dashboard| dashboard.site.clone()).unwrap_or_default();
    Page { site, viewer: viewer(who, present), now: state.clock.wall(), version: env!("CARGO_PKG_VERSION").into() }
}

fn viewer(who: &Principal, present: Option<&Present>) -> Option<Viewer> {
    let role = match who.role {
        Role::Admin => viewer::Role::Admin,
        Role::Operator => viewer::Role::Operator,
        Role::Viewer => viewer::Role::Viewer,
        Role::Reader | Role::Sender | Role::Stranger => return None,
    };
    let reading = present.map(|present| present.reading.clone()).unwrap_or_default();
    let name = who.name.strip_prefix(Principal::USER).unwrap_or(&who.name).to_owned();
    let (theme, zone, keys) = (Theme::of(&reading.theme), Zone::of(&reading.zone), reading.keys);
    Some(Viewer { name, role, payloads: who.role.may(Permission::Payload), theme, zone, keys })
}
