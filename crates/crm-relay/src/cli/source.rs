//! `crm-relay source`.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use relay_core::{name::Name, quota};
use relay_providers::Given;
use relay_server::{
    api::{
        EventNameDto, List, MarkDto, ParameterDto, QuotaDto, RefusalDto, SecretDto, SourceAsk, SourceCountersDto,
        SourceDto, SourceRotateAsk, SourceUpdateAsk, came_from,
    },
    config::{Dedupe, MarkPath, NetworkPolicy},
};

use super::{
    bulk::confirm,
    collection::{Collection, Named, not_empty, nothing_to_change},
    listing::{Column, View, activity, ago, text, when},
    noun::{self, Asked},
    provider,
    rotation::{Rotation, Step, under_way},
    shared_options::parameters,
};
use crate::{
    config::server::mark,
    exit::{Exit, Failure, Outcome},
    output::say,
    quantity,
    render::{human_duration, style, table},
};

/// Names of events that are shown of a source; JSON has all.
const NAMES_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a source and its route
    Create {
        /// Its name: webhooks go to /webhook/NAME
        #[arg(value_parser = not_empty())]
        name: String,
        #[command(flatten)]
        about: NewSource,
        /// Take empty bodies
        #[arg(long)]
        allow_empty: bool,
    },
    /// List sources
    List,
    /// Show a source, what happened there, and the last requests it refused
    Show {
        #[command(flatten)]
        named: Named,
        /// Show the secrets that the platform handed over, to paste them where it asks for them
        #[arg(long)]
        secrets: bool,
    },
    /// Take the secret that the platform hands over within the next 15 minutes, beside any that it handed over before
    AwaitSecret {
        #[command(flatten)]
        named: Named,
        /// What was handed over before is worth nothing any more: it was a stranger's
        #[arg(long)]
        forget: bool,
    },
    /// Change a source
    Update {
        #[command(flatten)]
        named: Named,
        /// Another provider, with all of its parameters
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// This parameter anew, the others stay; a secret given twice: both are valid
        #[arg(long = "set", value_name = "K=V|K=@FILE|K=-")]
        set: Vec<String>,
        /// Take this parameter away
        #[arg(long = "unset", value_name = "K")]
        unset: Vec<String>,
        /// Take empty bodies
        #[arg(long, value_name = "true|false")]
        allow_empty: Option<bool>,
        /// strict: deliver what is sent again only once
        #[arg(long, value_name = "auto|strict")]
        dedupe: Option<Dedupe>,
        /// Its events can be found by what stands there: customer=$.data.object.customer, delivery=header:X-GitHub-Delivery; eight at most
        #[arg(long, value_name = "NAME=PATH", value_parser = mark)]
        mark: Vec<(Name, MarkPath)>,
        /// Take this mark away
        #[arg(long, value_name = "NAME")]
        unmark: Vec<String>,
        /// none takes away what there was
        #[command(flatten)]
        network: NetworkFlags,
    },
    /// Replace secrets without a gap: the old ones stay valid beside the new ones until --finish
    Rotate {
        #[command(flatten)]
        named: Named,
        /// The new secret, and whatever belongs to it
        #[arg(
            long = "set",
            value_name = "K=V|K=@FILE|K=-",
            required_unless_present_any = ["finish", "abort"],
            conflicts_with_all = ["finish", "abort"]
        )]
        set: Vec<String>,
        #[command(flatten)]
        rotation: Rotation,
    },
    /// Delete a source with its routes and keys; its events stay
    Delete {
        #[command(flatten)]
        named: Named,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// What a new source is made from.
#[derive(Debug, Args)]
pub(crate) struct NewSource {
    /// Which platform posts there, or how requests prove themselves: crm-relay provider list
    #[arg(long, value_name = "NAME", default_value = "api-key")]
    provider: String,
    /// Parameter of the provider; secrets better with @FILE; a secret given twice: both are valid
    #[arg(long = "set", value_name = "K=V|K=@FILE|K=-")]
    set: Vec<String>,
    /// Where its webhooks go
    #[arg(long, value_name = "NAME", default_value = "default")]
    destination: String,
    /// strict: deliver what is sent again only once, also where somebody pressed Resend
    #[arg(long, value_name = "auto|strict", default_value_t)]
    dedupe: Dedupe,
    #[command(flatten)]
    network: NetworkFlags,
}

/// Who may come, how often, and how much in a day.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkFlags {
    /// Requests in all that the source takes: 100/s, 600/min, 5000/h; more are answered 429 (update: none takes it away)
    #[arg(long, value_name = "N/UNIT")]
    rate: Option<String>,
    /// Requests from one address (IPv6: a /64) that it takes
    #[arg(long, value_name = "N/UNIT")]
    address_rate: Option<String>,
    /// Take requests only from these networks, with commas between them; others are answered 403
    #[arg(long, value_name = "NETWORKS")]
    allow: Vec<String>,
    /// Take none from these networks
    #[arg(long, value_name = "NETWORKS")]
    deny: Vec<String>,
    /// Events that it takes in a day (UTC); then 429 until the next (update: none takes it away)
    #[arg(long, value_name = "N", value_parser = amount_or_none(quota::events))]
    daily_events: Option<String>,
    /// Bytes of their bodies, like 5GiB
    #[arg(long, value_name = "SIZE", value_parser = amount_or_none(quota::bytes))]
    daily_bytes: Option<String>,
}

/// An amount as it was written, or the word that takes one away.
fn amount_or_none(
    read: fn(&str) -> Result<u64, String>,
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text: &str| if text.trim() == "none" { Ok(text.to_owned()) } else { read(text).map(|_| text.to_owned()) }
}

const COLUMNS: &[Column<SourceDto>] = &[
    ("name", |source| text(&source.name)),
    ("provider", |source| text(&source.provider)),
    ("destinations", destinations),
    ("status", |source| activity(source.paused)),
    ("declared", |source| text(&source.declared)),
    ("created", |source| when(&source.created_at)),
];

const SOURCES: Collection<SourceDto> =
    Collection { view: View { path: "/api/v1/sources", columns: COLUMNS, nothing: "no sources" }, in_words };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => SOURCES.list(asked, Vec::new()).await,
            Self::Show { named, secrets: false } => SOURCES.show(asked, &[&named.name]).await,
            Self::Show { named, secrets: true } => {
                let path = format!("{}/reveal", SOURCES.path(&[&named.name]));
                let shown: List<SecretDto> = asked.running().await?.order(&path).await?;
                asked.tell(&shown, secrets_of)
            }
            Self::Create { name, about, allow_empty } => {
                let ask = SourceAsk { allow_empty, ..about.ask(&name)? };
                let made = SOURCES.create(asked, &ask).await.map_err(|failure| about.looked_up(failure))?;
                asked.tell(&made, in_words)?;
                if !asked.is_json() && about.provider == "api-key" && about.set.is_empty() {
                    say(&style::dim(format!("its first key: crm-relay key create {name} NAME")));
                }
                Ok(Exit::Done)
            }
            Self::AwaitSecret { named, forget } => {
                let order = if forget { "await-secret?forget=true" } else { "await-secret" };
                asked.tell(&SOURCES.order(&asked.running().await?, &[&named.name], order).await?, in_words)
            }
            Self::Update { named, provider, set, unset, allow_empty, dedupe, mark, unmark, network } => {
                if let Some(provider) = &provider {
                    provider::find(provider)?;
                }
                let network = network.policy();
                let is_empty = provider.is_none() && set.is_empty() && unset.is_empty() && network.is_open();
                let is_empty = is_empty && mark.is_empty() && unmark.is_empty();
                if is_empty && allow_empty.is_none() && dedupe.is_none() {
                    return Err(nothing_to_change(
                        "--set NAME=@FILE, --unset NAME, --provider NAME, --allow-empty, --dedupe, --mark, --unmark, --rate, --address-rate, \
                         --allow, --deny, --daily-events, --daily-bytes",
                    ));
                }
                let set = parameters(&set)?.into();
                let mark = mark.iter().map(|(name, path)| (name.to_string(), path.as_str().to_owned())).collect();
                let parameters = None;
                let ask =
                    SourceUpdateAsk { provider, parameters, set, unset, network, allow_empty, dedupe, mark, unmark };
                SOURCES.update(asked, &[&named.name], &ask).await.map_err(|failure| match failure.exit {
                    Exit::Usage if !failure.text.contains("is not a name") => {
                        let look = format!("{failure}. What it has: crm-relay source show {}", named.name);
                        Failure::usage(look)
                    }
                    _ => failure,
                })
            }
            Self::Rotate { named: Named { name }, set, rotation } => rotate(asked, &name, &set, &rotation).await,
            Self::Delete { named: Named { name }, yes } => {
                let api = asked.running().await?;
                if !yes {
                    // Nobody is asked about what is not there.
                    let _: SourceDto = api.get(&SOURCES.path(&[&name])).await?;
                    confirm(&format!("delete source {name} with its routes and keys"))?;
                }
                SOURCES.delete(&api, &[&name]).await?;
                say(&format!("source {name} is deleted"));
                Ok(Exit::Done)
            }
        }
    }
}

impl NetworkFlags {
    /// As the admin API takes it; whether it can be is the server's to say.
    fn policy(&self) -> NetworkPolicy {
        let list = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
        let Self { rate, address_rate, allow, deny, daily_events, daily_bytes } = self.clone();
        NetworkPolicy { rate, address_rate, allow: list(&allow), deny: list(&deny), daily_events, daily_bytes }
    }
}

impl NewSource {
    /// As the admin API takes it.
    ///
    /// # Errors
    /// There is no such provider, or a file that cannot be read.
    pub(super) fn ask(&self, name: &str) -> Result<SourceAsk, Failure> {
        let adopts = provider::find(&self.provider)?.adopts();
        let parameters = parameters(&self.set)?;
        // What is missing is the server's to say, all of it together; what looks wrong is asked of whoever typed it.
        if let Ok(given) = Given::read(&self.provider, &parameters)
            && !given.doubts.is_empty()
        {
            let doubts: Vec<String> = given.doubts.iter().map(ToString::to_string).collect();
            return Err(self.looked_up(Failure::usage(doubts.join("; "))));
        }
        Ok(SourceAsk {
            name: name.to_owned(),
            provider: self.provider.clone(),
            allow_empty: false,
            // Whoever makes a source whose platform hands over the secret is about to have it do so.
            await_secret: adopts && parameters.is_empty(),
            parameters: parameters.into(),
            destination: Some(self.destination.clone()),
            dedupe: self.dedupe,
            network: self.network.policy(),
        })
    }

    /// A refusal of its parameters, with where to look them up.
    pub(super) fn looked_up(&self, failure: Failure) -> Failure {
        let is_of_them = !failure.text.contains("is not a name") && !failure.text.contains("crm-relay ");
        if failure.exit != Exit::Usage || !is_of_them {
            return failure;
        }
        let text = format!("{failure}. What it needs, and where that is: crm-relay provider show {}", self.provider);
        Failure::new(failure.exit, text)
    }

    /// The provider's name.
    pub(super) fn provider(&self) -> &str {
        &self.provider
    }
}

async fn rotate(asked: &Asked, name: &str, set: &[String], rotation: &Rotation) -> Outcome {
    let api = asked.running().await?;
    match rotation.step()? {
        Step::Begin { keep_old_ms } => {
            let ask = SourceRotateAsk { set: parameters(set)?.into(), keep_old_ms };
            let source = api.ask(Method::POST, &format!("{}/rotate", SOURCES.path(&[name])), &ask).await?;
            asked.tell(&source, in_words)?;
            if !asked.is_json() {
                say(&style::dim(format!(
                    "once the platform has the new one, and source show says that the old one is not used any more: \
                     crm-relay source rotate {name} --finish"
                )));
            }
            Ok(Exit::Done)
        }
        Step::End(end) => asked.tell(&SOURCES.order(&api, &[name], end).await?, in_words),
    }
}

/// A quota, with what is used of it where that is known.
fn amount(source: &SourceDto, measure: &str, quota: Option<&str>) -> String {
    let quotas = source.activity.iter().flat_map(|activity| &activity.quotas);
    let Some(quota_of) = quotas.into_iter().find(|quota| quota.measure == measure) else {
        return text(quota.unwrap_or_default());
    };
    let QuotaDto { used, quota: all, resets_in_ms, .. } = quota_of;
    let (all_text, percent) = (text(quota.unwrap_or_default()), u128::from(*used) * 100 / u128::from((*all).max(1)));
    let used = if measure == "bytes" { quantity::show_size(*used) } else { used.to_string() };
    let rest = human_duration(Duration::from_millis(*resets_in_ms));
    let words = format!("{used} of {all_text} today ({percent} %), {rest} left of the day (UTC)");
    if quota_of.near { style::warn(words) } else { words }
}

fn in_words(source: &SourceDto) -> String {
    let mut fields = vec![
        ("source", style::bold(text(&source.name))),
        ("provider", text(&source.provider)),
        ("parameters", parameters_of(source)),
        ("path", format!("/webhook/{}", text(&source.name))),
        ("url", url(source)),
        ("destinations", destinations(source)),
        ("status", status(source)),
        ("dedupe", source.dedupe.to_string()),
        ("declared", text(&source.declared)),
        ("created", text(&source.created_at)),
    ];
    let NetworkPolicy { rate, address_rate, allow, deny, daily_events, daily_bytes } = &source.network;
    let bounds = [
        ("rate", text(rate)),
        ("rate of one address", text(address_rate)),
        ("allow", text(allow)),
        ("deny", text(deny)),
        ("events a day", amount(source, "events", daily_events.as_deref())),
        ("bytes a day", amount(source, "bytes", daily_bytes.as_deref())),
    ];
    let given = [
        rate.is_some(),
        address_rate.is_some(),
        allow.is_some(),
        deny.is_some(),
        daily_events.is_some(),
        daily_bytes.is_some(),
    ];
    fields.extend(source.marks.iter().map(|mark| ("mark", marked(mark, source.activity.is_some()))));
    fields.extend(bounds.into_iter().zip(given).filter_map(|(field, given)| given.then_some(field)));
    if let Some(rotation) = &source.rotation {
        fields.insert(3, ("rotation", style::warn(under_way(rotation))));
    }
    if let Some(activity) = &source.activity {
        fields.push(("received", received(&activity.counters)));
        fields.push(("last webhook", ago(activity.last_received_at.as_deref())));
        fields.push(("refused", refused(&activity.counters)));
    }
    let fields = table::fields(&fields);
    let Some(activity) = &source.activity else { return fields };
    let mut parts = vec![fields];
    if !activity.names.is_empty() {
        parts.push(names_of(&activity.names));
    }
    if let Some(since) = &activity.names_since {
        parts.push(style::dim(format!("names of events are counted from {} on: there are more before", when(since))));
    }
    if !activity.refusals.is_empty() {
        parts.push(refusals_of(&activity.refusals));
    }
    parts.join("\n\n")
}

/// `customer = $.data.object.customer, filled from the oldest event to 2026-11-30 18:25:40`.
fn marked(mark: &MarkDto, is_alone: bool) -> String {
    let MarkDto { name, path, indexed_from, indexed_to } = mark;
    let far = match (indexed_from, indexed_to) {
        (_, None) if is_alone => "not filled yet".to_owned(),
        // How far it is stands only where a source is shown.
        (_, None) => return format!("{} = {}", text(name), text(path)),
        (None, Some(to)) => format!("filled from the oldest event to {}", when(to)),
        (Some(from), Some(to)) => format!("filled from {} to {}", when(from), when(to)),
    };
    format!("{} = {}, {far}", text(name), text(path))
}

/// What is pasted where the platform asks for it.
fn url(source: &SourceDto) -> String {
    let unknown = || style::dim("the server's public address, then this path (see PUBLIC_URL)");
    source.url.as_ref().map_or_else(unknown, |url| style::copy(text(url)))
}

/// The names of its events, those with the most first.
fn names_of(names: &[EventNameDto]) -> String {
    let row = |named: &EventNameDto| {
        let EventNameDto { name, events, last_at } = named;
        let name = name.as_ref().map_or_else(|| "(others)".to_owned(), text);
        vec![name, events.to_string(), when(last_at)]
    };
    let mut rows: Vec<_> = names.iter().take(NAMES_SHOWN).map(row).collect();
    if let Some(left) = names.len().checked_sub(NAMES_SHOWN).filter(|left| *left > 0) {
        rows.push(vec![format!("and {left} more (--json)"), String::new(), String::new()]);
    }
    table::table(&["name", "events", "last"], &rows)
}

fn destinations(source: &SourceDto) -> String {
    text(&source.destinations)
}

/// `active`, or what it waits for.
fn status(source: &SourceDto) -> String {
    if let Some(broken) = &source.broken {
        return style::warn(format!("answers 503 until it is put right: {}", text(broken)));
    }
    match (source.awaits_secret, &source.awaits_secret_until) {
        (true, Some(until)) => {
            style::warn(format!("waits until {} for the platform to hand over its secret", when(until)))
        }
        (true, None) => style::warn(format!(
            "has no secret; to let the platform hand it over: crm-relay source await-secret {}",
            text(&source.name)
        )),
        (false, Some(until)) => {
            style::warn(format!("takes a further secret that the platform hands over until {}", when(until)))
        }
        (false, None) => activity(source.paused),
    }
}

fn received(counters: &SourceCountersDto) -> String {
    let SourceCountersDto { accepted, stored, duplicates, handshakes, .. } = counters;
    format!("{accepted} accepted, {stored} stored now, {duplicates} sent again, {handshakes} handshakes")
}

/// `bad_signature 3, stale_timestamp 1` since the server started.
fn refused(counters: &SourceCountersDto) -> String {
    let reasons = counters.refused.iter().map(|(reason, count)| format!("{} {count}", text(reason)));
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() { "nothing since the server started".to_owned() } else { reasons.join(", ") }
}

/// The last refusals, the newest first.
fn refusals_of(refusals: &[RefusalDto]) -> String {
    let row = |refusal: &RefusalDto| {
        let RefusalDto { at, check, detail, peer, proxy, .. } = refusal;
        vec![when(at), text(&came_from(peer.as_deref(), proxy.as_deref())), text(check), text(detail)]
    };
    table::wrapped(&["refused", "from", "check", "detail"], &refusals.iter().map(row).collect::<Vec<_>>())
}

/// `secret=VALUE`, a line each.
fn secrets_of(shown: &List<SecretDto>) -> String {
    let lines: Vec<String> =
        shown.items.iter().map(|item| format!("{}={}", text(&item.name), text(&item.value))).collect();
    if lines.is_empty() { "the platform has handed over no secret".to_owned() } else { lines.join("\n") }
}

/// `secret (hidden), header=X-Signature`.
fn parameters_of(source: &SourceDto) -> String {
    let one = |parameter: &ParameterDto| match &parameter.value {
        Some(value) => format!("{}={value}", text(&parameter.name)),
        None => format!("{} (hidden)", text(&parameter.name)),
    };
    let found: Vec<String> = source.parameters.iter().map(one).collect();
    if found.is_empty() { "-".to_owned() } else { found.join(", ") }
}
