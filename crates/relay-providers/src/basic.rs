//! HTTP Basic: a user name and a password, the same with every request.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Genuine, Refusal, Request, Verdict, header, parameters::Parameters, secret, secret::Secret};

/// Header fields it reads.
pub(crate) const READ: &[&str] = &["authorization"];

/// The credentials of a source: `user:password`, one per valid password.
#[derive(Clone, Debug)]
pub(crate) struct Basic(Vec<Secret>);

impl Basic {
    pub(crate) fn read(parameters: &mut Parameters<'_>) -> Self {
        let username = parameters.one("username");
        if username.contains(':') || username.chars().any(char::is_control) {
            parameters.fault("username", "must not hold a colon or control characters (RFC 7617)");
        }
        let passwords = parameters.agreed_secrets("password");
        Self(passwords.into_iter().map(|password| Secret::new(format!("{username}:{password}"))).collect())
    }

    pub(crate) fn judge(&self, request: &Request<'_>) -> Verdict {
        let value = match header::single(request, "authorization") {
            Ok(Some(value)) => value,
            Ok(None) => return refused("missing_credentials", "no Authorization: Basic header field"),
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let Some(presented) = credentials(value) else {
            return refused("malformed_credentials", "Authorization is not Basic followed by base64");
        };
        if self.accepts(&presented) {
            let fields = request.headers.iter().enumerate().filter(|(_, (name, _))| &name[..] == b"authorization");
            Verdict::Genuine(Genuine { strip: fields.map(|(index, _)| index).collect(), ..Genuine::default() })
        } else {
            refused("wrong_credentials", "user name or password is not this source's")
        }
    }

    /// The `Authorization` value a sender presents.
    pub(crate) fn present(&self) -> Option<Vec<u8>> {
        let credentials = self.0.first()?;
        Some(format!("Basic {}", STANDARD.encode(credentials.expose())).into_bytes())
    }

    fn accepts(&self, presented: &[u8]) -> bool {
        // Digests make the comparison independent of the lengths too.
        let presented = secret::secret_digest(presented);
        self.0
            .iter()
            .fold(false, |found, valid| secret::equal(&secret::secret_digest(valid.expose()), &presented) | found)
    }
}

fn credentials(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.split_at_checked(b"basic ".len())?;
    let encoded = scheme.eq_ignore_ascii_case(b"basic ").then(|| encoded.trim_ascii())?;
    STANDARD.decode(encoded).ok()
}

fn refused(check: &'static str, detail: &str) -> Verdict {
    Verdict::Refused(Refusal::new(check, detail))
}
