//! Registry documents, which are text in every store: sealed they are `sealed:NUMBER:BASE64`.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{CipherError, Ciphers, Part};
use crate::seam::{Document, DocumentKey, DocumentKind};

/// How a sealed one begins. JSON, which a clear one is, does not.
const BEGIN: &str = "sealed:";

/// Documents as they are stored.
pub(crate) trait Sealed {
    /// The body of the document of this version, as it is to be stored.
    fn seal_document(&self, key: &DocumentKey, version: u64, body: String) -> String;

    /// The document as it was before that.
    fn open_document(&self, stored: Document) -> Result<Document, CipherError>;
}

impl Sealed for Ciphers {
    fn seal_document(&self, key: &DocumentKey, version: u64, body: String) -> String {
        // Of a key only its fingerprint stands there, which has to be read before there are any.
        let Some(cipher) = self.newest().filter(|_| key.kind != DocumentKind::Cipher) else { return body };
        let sealed = cipher.seal(Part::Document, &about(key), &version.to_be_bytes(), body.as_bytes());
        format!("{BEGIN}{}:{}", cipher.number(), STANDARD.encode(sealed))
    }

    fn open_document(&self, stored: Document) -> Result<Document, CipherError> {
        let Some(sealed) = stored.body.strip_prefix(BEGIN) else { return Ok(stored) };
        let (number, sealed) = sealed.split_once(':').ok_or(CipherError::Unauthentic)?;
        let number = number.parse().map_err(|_| CipherError::Unauthentic)?;
        let cipher = self.find(number)?.ok_or(CipherError::Unauthentic)?;
        let sealed = STANDARD.decode(sealed).map_err(|_| CipherError::Unauthentic)?;
        let body = cipher.open(Part::Document, &about(&stored.key), &stored.version.to_be_bytes(), &sealed)?;
        let body = String::from_utf8(body).map_err(|_| CipherError::Unauthentic)?;
        Ok(Document { body, ..stored })
    }
}

/// The number of the key that a stored document is sealed with; 0: it is clear.
pub(crate) fn sealed_with(body: &str) -> u32 {
    let number = body.strip_prefix(BEGIN).and_then(|sealed| sealed.split_once(':'));
    number.and_then(|(number, _)| number.parse().ok()).unwrap_or(0)
}

fn about(key: &DocumentKey) -> Vec<u8> {
    [&[key.kind as u8], key.name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::tests::ciphers;

    /// S32: a document opens under its own name and version only; without its key it is not damaged, and not read.
    #[test]
    fn a_document_is_sealed_in_its_place() {
        let (known, key) = (ciphers(&[3]), DocumentKey { kind: DocumentKind::Source, name: "stripe".into() });
        let body = known.seal_document(&key, 5, "{\"secret\":\"canary\"}".into());
        assert!(body.starts_with("sealed:3:") && !body.contains("canary"), "{body}");
        assert_eq!((sealed_with(&body), sealed_with("{}")), (3, 0));
        let stored = Document { key: key.clone(), version: 5, body };
        let opened = known.open_document(stored.clone()).unwrap();
        assert_eq!(opened, Document { body: "{\"secret\":\"canary\"}".into(), ..stored.clone() });
        assert_eq!(known.open_document(opened.clone()), Ok(opened));
        assert_eq!(ciphers(&[4]).open_document(stored.clone()), Err(CipherError::Unknown(3)));
        let other = DocumentKey { name: "other".into(), ..key.clone() };
        for wrong in [
            Document { version: 6, ..stored.clone() },
            Document { key: other, ..stored.clone() },
            Document { body: stored.body.replace("sealed:3:", "sealed:3:A"), ..stored.clone() },
            Document { body: "sealed:0:".into(), ..stored.clone() },
            Document { body: "sealed:".into(), ..stored.clone() },
        ] {
            assert_eq!(known.open_document(wrong), Err(CipherError::Unauthentic));
        }
        let own = DocumentKey { kind: DocumentKind::Cipher, name: "3".into() };
        assert_eq!(known.seal_document(&own, 1, "{}".into()), "{}");
    }
}
