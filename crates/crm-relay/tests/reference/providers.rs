//! The reference pages of the providers, generated from their table: one that lists all, and one of each.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use crm_relay::render::human_duration;
use relay_core::time::Wall;
use relay_providers::{Parameter, ParameterFault, Provider, Signer, Verifier, providers};

use super::{folder, guides, holds};

#[test]
fn the_reference_pages_of_providers_are_true() {
    holds("providers.md", &overview());
    for provider in providers() {
        holds(&format!("providers/{}.md", provider.name), &page(provider));
    }
    let wanted: BTreeSet<String> = providers().iter().map(|provider| format!("{}.md", provider.name)).collect();
    for entry in fs::read_dir(folder().join("providers")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if wanted.contains(&name) {
            continue;
        }
        assert!(std::env::var_os("BLESS").is_some(), "docs/reference/providers/{name}: there is no such provider");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_source_made_as_its_page_says_lacks_nothing_and_a_sample_neither() {
    for provider in providers() {
        let value = |parameter: &Parameter| (parameter.name.to_owned(), "placeholder-0123".to_owned());
        let given = |parameters: Vec<&Parameter>| parameters.into_iter().map(value).collect::<Vec<_>>();
        let mut faults = Verifier::new(provider.name, &given(provider.usual())).err().unwrap_or_default();
        faults.extend(Signer::new(provider.name, &given(sending(provider))).err().unwrap_or_default());
        let is_telling =
            |fault: &&ParameterFault| ["missing", "unknown"].iter().any(|word| fault.detail.contains(word));
        let telling: Vec<_> = faults.iter().filter(is_telling).collect();
        assert!(telling.is_empty(), "{}: {telling:?}", provider.name);
    }
}

/// Providers whose secret belongs to a public one beside it: an old secret beside a new public one proves nothing.
const IN_PAIRS: [&str; 1] = ["braintree"];

/// `--set secret=@secret.txt --set header=...`, for what nearly every source of it has.
pub(super) fn set_options(parameters: &[&Parameter]) -> String {
    let option = |parameter: &&Parameter| match (parameter.secret, parameter.name) {
        (true, name) => format!(" --set {name}=@{name}.txt"),
        (false, name) => format!(" --set {name}={}", name.to_uppercase()),
    };
    parameters.iter().map(option).collect()
}

/// The parameters that a sample event is signed with.
fn sending(provider: &'static Provider) -> Vec<&'static Parameter> {
    let mut all = provider.usual();
    all.retain(|parameter| parameter.required || parameter.key || parameter.name == "username");
    if !all.iter().any(|parameter| parameter.key) {
        all.extend(provider.parameters.iter().find(|parameter| parameter.key));
    }
    all.extend(provider.sending.iter().filter(|parameter| parameter.required));
    all
}

fn overview() -> String {
    let mut page = String::from(
        "# Providers\n\n\
         Generated from the table in `crates/relay-providers`; `crm-relay provider list` and `crm-relay provider show NAME`\n\
         print the same. A source names its provider, header fields never choose it.\n\n\
         *Needs*: the parameters that nearly every source of it has; `PUBLIC_URL` where the signature covers the URL.\n\
         *Asks first*: handshakes, answered by the server, never stored. *Waits*: how long it waits for the answer (10 s where\n\
         the platform names no time). *Retries*: whether it sends again by itself when it gets no 2xx.\n\n\
         | provider | platform | needs | asks first | waits | retries | guide |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for provider in providers() {
        let usual = provider.usual().into_iter().map(|parameter| parameter.name);
        let needs = join(usual.chain(provider.signs_url.then_some("PUBLIC_URL")).map(quoted));
        let mut methods: Vec<&str> = provider.handshakes.iter().map(|handshake| handshake.method).collect();
        methods.dedup();
        let guide = guides::of(provider.name).map(|name| format!("[steps](../guides/{name}.md)")).unwrap_or_default();
        let (name, retries) = (provider.name, if provider.retries { "yes" } else { "no" });
        let waits = human_duration(provider.answer_within);
        writeln!(
            page,
            "| [`{name}`](providers/{name}.md) | {} | {needs} | {} | {waits} | {retries} | {guide} |",
            provider.title,
            methods.join(", "),
        )
        .unwrap();
    }
    page
}

fn page(provider: &'static Provider) -> String {
    let mut page = format!(
        "# {}\n\nProvider `{}` of [the table](../providers.md), from which this page is generated. The platform's own words: \
         [documents]({}).",
        provider.title, provider.name, provider.docs,
    );
    if let Some(guide) = guides::of(provider.name) {
        write!(page, " Step by step: [guide](../../guides/{guide}.md).").unwrap();
    }
    page += "\n";
    for section in [set_up as fn(&mut String, &'static Provider), checked, handshakes, deliveries, sample] {
        section(&mut page, provider);
    }
    page
}

fn set_up(page: &mut String, provider: &'static Provider) {
    let Provider { name, parameters, .. } = *provider;
    let sets = set_options(&provider.usual());
    let url = if provider.signs_url {
        "\n\nThe signature covers the URL: `PUBLIC_URL` must be exactly what the platform calls, without `/webhook/...`."
    } else {
        ""
    };
    write!(
        page,
        "\n## Set up\n\n```sh\ncrm-relay source create {name} --provider {name}{sets}\n```\n\n\
         Enter `PUBLIC_URL/webhook/{name}` at the platform; the last part is the name of the source.{url}\n"
    )
    .unwrap();
    if !parameters.is_empty() {
        page.push_str("\n| parameter | need | what it is, and where to find it |\n| --- | --- | --- |\n");
        let usual = provider.usual();
        for parameter in parameters {
            row(page, parameter, usual.iter().any(|usual| usual.name == parameter.name));
        }
    }
    let keys: Vec<&str> = parameters
        .iter()
        .filter(|parameter| parameter.key && parameter.repeated)
        .map(|parameter| parameter.name)
        .collect();
    if IN_PAIRS.contains(&name) {
        let update = format!("crm-relay source update {name}{sets}");
        writeln!(page, "\nKeys come in pairs here: a new pair replaces both in one command, `{update}`.").unwrap();
    } else if !keys.is_empty() && !provider.key_source {
        let names = join(keys.into_iter().map(quoted));
        writeln!(
            page,
            "\nTo replace {names}, give new and old, in this order: both are valid until the old one is left out."
        )
        .unwrap();
    }
}

/// `is_usual`: nearly every source of it has that parameter.
fn row(page: &mut String, parameter: &Parameter, is_usual: bool) {
    let need = match (parameter.required, is_usual) {
        (true, _) => "required",
        (false, true) => "usual",
        (false, false) => "optional",
    };
    let need = if parameter.secret { format!("{need}, secret") } else { need.to_owned() };
    let default = parameter.default.filter(|default| !default.is_empty());
    let default = default.map(|default| format!("; default `{default}`")).unwrap_or_default();
    writeln!(page, "| `{}` | {need} | {}{default} |", parameter.name, parameter.help.replace('|', "\\|")).unwrap();
}

fn checked(page: &mut String, provider: &'static Provider) {
    page.push_str("\n## What is checked\n\n");
    for check in provider.checks() {
        writeln!(page, "- {check}").unwrap();
    }
    if !provider.unproven.is_empty() {
        writeln!(page, "\n**Not proven.** {}", provider.unproven).unwrap();
    }
}

fn handshakes(page: &mut String, provider: &'static Provider) {
    if provider.handshakes.is_empty() {
        return;
    }
    page.push_str("\n## Handshakes\n\nAnswered by the server, never stored, never forwarded.\n\n");
    for handshake in provider.handshakes {
        writeln!(page, "- {handshake}.").unwrap();
    }
}

fn deliveries(page: &mut String, provider: &'static Provider) {
    let mut answer = provider.acknowledgement.to_string();
    for other in provider.otherwise {
        write!(answer, "; {other}").unwrap();
    }
    let retries = match provider.tries_for {
        Some(tries) => format!("yes, until it gets a 2xx, for {} ({})", human_duration(tries.time), tries.page),
        None if provider.retries => "yes, until it gets a 2xx or gives up".to_owned(),
        None => "no: a webhook that is not accepted comes again only if somebody sends it again".to_owned(),
    };
    let retries = if provider.again.is_empty() { retries } else { format!("{retries}: {}", provider.again) };
    let id = provider.repeats();
    write!(
        page,
        "\n## Deliveries\n\n| | |\n| --- | --- |\n| methods | {} |\n| answer once stored | {answer} |\n\
         | the platform waits | {} |\n| sends again by itself | {retries} |\n| a repeat is known by | {id} |\n\
         | name of the event | {} |\n| order | {} |\n| refused with | {} |\n",
        provider.methods.join(", "),
        human_duration(provider.answer_within),
        event(provider),
        provider.order,
        refusal(provider),
    )
    .unwrap();
}

/// Where its name stands, and what the sample is called.
fn event(provider: &Provider) -> String {
    let sample = provider.draft("http://localhost/", "sample", Wall::from_micros(0));
    let name = provider.event_in(&sample.request(Wall::from_micros(0), &[]));
    let name = name.map(|name| format!("; the sample's is `{name}`")).unwrap_or_default();
    format!("{}{name}", provider.event)
}

fn refusal(provider: &Provider) -> String {
    format!("{}{}", provider.refusal, if provider.bare_refusals { ", empty" } else { "" })
}

fn sample(page: &mut String, provider: &'static Provider) {
    let (name, sets) = (provider.name, set_options(&sending(provider)));
    write!(
        page,
        "\n## Try it\n\n```sh\ncrm-relay send --provider {name} --to https://relay.example.com/webhook/{name}{sets}\n```\n"
    )
    .unwrap();
    if !provider.sending.is_empty() {
        page.push_str(
            "\nSigning takes what no source ever needs, so make a pair of keys for a source to test with:\n\n",
        );
        page.push_str("| parameter | need | what it is |\n| --- | --- | --- |\n");
        for parameter in provider.sending {
            row(page, parameter, false);
        }
    }
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

fn join(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
