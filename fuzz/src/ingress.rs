//! Bytes of one connection, as the public listener's guard reads them, beside two other readers of HTTP: `httparse`, with bodies
//! framed as RFC 9112 has it and no more, and hyper without the guard. What the guard takes, the others take alike: method,
//! target, fields and body. Where it refuses what they take, it is by a rule that is stricter on purpose.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use relay_server::ingress::reading;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Rules by which the guard refuses what other readers may take; the others are HTTP's own, and nobody takes what breaks them.
const STRICTER: [&str; 15] = [
    // A line feed alone ends a line for many.
    "LineEnd",
    // RFC 9110 has servers refuse these; libraries leave it to whoever answers.
    "HostMissing",
    "HostRepeated",
    "HostInvalid",
    // Hosts of targets that are not those of the field, and targets that are no path.
    "Target",
    "Path",
    "Query",
    // Bounds.
    "UriTooLong",
    "HeadTooLarge",
    "TooManyFields",
    // What two readers may take for two lengths.
    "LengthInvalid",
    "LengthRepeated",
    "LengthAndCoding",
    "CodingInvalid",
    "CodingUnsupported",
];
/// Bytes of extensions in one chunked body, and digits of a size, that every reader takes. Trailers are fields for some.
const EXTENSIONS_MAX: usize = 1024;
const DIGITS_MAX: usize = 15;
/// More than the guard takes.
const FIELDS_MAX: usize = 128;

type Fields = Vec<(String, Vec<u8>)>;

/// What a reader makes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    /// Path and query.
    target: Vec<u8>,
    /// Names in lower case; in the order of their names, those of a name in theirs.
    fields: Fields,
    /// All of it, unless it has no end.
    body: Option<Bytes>,
}

/// What became of the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    requests: Vec<Seen>,
    /// The rule that the request behind them broke.
    flaw: Option<String>,
}

/// Reads them in every way and compares.
pub fn run(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let guarded = runtime.block_on(heard(data, data.len(), true));
    let in_pieces = runtime.block_on(heard(data, 1 + data.len() % 7, true));
    assert_eq!(in_pieces, guarded, "it matters in which pieces they come");
    let bare = runtime.block_on(heard(data, data.len(), false));
    let parsed = Parsed::read(data);
    for (index, seen) in guarded.requests.iter().enumerate() {
        let Some(Whole { seen: expected, is_odd, .. }) = parsed.requests.get(index) else {
            panic!("the guard takes what httparse does not: {seen:?}, {:?}", parsed.end);
        };
        assert_eq!(head(seen), head(expected), "another head than that of httparse");
        let may_be_broken = *is_odd && seen.body.is_none();
        assert!(seen.body == expected.body || may_be_broken, "another body than by RFC 9112: {seen:?} {expected:?}");
        if let Some(other) = bare.requests.get(index) {
            assert_eq!(head(seen), head(other), "another head than that of hyper");
            assert!(
                seen.body.is_none() || seen.body == other.body,
                "another body than that of hyper: {seen:?} {other:?}"
            );
        }
    }
    let taken = guarded.requests.len();
    let is_broken = guarded.requests.last().is_some_and(|last| last.body.is_none());
    let ends = is_broken || parsed.requests[..taken].last().is_some_and(|last| last.closes);
    let Some(next) = parsed.requests.get(taken).filter(|_| !ends) else { return };
    match &guarded.flaw {
        Some(rule) => assert!(
            STRICTER.contains(&rule.as_str()),
            "{rule} refuses what httparse takes: {next:?} in {}",
            data.escape_ascii()
        ),
        None => panic!("neither taken nor refused: {:?} in {}", next.seen, data.escape_ascii()),
    }
}

fn head(seen: &Seen) -> (&str, &[u8], &Fields) {
    (&seen.method, &seen.target, &seen.fields)
}

/// What a handler behind the HTTP library hears, with and without the guard before it.
async fn heard(data: &[u8], piece: usize, is_guarded: bool) -> Heard {
    let (near, far) = tokio::io::duplex(4_096);
    let heard = Arc::new(Mutex::new(Heard { requests: Vec::new(), flaw: None }));
    let (far, stays_http): (Box<dyn Socket>, Box<dyn Fn()>) = if is_guarded {
        let (far, stays_http) = reading::guarded(far);
        (Box::new(far), Box::new(stays_http))
    } else {
        (Box::new(far), Box::new(|| {}))
    };
    let service = service_fn(|request: Request<Incoming>| {
        let (heard, stays_http) = (Arc::clone(&heard), &stays_http);
        async move {
            let received = if is_guarded { reading::received(request) } else { Ok(request) };
            let (head, body) = match received {
                Ok(request) => request.into_parts(),
                Err(rule) => {
                    heard.lock().expect("nobody panics").flaw = Some(rule);
                    return Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()));
                }
            };
            let body = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
            let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            let query = reading::query(&head).map(|query| [b"?", query].concat());
            let target = [head.uri.path().as_bytes(), &query.unwrap_or_default()].concat();
            let seen = Seen { method: head.method.to_string(), target, fields: sorted(fields.collect()), body };
            heard.lock().expect("nobody panics").requests.push(seen);
            if head.headers.contains_key("upgrade") {
                stays_http();
            }
            Ok(Response::new(Full::default()))
        }
    });
    let mut builder = http1::Builder::new();
    let connection = builder.half_close(true).pipeline_flush(true).serve_connection(TokioIo::new(far), service);
    // Dropped with its socket as soon as it ends.
    let served = async move { drop(connection.await) };
    let (mut answers, mut requests) = tokio::io::split(near);
    let sent = async {
        for piece in data.chunks(piece.max(1)) {
            // Whoever refuses early may read no more.
            if requests.write_all(piece).await.is_err() {
                break;
            }
        }
        drop(requests.shutdown().await);
    };
    let mut answered = Vec::new();
    let read = async { drop(answers.read_to_end(&mut answered).await) };
    tokio::join!(served, sent, read);
    heard.lock().expect("nobody panics").clone()
}

trait Socket: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket for S {}

fn sorted(mut fields: Fields) -> Fields {
    fields.sort_by(|(name, _), (other, _)| name.cmp(other));
    fields
}

/// The requests of a connection by the grammar alone.
#[derive(Debug)]
struct Parsed {
    requests: Vec<Whole>,
    /// Why there is no further one.
    end: String,
}

#[derive(Debug)]
struct Whole {
    seen: Seen,
    /// What follows may not be read.
    closes: bool,
    /// Its body holds what one may refuse, and another read over.
    is_odd: bool,
}

impl Parsed {
    fn read(mut data: &[u8]) -> Self {
        let mut requests = Vec::new();
        let end = loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut request = httparse::Request::new(&mut fields);
            let plain = plain(data);
            let len = match request.parse(&plain) {
                Ok(httparse::Status::Complete(len)) => len,
                other => break format!("{other:?}"),
            };
            let target = request.path.unwrap_or_default();
            let at = target.as_ptr() as usize - plain.as_ptr() as usize;
            match Whole::of(&request, &data[at..at + target.len()], &data[len..]) {
                Ok((whole, body)) => {
                    let ends = whole.seen.body.is_none();
                    requests.push(whole);
                    data = &data[len + body..];
                    if ends {
                        break "a body without its end".to_owned();
                    }
                }
                Err(why) => break why.to_owned(),
            }
        };
        Self { requests, end }
    }
}

impl Whole {
    /// A request by its head and what is behind; how long its body is there.
    fn of(request: &httparse::Request<'_, '_>, target: &[u8], behind: &[u8]) -> Result<(Self, usize), &'static str> {
        let (method, target) = (request.method.unwrap_or_default().to_owned(), origin(target));
        let named = |name: &str| -> Vec<&[u8]> {
            let fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            fields.map(|field| field.value).collect()
        };
        let coding = named("transfer-encoding");
        let mut is_odd = false;
        let (body, len) = match (&named("content-length")[..], &coding[..]) {
            ([], []) => (Some(Vec::new()), 0),
            ([length], []) => by_length(length, behind)?,
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => in_chunks(behind, &mut is_odd),
            _ => return Err("it is not certain how the body is framed"),
        };
        let name = |name: &str| name.to_ascii_lowercase();
        let mut fields: Vec<_> =
            request.headers.iter().map(|field| (name(field.name), field.value.trim_ascii().to_vec())).collect();
        fields = sorted(fields);
        let is_close = |value: &&[u8]| value.to_ascii_lowercase().windows(5).any(|five| five == b"close");
        let closes = request.version == Some(0) || named("connection").iter().any(is_close);
        Ok((Self { seen: Seen { method, target, fields, body: body.map(Bytes::from) }, closes, is_odd }, len))
    }
}

/// The bytes of a request with those of its query replaced that senders leave raw, though no grammar has them, and with the
/// highest version that is known in place of a higher one: this relay takes them, httparse does not.
fn plain(data: &[u8]) -> Vec<u8> {
    let mut plain = data.to_vec();
    let begin = data.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(data.len());
    let end = data[begin..].iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| begin + at);
    let mut spaces = (begin..end).filter(|at| data[*at] == b' ');
    if let (Some(from), Some(to)) = (spaces.next(), spaces.next())
        && let Some(query) = data[from..to].iter().position(|byte| *byte == b'?')
    {
        for byte in &mut plain[from + query..to] {
            if matches!(*byte, b'"' | b'<' | b'>' | 0x80..) {
                *byte = b'_';
            }
        }
    }
    let line = &mut plain[begin..end];
    let without_return = line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
    if let Some([b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9']) =
        line[..without_return].last_chunk_mut()
    {
        *minor = b'1';
    }
    plain
}

/// Path and query of a target in either form.
fn origin(target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") || target == b"*" {
        return target.to_vec();
    }
    let authority = target.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let path =
        target[authority..].iter().position(|byte| b"/?".contains(byte)).map_or(target.len(), |at| authority + at);
    let rest = &target[path..];
    if rest.starts_with(b"/") { rest.to_vec() } else { [b"/", rest].concat() }
}

fn by_length(length: &[u8], behind: &[u8]) -> Result<(Option<Vec<u8>>, usize), &'static str> {
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let length = str::from_utf8(length).ok().filter(|_| is_number).and_then(|length| length.parse::<usize>().ok());
    let length = length.ok_or("Content-Length is no number")?;
    Ok(match behind.get(..length) {
        Some(body) => (Some(body.to_vec()), length),
        None => (None, behind.len()),
    })
}

/// RFC 9112 section 7.1, every line ended by CR LF.
fn in_chunks(behind: &[u8], is_odd: &mut bool) -> (Option<Vec<u8>>, usize) {
    let (mut body, mut at, mut extensions) = (Vec::new(), 0, 0);
    let line = |at: usize| {
        let end = behind[at..].windows(2).position(|two| two == b"\r\n")?;
        let line = &behind[at..at + end];
        let is_text = line.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..));
        is_text.then_some((line, at + end + 2))
    };
    loop {
        let Some((size, next)) = line(at) else { return (None, behind.len()) };
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_size = digits > 0 && size.get(digits).is_none_or(|byte| *byte == b';');
        let value = str::from_utf8(&size[..digits]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(value) = value.filter(|_| is_size) else { return (None, behind.len()) };
        extensions += size.len() - digits;
        *is_odd |= extensions > EXTENSIONS_MAX || digits > DIGITS_MAX;
        at = next;
        if value == 0 {
            break;
        }
        let end = at.checked_add(value).filter(|end| behind.get(*end..end.saturating_add(2)) == Some(b"\r\n"));
        let Some(end) = end else { return (None, behind.len()) };
        body.extend_from_slice(&behind[at..end]);
        at = end + 2;
    }
    loop {
        let Some((trailer, next)) = line(at) else { return (None, behind.len()) };
        at = next;
        if trailer.is_empty() {
            return (Some(body), at);
        }
        *is_odd = true;
    }
}
