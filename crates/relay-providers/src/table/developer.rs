//! developer

use crate::Provider;

pub(super) const PROVIDERS: &[Provider] = &[];
