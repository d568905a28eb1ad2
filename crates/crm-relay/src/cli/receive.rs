//! `crm-relay receive`.

use std::time::Duration;

use clap::Args;
use http::StatusCode;

use crate::{
    config::target,
    exit::{Exit, Failure, Outcome},
    output::say,
    quantity::{self, Bare},
    receive::{Behaviour, Receiver, greeting},
    runtime::block_on,
    signals,
};

/// Prints each request and answers it; Ctrl-C ends it.
#[derive(Debug, Args)]
pub(crate) struct ReceiveArgs {
    /// Where to listen: an address, or a port of this machine
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Status of the answers
    #[arg(long, value_name = "N", default_value = "200", value_parser = status)]
    status: StatusCode,
    /// How long to wait before each answer
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = delay)]
    delay: Duration,
    /// Answer 500 to the first N requests
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = quantity::whole(0..=u64::MAX))]
    fail_first: u64,
    /// Print no requests, only their number at the end
    #[arg(long, hide = true)]
    quiet: bool,
}

impl ReceiveArgs {
    pub(super) fn run(self) -> Outcome {
        let Ok(Some(address)) = target::listen_address(&self.listen) else {
            let want = "want an address and a port, like 127.0.0.1:3000, or a port";
            return Err(Failure::option("--listen", &self.listen, want));
        };
        let behaviour =
            Behaviour { status: self.status, delay: self.delay, fail_first: self.fail_first, quiet: self.quiet };
        block_on(async {
            let stop = signals::listen()?;
            let receiver = Receiver::bind(address, behaviour.clone()).await?;
            say(&greeting(receiver.address(), &behaviour));
            let counter = receiver.counter();
            tokio::select! {
                () = receiver.serve() => {}
                () = stop.asked() => {}
            }
            say(&format!("{} requests received", counter.seen()));
            Ok(Exit::Done)
        })
    }
}

fn status(text: &str) -> Result<StatusCode, String> {
    let code = text.parse::<u16>().ok().filter(|code| (200..=599).contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| "want a status from 200 to 599".to_owned())
}

fn delay(text: &str) -> Result<Duration, String> {
    quantity::duration(text, Bare::Seconds)
}
