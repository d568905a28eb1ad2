//! Who is told of the way of webhooks: `TRACES_URL` and what goes with it.

use bytes::Bytes;
use http::{HeaderName, Uri, header, uri::PathAndQuery};
use relay_core::trace::Sampling;
use relay_server::config::TracesConfig;

use super::{layers::Layers, target};

const URL: &str = "TRACES_URL";
const HEADERS: &str = "TRACES_HEADERS";
const SAMPLED: &str = "TRACES_SAMPLED";

/// What collectors take traces under.
const PATH: &str = "/v1/traces";
/// The port at which they take gRPC.
const GRPC: u16 = 4317;

/// The collector; `None` without the setting. Faults are noted.
pub(super) fn config(layers: &mut Layers) -> Option<TracesConfig> {
    let headers = headers(layers);
    let Some(text) = layers.text(URL) else {
        for name in [HEADERS, SAMPLED] {
            if layers.given(name).is_some() {
                layers.notes.push(format!("{name} changes nothing: {URL} says where to, and is not set"));
            }
        }
        return None;
    };
    let url = target::base_url(&text).ok()?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        layers.fault(URL, "want http:// or https://");
    }
    if url.port_u16() == Some(GRPC) {
        layers.notes.push(format!("{URL}: at port {GRPC} collectors take gRPC; OTLP over HTTP is at 4318"));
    }
    if url.scheme_str() == Some("http") && !headers.is_empty() && !is_sure_to_stay(&url) {
        let want = format!("want https://, or localhost or its address: {HEADERS} could be read on the way");
        layers.fault(URL, want);
    }
    let sampling = Sampling::of_share(layers.factor(SAMPLED))?;
    Some(TracesConfig { url: with_path(url), headers, sampling })
}

/// Whether what is said to it in the clear stays on this machine; what a name below `localhost` is, somebody else may say.
fn is_sure_to_stay(url: &Uri) -> bool {
    target::is_loopback(url) && !url.host().unwrap_or_default().to_ascii_lowercase().ends_with(".localhost")
}

/// Where nothing is said of a path it is the usual one.
fn with_path(url: Uri) -> Uri {
    if url.path() != "/" {
        return url;
    }
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(PATH));
    Uri::from_parts(parts).unwrap_or(url)
}

fn headers(layers: &mut Layers) -> Vec<(Bytes, Bytes)> {
    let text = layers.text(HEADERS).unwrap_or_default();
    let mut headers = Vec::new();
    for (before, part) in text.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        match field(part) {
            Ok(field) => headers.push(field),
            Err(want) => layers.fault(HEADERS, format!("field {}: {want}", before + 1)),
        }
    }
    headers
}

/// A `name=value`. What is wrong with it is said without a word of it: where a comma or a name is missing, any may be the secret.
fn field(part: &str) -> Result<(Bytes, Bytes), String> {
    const WANT: &str = "want name=value, with commas between several";
    let (name, value) = part.split_once('=').ok_or(WANT)?;
    let value = decoded(value.trim()).ok_or("a % wants two hex digits behind it; a % itself is written %25")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "not the name of a header field")?;
    if value.trim().trim_matches('=').is_empty() {
        return Err(format!("it has no value; {WANT}"));
    }
    if matches!(name, header::CONTENT_TYPE | header::USER_AGENT) {
        return Err("the relay sets this one itself; it cannot be set here".to_owned());
    }
    let of_the_name = format!("{name} is");
    let (name, value) =
        relay_client::config::field(name.as_str(), &value).map_err(|want| want.replace(&of_the_name, "this one is"))?;
    Ok((Bytes::copy_from_slice(name.as_str().as_bytes()), Bytes::copy_from_slice(value.as_bytes())))
}

/// With what stands behind each `%` in its place.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            layers::Flags,
            settings::{Process, find},
        },
        *,
    };

    fn read(settings: &[(&str, &str)]) -> (Option<TracesConfig>, Layers) {
        let env = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut layers = Layers::collect(Process::Server, None, &Flags::new(), &env);
        let config = config(&mut layers);
        (config, layers)
    }

    #[test]
    fn a_collector_is_where_its_url_says_and_else_where_collectors_are() {
        for (given, want) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://otlp.example/otlp/v1/traces", "https://otlp.example/otlp/v1/traces"),
            ("collector.local", "https://collector.local/v1/traces"),
        ] {
            let (config, layers) = read(&[(URL, given)]);
            assert!(layers.faults.0.is_empty(), "{given}: {:?}", layers.faults);
            let config = config.unwrap();
            assert_eq!(config.url.to_string(), want);
            assert_eq!(Some(config.sampling), Sampling::of_share(0.01));
        }
        assert!(read(&[]).0.is_none());
        assert!(read(&[(URL, "127.0.0.1:4317")]).1.notes.iter().any(|note| note.contains("gRPC")));
        assert!(read(&[(SAMPLED, "1")]).1.notes.iter().any(|note| note.contains("changes nothing")));
    }

    #[test]
    fn its_fields_are_read_as_those_of_other_exporters() {
        let (config, _) = read(&[(URL, "https://c.example"), (HEADERS, "Authorization=Basic%20YTpi==, x-team=a%2Cb")]);
        let config = config.unwrap();
        let [first, second] = [&config.headers[0], &config.headers[1]];
        assert_eq!((&first.0[..], &first.1[..]), (&b"authorization"[..], &b"Basic YTpi=="[..]));
        assert_eq!((&second.0[..], &second.1[..]), (&b"x-team"[..], &b"a,b"[..]));
        assert!(!format!("{config:?}").contains("YTpi"), "{config:?}");
        assert!(find(HEADERS).unwrap().is_secret());
    }

    /// S27: no fault shows a value, nor does one travel where it can be read.
    #[test]
    fn what_cannot_be_sent_is_a_fault_without_its_value() {
        for (url, headers, want) in [
            ("https://c.example", "canary", "want name=value"),
            ("https://c.example", "a b=canary", "not the name"),
            ("https://c.example", "host=canary", "cannot be set"),
            ("https://c.example", "content-type=canary", "cannot be set"),
            ("https://c.example", "x=canary%2", "two hex digits"),
            ("https://c.example", "x=canary%0ab", "header field"),
            ("https://c.example", "x=", "field 1: it has no value"),
            ("https://c.example", "canary=", "no value"),
            ("https://c.example", "canary==", "no value"),
            ("https://c.example", "x=1,canary=", "field 2: it has no value"),
            ("https://c.example", "relay-canary=1", "cannot be set"),
            ("http://otel.localhost", "x=canary", "read on the way"),
            ("http://c.example", "x=canary", "read on the way"),
            ("wss://c.example", "x=canary", "want http"),
        ] {
            let (_, layers) = read(&[(URL, url), (HEADERS, headers)]);
            let said = layers.faults.to_string();
            assert!(said.contains(want) && !said.contains("canary"), "{url} {headers}: {said}");
        }
        for here in ["http://[::1]:4318", "http://LOCALHOST:4318", "http://127.0.0.1"] {
            assert!(read(&[(URL, here), (HEADERS, "x=y")]).1.faults.0.is_empty(), "{here}");
        }
    }
}
