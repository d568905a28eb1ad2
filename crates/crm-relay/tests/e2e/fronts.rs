//! Real proxies in front of the server, with the files of `contrib/` as they stand but for names, ports and certificates.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use rcgen::{CertificateParams, KeyPair};
use relay_net::{
    dial::encrypt,
    tls::{certificates, trusting},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    port::free_port,
    process::{API_KEY, Process, RELAY_TOKEN, Server, run, wait_for},
    target::{Arrival, Reply, Target},
};

/// What a proxy comes from: another address of this machine than its peers, so that it can be told from them.
pub(crate) const PROXY: &str = "127.0.0.3";

/// The directory of a test, with a certificate for this machine in it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        let place = Self { dir, certificate, key };
        for (name, text) in [("tls.pem", &place.certificate), ("tls.key", &place.key)] {
            fs::write(place.path(name), text).unwrap();
        }
        fs::write(place.path("both.pem"), format!("{}{}", place.certificate, place.key)).unwrap();
        place
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// A file of `contrib/`, with these parts of it replaced, each of which stands there.
    fn packaged(name: &str, changes: &[(&str, String)]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib").join(name);
        let text = fs::read_to_string(path).unwrap();
        changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{name} has {from:?}");
            text.replace(from, to)
        })
    }

    /// Starts a proxy that stays in the foreground.
    fn start(&self, program: &str, args: &[&str]) -> Process {
        let log = self.dir.path().join(format!("{program}.log"));
        let out = File::create(&log).unwrap();
        // Debian keeps it where only root looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("env");
        command.arg(format!("PATH={path}")).arg(program);
        command.args(args).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap();
        Process::of(child, log)
    }

    /// nginx with what goes into its http block.
    pub(crate) fn nginx(&self, site: &str) -> Process {
        fs::write(self.path("site.conf"), site).unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {};\n", self.path(&format!("{what}.d"))));
        let whole = format!(
            "daemon off;\nuser root;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\nproxy_bind {PROXY};\n{}include {};\n}}\n",
            self.path("nginx.pid"),
            temporary.concat(),
            self.path("site.conf"),
        );
        fs::write(self.path("nginx.conf"), whole).unwrap();
        self.start("nginx", &["-e", "stderr", "-p", &self.path(""), "-c", &self.path("nginx.conf")])
    }

    fn send(&self, server: &Server, args: &[&str]) -> std::process::Output {
        let (data_dir, ca_file) = (server.data_dir(), self.path("tls.pem"));
        let env = [("DATA_DIR", data_dir.to_str().unwrap()), ("API_KEY", API_KEY), ("RELAY_CA_FILE", &ca_file)];
        run(self.dir.path(), &[&["send"], args].concat(), &env)
    }
}

/// Webhooks, large ones too, reach a target through the proxy at this port and a client that dials in through it, byte for byte;
/// whom the proxy brings is told from it.
async fn everything_comes_through(place: &Place, server: &Server, port: u16) {
    let target = Target::start(|_| Reply::status(204)).await;
    let (url, ca_file) = (format!("https://localhost:{port}"), place.path("tls.pem"));
    let env = [("RELAY_URL", url.as_str()), ("RELAY_TOKEN", RELAY_TOKEN), ("RELAY_CA_FILE", &ca_file)];
    let client = Process::start(&place.dir.path().join("client.log"), &["client", "--to", &target.url("/in")], &env);
    wait_for("the client to join through the proxy", || client.log().contains("event=\"connected\"").then_some(()));

    let odd = format!("{url}/webhook/default/a%2Fb//c;d%20e?x=%31&y=%C3%A9");
    let sent = place.send(server, &["--to", &odd]);
    assert!(sent.status.success(), "{sent:?}");
    // MAX_BODY_BYTES, to the last byte.
    let body: Vec<u8> = (0..25 * 1024 * 1024_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(place.path("large"), &body).unwrap();
    let sent = place.send(server, &["--to", &format!("{url}/webhook"), "--body", &place.path("large")]);
    assert!(sent.status.success(), "{sent:?}");
    wait_for("both to arrive", || (target.count() >= 2).then_some(()));
    let arrivals = target.arrivals();
    let paths: Vec<&str> = arrivals.iter().map(|arrival| arrival.path_and_query.as_str()).collect();
    assert!(paths.contains(&"/in/a%2Fb//c;d%20e?x=%31&y=%C3%A9"), "{paths:?}");
    assert!(arrivals.iter().any(|arrival| arrival.body == body));

    fields_come_through(place, port, &target).await;
    let refused = place.send(server, &["--to", &format!("{url}/webhook"), "--tamper", "signature"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(server.json(&["source", "show", "default"])["refusals"][0]["peer"], "127.0.0.1");
    assert_eq!(client.log().matches("event=\"connected\"").count(), 1, "its session is the one that it began with");
}

/// I3: so do fields, whatever they are called and however often they are there.
async fn fields_come_through(place: &Place, port: u16, target: &Target) {
    let tls = trusting(&certificates(place.certificate.as_bytes()).unwrap()).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut socket = encrypt(socket, "localhost", tls).await.unwrap();
    let long = "0123456789abcdef".repeat(256);
    let head = format!(
        "POST /webhook?fields HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {API_KEY}\r\nX_Under: score\r\nx.dot: 1\r\n\
         x!$odd|~: 2\r\nX-Twice: first\r\nX-Long: {long}\r\nX-Twice: second, third\r\nX-Empty:\r\n\
         Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 202 "), "{said}");
    let of_this = |arrivals: Vec<Arrival>| arrivals.into_iter().find(|one| one.path_and_query.ends_with("?fields"));
    let arrival = wait_for("it to arrive", || of_this(target.arrivals()));
    let values = |name: &str| {
        arrival.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values("x_under"), ["score"]);
    assert_eq!((values("x.dot"), values("x!$odd|~")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    assert_eq!(values("x-twice"), ["first", "second, third"]);
    assert_eq!((values("x-long"), values("x-empty")), (vec![long], vec![String::new()]));
}

/// S15, I1: the file for nginx does what it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_through_nginx() {
    let place = Place::new();
    let server = Server::start(place.dir.path(), &[("TRUSTED_PROXIES", PROXY), ("ALLOWED_HOSTS", "localhost")]);
    let port = free_port();
    let site = Place::packaged(
        "nginx/crm-relay.conf",
        &[
            ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
            ("relay.example.com;", "localhost;".to_owned()),
            ("/etc/ssl/relay.example.com.pem", place.path("tls.pem")),
            ("/etc/ssl/private/relay.example.com.key", place.path("tls.key")),
            ("127.0.0.1:8080", server.public.to_string()),
        ],
    );
    let mut nginx = place.nginx(&site);
    everything_comes_through(&place, &server, port).await;
    // Its workers end with it, not with a kill.
    nginx.signal("TERM");
    nginx.wait();
}

/// S15, S30, I1: the file for `HAProxy` does what it says, with TLS ended there, and passed on behind the PROXY protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_through_haproxy() {
    for passed in [false, true] {
        let place = Place::new();
        let (cert, key) = (place.path("tls.pem"), place.path("tls.key"));
        let mut settings = vec![("TRUSTED_PROXIES", PROXY), ("ALLOWED_HOSTS", "localhost")];
        if passed {
            settings.extend([("PROXY_PROTOCOL", "public"), ("TLS_CERT_FILE", &cert), ("TLS_KEY_FILE", &key)]);
        }
        let server = Server::start(place.dir.path(), &settings);
        let [http, tcp] = [free_port(), free_port()];
        // One of the two pairs has no server behind it, as where an operator keeps one.
        let (here, nowhere) = (format!("{} source {PROXY}", server.public), "127.0.0.1:9".to_owned());
        let (ended, behind) = if passed { (nowhere, here) } else { (here, nowhere) };
        let config = Place::packaged(
            "haproxy/crm-relay.cfg",
            &[
                ("bind :443 ", format!("bind 127.0.0.1:{http} ")),
                ("bind :8443", format!("bind 127.0.0.1:{tcp}")),
                ("/etc/ssl/private/relay.example.com.pem", place.path("both.pem")),
                ("127.0.0.1:8080", ended),
                ("127.0.0.1:8444", behind),
            ],
        );
        fs::write(place.path("haproxy.cfg"), config).unwrap();
        let haproxy = place.start("haproxy", &["-db", "-f", &place.path("haproxy.cfg")]);
        everything_comes_through(&place, &server, if passed { tcp } else { http }).await;
        drop(haproxy);
    }
}
