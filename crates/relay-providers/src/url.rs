//! URLs as senders sign them: as they were given to the platform, or as a library of its own writes them.

/// The URL as it is; then with its host in lower case and without the port that its scheme has anyway; then with that port.
/// All three are the same URL, and which of them a platform signs depends on what was typed there and on what it made of it.
pub(crate) fn spellings(url: &str) -> Vec<String> {
    let mut all = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return all };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let scheme = scheme.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return all,
    };
    let authority = authority.to_ascii_lowercase();
    let bare = authority.strip_suffix(port).unwrap_or(&authority);
    let mut add = |authority: &str| {
        let spelling = format!("{scheme}://{authority}{path}");
        if !all.contains(&spelling) {
            all.push(spelling);
        }
    };
    add(bare);
    // A colon before the bracket belongs to an IPv6 address.
    if bare.rfind(':').is_none_or(|at| bare[at..].contains(']')) {
        add(&format!("{bare}{port}"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_same_in_each_of_its_spellings() {
        let plain = ["https://h.example/x?A=B:1", "https://h.example:443/x?A=B:1"];
        assert_eq!(spellings(plain[0]), plain);
        assert_eq!(spellings(plain[1]), [plain[1], plain[0]]);
        let typed = "HTTPS://H.Example/x?A=B:1";
        assert_eq!(spellings(typed), [typed, plain[0], plain[1]]);
        assert_eq!(spellings("https://h.example:8443/x"), ["https://h.example:8443/x"]);
        assert_eq!(spellings("https://h.example:80/x"), ["https://h.example:80/x"]);
        assert_eq!(spellings("http://[::1]/x"), ["http://[::1]/x", "http://[::1]:80/x"]);
        assert_eq!(spellings("http://h.example"), ["http://h.example", "http://h.example:80"]);
        assert_eq!(spellings("x"), ["x"]);
    }
}
