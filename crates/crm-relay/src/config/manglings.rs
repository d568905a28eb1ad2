//! Every place from which a value comes, with everything that editors, shells, web pages and people do to one: it is what was
//! meant, or it is refused with what would be right. Nothing is taken as it is and then answered with a 401.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    client,
    kind::{Kind, Value},
    layers::{Flags, Layers},
    server,
    settings::{Process, Role, SETTINGS, Setting, find},
    text_file,
};
use crate::{config::server::GivenSecrets, credentials, place};

/// What becomes of a mangled value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is taken as what was meant.
    Meant,
    /// It is refused.
    Refused,
}
use Fate::{Meant, Refused};

fn wide(text: &str, of: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(of).collect()
}

/// What is done to a value, and what is to become of it where it is a secret of ours.
fn manglings(name: &str, value: &str) -> Vec<(&'static str, Vec<u8>, Fate)> {
    let half = value.len() / 2;
    let (first, second) = value.split_at(half);
    let text = |label, text: String, fate| (label, text.into_bytes(), fate);
    vec![
        text("plain", value.to_owned(), Meant),
        text("line end", format!("{value}\n"), Meant),
        text("line ends of Windows", format!("{value}\r\n\r\n"), Meant),
        text("spaces", format!("  {value}\t "), Meant),
        text("no-break space", format!("{value}\u{a0}"), Meant),
        text("zero-width space", format!("\u{200b}{value}"), Meant),
        text("mark of byte order", format!("\u{feff}{value}\r\n"), Meant),
        text("end of file of DOS", format!("{value}\r\n\u{1a}"), Meant),
        ("UTF-16, little end first", wide(&format!("{value}\r\n"), u16::to_le_bytes), Meant),
        ("UTF-16, big end first", wide(value, u16::to_be_bytes), Meant),
        text("double quotes", format!("\"{value}\""), Meant),
        text("single quotes", format!("'{value}'\n"), Meant),
        text("backticks", format!("`{value}`"), Meant),
        text("typographic quotes", format!("\u{201c}{value}\u{201d}"), Meant),
        text("its name", format!("{name}={value}"), Meant),
        text("line of a shell", format!("export {name}=\"{value}\"\n"), Meant),
        text("line of PowerShell", format!("$env:{name} = '{value}'"), Meant),
        text("name of another variable", format!("MY_SECRET={value}"), Meant),
        text("scheme", format!("Bearer {value}"), Meant),
        text("header field", format!("Authorization: Bearer {value}"), Meant),
        text("entry of a list", format!("\"{value}\","), Meant),
        text("space within", format!("{first} {second}"), Refused),
        text("line break within", format!("{first}\n{second}"), Refused),
        text("tab within", format!("{first}\t{second}"), Refused),
        text("invisible character within", format!("{first}\u{200b}{second}"), Refused),
        text("another character within", format!("{first}={second}"), Refused),
        text("two of them", format!("{value}\n{value}x\n"), Refused),
        text("a comment before it", format!("# mine\n{value}\n"), Refused),
        text("one quote", format!("\"{value}"), Refused),
        text("quote at the end", format!("{value}'"), Refused),
        text("JSON", format!("{{\"secret\":\"{value}\"}}"), Refused),
        text("placeholder", format!("${{{name}}}"), Refused),
        text("path", "@/run/secrets/of-the-relay".to_owned(), Refused),
        text("cut short", "crk_01".to_owned(), Refused),
        text("zero byte", format!("{first}\0{second}"), Refused),
        ("UTF-16 without its mark", wide(value, u16::to_le_bytes).split_off(2), Refused),
        ("Latin-1", [value.as_bytes(), b"\xfc"].concat(), Refused),
        text("nothing", String::new(), Refused),
        text("nothing but a line end", "\r\n".to_owned(), Refused),
    ]
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What a server or a client makes of a setting.
    fn setting(&self, name: &str, config: &str, flags: &Flags, env: &[(&str, &str)]) -> Result<String, String> {
        let path = self.file("crm-relay.toml", config.as_bytes());
        let process = if find(name).unwrap().role == Role::Client { Process::Client } else { Process::Server };
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let layers = Layers::collect(process, Some(&path), flags, &env);
        if !layers.faults.0.is_empty() {
            return Err(layers.faults.to_string());
        }
        layers.text(name).ok_or_else(|| "missing".to_owned())
    }
}

/// The same with escapes, as a file in TOML takes it.
fn toml(text: &str) -> String {
    let escaped: Vec<String> = text.chars().map(|char| format!("\\U{:08X}", u32::from(char))).collect();
    format!("\"{}\"", escaped.concat())
}

type Entry = fn(&Folder, &str, &[u8]) -> Option<Result<String, String>>;

/// Every place from which a secret of a setting comes. `None`: it cannot be given there like that.
const OF_SETTINGS: &[(&str, Entry)] = &[
    ("variable", |place, name, bytes| {
        let text = str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
        Some(place.setting(name, "", &Flags::new(), &[(name, text)]))
    }),
    ("variable that names a file", |place, name, bytes| {
        let path = place.file("secret", bytes).display().to_string();
        Some(place.setting(name, "", &Flags::new(), &[(&format!("{name}_FILE"), &path)]))
    }),
    ("configuration", |place, name, bytes| {
        let text = format!("{} = {}", name.to_ascii_lowercase(), toml(str::from_utf8(bytes).ok()?));
        Some(place.setting(name, &text, &Flags::new(), &[]))
    }),
    ("configuration that names a file", |place, name, bytes| {
        place.file("secret", bytes);
        let text = format!("{} = {{ file = \"secret\" }}", name.to_ascii_lowercase());
        Some(place.setting(name, &text, &Flags::new(), &[]))
    }),
    ("option", |place, name, bytes| {
        let text = str::from_utf8(bytes).ok().filter(|text| !text.contains('\0') && !text.starts_with('@'))?;
        Some(place.setting(name, "", &flags(name, text).ok()?, &[]))
    }),
    ("option that names a file", |place, name, bytes| {
        let path = place.file("secret", bytes);
        Some(flags(name, &format!("@{}", path.display())).and_then(|flags| place.setting(name, "", &flags, &[])))
    }),
    ("credentials", |place, name, bytes| {
        let is_one_line = !str::from_utf8(bytes).is_ok_and(|text| text.trim().contains('\n'));
        let data = place.0.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let head = match bytes {
            [0xff, 0xfe, ..] => wide(&format!("{name}="), u16::to_le_bytes),
            [0xfe, 0xff, ..] => wide(&format!("{name}="), u16::to_be_bytes),
            _ => format!("{name}=").into_bytes(),
        };
        let tail = if head.starts_with(&[0xff]) || head.starts_with(&[0xfe]) { &bytes[2..] } else { bytes };
        relay_store::private::replace(&place::credentials(&data), &[&head, tail].concat()).unwrap();
        let kept = credentials::complete(&data, GivenSecrets::default()).map_err(|failure| failure.text);
        let found = kept.and_then(|kept| {
            if kept.generated.contains(&name) {
                Err("missing".to_owned())
            } else {
                Ok(credentials::find(&data, name).unwrap().unwrap().expose().to_owned())
            }
        });
        Some(found).filter(|_| is_one_line)
    }),
];

fn flags(name: &str, text: &str) -> Result<Flags, String> {
    let setting = find(name).unwrap();
    Ok(Flags::from([(setting.name, text_file::argument(text)?)]))
}

/// Every place from which a key of a source comes.
const OF_SOURCES: &[(&str, Entry)] = &[
    ("source in the configuration", |place, _, bytes| {
        Some(declared(place, &format!("key = {}", toml(str::from_utf8(bytes).ok()?))))
    }),
    ("source in the configuration that names a file", |place, _, bytes| {
        place.file("secret", bytes);
        Some(declared(place, "key = { file = \"secret\" }"))
    }),
    ("--set", |_, _, bytes| {
        let text = str::from_utf8(bytes).ok().filter(|text| !text.contains('\0') && !text.starts_with('@'))?;
        Some(set(text))
    }),
    ("--set that names a file", |place, _, bytes| Some(set(&format!("@{}", place.file("secret", bytes).display())))),
];

fn declared(place: &Folder, key: &str) -> Result<String, String> {
    let path = place.file("crm-relay.toml", format!("[source.shop]\nprovider = \"api-key\"\n{key}\n").as_bytes());
    let layers = Layers::collect(Process::Server, Some(&path), &Flags::new(), &|_| None);
    let plan = server::plan(layers).map_err(|faults| faults.to_string())?;
    match &plan.declared().sources[0].parameters[..] {
        [(_, value), ..] if !value.is_empty() => Ok(value.clone()),
        _ => Err("missing".to_owned()),
    }
}

fn set(text: &str) -> Result<String, String> {
    let parameters = [("key".to_owned(), text_file::argument(text)?)];
    if parameters[0].1.trim().is_empty() {
        return Err("missing".to_owned());
    }
    let given = relay_providers::Given::read("api-key", &parameters);
    given.map(|given| given.parameters[0].1.clone()).map_err(|faults| format!("{faults:?}"))
}

/// S27: and no refusal shows the secret.
#[test]
fn a_secret_is_what_was_meant_or_refused_wherever_it_comes_from() {
    let place = Folder::new();
    let random = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
    let settings = ["API_KEY", "RELAY_TOKEN", "ADMIN_TOKEN"].into_iter().zip(["crk_", "crt_", "cra_"]);
    let settings = settings.flat_map(|(name, prefix)| OF_SETTINGS.iter().map(move |entry| (entry, name, prefix)));
    for ((entry, read), name, prefix) in settings.chain(OF_SOURCES.iter().map(|entry| (entry, "key", "crk_"))) {
        let secret = format!("{prefix}{random}");
        for (label, bytes, fate) in manglings(name, &secret) {
            let Some(read) = read(&place, name, &bytes) else { continue };
            let what = format!("{name}, {entry}, {label}: {read:?}");
            match fate {
                Meant => assert_eq!(read.as_ref(), Ok(&secret), "{what}"),
                Refused => assert!(read.is_err_and(|said| !said.contains(&random[..21])), "{what}"),
            }
        }
    }
}

/// What targets want to see may be nearly anything. Out of a file it is taken as it stands there, or refused.
#[test]
fn what_a_target_wants_to_see_is_what_was_meant_or_refused() {
    let place = Folder::new();
    let secret = format!("whsec_{}", "QUJD".repeat(10));
    let of_target = |entry: &str, bytes: &[u8]| -> Result<String, String> {
        place.file("secret", bytes);
        let text = format!("[destination.crm]\nurl = \"http://crm.local\"\n{entry}\n");
        let path = place.file("client.toml", text.as_bytes());
        let env = |name: &str| match name {
            "RELAY_URL" => Some("https://r.example".to_owned()),
            "RELAY_TOKEN" => Some("crt_0123456789abcdef".to_owned()),
            _ => None,
        };
        let layers = Layers::collect(Process::Client, Some(&path), &Flags::new(), &env);
        let (config, _) = client::config(layers, &env).map_err(|faults| faults.to_string())?;
        let destination = &config.destinations[0];
        let headers = destination.headers.iter().map(|(_, value)| value.to_str().unwrap().to_owned());
        Ok(headers.chain(destination.resign.is_some().then(|| "signs".to_owned())).collect())
    };
    // What a secret of ours cannot be, and a header field or a password can.
    let values = [
        "space within",
        "tab within",
        "another character within",
        "one quote",
        "quote at the end",
        "JSON",
        "path",
        "cut short",
    ];
    // What may be meant: whoever means it writes it into the configuration itself.
    let doubtful = ["double quotes", "single quotes", "backticks", "typographic quotes", "entry of a list"];
    let named = ["its name", "line of a shell", "line of PowerShell", "name of another variable"];
    for (label, bytes, fate) in manglings("RESIGN_SECRET", &secret) {
        for entry in [
            "headers = { Authorization = \"@secret\" }",
            "headers = { Authorization = { file = \"secret\" } }",
            "username = \"u\"\npassword = { file = \"secret\" }",
        ] {
            let read = of_target(entry, &bytes);
            let is_taken =
                values.contains(&label) || fate == Meant && !doubtful.contains(&label) && !named.contains(&label);
            assert_eq!(read.is_ok(), is_taken, "{entry}, {label}: {read:?}");
            assert!(read.is_ok() || !read.is_err_and(|said| said.contains("QUJDQUJD")), "{entry}, {label}");
        }
        // A scheme or a field before it: nobody's way to write down a secret to sign with.
        if ["scheme", "header field"].contains(&label) {
            continue;
        }
        let read = of_target("resign_secret = { file = \"secret\" }", &bytes);
        assert_eq!(read == Ok("signs".to_owned()), fate == Meant, "{label}: {read:?}");
    }
}

/// A value that each setting takes, which is not its default.
fn good(setting: &Setting) -> String {
    let good = match (setting.name, setting.kind) {
        ("ADMIN_URL" | "PUBLIC_URL" | "RELAY_URL", _) => "https://relay.example.com/base",
        ("RELAY_TOKEN", _) => "crt_0123456789abcdef",
        ("ADMIN_TOKEN", _) => "cra_0123456789abcdef",
        (_, Kind::Secret) => "crk_0123456789abcdef",
        (_, Kind::Certificates) => {
            return Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fixtures/providers/keys/rsa.crt.pem")
                .display()
                .to_string();
        }
        (_, Kind::PrivateKey) => {
            return Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fixtures/providers/keys/rsa.key.pem")
                .display()
                .to_string();
        }
        (_, Kind::EncryptionKeys) => {
            return Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/encryption/keys").display().to_string();
        }
        (_, Kind::Dir) => "/srv/relay",
        (_, Kind::Host) => "127.0.0.1",
        (_, Kind::Port | Kind::Factor) => "80",
        (_, Kind::Share) => "0.5",
        ("TRACES_HEADERS", _) => "x-team=payments",
        (_, Kind::Listen) => "127.0.0.1:9000",
        (_, Kind::Url | Kind::Proxy) => "http://proxy.local:3128",
        (_, Kind::Redis) => "redis://redis.local:6379/0",
        (_, Kind::AddressMap) => "10.0.0.1:6379=redis-1.example:6379",
        (_, Kind::Targets) => "crm=http://crm.local:3000/hook",
        (_, Kind::Origins) => "https://a.example,https://b.example",
        (_, Kind::Hosts) => "a.example,b.example",
        (_, Kind::Pins) => "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        (_, Kind::Networks) => "10.0.0.0/8,2001:db8::1",
        (_, Kind::Count(..)) => "5",
        ("BACKUP_EVERY", _) => "45m",
        (_, Kind::Span(..)) => "45s",
        (_, Kind::Size(..)) => "1MiB",
        (_, Kind::Word(words) | Kind::Words(words)) => words[0],
        (_, Kind::Text | Kind::Foreign) => "something",
    };
    good.to_owned()
}

/// What each kind of setting refuses, with a word of what is said.
fn refused(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Text => &[("a\tb", "control character"), ("a\u{fffd}", "UTF-8")],
        // Refused where it is used.
        Kind::Foreign => &[],
        Kind::Secret => {
            &[("changemechangeme", "guess"), ("a passphrase with spaces", "a space"), ("short", "16 to 256")]
        }
        Kind::Dir => &[
            ("~nobody/relay", "whole path"),
            ("$DATA/relay", "not expanded"),
            ("/srv/${NAME}", "not expanded"),
            ("file:///srv/relay", "not a URL"),
            ("C:\\relay", "Windows"),
            ("/etc/passwd", "is a file"),
            ("/srv/\u{200b}relay", "invisible"),
        ],
        Kind::Certificates => &[
            ("/nowhere/ca.pem", "no such file"),
            ("/", "is a directory"),
            ("/etc/passwd", "no certificate"),
            ("/dev/null", "no certificate"),
            ("/dev/zero", "longer than"),
            ("$CERTS/ca.pem", "not expanded"),
        ],
        Kind::PrivateKey => &[
            ("/nowhere/tls.key", "no such file"),
            ("/", "is a directory"),
            ("/etc/passwd", "no private key"),
            ("/dev/null", "no private key"),
            ("/dev/zero", "longer than"),
            ("$CERTS/tls.key", "not expanded"),
        ],
        Kind::EncryptionKeys => &[
            ("/nowhere/keys", "no such file"),
            ("/", "is a directory"),
            ("/etc/passwd", "not a number and a key"),
            ("$KEYS/keys", "not expanded"),
        ],
        Kind::Host => &[
            ("relay.example.com", "IP address"),
            ("0.0.0.0:8080", "SERVER_PORT"),
            ("http://0.0.0.0", "not a URL"),
            ("1.2.3", "IP address"),
            ("[::1", "IP address"),
        ],
        Kind::Port => &[
            ("99999", "0 to 65535"),
            ("-1", "0 to 65535"),
            ("80.5", "0 to 65535"),
            ("0.0.0.0:80", "SERVER_HOST"),
            ("tcp://10.0.0.1:80", "not a URL"),
            ("http", "0 to 65535"),
            ("80/tcp", "0 to 65535"),
            ("\u{661}\u{660}", "0 to 65535"),
        ],
        Kind::Listen => &[
            ("http://127.0.0.1:9000", "not a URL"),
            ("127.0.0.1", "want an address"),
            ("127.0.0.1:99999", "0 to 65535"),
            ("::1:9000", "brackets"),
            ("relay.example.com:9000", "want an address"),
            ("127.0.0.1 9000", "want an address"),
        ],
        Kind::Url => &[
            ("htp://relay.example.com", "https"),
            ("https:/relay.example.com", "two slashes"),
            ("https//relay.example.com", "two slashes"),
            ("https://relay example.com", "white space"),
            ("https://relay..example.com", "no host"),
            ("https://relay.example.com/:8080", "before the path"),
            ("https://relay.example.com:99999", "65535"),
            ("https://relay.example.com:", "no port"),
            ("https://user:word@relay.example.com", "user and password"),
            ("https://relay.example.com?a=b", "query"),
            ("https://${HOST}", "placeholder"),
            ("https://<your-relay>", "< and >"),
            ("https://relay.example.com,https://b.example", "two URLs"),
            ("relay.example.com,b.example", "no host"),
            ("https://relay.example.com/%zz", "hex digits"),
            ("10 parsecs", "white space"),
            ("-1", "no host"),
        ],
        Kind::Proxy => &[
            ("socks4://proxy:1080", "version 5"),
            ("https://proxy:3128", "HTTP proxy"),
            ("http//proxy:3128", "two slashes"),
            ("http://proxy:3128/path", "no path"),
            ("http://proxy:0", "65535"),
            ("http://proxy:99999", "65535"),
            ("http://user:p@ss@proxy:3128", "%40"),
            ("http://user:p/ss@proxy:3128", "%2F"),
            ("http://user:p ss@proxy:3128", "%20"),
            ("http://pro xy:3128", "white space"),
            ("-1", "no host"),
        ],
        Kind::Redis => &[
            ("http://redis.local:6379", "want redis://"),
            ("redis:/redis.local", "two slashes"),
            ("redis://redis.local:0", "1 to 65535"),
            ("redis://redis.local:6379/three", "number of a database"),
            ("redis://${HOST}", "no host"),
            ("redis://redis local", "no host"),
            ("redis+sentinel://a,b,c", "name of the master"),
            ("redis+sentinel://a,a/main", "twice"),
            ("redis+cluster://a,b,c/3", "database 0 only"),
            ("unix:///run/redis.sock", "want redis://"),
        ],
        Kind::AddressMap => &[
            ("10.0.0.1:6379", "where it is reached"),
            ("10.0.0.1=redis-1.example:6379", "where it is reached"),
            ("10.0.0.1:6379=redis-1.example", "where it is reached"),
            ("10.0.0.1:6379=redis-1.example:0", "where it is reached"),
            ("a:1=b:1;c:1=d:1", "where it is reached"),
            ("a:1=b:1,a:1=c:1", "twice"),
        ],
        Kind::Targets => &[
            ("htp://crm.local", "http"),
            ("http:/crm.local", "two slashes"),
            ("crm:http://crm.local", "crm=http"),
            ("crm=", "not a URL"),
            ("Crm=3000", "not a name"),
            ("=3000", "not a name"),
            ("3000,4000", "given twice"),
            ("crm=3000;erp=4000", "have commas"),
            ("99999", "65535"),
            ("0", "65535"),
            ("http://crm.local:3000 /x", "white space"),
            ("http://user:word@crm.local", "username and password"),
            ("http://crm.local/#a", "fragment"),
            ("http://crm.local/100%", "hex digits"),
            ("unix:/run/x.sock", "port"),
            ("file:///etc/passwd", "URL"),
            ("ftp://crm.local", "http"),
            ("-1", "no host"),
        ],
        Kind::Origins => &[
            ("app.example.com", "want origins"),
            ("https://app.example.com/path", "want origins"),
            ("https://*.example.com", "* alone"),
            ("https://a.example https://b.example", "white space"),
            ("https://a.example;https://b.example", "two URLs"),
            ("null", "want origins"),
            ("https://a.example:99999", "65535"),
        ],
        Kind::Hosts => &[
            ("https://relay.example.com", "without scheme"),
            ("relay.example.com:8081", "without scheme"),
            ("*.example.com", "want names"),
            ("a.example b.example", "want names"),
            ("a.example;b.example", "want names"),
            ("-1", "no host"),
        ],
        Kind::Pins => &[
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "want sha256/"),
            ("sha256/AAAA", "want sha256/"),
            ("sha1/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "want sha256/"),
            ("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=;", "want sha256/"),
        ],
        Kind::Networks => &[
            ("10.0.0.1/8", "want 10.0.0.0/8, or 10.0.0.1 alone"),
            ("10.0.0.0/33", "/0 to /32"),
            ("10.0.0.0/8 192.0.2.7", "want networks"),
            ("10.0.0.0/8;192.0.2.7", "want networks"),
            ("10.*", "want networks"),
            ("proxy.example.com", "want networks"),
            ("10.0.0.1:8080", "want networks"),
            ("[2001:db8::1]", "want networks"),
        ],
        Kind::Count(..) => &[
            ("-1", "whole number"),
            ("1.5", "whole number"),
            ("1e3", "whole number"),
            ("yes", "whole number"),
            ("5 5", "whole number"),
            ("99999999999999999999", "whole number"),
        ],
        Kind::Factor => {
            &[("0.5", "1 to 100"), ("1,5", "1 to 100"), ("NaN", "1 to 100"), ("inf", "1 to 100"), ("2x", "1 to 100")]
        }
        Kind::Share => &[
            ("1.5", "0 (none) to 1"),
            ("-0.1", "0 (none)"),
            ("0,5", "0 (none)"),
            ("1%", "0 (none)"),
            ("NaN", "0 (none)"),
        ],
        Kind::Span(..) => &[
            ("10 parsecs", "not a duration"),
            ("-5s", "not a duration"),
            ("1,5h", "not a duration"),
            ("5M", "minutes are m"),
            ("1h30", "not a duration"),
            ("1e3", "not a duration"),
            ("\u{221e}", "not a duration"),
            ("99999d", "want "),
            ("yes", "not a duration"),
        ],
        Kind::Size(..) => &[
            ("1.5", "whole"),
            ("1,5MiB", "not a size"),
            ("1e6", "not a size"),
            ("-1", "not a size"),
            ("10 parsecs", "not a size"),
            ("99999TiB", "want "),
            ("yes", "not a size"),
        ],
        Kind::Words(_) => {
            &[("xml", "with commas between them"), (",", "nothing but commas"), ("off,public", "want off, or ")]
        }
        Kind::Word(_) => &[("xml", "want one of"), ("enable", "want one of"), ("trace,hyper=debug", "want one of")],
    }
}

/// What is around a value and means nothing.
const AROUND: &[&str] = &[
    "VALUE",
    "  VALUE ",
    "VALUE\r",
    "VALUE\n",
    "\u{feff}VALUE",
    "VALUE\u{a0}",
    "\"VALUE\"",
    "'VALUE'",
    "\u{201c}VALUE\u{201d}",
    "\" VALUE \"\r\n",
];

fn processes(setting: &Setting) -> impl Iterator<Item = Process> {
    let all = [Process::Server, Process::Client, Process::Dev, Process::Command];
    all.into_iter().filter(move |process| setting.concerns(*process))
}

/// What a process makes of a value in a variable.
fn taken(process: Process, setting: &Setting, value: &str) -> Result<Value, String> {
    let place = Folder::new();
    let path = place.file("crm-relay.toml", b"");
    let env = |name: &str| match name {
        "RELAY_URL" if setting.name != name => Some("https://relay.example.com".to_owned()),
        "RELAY_TOKEN" if setting.name != name => Some("crt_0123456789abcdef".to_owned()),
        "LOCAL_WEBHOOK_URL" if setting.name != name => Some("3000".to_owned()),
        // One alone is nothing.
        "TLS_CERT_FILE" if setting.name == "TLS_KEY_FILE" => find(name).map(good),
        "TLS_KEY_FILE" if setting.name == "TLS_CERT_FILE" => find(name).map(good),
        "RELAY_CERT_FILE" if setting.name == "RELAY_KEY_FILE" => find(name).map(good),
        "RELAY_KEY_FILE" if setting.name == "RELAY_CERT_FILE" => find(name).map(good),
        "TLS_CERT_FILE" | "TLS_KEY_FILE" | "CLIENTS_CA_FILE" if setting.name == "CLIENTS_LISTEN" => {
            find(name).map(good)
        }
        "TLS_CERT_FILE" | "TLS_KEY_FILE" | "PUBLIC_URL" if setting.name == "REDIRECT_LISTEN" => find(name).map(good),
        _ => (name == setting.name).then(|| value.to_owned()),
    };
    let layers = || Layers::collect(process, Some(&path), &Flags::new(), &env);
    let found = layers().value(setting.name);
    match process {
        Process::Client => client::config(layers(), &env).map(drop),
        Process::Server => server::plan(layers()).map(drop),
        Process::Dev => {
            let mut layers = layers();
            client::joined(&mut layers);
            server::plan(layers).map(drop)
        }
        Process::Command => Some(layers().faults).filter(|faults| !faults.0.is_empty()).map_or(Ok(()), Err),
    }
    .map_err(|faults| faults.to_string())?;
    found.ok_or_else(|| "missing".to_owned())
}

#[test]
fn every_setting_is_taken_as_it_is_plainly_meant() {
    for setting in SETTINGS {
        for process in processes(setting) {
            // The lower of two that belong together.
            let good = match setting.name {
                "RETENTION_DELIVERED" | "RETENTION_DEAD" => "9d".to_owned(),
                "FORWARD_TIMEOUT" => "5s".to_owned(),
                _ => good(setting),
            };
            let plain = taken(process, setting, &good).unwrap_or_else(|fault| panic!("{}: {fault}", setting.name));
            for around in AROUND {
                if setting.kind == Kind::Foreign && around.contains(['"', '\'', '\u{201c}']) {
                    continue;
                }
                let given = around.replace("VALUE", &good);
                assert_eq!(taken(process, setting, &given), Ok(plain.clone()), "{} = {given:?}", setting.name);
            }
            let named = format!("{}={good}", setting.name);
            let is_path =
                matches!(setting.kind, Kind::Dir | Kind::Certificates | Kind::PrivateKey | Kind::EncryptionKeys);
            if setting.kind != Kind::Foreign && !is_path {
                assert_eq!(taken(process, setting, &named), Ok(plain.clone()), "{named}");
            }
            for empty in ["", "  ", "\"\"", "''", "\r\n"] {
                let layers = Layers::collect(process, None, &Flags::new(), &|name| {
                    (name == setting.name || name == format!("{}_FILE", setting.name)).then(|| empty.to_owned())
                });
                assert!(
                    layers.given(setting.name).is_none() && layers.faults.0.is_empty(),
                    "{} = {empty:?}",
                    setting.name
                );
            }
        }
    }
}

#[test]
fn every_setting_refuses_what_cannot_work_with_what_would_be_right() {
    for setting in SETTINGS {
        let hostile = refused(setting.kind);
        assert!(setting.kind == Kind::Foreign || hostile.len() > 1, "{} has no hostile values", setting.name);
        for process in processes(setting) {
            // A command opens the file when it needs it.
            let is_file = matches!(setting.kind, Kind::Certificates | Kind::PrivateKey | Kind::EncryptionKeys);
            let is_unopened = process == Process::Command && is_file;
            for (value, want) in hostile.iter().filter(|(value, _)| !is_unopened || value.contains('$')) {
                let said = taken(process, setting, value).map(|value| format!("{value:?}"));
                assert!(said.as_ref().is_err_and(|said| said.contains(want)), "{} = {value:?}: {said:?}", setting.name);
                let fault = said.unwrap_err();
                assert!(fault.contains(setting.name), "{} = {value:?}: {fault}", setting.name);
                assert!(!setting.is_secret() || !fault.contains(value), "{fault}");
            }
        }
    }
}

/// Every key of a table of the configuration file.
#[test]
fn every_key_of_a_table_refuses_what_cannot_work() {
    let place = Folder::new();
    place.file("empty", b"\r\n");
    place.file("lines", b"one\ntwo\n");
    place.file("quoted", b"\"somebody's\"\n");
    let faults = |text: &str| -> String {
        let path = place.file("crm-relay.toml", text.as_bytes());
        let env = |name: &str| match name {
            "RELAY_URL" => Some("https://relay.example.com".to_owned()),
            "RELAY_TOKEN" => Some("crt_0123456789abcdef".to_owned()),
            _ => None,
        };
        if text.contains("[destination") {
            let layers = Layers::collect(Process::Client, Some(&path), &Flags::new(), &env);
            return client::config(layers, &env).map_or_else(|faults| faults.to_string(), |_| String::new());
        }
        let layers = Layers::collect(Process::Server, Some(&path), &Flags::new(), &|_| None);
        server::plan(layers).map_or_else(|faults| faults.to_string(), |_| String::new())
    };
    for (key, value, want) in [
        ("url", "\"htp://crm.local\"", "http"),
        ("url", "\"'http://crm.local'\"", "quotes"),
        ("url", "3000.5", "four numbers"),
        ("url", "true", ""),
        ("url", "{ file = \"empty\" }", "is empty"),
        ("concurrency", "0", "whole number"),
        ("concurrency", "\"many\"", "whole number"),
        ("concurrency", "1.5", "whole number"),
        ("forward_timeout", "\"1,5s\"", "not a duration"),
        ("forward_timeout", "\"30s\"", "SHUTDOWN_GRACE"),
        ("ca_file", "\"/nowhere/ca.pem\"", "no such file"),
        ("ca_file", "\"~nobody/ca.pem\"", "whole path"),
        ("ca_file", "\"lines\"", "no certificate"),
        ("resign_secret", "\"whsec_short\"", "24 to 64"),
        ("resign_secret", "{ file = \"empty\" }", "is empty"),
        ("resign_secret", "\"@quoted\"", "file = "),
        ("username", "\"u\"\npassword = \"@/run/secrets/x\"", "file = "),
        ("headers", "\"X-A: b\"", "want a table"),
        ("headers", "{ \"X A\" = \"b\" }", "not the name"),
        ("headers", "{ \"X-A\" = \"\" }", "is empty"),
        ("headers", "{ \"X-A\" = \"Bearer ${TOKEN}\" }", "not expanded"),
        ("headers", "{ \"X-A\" = \"@empty\" }", "is empty"),
        ("headers", "{ \"X-A\" = \"@lines\" }", "2 lines"),
        ("headers", "{ \"X-A\" = \"@quoted\" }", "quotes"),
        ("headers", "{ \"X-A\" = \"@.\" }", "is a directory"),
        ("headers", "{ \"X-A\" = \"@/nowhere\" }", "no such file"),
        ("headers", "{ \"X-A\" = \"1\", \"x-a\" = \"2\" }", "twice"),
        ("headers", "{ Host = \"x\" }", "cannot be set"),
        ("report_answers", "\"everything\"", "off"),
        ("trace", "\"maybe\"", "true"),
        ("username", "\"u\"", "together"),
        ("password", "{ file = \"lines\" }", "2 lines"),
        ("username", "\"u\"\npassword = \"a\\nb\"", "control"),
        ("username", "\"u\"\npassword = \"$PASSWORD\"", "placeholder"),
        ("username", "\"u:v\"\npassword = \"x\"", "colon"),
        ("concurency", "3", "did you mean concurrency"),
    ] {
        let url = if key == "url" { "" } else { "url = \"https://crm.local\"\n" };
        let said = faults(&format!("[destination.crm]\n{url}{key} = {value}\n"));
        assert!(!want.is_empty() || said.is_empty(), "{key} = {value}: {said}");
        assert!(said.contains(want) && !said.contains("somebody's"), "{key} = {value}: {said}");
    }
    for (key, value, want) in [
        ("ttl", "\"5M\"", "minutes are m"),
        ("ttl", "0", "want 1s"),
        ("max_retries", "-1", "whole number"),
        ("retry_delay", "\"soon\"", "not a duration"),
        ("retry_multiplier", "\"1,5\"", "1 to 100"),
        ("schedule", "\"standard\"", "standard-webhooks"),
        ("schedule", "[\"5s\", \"x\"]", "standard-webhooks"),
        ("destination", "\"My CRM\"", "not a name"),
        ("source", "\"https://h/webhook\"", "not a name"),
        ("max_retrys", "1", "did you mean max_retries"),
    ] {
        let pairs =
            [("source", "\"default\""), ("destination", "\"crm\"")].into_iter().filter(|(known, _)| *known != key);
        let rest = pairs.map(|(key, value)| format!("{key} = {value}\n")).collect::<Vec<_>>().concat();
        let said = faults(&format!("[[route]]\n{rest}{key} = {value}\n"));
        assert!(said.contains(want), "{key} = {value}: {said}");
    }
    for (entries, want) in [
        ("provider = \"Stripe!\"", "no provider"),
        ("provider = \"hmac\"\nheader = \"X-Signature\"", "secret: missing"),
        ("provider = \"hmac\"\nheader = \"'X-Signature'\"\nsecret = \"a-secret-of-ours\"", "quotes"),
        ("provider = \"hmac\"\nheader = \"X-Signature\"\nsecret = \"'a-secret-of-ours'\"", "quotes"),
        ("provider = \"hmac\"\nheader = \"X-Signature\"\nsecret = { file = \"lines\" }", "2 lines"),
        ("provider = \"hmac\"\nheader = \"X-Signature\"\nsecret = { file = \"empty\" }", "is empty"),
        ("provider = \"github\"\nsecret = \"@/run/secrets/github\"", "file = "),
        ("provider = \"github\"\nsecret = [\"@quoted\"]", "file = "),
        ("provider = \"api-key\"\nallow_empty = \"perhaps\"", "true or false"),
        ("provider = \"api-key\"\ndedupe = \"never\"", "auto or strict"),
    ] {
        let said = faults(&format!("[source.shop]\n{entries}\n"));
        assert!(said.contains(want) && !said.contains("a-secret-of-ours"), "{entries}: {said}");
        assert!(said.starts_with("the configuration has a fault"), "one for one: {said}");
    }
    for good in [
        "[source.shop]\nprovider = \"api-key\"\nallow_empty = \"yes\"\n",
        "[source.shop]\nprovider = \"github\"\nsecret = \"@secret-of-ours\"\n",
        "[destination.crm]\nurl = \"http://crm.local\"\nusername = \"\"\npassword = \" @ = '\\\"x ${y\"\n",
    ] {
        assert_eq!(faults(good), "");
    }
}

/// A file that an editor, a shell or somebody in a hurry has made.
#[test]
fn a_configuration_file_is_read_or_refused_with_the_line() {
    let place = Folder::new();
    let read = |bytes: &[u8]| {
        let path = place.file("crm-relay.toml", bytes);
        let layers = Layers::collect(Process::Server, Some(&path), &Flags::new(), &|_| None);
        let port = layers.number("SERVER_PORT");
        if layers.faults.0.is_empty() { Ok(port) } else { Err(layers.faults.to_string()) }
    };
    let good = "server_port = 99\r\nmessage_ttl = \"7d\"\r\n";
    let with_mark = format!("\u{feff}{good}");
    for bytes in [
        good.as_bytes(),
        with_mark.as_bytes(),
        &wide(good, u16::to_le_bytes),
        &wide(good, u16::to_be_bytes),
        &[good.as_bytes(), b"\x1a"].concat(),
    ] {
        assert_eq!(read(bytes), Ok(99));
    }
    for (bytes, want) in [
        (b"# M\xfcller\nserver_port = 99\n".as_slice(), "not UTF-8 (line 1)"),
        (&wide(good, u16::to_le_bytes)[2..], "zero bytes"),
        ("message_ttl = \u{201c}7d\u{201d}\n".as_bytes(), "typographic"),
        (b"\nexport SERVER_PORT=99\n", "line 2"),
        (b"SERVER_HOST=127.0.0.1\n", "key = \"value\""),
        (b"server_port = 99\rmax_retries = 3\r", "old Macs"),
        (b"server_port = 9\0\n", "zero bytes"),
        (b"SERVER_PORT = 99\n", "did you mean server_port"),
        (b"server_port = 99\nserver_port = 98\n", "duplicate key"),
        (b"server_port = 99\nmessage_ttl = \"7", "line 2"),
    ] {
        assert!(read(bytes).as_ref().is_err_and(|said| said.contains(want)), "{want}: {:?}", read(bytes));
    }
}
