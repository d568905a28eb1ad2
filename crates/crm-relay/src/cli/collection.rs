//! A collection of the admin API, like sources or tokens: the same five commands for each.

use clap::{Args, builder::NonEmptyStringValueParser};
use http::Method;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    listing::{View, list},
    noun::Asked,
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
};

/// Names and ids have characters: without one a path of the admin API would lead elsewhere.
pub(super) fn not_empty() -> NonEmptyStringValueParser {
    NonEmptyStringValueParser::new()
}

/// An update that names no change: to show the thing unchanged would look as if it had been done.
pub(super) fn nothing_to_change(options: &str) -> Failure {
    Failure::usage(format!("nothing to change: want one of {options}"))
}

/// The argument that names one thing.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its name
    #[arg(value_parser = not_empty())]
    pub(super) name: String,
}

/// Where the admin API keeps things of a kind, and how they are shown.
pub(super) struct Collection<T: 'static> {
    /// All of them.
    pub(super) view: View<T>,
    /// One of them.
    pub(super) in_words: fn(&T) -> String,
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// Lists them.
    pub(super) async fn list(&self, asked: &Asked, filters: Vec<(&'static str, String)>) -> Outcome {
        list(&asked.reading().await?, &self.view, filters, None, asked.form).await?;
        Ok(Exit::Done)
    }

    /// Shows the one of this name; some have a name of two parts.
    pub(super) async fn show(&self, asked: &Asked, name: &[&str]) -> Outcome {
        let found: T = asked.reading().await?.get(&self.path(name)).await?;
        asked.tell(&found, self.in_words)
    }

    /// Makes one; gives what was answered.
    pub(super) async fn create(&self, asked: &Asked, body: &impl Serialize) -> Result<T, Failure> {
        asked.running().await?.ask(Method::POST, self.view.path, body).await
    }

    /// Changes one and shows it.
    pub(super) async fn update(&self, asked: &Asked, name: &[&str], body: &impl Serialize) -> Outcome {
        let found: T = asked.running().await?.ask(Method::PATCH, &self.path(name), body).await?;
        asked.tell(&found, self.in_words)
    }

    /// Deletes one.
    pub(super) async fn delete(&self, api: &Api, name: &[&str]) -> Result<(), Failure> {
        api.delete(&self.path(name)).await
    }

    /// Tells one to do something, by its name in the admin API; gives what it is then.
    pub(super) async fn order(&self, api: &Api, name: &[&str], order: &str) -> Result<T, Failure> {
        api.order(&format!("{}/{order}", self.path(name))).await
    }

    /// Where the one of this name is.
    pub(super) fn path(&self, name: &[&str]) -> String {
        let parts: Vec<String> = name.iter().map(|part| encode(part)).collect();
        format!("{}/{}", self.view.path, parts.join("/"))
    }
}
