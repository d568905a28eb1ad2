//! What was acknowledged last, on this server's own disk, so that a restart of server and Redis together still names what was lost.
//!
//! Notes stand one behind the other, each sealed; what does not hold is passed over, and said. Written beside all else, within a
//! second of the answer: no answer waits for it.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use relay_core::{id::DeliveryId, name::Name};

use crate::{
    private,
    record::{
        RecordError,
        seal::{Fields, Sealing},
    },
};

const VERSION: u8 = 1;
/// No note is longer: a name, a process and an epoch are short.
const NOTE_MAX: usize = 512;
/// A file that has grown to so many bytes for each of what it stands for is written anew.
const GROWN: u64 = 4;
/// Below this it is not.
const SMALL: u64 = 256 * 1024;

/// Which Redis it was that had it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// One start of a process.
    pub(super) process: String,
    /// Gone with everything else where somebody emptied it.
    pub(super) epoch: Option<Vec<u8>>,
}

/// One thing that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// A delivery was acknowledged.
    Made(DeliveryId, Name),
    /// One that was is not looked for any more.
    Gone(DeliveryId),
    /// From here on it is this Redis.
    In(Known),
}

/// The file, and how far it has grown.
#[derive(Debug)]
pub(super) struct Notebook {
    path: PathBuf,
    /// Whose it is: of another store's nothing is believed.
    store: String,
    file: File,
    bytes: u64,
    /// Its length when it was written anew.
    whole: u64,
}

/// What stands in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What holds.
    pub(super) notes: Vec<Note>,
    /// So many bytes do not.
    pub(super) unread: usize,
}

impl Notebook {
    /// Opens that of a store of this name, and reads what is written down. It stays as it is until it is written anew, which comes
    /// before anything is added.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(path: &Path, store: &str) -> io::Result<(Self, Found)> {
        let mut file = private::open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let book = Self { path: path.to_owned(), store: store.to_owned(), file, bytes: 0, whole: 0 };
        Ok((book, read_all(store, &bytes)))
    }

    /// Writes these down behind the others.
    ///
    /// # Errors
    /// Those of the system: then it is to be written anew.
    pub(super) fn add(&mut self, notes: &[Note]) -> io::Result<()> {
        let bytes = written(&self.store, notes);
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether most of it is over.
    pub(super) fn has_grown(&self) -> bool {
        self.bytes > SMALL.max(self.whole * GROWN)
    }

    /// Writes these down in the place of all others, whole or not at all.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn rewrite(&mut self, notes: &[Note]) -> io::Result<()> {
        let bytes = written(&self.store, notes);
        private::replace(&self.path, &bytes)?;
        let mut file = private::open(&self.path)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        (self.file, self.bytes, self.whole) = (file, bytes.len() as u64, bytes.len() as u64);
        Ok(())
    }
}

fn written(store: &str, notes: &[Note]) -> Vec<u8> {
    let mut out = Vec::new();
    for note in notes {
        let length_at = out.len();
        out.extend([0; 2]);
        let mut record = Sealing::begin(VERSION, &mut out).about(store.as_bytes());
        match note {
            Note::Made(id, destination) => {
                record.u8(b'd');
                record.u128(id.as_u128());
                record.text(destination.as_str());
            }
            Note::Gone(id) => {
                record.u8(b'g');
                record.u128(id.as_u128());
            }
            Note::In(Known { process, epoch }) => {
                record.u8(b'i');
                record.text(process);
                record.u8(epoch.is_some().into());
                record.raw(epoch.as_deref().unwrap_or_default());
            }
        }
        record.end();
        let length = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
    out
}

fn read_all(store: &str, bytes: &[u8]) -> Found {
    let (mut found, mut rest) = (Found::default(), bytes);
    while !rest.is_empty() {
        if let Some((note, behind)) = first_of(store, rest) {
            found.notes.push(note);
            rest = behind;
        } else {
            // Where the next begins is not known either: it is where one holds again.
            found.unread += 1;
            rest = &rest[1..];
        }
    }
    found
}

/// The note that begins here, if one does, and what stands behind it.
fn first_of<'a>(store: &str, bytes: &'a [u8]) -> Option<(Note, &'a [u8])> {
    let (length, behind) = bytes.split_first_chunk::<2>()?;
    let length = Some(usize::from(u16::from_be_bytes(*length))).filter(|length| *length <= NOTE_MAX)?;
    let (note, behind) = behind.split_at_checked(length)?;
    Some((read(store, note).ok()?, behind))
}

fn read(store: &str, bytes: &[u8]) -> Result<Note, RecordError> {
    let mut fields = Fields::open(VERSION, &[store.as_bytes()], bytes)?;
    match fields.u8()? {
        b'd' => {
            let id = DeliveryId::from_u128(fields.u128()?);
            let destination = fields.text("a name")?.parse().map_err(|_| RecordError::Field("a name"))?;
            Ok(Note::Made(id, destination))
        }
        b'g' => Ok(Note::Gone(DeliveryId::from_u128(fields.u128()?))),
        b'i' => {
            let process = fields.text("a process")?.to_owned();
            let has_epoch = fields.flag("an epoch")?;
            let epoch = has_epoch.then(|| fields.rest().to_vec());
            Ok(Note::In(Known { process, epoch }))
        }
        _ => Err(RecordError::Field("what it is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> Vec<Note> {
        let destination: Name = "crm".parse().expect("a name");
        let made = |id| Note::Made(DeliveryId::from_u128(id), destination.clone());
        let known = Known { process: "abc".to_owned(), epoch: Some(b"1".to_vec()) };
        vec![made(1), made(2), Note::In(known), Note::Gone(DeliveryId::from_u128(1)), Note::In(Known::default())]
    }

    fn found(store: &str, bytes: &[u8]) -> (Vec<Note>, usize) {
        let Found { notes, unread } = read_all(store, bytes);
        (notes, unread)
    }

    /// I18: what was written down is read, but for what does not hold, of which is said how much it is; and only by the store that wrote it.
    #[test]
    fn what_holds_is_read() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let path = dir.path().join("acknowledged");
        let (mut book, nothing) = Notebook::open(&path, "one").expect("opens");
        assert_eq!(nothing, Found::default());
        book.rewrite(&[]).expect("writes");
        book.add(&notes()[..2]).expect("writes");
        book.add(&notes()[2..]).expect("writes");
        let open = |store| Notebook::open(&path, store).expect("opens").1;
        assert_eq!(open("one"), Found { notes: notes(), unread: 0 });
        let bytes = std::fs::read(&path).expect("reads");
        for length in 0..bytes.len() {
            let (held, unread) = found("one", &bytes[..length]);
            assert!(held.len() < 5 && notes().starts_with(&held), "{length}");
            assert_eq!(bytes[..length].len(), written("one", &held).len() + unread, "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (held, unread) = found("one", &bad);
            let lost: Vec<Note> = notes().into_iter().filter(|note| !held.contains(note)).collect();
            assert_eq!((held.len(), lost.len()), (4, 1), "bit {bit}");
            assert_eq!(unread, written("one", &lost).len(), "bit {bit}");
        }
        assert_eq!(open("another"), Found { notes: Vec::new(), unread: bytes.len() });
        assert_eq!(open("one").notes, notes(), "it is nobody's but its own until it is written anew");
    }

    /// I18, F3: where a new file cannot be written, the old one stays.
    #[test]
    fn what_cannot_be_written_anew_stays() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let path = dir.path().join("acknowledged");
        let (mut book, _) = Notebook::open(&path, "one").expect("opens");
        book.rewrite(&notes()).expect("writes");
        // Where the new one is to be made stands something else.
        std::fs::create_dir(path.with_extension("new")).expect("it can be made");
        let (mut book, found) = Notebook::open(&path, "one").expect("opens");
        assert_eq!(found.notes, notes());
        assert!(book.rewrite(&notes()[..1]).is_err());
        assert_eq!(Notebook::open(&path, "one").expect("opens").1.notes, notes());
    }
}
