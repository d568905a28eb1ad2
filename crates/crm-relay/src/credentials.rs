//! `DATA_DIR/credentials`: the secrets that nobody gave, generated once.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use relay_server::{
    config::Credentials,
    registry::secret::{ADMIN_PREFIX, KEY_PREFIX, TOKEN_PREFIX},
};
use relay_store::private;

use crate::{
    config::{secret::Secret, server::GivenSecrets},
    exit::{Exit, Failure, reason},
    place,
};

/// What the secrets are called and what a generated one begins with.
const NAMES: [(&str, &str); 3] =
    [("API_KEY", KEY_PREFIX), ("RELAY_TOKEN", TOKEN_PREFIX), ("ADMIN_TOKEN", ADMIN_PREFIX)];

/// All secrets of a server, and how they came about.
pub(crate) struct Kept {
    /// The secrets.
    pub(crate) credentials: Credentials,
    /// Names of those generated just now, to be shown once.
    pub(crate) generated: Vec<&'static str>,
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
    make_dir(data_dir)?;
    let path = place::credentials(data_dir);
    let mut lines = read_lines(&path)?;
    let mut generated = Vec::new();
    let mut complete = Vec::new();
    for ((name, prefix), given) in NAMES.into_iter().zip([given.api_key, given.relay_token, given.admin_token]) {
        let secret = if let Some(secret) = given.or_else(|| value(&lines, name)) {
            secret
        } else {
            let secret = generate(prefix)?;
            lines.push((name.to_owned(), secret.clone()));
            generated.push(name);
            secret
        };
        complete.push(secret.expose().to_owned());
    }
    if !generated.is_empty() {
        write(&path, &lines).map_err(|error| not_writable(data_dir, &error))?;
    }
    let mut next = complete.into_iter();
    let mut take = || next.next().unwrap_or_default();
    let credentials = Credentials { api_key: take(), relay_token: take(), admin_token: take() };
    Ok(Kept { credentials, generated, path, public_url: None })
}

/// One secret out of the credentials file of a server.
pub(crate) fn find(data_dir: &Path, name: &str) -> Option<Secret> {
    value(&read_lines(&place::credentials(data_dir)).ok()?, name)
}

/// Whether a server has kept its secrets there.
pub(crate) fn are_there(data_dir: &Path) -> bool {
    read_lines(&place::credentials(data_dir)).is_ok_and(|lines| !lines.is_empty())
}

/// In words, why a data directory cannot be written, and what to do.
pub(crate) fn not_writable(data_dir: &Path, error: &io::Error) -> Failure {
    let (shown, uid) = (data_dir.display(), rustix::process::getuid().as_raw());
    if let Some(refused) = private::of_error(error) {
        return Failure::new(Exit::Configuration, refused.to_string());
    }
    let (exit, text) = match error.kind() {
        io::ErrorKind::PermissionDenied => (
            Exit::Configuration,
            format!("cannot write {shown} (uid {uid}): permission denied. Give it to the relay: chown {uid} {shown}"),
        ),
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
        _ => (Exit::StoreFailed, format!("cannot write {shown}: {}", reason(error))),
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

fn read_lines(path: &Path) -> Result<Vec<(String, Secret)>, Failure> {
    let mut text = String::new();
    match private::open_existing(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let text = match private::of_error(&error) {
                Some(refused) => refused.to_string(),
                None => format!("cannot read {}: {}", path.display(), reason(&error)),
            };
            return Err(Failure::new(Exit::Configuration, text));
        }
    }
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    Ok(pairs.filter(|(_, v)| !v.is_empty()).map(|(name, v)| (name.to_owned(), Secret::new(v))).collect())
}

/// Whole or not at all.
fn write(path: &Path, lines: &[(String, Secret)]) -> io::Result<()> {
    let text: Vec<String> = lines.iter().map(|(name, secret)| format!("{name}={}\n", secret.expose())).collect();
    private::replace(path, text.concat().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn secrets_are_generated_once_and_kept_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = complete(&data, GivenSecrets::default()).unwrap();
        assert_eq!(first.generated, ["API_KEY", "RELAY_TOKEN", "ADMIN_TOKEN"]);
        assert!(first.credentials.api_key.starts_with("crk_") && first.credentials.api_key.len() == 4 + 43);
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

        let second = complete(&data, GivenSecrets::default()).unwrap();
        assert!(second.generated.is_empty());
        assert_eq!(second.credentials.relay_token, first.credentials.relay_token);
        assert_eq!(find(&data, "API_KEY").unwrap().expose(), first.credentials.api_key);
    }

    #[test]
    fn a_given_secret_is_used_and_not_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let given = GivenSecrets { api_key: Some(Secret::new("given-by-somebody")), ..GivenSecrets::default() };
        let kept = complete(dir.path(), given).unwrap();
        assert_eq!(kept.credentials.api_key, "given-by-somebody");
        assert!(!fs::read_to_string(&kept.path).unwrap().contains("API_KEY="));
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
