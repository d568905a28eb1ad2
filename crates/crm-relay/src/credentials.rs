//! `DATA_DIR/credentials`: the secrets that nobody gave, generated once.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use relay_providers::pasted;
use relay_server::{
    config::Credentials,
    document::SharedSecret,
    secret::{ADMIN_PREFIX, KEY_PREFIX, TOKEN_PREFIX, sha256},
};
use relay_store::private;

use crate::{
    config::{
        secret::{self, Secret},
        server::GivenSecrets,
        text_file,
    },
    exit::{Exit, Failure, reason},
    place,
};

/// What the secrets are called and what a generated one begins with.
const NAMES: [(&str, &str); 3] =
    [("API_KEY", KEY_PREFIX), ("RELAY_TOKEN", TOKEN_PREFIX), ("ADMIN_TOKEN", ADMIN_PREFIX)];

/// All secrets of a server, and how they came about.
pub(crate) struct Kept {
    /// What it knows them by.
    pub(crate) credentials: Credentials,
    /// Those that it has itself, by their names.
    secrets: Vec<(&'static str, Secret)>,
    /// Names of those generated just now, to be shown once.
    pub(crate) generated: Vec<&'static str>,
    /// Those that another server on the store has, and this one knows by their digests.
    pub(crate) elsewhere: Vec<SharedSecret>,
    /// Whether the file held others: it was changed, or one that was given is not given any more.
    pub(crate) had_others: bool,
    /// The file.
    pub(crate) path: PathBuf,
    /// `PUBLIC_URL`, for what is said at start.
    pub(crate) public_url: Option<String>,
}

/// Completes the given secrets from the credentials file, which gets what it lacks. Makes the data directory.
///
/// # Errors
/// The directory or the file cannot be read or written.
pub(crate) fn complete(data_dir: &Path, given: GivenSecrets) -> Result<Kept, Failure> {
    let kept = found(data_dir, given, &[])?;
    keep(data_dir, &kept)?;
    Ok(kept)
}

/// The same where `shared` are those that servers on the same store have, of which none is made anew. What is made is for all of them
/// once it is [shared](Kept::to_share), and to be [kept](keep) then; until then it stands in a file of its own. A process that is
/// killed in between finds it there, and goes on with what is shared of it.
///
/// # Errors
/// The directory or a file cannot be read or written.
pub(crate) fn propose(data_dir: &Path, given: GivenSecrets, shared: &[SharedSecret]) -> Result<Kept, Failure> {
    let kept = found(data_dir, given, shared)?;
    if !kept.generated.is_empty() {
        write(&proposed(data_dir), &kept.made()).map_err(|error| not_writable(data_dir, &error))?;
    }
    Ok(kept)
}

/// Writes what was generated into the credentials file.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn keep(data_dir: &Path, kept: &Kept) -> Result<(), Failure> {
    if !kept.generated.is_empty() {
        let mut lines = read_lines(&kept.path)?;
        lines.extend(kept.made());
        write(&kept.path, &lines).map_err(|error| not_writable(data_dir, &error))?;
    }
    match fs::remove_file(proposed(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(not_writable(data_dir, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where what was made stands until it is shared.
fn proposed(data_dir: &Path) -> PathBuf {
    place::credentials(data_dir).with_extension("proposed")
}

/// All secrets: those given, those in the file, those of other servers, and new ones.
fn found(data_dir: &Path, given: GivenSecrets, shared: &[SharedSecret]) -> Result<Kept, Failure> {
    make_dir(data_dir)?;
    let path = place::credentials(data_dir);
    let lines = read_lines(&path)?;
    let proposed = read_lines(&proposed(data_dir))?;
    let had_others = !lines.is_empty();
    let (mut secrets, mut generated, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    let mut digests = [[0; 32]; NAMES.len()];
    let given = [given.api_key, given.relay_token, given.admin_token];
    for (((name, prefix), given), digest) in NAMES.into_iter().zip(given).zip(&mut digests) {
        let shared = shared.iter().find(|shared| shared.name == name);
        let proposed = value(&proposed, name);
        let secret = if let Some(secret) = given.or_else(|| value(&lines, name)) {
            secret
        } else if let Some(shared) = shared.filter(|shared| proposed.as_ref().map(digest_of) != Some(shared.sha256)) {
            *digest = shared.sha256;
            elsewhere.push(shared.clone());
            continue;
        } else {
            generated.push(name);
            proposed.map_or_else(|| generate(prefix), Ok)?
        };
        *digest = digest_of(&secret);
        secrets.push((name, secret));
    }
    let credentials = Credentials::from_digests(digests);
    Ok(Kept { credentials, secrets, generated, elsewhere, had_others, path, public_url: None })
}

fn digest_of(secret: &Secret) -> [u8; 32] {
    sha256(secret.expose().as_bytes())
}

impl Kept {
    /// One secret; nothing: another server has it.
    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.iter().find(|(known, _)| *known == name).map(|(_, secret)| secret)
    }

    /// What the other servers on the store are to know of those that were generated just now.
    pub(crate) fn to_share(&self, server: &str) -> Vec<SharedSecret> {
        let kept = Some(self.path.display().to_string());
        let shared = self.made().into_iter().map(|(name, secret)| SharedSecret {
            name,
            sha256: digest_of(&secret),
            server: server.to_owned(),
            kept: kept.clone(),
        });
        shared.collect()
    }

    /// Those that were generated just now, as lines of a file.
    fn made(&self) -> Vec<(String, Secret)> {
        let made = self.secrets.iter().filter(|(name, _)| self.generated.contains(name));
        made.map(|(name, secret)| ((*name).to_owned(), secret.clone())).collect()
    }
}

/// One secret out of the credentials file of a server; none of another user's, which cannot be opened.
///
/// # Errors
/// What stands in the file is not understood.
pub(crate) fn find(data_dir: &Path, name: &str) -> Result<Option<Secret>, Failure> {
    let path = place::credentials(data_dir);
    let Ok(file) = private::open_existing(&path) else { return Ok(None) };
    Ok(value(&lines_in(file, &path)?, name))
}

/// The same of the first of several servers that has one.
///
/// # Errors
/// What stands in the file of one before it is not understood.
pub(crate) fn find_in(data_dirs: &[PathBuf], name: &str) -> Result<Option<Secret>, Failure> {
    let found = data_dirs.iter().map(|dir| find(dir, name).transpose());
    found.flatten().next().transpose()
}

/// What is wrong with the credentials file of a data directory, which is looked at and left as it is.
///
/// # Errors
/// What would be right.
pub(crate) fn check(data_dir: &Path) -> Result<(), String> {
    let path = place::credentials(data_dir);
    match File::open(&path) {
        Ok(file) => lines_in(file, &path).map(drop).map_err(|refused| refused.text),
        // Whoever checks may be another user than the one that serves.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
        Err(error) => Err(format!("cannot read {}: {}", path.display(), reason(&error))),
    }
}

/// Whether a server has kept its secrets there.
pub(crate) fn are_there(data_dir: &Path) -> bool {
    read_lines(&place::credentials(data_dir)).is_ok_and(|lines| !lines.is_empty())
}

/// In words, why a data directory or a file in it cannot be written, and what to do.
pub(crate) fn not_writable(path: &Path, error: &io::Error) -> Failure {
    let (shown, uid) = (path.display(), rustix::process::getuid().as_raw());
    let way_out = private::way_out(error, path, uid);
    if let Some(refused) = private::of_error(error) {
        return Failure::new(Exit::Configuration, refused.to_string());
    }
    let (exit, text) = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            (Exit::Configuration, format!("cannot write {shown} (uid {uid}): permission denied{way_out}"))
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            (Exit::Configuration, format!("{shown} is not a directory. Choose another one: --data-dir DIR"))
        }
        io::ErrorKind::ReadOnlyFilesystem => (
            Exit::Configuration,
            format!(
                "cannot write {shown}: the file system is read-only. Mount a volume there, or choose another directory: --data-dir DIR"
            ),
        ),
        io::ErrorKind::StorageFull => {
            (Exit::StoreFailed, format!("cannot write {shown}: no space left on the disk. Make room and start again"))
        }
        _ => (Exit::StoreFailed, format!("cannot write {shown}: {}{way_out}", reason(error))),
    };
    Failure::new(exit, text)
}

/// Readable by its owner alone: bodies of webhooks and secrets lie in it.
fn make_dir(data_dir: &Path) -> Result<(), Failure> {
    if data_dir.is_dir() {
        return Ok(());
    }
    private::make_dir(data_dir).map_err(|error| not_writable(data_dir, &error))
}

fn generate(prefix: &str) -> Result<Secret, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::new(Exit::StoreFailed, "the system gives no random numbers"))?;
    Ok(Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

fn value(lines: &[(String, Secret)], name: &str) -> Option<Secret> {
    lines.iter().find(|(known, _)| known == name).map(|(_, secret)| secret.clone())
}

/// Why a credentials file is not taken.
enum Broken {
    /// All of it.
    File(String),
    /// One line, from 1.
    Line(usize, String),
}

impl Broken {
    fn of(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::File(what) => format!("{path} {what}"),
            Self::Line(line, what) => format!("{path}, line {line}: {what}"),
        }
    }
}

fn read_lines(path: &Path) -> Result<Vec<(String, Secret)>, Failure> {
    let refused = |text: String| Failure::new(Exit::Configuration, text);
    let file = match private::open_existing(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(refused(match private::of_error(&error) {
                Some(refused) => refused.to_string(),
                None => format!("cannot read {}: {}", path.display(), reason(&error)),
            }));
        }
    };
    lines_in(file, path)
}

fn lines_in(file: File, path: &Path) -> Result<Vec<(String, Secret)>, Failure> {
    let lines = text_file::text_of(file).map_err(Broken::File).and_then(|text| lines_of(&text));
    lines.map_err(|broken| Failure::new(Exit::Configuration, broken.of(path)))
}

fn lines_of(text: &str) -> Result<Vec<(String, Secret)>, Broken> {
    let mut lines: Vec<(String, Secret)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let read = read_line(line).and_then(|read| match read {
            Some((name, _)) if lines.iter().any(|(known, _)| known == name) => {
                Err(format!("{name} stands there twice: leave one of them"))
            }
            read => Ok(read),
        });
        let read = read.map_err(|what| Broken::Line(at + 1, what))?;
        lines.extend(read.map(|(name, secret)| (name.to_owned(), secret)));
    }
    Ok(lines)
}

/// One line, without what shells and editors add to it; nothing for one that says nothing.
fn read_line(line: &str) -> Result<Option<(&'static str, Secret)>, String> {
    let line = pasted::trimmed(line);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let known = line.split_once('=').and_then(|(given, value)| {
        let is_it = |name: &&str| given.trim().eq_ignore_ascii_case(name);
        NAMES.iter().map(|(name, _)| *name).find(is_it).map(|name| (name, pasted::trimmed(value)))
    });
    let Some((name, value)) = known else {
        return Err("not understood; want API_KEY=..., RELAY_TOKEN=... or ADMIN_TOKEN=...".to_owned());
    };
    if matches!(value, "" | "\"\"" | "''") {
        return Ok(None);
    }
    let secret = secret::read(name, value).map_err(|fault| format!("{name}: {fault}"))?;
    Ok(Some((name, Secret::new(secret))))
}

/// Whole or not at all.
fn write(path: &Path, lines: &[(String, Secret)]) -> io::Result<()> {
    let text: Vec<String> = lines.iter().map(|(name, secret)| format!("{name}={}\n", secret.expose())).collect();
    private::replace(path, text.concat().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_generated_once_and_kept_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = complete(&data, GivenSecrets::default()).unwrap();
        assert_eq!(first.generated, ["API_KEY", "RELAY_TOKEN", "ADMIN_TOKEN"]);
        let key = first.secret("API_KEY").unwrap().expose();
        assert!(key.starts_with("crk_") && key.len() == 4 + 43);
        assert_eq!(first.credentials.api_key, sha256(key.as_bytes()));
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

        let second = complete(&data, GivenSecrets::default()).unwrap();
        assert!(second.generated.is_empty());
        assert_eq!(second.credentials.relay_token, first.credentials.relay_token);
        assert_eq!(find(&data, "API_KEY").unwrap().unwrap().expose(), key);
    }

    #[test]
    fn a_given_secret_is_used_and_not_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let given = GivenSecrets { api_key: Some(Secret::new("given-by-somebody")), ..GivenSecrets::default() };
        let kept = complete(dir.path(), given).unwrap();
        assert_eq!(kept.secret("API_KEY").unwrap().expose(), "given-by-somebody");
        assert!(!fs::read_to_string(&kept.path).unwrap().contains("API_KEY="));
    }

    /// Of what another server has this one knows the digest, and makes none; its own it shares, and has not kept it if it was late.
    #[test]
    fn what_another_server_has_is_not_made_anew() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let propose = |shared: &[SharedSecret]| propose(other.path(), GivenSecrets::default(), shared).unwrap();
        let first = complete(dir.path(), GivenSecrets::default()).unwrap();
        let shared = first.to_share("a");
        assert_eq!(shared.len(), 3);
        let second = propose(&shared[..2]);
        assert_eq!((second.generated.as_slice(), second.elsewhere.len()), (&["ADMIN_TOKEN"][..], 2));
        assert_eq!(second.credentials.digests()[..2], first.credentials.digests()[..2]);
        assert!(second.secret("API_KEY").is_none() && find(other.path(), "API_KEY").unwrap().is_none());
        assert!(
            second.elsewhere[0].whereabouts().contains("server a, in its /"),
            "{}",
            second.elsewhere[0].whereabouts()
        );
        let third = propose(&shared);
        assert_eq!((third.generated.len(), third.elsewhere.len()), (0, 3));
        assert_eq!(third.credentials.digests(), first.credentials.digests());
        keep(other.path(), &third).unwrap();
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "it has none of its own");
    }

    /// Killed at any point between what is made and what is kept, the next start has what is shared: its own where it was the first, else
    /// the other's.
    #[test]
    fn whoever_is_killed_before_its_secrets_are_shared_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let propose = |shared: &[SharedSecret]| propose(dir.path(), GivenSecrets::default(), shared).unwrap();
        let killed = propose(&[]);
        assert_eq!(fs::metadata(proposed(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        // Two of them were shared by then.
        let mine = killed.to_share("a");
        let again = propose(&mine[..2]);
        assert_eq!((again.generated.len(), again.elsewhere.len()), (3, 0));
        assert_eq!(again.credentials.digests(), killed.credentials.digests());
        // Another server was the first with the third.
        let other = SharedSecret { sha256: [7; 32], server: "b".into(), ..mine[2].clone() };
        let shared = [&mine[..2], &[other]].concat();
        let late = propose(&shared);
        assert_eq!((late.generated.as_slice(), late.elsewhere.len()), (&["API_KEY", "RELAY_TOKEN"][..], 1));
        keep(dir.path(), &late).unwrap();
        assert!(!proposed(dir.path()).exists() && find(dir.path(), "ADMIN_TOKEN").unwrap().is_none());
        let last = propose(&shared);
        assert!(last.generated.is_empty() && last.had_others);
        assert_eq!(last.credentials.digests(), late.credentials.digests());
    }

    /// S27: what editors and shells add is not taken for a part of a secret; what is not understood is refused by its line,
    /// without the value.
    #[test]
    fn an_edited_file_is_understood_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = place::credentials(dir.path());
        let key = "crk_0123456789abcdef0123456789abcdef";
        let read = |bytes: &[u8]| {
            private::replace(&path, bytes).unwrap();
            complete(dir.path(), GivenSecrets::default())
        };
        for form in [
            "\u{feff}API_KEY=VALUE\n",
            "export API_KEY=VALUE\r\n",
            "API_KEY = VALUE  \n",
            "api_key=VALUE",
            "API_KEY=\"VALUE\"",
            "# mine\n\nAPI_KEY='VALUE'",
            "API_KEY=\u{201c}VALUE\u{201d}\u{a0}\n\u{1a}",
            "API_KEY=Bearer VALUE",
        ] {
            let kept = read(form.replace("VALUE", key).as_bytes()).unwrap();
            assert_eq!(kept.secret("API_KEY").unwrap().expose(), key, "{form:?}");
            assert!(kept.had_others && kept.generated == ["RELAY_TOKEN", "ADMIN_TOKEN"], "{form:?}");
        }
        let wide =
            |text: &str| [0xff, 0xfe].into_iter().chain(text.bytes().flat_map(|byte| [byte, 0])).collect::<Vec<u8>>();
        let kept = read(&wide(&format!("API_KEY={key}\r\n"))).unwrap();
        assert_eq!(kept.secret("API_KEY").unwrap().expose(), key, "as Notepad and PowerShell write it");
        let cut = &wide("API_KEY=x")[..9];
        for (bytes, said) in [
            (b"API_KEY=crk_0123\n".as_slice(), "line 1: API_KEY: must be"),
            (b"\nAPI_KEY: crk_0123456789abcdef", "line 2: not understood"),
            (b"API_KEY=crt_0123456789abcdef", "a client's token"),
            (b"API_KEY=\"crk_0123456789abcdef", "line 1: API_KEY"),
            (b"API_KEY=crk_0123456789abcdef\nAPI_KEY=crk_0123456789abcdee", "line 2: API_KEY stands there twice"),
            (b"API_KEY=crk_0123456789 abcdef", "line 1: API_KEY: holds a space"),
            (b"\nAPI_KEY=crk_0123456789\xffabcdef", "not UTF-8 (line 2)"),
            (cut, "save it as UTF-8"),
        ] {
            let refused = read(bytes).map(|_| ()).map_err(|refused| (refused.exit, refused.text));
            let Err((exit, text)) = refused else { panic!("taken: {said}") };
            assert!(exit == Exit::Configuration && text.contains(said) && !text.contains("0123"), "{text}");
            let checked = check(dir.path()).unwrap_err();
            assert_eq!(checked, text, "config check says the same");
        }
    }

    /// S39: secrets that others could read are closed to them; none are read from behind a link.
    #[test]
    fn credentials_that_others_may_read_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let first = complete(dir.path(), GivenSecrets::default()).unwrap();
        fs::set_permissions(&first.path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = complete(dir.path(), GivenSecrets::default()).unwrap();
        assert_eq!(second.credentials.api_key, first.credentials.api_key);
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::rename(&first.path, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &first.path).unwrap();
        let refused = complete(dir.path(), GivenSecrets::default()).map(|_| ()).unwrap_err();
        assert_eq!(refused.exit, Exit::Configuration);
        assert!(refused.text.contains("symbolic link"), "{}", refused.text);
    }
}
