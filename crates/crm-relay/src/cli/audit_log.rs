//! `crm-relay audit-log`: who changed what, and when.

use clap::Args;
use relay_server::api::AuditLineDto;

use super::{
    filter::given,
    listing::{Column, Paging, Range, View, list, text, when},
    shared_options::Common,
};
use crate::{
    admin_client::Api,
    exit::{Exit, Outcome},
    render::time,
    runtime::block_on,
};

/// Who changed what: commands, the admin API, the configuration file and senders' repeats; the latest first.
#[derive(Debug, Args)]
pub(crate) struct AuditLogArgs {
    /// What was done: dead.redrive, or a noun: dead
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// By whom: cli, admin, config, sender, server, stranger, user:NAME
    #[arg(long, value_name = "WHO")]
    who: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    common: Common,
}

const COLUMNS: &[Column<AuditLineDto>] = &[
    ("at", |line| when(&line.at)),
    ("who", |line| text(&line.who)),
    ("from", origin),
    ("action", |line| text(&line.action)),
    ("subject", |line| text(&line.subject)),
];

const VIEW: View<AuditLineDto> =
    View { path: "/api/v1/audit-log", columns: COLUMNS, nothing: "nothing was changed yet" };

/// Who it was, as far as anybody knows: `ada?` is who somebody said he is.
fn origin(line: &AuditLineDto) -> String {
    let Some(origin) = &line.origin else { return "-".to_owned() };
    let known = |what: &Option<String>| what.as_ref().map(text);
    let claimed = origin.claimed_user.as_ref().map(|user| format!("{}?", text(user)));
    let uid = origin.uid.map(|uid| format!("uid {uid}"));
    let parts: Vec<String> =
        [claimed, uid, known(&origin.peer), known(&origin.credential)].into_iter().flatten().collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

impl AuditLogArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let mut filters = given([("action", self.action), ("who", self.who)]);
            filters.extend(self.range.parameters(time::now())?);
            let api = Api::reading(&self.common.layers()?).await?;
            list(&api, &VIEW, filters, Some(&self.paging), self.common.form()).await?;
            Ok(Exit::Done)
        })
    }
}
