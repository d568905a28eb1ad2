//! What to do at a platform, out of its guide: the steps of its section "At the platform", as text.

/// What guides call the server's public URL.
const EXAMPLE: &str = "https://relay.example.com/webhook/";

macro_rules! guides {
    ($($provider:literal: $file:literal),* $(,)?) => {
        const GUIDES: &[(&str, &str)] = &[$(($provider, include_str!(concat!("../../../docs/guides/", $file)))),*];
    };
}

guides! {
    "github": "github.md",
    "hubspot": "hubspot.md",
    "meta": "meta-whatsapp.md",
    "pipedrive": "pipedrive.md",
    "salesforce": "salesforce.md",
    "shopify": "shopify.md",
    "slack": "slack.md",
    "stripe": "stripe.md",
    "twilio": "twilio.md",
    "zendesk": "zendesk.md",
}

/// The steps at the platform, for a webhook that goes to `url`; none where there is no guide.
pub fn steps(provider: &str, url: &str) -> Vec<String> {
    let Some((_, guide)) = GUIDES.iter().find(|(name, _)| *name == provider) else { return Vec::new() };
    let section = guide.lines().skip_while(|line| *line != "## At the platform").skip(1);
    let mut steps: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in section.take_while(|line| !line.starts_with("## ")) {
        let text = item(line).unwrap_or(line).trim();
        if text.is_empty() {
            goes_on = false;
        } else if goes_on && item(line).is_none() {
            let last = steps.last_mut().expect("it goes on behind one");
            last.push(' ');
            last.push_str(text);
        } else {
            steps.push(text.to_owned());
            goes_on = true;
        }
    }
    steps.iter().map(|step| plain(&addressed(step, url))).collect()
}

/// The text of an item of a list.
fn item(line: &str) -> Option<&str> {
    let rest =
        line.strip_prefix("- ").or_else(|| line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(". "));
    rest.filter(|rest| rest.len() < line.len())
}

/// With the URL in place of the guide's.
fn addressed(step: &str, url: &str) -> String {
    let mut out = String::new();
    let mut rest = step;
    while let Some(start) = rest.find(EXAMPLE) {
        let (before, behind) = rest.split_at(start);
        let name = &behind[EXAMPLE.len()..];
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(name.len());
        out.push_str(before);
        out.push_str(url);
        rest = &name[end..];
    }
    out + rest
}

/// Without what marks text: backticks, stars, and where links lead.
fn plain(step: &str) -> String {
    let mut out = String::new();
    let mut rest = step;
    while let Some(start) = rest.find("](") {
        let end = rest[start..].find(')').map_or(rest.len(), |end| start + end + 1);
        out.push_str(&rest[..start]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    // Guides are for a shell; on a page nothing is in a file, and the source is made beside them.
    out.replace(['`', '*', '['], "")
        .replace("what is in ", "the ")
        .replace(".txt", "")
        .replace(", and make the source as above", ", and make the source")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guide_has_steps_that_are_text() {
        for (provider, _) in GUIDES {
            let steps = steps(provider, "https://hooks.example.net/webhook/mine");
            assert!(!steps.is_empty(), "{provider}");
            assert!(
                steps.iter().any(|step| step.contains("https://hooks.example.net/webhook/mine")),
                "{provider}: {steps:?}"
            );
            for step in &steps {
                assert!(
                    !step.contains(['`', '*', '[']) && !step.contains("relay.example.com") && !step.contains(".txt"),
                    "{provider}: {step}"
                );
            }
        }
        assert!(steps("stripe", "u")[0].ends_with("and Continue."), "{:?}", steps("stripe", "u"));
        assert_eq!(steps("nobody", "u"), Vec::<String>::new());
    }
}
