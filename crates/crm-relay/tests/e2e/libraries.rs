//! The platforms' own libraries as local endpoints: real processes that verify each request as the vendor documents it.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{clock, process::wait_for, sender::Sender};

/// Languages whose libraries `scripts/setup` installs.
pub(crate) const LANGUAGES: [&str; 2] = ["node", "python"];

/// The libraries of one language. Its process is killed when this is dropped.
pub(crate) struct Libraries {
    pub(crate) language: &'static str,
    ports: BTreeMap<String, (u16, bool)>,
    child: Child,
    log: PathBuf,
}

impl Libraries {
    /// Starts a server for each library, behind another command if there is one, and waits until they listen.
    pub(crate) fn start(wrapper: &[&str], dir: &Path, language: &'static str, secrets: &[(&str, &str)]) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vendors");
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vendors").join(language);
        assert!(installed.join("installed").exists(), "the vendors' {language} libraries are missing: run make setup");
        // Node looks for packages where it runs if the script comes by standard input.
        let node = ["node", "--input-type=module"].map(PathBuf::from);
        let python = [installed.join("venv/bin/python"), scripts.join("endpoints.py")];
        let (program, stdin) = match language {
            "node" => (node, Stdio::from(File::open(scripts.join("endpoints.mjs")).unwrap())),
            _ => (python, Stdio::null()),
        };
        let words: Vec<PathBuf> = wrapper.iter().map(PathBuf::from).chain(program).collect();
        let secrets: serde_json::Map<String, Value> =
            secrets.iter().map(|(name, secret)| ((*name).to_owned(), json!(secret))).collect();
        let log = dir.join(format!("{language}.log"));
        let out = File::create(&log).unwrap();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SECRETS", Value::from(secrets).to_string())
            .current_dir(installed)
            .stdin(stdin)
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        let mut started = Self { language, ports: BTreeMap::new(), child, log };
        started.ports = wait_for("the vendors' libraries to listen", || {
            let lines = started.lines();
            let ended = started.child.try_wait().unwrap();
            assert!(ended.is_none(), "{language} ended: {}", std::fs::read_to_string(&started.log).unwrap());
            ports(lines.first()?)
        });
        started
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.ports.keys().map(String::as_str)
    }

    /// Where the endpoint is that this library guards, if this language has it.
    pub(crate) fn url(&self, library: &str, path: &str) -> Option<String> {
        let (port, _) = self.ports.get(library)?;
        Some(format!("http://{}{path}", SocketAddr::from(([127, 0, 0, 1], *port))))
    }

    /// The header fields that the library gives a request, if it can sign.
    pub(crate) async fn sign(
        &self,
        library: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Vec<(String, String)>> {
        let (_, true) = self.ports.get(library)? else { return None };
        let url = self.url(library, "/sign")?;
        let told = Sender::new().send(http::Method::POST, &url, headers, body.to_vec()).await?;
        let fields = told.json().as_object()?.clone();
        Some(fields.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect())
    }

    /// What the libraries said so far: objects with `library`, `source`, `status`, and `found` or `error`.
    pub(crate) fn verdicts(&self) -> Vec<Value> {
        self.lines().into_iter().skip(1).collect()
    }

    /// The whole lines that are JSON; interpreters print warnings between them.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Libraries {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        clock::forget(self.child.id());
    }
}

fn ports(line: &Value) -> Option<BTreeMap<String, (u16, bool)>> {
    let of = |entry: &Value| Some((u16::try_from(entry["port"].as_u64()?).ok()?, entry["signs"].as_bool()?));
    line["ports"].as_object()?.iter().map(|(name, entry)| Some((name.clone(), of(entry)?))).collect()
}
