//! Which source a path leads to. Raw bytes, compared as they are: nothing is decoded, nothing is mended.

/// Where a request path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// To the source of that name.
    Source(&'a str),
    /// To a source, with dot segments behind its name: another program may read it as another path.
    DotSegments,
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
    if rest.split(['/', '\\']).any(is_dot_segment) { Place::DotSegments } else { Place::Source(name) }
}

/// `.` or `..`, also with dots written as `%2e`.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    for dots in 0..=2 {
        if rest.is_empty() {
            return dots > 0;
        }
        let behind = match rest.as_bytes() {
            [b'.', ..] => rest.get(1..),
            [b'%', b'2', b'e' | b'E', ..] => rest.get(3..),
            _ => None,
        };
        let Some(behind) = behind else { return false };
        rest = behind;
    }
    false
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
        for rest in ["..", ".", "a/..", "../a", "%2e%2E", ".%2e/b", "a/%2e/b", "a\\..\\b", "./"] {
            assert_eq!(place(&format!("/webhook/s/{rest}")), Place::DotSegments, "{rest}");
        }
        for rest in ["...", "a..", ".a", "%2ea", "%2", "a.b", "%252e"] {
            assert_eq!(place(&format!("/webhook/s/{rest}")), Place::Source("s"), "{rest}");
        }
    }
}
