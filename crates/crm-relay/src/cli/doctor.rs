//! `crm-relay doctor`.

use clap::Args;

use super::shared_options::Common;
use crate::{exit::Outcome, redis_store, store};

/// Whether the store is kept as it should be: each thing that is looked at in a line, and beside what is wrong the line that mends
/// it. Exit 1 if anything is.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    common: Common,
}

impl DoctorArgs {
    pub(super) fn run(self) -> Outcome {
        match self.common.redis(None)? {
            Some(options) => redis_store::doctor(&options, self.common.json),
            None => store::doctor(&self.common.layers()?, self.common.json),
        }
    }
}
