//! Which source a path leads to. Raw bytes, compared as they are: nothing is decoded, nothing is mended.

use relay_core::target::has_dot_segment;

/// Where a request path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads<'a> {
    /// To the source of that name.
    Source(&'a str),
    /// To the source of that name, with dot segments behind it: another program may read it as another path.
    DotSegments(&'a str),
    /// Not to a source.
    Elsewhere,
}

/// The source that `/webhook` leads to.
pub(super) const FALLBACK_SOURCE: &str = "default";

/// Where `path` leads.
pub(super) fn leads(path: &str) -> Leads<'_> {
    let Some(behind) = path.strip_prefix("/webhook") else { return Leads::Elsewhere };
    if behind.is_empty() {
        return Leads::Source(FALLBACK_SOURCE);
    }
    let Some(named) = behind.strip_prefix('/') else { return Leads::Elsewhere };
    let (name, rest) = named.split_once('/').unwrap_or((named, ""));
    if has_dot_segment(rest.as_bytes()) { Leads::DotSegments(name) } else { Leads::Source(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_source_it_names() {
        assert_eq!(leads("/webhook"), Leads::Source("default"));
        assert_eq!(leads("/webhook/stripe"), Leads::Source("stripe"));
        assert_eq!(leads("/webhook/stripe/a%2Fb//c"), Leads::Source("stripe"));
        assert_eq!(leads("/webhook/"), Leads::Source(""));
        assert_eq!(leads("/webhooks"), Leads::Elsewhere);
        assert_eq!(leads("/"), Leads::Elsewhere);
        assert_eq!(leads("/Webhook"), Leads::Elsewhere);
    }

    /// S18: what a program behind may read as a way out of its base path is refused here.
    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for rest in ["..", "a/..", "%2e%2E", "a\\..\\b", "..%2fx", "..;/x", "%252e%252e/x"] {
            assert_eq!(leads(&format!("/webhook/s/{rest}")), Leads::DotSegments("s"), "{rest}");
        }
        for rest in ["...", "a..", "%2ea", "%2", "a.b"] {
            assert_eq!(leads(&format!("/webhook/s/{rest}")), Leads::Source("s"), "{rest}");
        }
    }
}
