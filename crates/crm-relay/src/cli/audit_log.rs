//! `crm-relay audit-log`: who changed what, and when.

use clap::Args;

use super::{
    filter::given,
    listing::{Column, Paging, Range, View, list, text, when},
    shared_options::{self, Common},
};
use crate::{
    admin_client::Api,
    exit::{Exit, Outcome},
    render::time,
};

/// Who changed what: commands, the admin API, the configuration file and senders' repeats; the latest first.
#[derive(Debug, Args)]
pub(crate) struct AuditLogArgs {
    /// What was done: dead.redrive, or a noun: dead
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// By whom: cli, admin, config, sender
    #[arg(long, value_name = "WHO")]
    who: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column] = &[
    ("at", |line| when(line, "at")),
    ("who", |line| text(line, "who")),
    ("action", |line| text(line, "action")),
    ("subject", |line| text(line, "subject")),
];

const VIEW: View = View { path: "/api/v1/audit-log", columns: COLUMNS, nothing: "nothing was changed yet" };

impl AuditLogArgs {
    pub(super) fn run(self) -> Outcome {
        shared_options::block_on(async {
            let mut filters = given([("action", self.action), ("who", self.who)]);
            filters.extend(self.range.parameters(time::now())?);
            let api = Api::reading(&self.common.layers()?).await?;
            list(&api, &VIEW, filters, Some(&self.paging), self.common.form()).await?;
            Ok(Exit::Done)
        })
    }
}
