//! By which way a request came.

/// From where a request came, in words: who sent it, and the proxy that brought it, which is all that is known where it named nobody.
pub fn came_from(peer: Option<&str>, proxy: Option<&str>) -> Option<String> {
    match (peer, proxy) {
        (Some(peer), Some(proxy)) if peer != proxy => Some(format!("{peer} by proxy {proxy}")),
        (_, Some(proxy)) => Some(format!("proxy {proxy}")),
        (peer, None) => peer.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody is taken for the sender who only brought what he sent.
    #[test]
    fn a_proxy_is_told_from_who_came_by_himself() {
        let said = |peer, proxy| came_from(peer, proxy).unwrap_or_default();
        assert_eq!(said(Some("192.0.2.7"), None), "192.0.2.7");
        assert_eq!(said(Some("192.0.2.7"), Some("10.0.0.1")), "192.0.2.7 by proxy 10.0.0.1");
        assert_eq!(said(Some("10.0.0.1"), Some("10.0.0.1")), "proxy 10.0.0.1");
        assert_eq!(said(None, Some("this machine")), "proxy this machine");
        assert_eq!(came_from(None, None), None);
    }
}
