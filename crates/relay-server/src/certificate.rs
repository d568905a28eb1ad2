//! The public listener's certificates: read at the start, and again whenever their files are other ones.
//!
//! Whoever renews certificates writes two files, one after the other, and tells nobody. So they are looked at every few seconds, and
//! a pair that does not belong together yet is read again at the next look. What is wrong with them is said once, and the certificate
//! of before goes on being shown.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use relay_core::{limits, time::Wall};
use relay_net::tls::{self, Identity, IdentityError, Shows};
use tokio::{sync::Notify, time::timeout};

/// How soon another certificate is shown.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// When the certificate that nobody takes has ended, in seconds since the epoch.
const NOBODYS_END: i64 = 86_400;
/// The part of a certificate's life that may be left before it is told that it ends, where that is less than
/// [`limits::CERTIFICATE_ENDS_WARN`]: those of a day are renewed when some hours are left, and all is well.
const CERTIFICATE_ENDS_SHARE: u32 = 4;

/// Where a certificate stands, with those that lead to its authority, and where its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the server's own first.
    pub certificate: PathBuf,
    /// PEM, without a passphrase.
    pub key: PathBuf,
}

/// The certificates of a listener, kept in step with their files.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// The first is shown to who asks for a host that none is for.
    pairs: Arc<[TlsFiles]>,
    server: Arc<tls::Server>,
    ends: Arc<Mutex<Ends>>,
    /// Why none was obtained lately.
    trouble: Trouble,
    look: Arc<Notify>,
}

/// When the first of those that are shown ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) at: Wall,
    /// From when on that is told: whoever renews it should have done so.
    pub(crate) told_from: Wall,
    /// Which file it stands in.
    pub(crate) file: PathBuf,
    /// Why it was not renewed lately.
    pub(crate) trouble: Option<String>,
}

impl Certificate {
    /// Reads them. If the first is one that is `obtained` from an authority, the others are shown before it: an operator has put
    /// them there.
    ///
    /// # Errors
    /// What is wrong with the files, or that there are none.
    pub(crate) fn open(pairs: Vec<TlsFiles>, obtained: bool) -> Result<(Self, Kept), IdentityError> {
        let opened = |files: &TlsFiles| {
            let in_use = read(files)?;
            Ok(Pair { identity: identity(files, &in_use)?, in_use, refused: None })
        };
        let kept = Kept { pairs: pairs.iter().map(opened).collect::<Result<_, IdentityError>>()?, obtained };
        let server = tls::Server::new(kept.first().ok_or_else(IdentityError::nothing)?, &[])?;
        kept.show(&server);
        let ends = Arc::new(Mutex::new(kept.ends(&pairs)));
        Ok((Self { pairs: pairs.into(), server, ends, trouble: Trouble::default(), look: Arc::default() }, kept))
    }

    /// Who shows them.
    pub(crate) fn server(&self) -> Arc<tls::Server> {
        Arc::clone(&self.server)
    }

    /// When the first of those that are shown ends.
    pub(crate) fn ends(&self) -> Ends {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Only the first pair is one that is obtained.
        let is_obtained = self.pairs.first().is_some_and(|first| first.certificate == ends.file);
        Ends { trouble: self.trouble.said().filter(|_| is_obtained), ..ends }
    }

    /// Where it is said why none was obtained.
    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Their files are looked at now.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// Keeps them in step with their files for as long as it is polled.
    pub(crate) async fn keep(&self, mut kept: Kept) {
        loop {
            // Nobody tells: look again all the same.
            let _ = timeout(LOOK_EVERY, self.look.notified()).await;
            let pairs = Arc::clone(&self.pairs);
            // A file system that is away holds up this task alone.
            let reading = tokio::task::spawn_blocking(move || pairs.iter().map(read).collect::<Vec<_>>());
            let Ok(found) = reading.await else { continue };
            self.take(&mut kept, found);
        }
    }

    /// Each pair by itself: what is wrong with one keeps no other back.
    fn take(&self, kept: &mut Kept, found: Vec<Result<Files, IdentityError>>) {
        let each = self.pairs.iter().zip(&mut kept.pairs).zip(found);
        let taken = each.filter_map(|((files, pair), found)| pair.take(files, found).then_some(&files.certificate));
        let replaced: Vec<&PathBuf> = taken.collect();
        if !replaced.is_empty() {
            kept.show(&self.server);
            *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = kept.ends(&self.pairs);
        }
        for file in replaced {
            tracing::info!(event = "certificate_replaced", file = %file.display());
        }
    }
}

/// Why no certificate was obtained lately, if none was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// It is so, or over.
    pub(crate) fn is(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn said(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is known of the files.
#[derive(Debug)]
pub(crate) struct Kept {
    pairs: Vec<Pair>,
    /// The first is one that an authority hands out.
    obtained: bool,
}

/// A certificate and its key, as they are shown.
#[derive(Debug)]
struct Pair {
    identity: Identity,
    in_use: Files,
    /// What was said of those that are there.
    refused: Option<String>,
}

impl Kept {
    fn first(&self) -> Option<&Identity> {
        self.pairs.first().map(|pair| &pair.identity)
    }

    /// Has them be shown. Until one is obtained, what stands in its place is shown to nobody for whom there is another.
    fn show(&self, server: &tls::Server) {
        let Some((first, others)) = self.pairs.split_first() else { return };
        let (first, mut named) = (&first.identity, others.iter().map(|pair| pair.identity.clone()).collect::<Vec<_>>());
        if self.obtained && is_nobodys(first) {
            let fallback = others.first().map_or(first, |pair| &pair.identity);
            server.show(&Shows { fallback, named: &named, last: std::slice::from_ref(first) });
            return;
        }
        named.insert(if self.obtained { named.len() } else { 0 }, first.clone());
        server.show(&Shows { fallback: first, named: &named, last: &[] });
    }

    /// Of which one it is to be told first that it ends.
    fn ends(&self, pairs: &[TlsFiles]) -> Ends {
        let seconds = |at: i64| Wall::from_micros(at.saturating_mul(1_000_000));
        let ends = self.pairs.iter().zip(pairs).map(|(Pair { identity, .. }, files)| {
            let (from, at) = (seconds(identity.not_before()), seconds(identity.not_after()));
            let warned = limits::CERTIFICATE_ENDS_WARN.min(at.since(from) / CERTIFICATE_ENDS_SHARE);
            Ends { at, told_from: at - warned, file: files.certificate.clone(), trouble: None }
        });
        let never = Wall::from_micros(i64::MAX);
        let none = || Ends { at: never, told_from: never, file: PathBuf::new(), trouble: None };
        ends.min_by_key(|ends| ends.told_from).unwrap_or_else(none)
    }
}

impl Pair {
    /// Takes over what stands in its files; whether that is something else than before.
    fn take(&mut self, files: &TlsFiles, found: Result<Files, IdentityError>) -> bool {
        if found.as_ref().is_ok_and(|found| *found == self.in_use) {
            self.refused = None;
            return false;
        }
        match found.and_then(|found| Ok((identity(files, &found)?, found))) {
            Ok((identity, in_use)) => {
                *self = Self { identity, in_use, refused: None };
                true
            }
            Err(error) => {
                let error = error.to_string();
                if self.refused.as_ref() != Some(&error) {
                    tracing::warn!(
                        event = "certificate_refused",
                        file = %files.certificate.display(),
                        error,
                        "the certificate of before goes on being shown"
                    );
                    self.refused = Some(error);
                }
                false
            }
        }
    }
}

/// Whether this is only what stands where none was obtained yet: it was over before there were any.
fn is_nobodys(identity: &Identity) -> bool {
    identity.not_after() <= NOBODYS_END
}

/// What stands in the two files.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

fn read(TlsFiles { certificate, key }: &TlsFiles) -> Result<Files, IdentityError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| IdentityError::File { file: path.display().to_string(), source })
    };
    Ok(Files { certificate: read(certificate)?, key: read(key)? })
}

fn identity(TlsFiles { certificate, key }: &TlsFiles, bytes: &Files) -> Result<Identity, IdentityError> {
    Identity::of((&bytes.certificate, certificate), (&bytes.key, key))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::tests::Lines;

    const DAY: Duration = Duration::from_hours(24);

    /// A file with a key and a certificate of so many days.
    fn made(dir: &Path, name: &str, until: (i32, u8, u8)) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let file = dir.join(name);
        fs::write(&file, format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem())).unwrap();
        TlsFiles { certificate: file.clone(), key: file }
    }

    /// I24: of those of a few days it is told late enough that all is well until then.
    #[test]
    fn it_is_told_first_of_the_one_that_should_have_been_renewed_first() {
        let dir = tempfile::tempdir().unwrap();
        let ends = |pairs: Vec<TlsFiles>| Certificate::open(pairs, false).unwrap().0.ends();
        let long = made(dir.path(), "long.test", (2030, 4, 1));
        let short = made(dir.path(), "short.test", (2030, 3, 14));
        let told = ends(vec![long.clone()]);
        assert_eq!(told.at.since(told.told_from), 20 * DAY);
        let told = ends(vec![short.clone()]);
        assert_eq!(told.at.since(told.told_from), 18 * DAY, "a quarter of 72");
        let first = ends(vec![short, long.clone()]);
        assert_eq!(first.file, dir.path().join("short.test"));
        let day = made(dir.path(), "day.test", (2030, 4, 2));
        assert_eq!(ends(vec![day, long.clone()]).file, long.certificate);
    }

    /// S31: whoever renews a certificate tells nobody, and writes one file after the other: it is taken over at the next look behind the
    /// second, and what stands there until then is told once.
    #[tokio::test(start_paused = true)]
    async fn files_are_looked_at_although_nobody_tells() {
        let (lines, _guard) = Lines::listen();
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (made(dir.path(), "a.test", (2030, 4, 1)), made(dir.path(), "b.test", (2031, 4, 1)));
        let shown = TlsFiles { certificate: dir.path().join("cert"), key: dir.path().join("key") };
        let copy = |from: &TlsFiles, to: &Path| assert!(fs::copy(&from.certificate, to).is_ok());
        copy(&first, &shown.certificate);
        copy(&first, &shown.key);
        let (certificate, kept) = Certificate::open(vec![shown.clone()], false).unwrap();
        let began = certificate.ends().at;
        let keeper = certificate.clone();
        let kept = tokio::spawn(async move { keeper.keep(kept).await });
        // Looks are made behind each of these; a look that is under way holds the clock.
        let looks = async |count: u32| tokio::time::sleep(LOOK_EVERY * count + Duration::from_secs(1)).await;

        looks(3).await;
        assert_eq!(lines.written(), "", "the same is nothing new");
        copy(&second, &shown.certificate);
        looks(3).await;
        assert_eq!((certificate.ends().at, lines.of("certificate_refused")), (began, 1));
        copy(&second, &shown.key);
        looks(1).await;
        assert_eq!(certificate.ends().at.since(began), 365 * DAY);
        assert_eq!((lines.of("certificate_replaced"), lines.of("certificate_refused")), (1, 1));
        // Half of the next, and that is not of the one that was refused before: it is told again.
        fs::write(&shown.key, "half").unwrap();
        looks(2).await;
        copy(&second, &shown.key);
        looks(2).await;
        assert_eq!((lines.of("certificate_replaced"), lines.of("certificate_refused")), (1, 2));
        kept.abort();
    }
}
