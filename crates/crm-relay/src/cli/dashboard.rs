//! `crm-relay dashboard`: a link that opens it.

use clap::Args;
use http::Method;
use relay_server::api::LinkDto;

use super::{listing::text, shared_options::Common};
use crate::{
    admin_client::Api,
    exit::{Exit, Outcome},
    output::{pretty, print, say},
    render::style,
    runtime::block_on,
};

/// Prints a link that opens the dashboard in a browser, signed in; it is good once, and for a minute.
#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    #[command(flatten)]
    common: Common,
}

impl DashboardArgs {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let api = Api::running(&self.common.layers()?).await?;
            let made: LinkDto = api.ask(Method::POST, "/api/v1/session/link", &serde_json::json!({})).await?;
            if self.common.json {
                print(&pretty(&made))?;
                return Ok(Exit::Done);
            }
            say(&style::dim(format!("good once, until {}:", text(&made.until))));
            print(&text(&made.link.0))?;
            Ok(Exit::Done)
        })
    }
}
