//! The parameters of a source, secrets among them.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Serialize};

/// Names and values of a provider's parameters; a name given twice: both values are valid. Which of them are secrets only the
/// provider's table knows, so that `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(Vec<(String, String)>);

impl From<Vec<(String, String)>> for Parameters {
    fn from(parameters: Vec<(String, String)>) -> Self {
        Self(parameters)
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

impl Deref for Parameters {
    type Target = Vec<(String, String)>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Parameters {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: not even by accident.
    #[test]
    fn debug_shows_names_alone() {
        let parameters = Parameters::from(vec![("secret".to_owned(), "canary".to_owned())]);
        assert_eq!(format!("{:?}", Some(&parameters)), "Some([\"secret\"])");
        let json = serde_json::to_string(&parameters).unwrap();
        assert_eq!((json.as_str(), serde_json::from_str(&json).ok()), (r#"[["secret","canary"]]"#, Some(parameters)));
    }
}
