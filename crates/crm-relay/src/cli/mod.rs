//! The command line: one file per noun, and here the tree that holds them.

mod addressee;
mod alert;
mod audit;
mod audit_log;
mod awaited;
mod bench;
mod bulk;
mod client;
mod collection;
mod completions;
mod config;
mod dashboard;
mod dead;
mod delivery;
mod destination;
mod dev;
mod doctor;
mod event;
mod examples;
mod filter;
mod health;
mod ids;
mod invite;
mod key;
mod listing;
mod man;
mod noun;
mod provider;
mod receive;
mod replay;
mod rotation;
mod route;
mod send;
mod server;
mod setting_flags;
mod shared_options;
mod source;
mod status;
mod steps;
mod store;
mod tally;
mod token;
mod user;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::noun::Noun;
use crate::exit::Outcome;

/// Webhooks, delivered behind the firewall, none lost.
#[derive(Debug, Parser)]
#[command(
    name = "crm-relay",
    version,
    propagate_version = false,
    max_term_width = 100,
    after_help = "Start here: crm-relay dev\n\n\
                  Exit codes:\n  \
                  0   done\n  \
                  1   the answer is no\n  \
                  2   usage\n  \
                  69  unreachable; port or data directory in use\n  \
                  74  the store failed\n  \
                  75  stopped over its grace\n  \
                  76  store or server of a newer version\n  \
                  77  token refused\n  \
                  78  configuration"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Server and client in one process, to try things out
    Dev(dev::DevArgs),
    /// The relay server, at a public address
    Server(server::ServerArgs),
    /// The relay client, behind the firewall
    Client(client::ClientArgs),
    /// Test receiver: prints each request and answers it
    Receive(receive::ReceiveArgs),
    /// Send sample webhooks
    Send(send::SendArgs),
    /// Source, route, destination and token in one go
    Invite(invite::InviteArgs),
    /// Public intakes
    #[command(alias = "sources")]
    Source(Noun<source::Verb>),
    /// Platforms whose webhooks are known
    #[command(alias = "providers")]
    Provider(provider::ProviderArgs),
    /// Ways from a source to a destination
    #[command(alias = "routes")]
    Route(Noun<route::Verb>),
    /// API keys of senders
    #[command(alias = "keys")]
    Key(Noun<key::Verb>),
    /// Tokens of clients
    #[command(alias = "tokens")]
    Token(Noun<token::Verb>),
    /// Users of the dashboard
    #[command(alias = "users")]
    User(Noun<user::Verb>),
    /// Targets behind the firewall
    #[command(alias = "destinations")]
    Destination(Noun<destination::Verb>),
    /// Stored webhooks
    #[command(alias = "events")]
    Event(Noun<event::Verb>),
    /// Events on their way to destinations
    #[command(alias = "deliveries")]
    Delivery(Noun<delivery::Verb>),
    /// Deliveries that ended without success
    #[command(visible_alias = "dlq")]
    Dead(Noun<dead::Verb>),
    /// Who is told when something is not as it should be
    #[command(alias = "alerts")]
    Alert(Noun<alert::Verb>),
    /// Recount everything: was nothing lost?
    Audit(audit::AuditArgs),
    /// Who changed what, and when
    AuditLog(audit_log::AuditLogArgs),
    /// What the server does right now
    Status(status::StatusArgs),
    /// A link that opens the dashboard
    Dashboard(dashboard::DashboardArgs),
    /// Health of the server, or of a client
    Health(health::HealthArgs),
    /// Why does nothing arrive? Each hop with what mends it
    Doctor(doctor::DoctorArgs),
    /// What does this machine do? Measured in some 15 s
    Bench(bench::BenchArgs),
    /// Backup, restore, check, move
    Store(store::StoreArgs),
    /// Check or print the configuration, or begin one
    Config(config::ConfigArgs),
    /// Completions for a shell
    Completions(completions::CompletionsArgs),
    /// Manual pages
    Man(man::ManArgs),
}

impl Cli {
    /// The command line, with examples in its help.
    pub fn parser() -> clap::Command {
        examples::below(Self::command())
    }

    /// Reads a command line.
    ///
    /// # Errors
    /// It makes no sense, or help was asked for.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut matches = Self::parser().try_get_matches()?;
        Self::from_arg_matches_mut(&mut matches)
    }

    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            Command::Dev(args) => args.run(),
            Command::Server(args) => args.run(),
            Command::Client(args) => args.run(),
            Command::Receive(args) => args.run(),
            Command::Send(args) => args.run(),
            Command::Invite(args) => args.run(),
            Command::Source(args) => args.run(),
            Command::Provider(args) => args.run(),
            Command::Route(args) => args.run(),
            Command::Key(args) => args.run(),
            Command::Token(args) => args.run(),
            Command::User(args) => args.run(),
            Command::Dashboard(args) => args.run(),
            Command::Destination(args) => args.run(),
            Command::Event(args) => args.run(),
            Command::Delivery(args) => args.run(),
            Command::Dead(args) => args.run(),
            Command::Alert(args) => args.run(),
            Command::Audit(args) => args.run(),
            Command::AuditLog(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Health(args) => args.run(),
            Command::Doctor(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Store(args) => args.run(),
            Command::Config(args) => args.run(),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}
