//! Who looks, what he may see and do, and how he reads.

/// Who looks, and what he may see and do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// His name.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// He may see bodies and values of headers.
    pub payloads: bool,
    /// Light or dark.
    pub theme: Theme,
    /// In which zone he reads times.
    pub zone: Zone,
    /// Keys do something.
    pub keys: bool,
}

/// What somebody may do; each may do what those before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at what is no payload.
    Viewer,
    /// See payloads, and have deliveries made again, cancelled, paused.
    Operator,
    /// Everything.
    Admin,
}

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// In which zone times are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// That of the browser; UTC without the module.
    #[default]
    Local,
    /// UTC.
    Utc,
}

impl Role {
    /// All there are, from the least.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its word in the API and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Theme {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// Its word in the API and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of that word; of another the usual one.
    pub fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|known| known.as_str() == word).unwrap_or_default()
    }
}

impl Zone {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Local, Self::Utc];

    /// Its word in the API and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Utc => "utc",
        }
    }

    /// The zone of that word; of another the usual one.
    pub fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|known| known.as_str() == word).unwrap_or_default()
    }
}
