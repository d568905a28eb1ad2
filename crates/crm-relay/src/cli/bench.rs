//! `crm-relay bench`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    bench::{self, Asked},
    config::{
        self,
        layers::{Flags, Layers},
        settings::Process,
    },
    exit::{Exit, Failure, Outcome},
    quantity,
};

/// Seconds of a part.
const SECONDS: (f64, f64) = (0.1, 60.0);
/// Senders at the same time.
const SENDERS: (u64, u64) = (1, 256);
/// Bytes of a body: all senders' together are far from what a server holds at once.
const BYTES: (u64, u64) = (64, 256 * 1024);

/// What does this machine do as a relay? Webhooks a second that are stored and answered, by one sender and by several, those that a
/// client delivers, how long they wait, and what each costs the disk.
///
/// It measures this program: a server and a client of their own on the loopback address, with a store of their own, whatever the settings
/// say.
#[derive(Debug, Args)]
#[command(after_help = "\
It runs a server and a client of its own on the loopback address, with a store
of their own, and sends them webhooks: from one sender and from several, and
through the client to a target. Five parts take --seconds each, and all together
a minute more at most. What it stores takes 1 GiB at most. Whatever it started
and wrote is gone then, also after Ctrl-C. The machine is fully at work
meanwhile. What follows from the numbers: docs/operating/sizing.md")]
pub(crate) struct BenchArgs {
    /// Of each of the five parts
    #[arg(long, value_name = "N", default_value = "3", value_parser = seconds)]
    seconds: Duration,
    /// How many send at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = quantity::whole(SENDERS.0..=SENDERS.1))]
    senders: u64,
    /// Size of a webhook's body
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = bytes)]
    bytes: u64,
    #[arg(
        help = "Below which directory: on the disk that DATA_DIR is to be on [default: that for temporary files, which may be in memory]",
        long,
        value_name = "DIR"
    )]
    dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    pub(super) fn run(self) -> Outcome {
        refuse_redis()?;
        bench::run(&Asked {
            span: self.seconds,
            senders: self.senders as usize,
            bytes: self.bytes as usize,
            dir: self.dir.unwrap_or_else(std::env::temp_dir),
            json: self.json,
        })
    }
}

/// With a Redis the disk of this machine is not what stores, and a measurement is load on what others may be using.
fn refuse_redis() -> Result<(), Failure> {
    let layers = Layers::collect(Process::Server, None, &Flags::new(), &config::environment);
    if layers.given("REDIS_URL").is_none() && layers.refused_redis().is_none() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Configuration,
        "REDIS_URL is set: bench measures the embedded store on this machine's disk, and puts no load on a Redis. To measure this machine all \
         the same, run it in a directory without crm-relay.toml: env -u REDIS_URL crm-relay bench. What a Redis needs: crm-relay doctor",
    ))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.trim().parse().ok().filter(|number| (SECONDS.0..=SECONDS.1).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("want a number from {} to {}", SECONDS.0, SECONDS.1))
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = quantity::size(text)?;
    let (min, max) = BYTES;
    let want = || format!("want a size from {min} bytes to {}", quantity::show_size(max));
    (min..=max).contains(&bytes).then_some(bytes).ok_or_else(want)
}
