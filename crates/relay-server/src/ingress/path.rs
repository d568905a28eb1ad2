//! Which source a path leads to. Raw bytes, compared as they are: nothing is decoded, nothing is mended.

use relay_core::target::has_dot_segment;

/// Where a request path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
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
pub(super) fn place(path: &str) -> Place<'_> {
    let Some(behind) = path.strip_prefix("/webhook") else { return Place::Elsewhere };
    if behind.is_empty() {
        return Place::Source(FALLBACK_SOURCE);
    }
    let Some(named) = behind.strip_prefix('/') else { return Place::Elsewhere };
    let (name, rest) = named.split_once('/').unwrap_or((named, ""));
    if has_dot_segment(rest.as_bytes()) { Place::DotSegments(name) } else { Place::Source(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_source_it_names() {
        assert_eq!(place("/webhook"), Place::Source("default"));
        assert_eq!(place("/webhook/stripe"), Place::Source("stripe"));
        assert_eq!(place("/webhook/stripe/a%2Fb//c"), Place::Source("stripe"));
        assert_eq!(place("/webhook/"), Place::Source(""));
        assert_eq!(place("/webhooks"), Place::Elsewhere);
        assert_eq!(place("/"), Place::Elsewhere);
        assert_eq!(place("/Webhook"), Place::Elsewhere);
    }

    /// S18: what a program behind may read as a way out of its base path is refused here.
    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for rest in ["..", "a/..", "%2e%2E", "a\\..\\b", "..%2fx", "..;/x", "%252e%252e/x"] {
            assert_eq!(place(&format!("/webhook/s/{rest}")), Place::DotSegments("s"), "{rest}");
        }
        for rest in ["...", "a..", "%2ea", "%2", "a.b"] {
            assert_eq!(place(&format!("/webhook/s/{rest}")), Place::Source("s"), "{rest}");
        }
    }
}
