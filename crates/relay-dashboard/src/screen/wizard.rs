//! A new source, from the choice of its platform to its first webhook.

use askama::Template;
use relay_core::name::Name;

use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "wizard.html")]
pub struct Wizard {
    /// The frame.
    pub page: Page,
    /// What was looked for among the platforms.
    pub find: Option<String>,
    /// Those that match.
    pub platforms: Vec<Platform>,
    /// Of the one that was chosen.
    pub form: Option<WizardForm>,
}

/// A platform whose webhooks are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Its name in commands.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What has to be given for it.
    pub needs: String,
}

/// What is asked for a source of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WizardForm {
    /// Of which.
    pub platform: Platform,
    /// Where it says how it signs.
    pub docs: &'static str,
    /// A name that is free.
    pub name: String,
    /// Where webhooks go that come to that name.
    pub url: String,
    /// It is not known how that is reached from outside.
    pub is_local: bool,
    /// Where clients connect.
    pub relay_url: String,
    /// Destinations that there are.
    pub destinations: Vec<Name>,
    /// What has to be given, or is made up.
    pub fields: Vec<ParameterField>,
    /// What may be given.
    pub more: Vec<ParameterField>,
    /// What to do at the platform.
    pub steps: Vec<String>,
    /// The platform asks something before it sends anything.
    pub asks_first: bool,
    /// The platform may hand over its secret itself.
    pub adopts: bool,
    /// Nothing proves what comes but that its sender knows the URL.
    pub is_guarded_by_url: bool,
    /// Its senders show a key.
    pub takes_keys: bool,
}

/// A parameter of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterField {
    /// As the table of providers has it.
    pub name: &'static str,
    /// What it is, and where it is found.
    pub help: &'static str,
    /// It is not shown while it is typed, nor later.
    pub secret: bool,
    /// There is no source without it.
    pub required: bool,
    /// Left out, the server makes it up.
    pub made_up: bool,
    /// What holds if it is left out.
    pub default: Option<&'static str>,
    /// The values that there are; none: any.
    pub choices: &'static [&'static str],
}

impl Wizard {
    const TAB: Tab = Tab::Sources;
    const SCRIPT: Script = Script::Wizard;
}
