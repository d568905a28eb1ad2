//! Who is told of the way of webhooks: `TRACES_URL` and what goes with it.

use bytes::Bytes;
use http::{Uri, header, uri::PathAndQuery};
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
    if url.scheme_str() == Some("http") && !headers.is_empty() && !target::is_loopback(&url) {
        let want = format!("want https://: {HEADERS} could be read on the way");
        layers.fault(URL, want);
    }
    let sampling = Sampling::of_share(layers.factor(SAMPLED))?;
    Some(TracesConfig { url: with_path(url), headers, sampling })
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
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match field(part) {
            Ok(field) => headers.push(field),
            Err(want) => layers.fault(HEADERS, want),
        }
    }
    headers
}

/// A `name=value`. What is wrong with it is said without the value.
fn field(part: &str) -> Result<(Bytes, Bytes), String> {
    const WANT: &str = "want name=value, with commas between several";
    let (name, value) = part.split_once('=').ok_or(WANT)?;
    let value = decoded(value.trim()).ok_or("a % wants two hex digits behind it; a % itself is written %25")?;
    let (name, value) = relay_client::config::field(name.trim(), &value)?;
    if matches!(name, header::CONTENT_TYPE | header::USER_AGENT) {
        return Err(format!("{name} is set by the relay itself; it cannot be set here"));
    }
    if value.is_empty() {
        return Err(format!("{name} has no value; {WANT}"));
    }
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
            ("https://c.example", "x=", "no value"),
            ("http://c.example", "x=canary", "read on the way"),
            ("wss://c.example", "x=canary", "want http"),
        ] {
            let (_, layers) = read(&[(URL, url), (HEADERS, headers)]);
            let said = layers.faults.to_string();
            assert!(said.contains(want) && !said.contains("canary"), "{url} {headers}: {said}");
        }
        assert!(read(&[(URL, "http://[::1]:4318"), (HEADERS, "x=y")]).1.faults.0.is_empty());
    }
}
