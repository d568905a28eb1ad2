//! A file with the numbered keys that what is stored is sealed with.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use relay_store::cipher::Ciphers;

use super::text_file;

const OTHERS_WRITE: u32 = 0o022;

/// Reads such a file.
///
/// # Errors
/// What is wrong with it; nothing of a key.
pub(super) fn read(path: &Path) -> Result<Ciphers, String> {
    if let Ok(found) = fs::metadata(path) {
        if found.file_type().is_fifo() {
            return Err("is a pipe, which can be read once only: want a file".to_owned());
        }
        if found.is_file() && found.mode() & OTHERS_WRITE != 0 {
            let mode = found.mode() & 0o777;
            return Err(format!("others than its owner may write it (mode {mode:04o}): want chmod 0400"));
        }
    }
    Ciphers::read(&text_file::text(path)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// S32, S39: keys that others may change are none.
    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("1 {}\n", "0123456789abcdef".repeat(4))).unwrap();
        for (mode, is_taken) in [(0o400, true), (0o440, true), (0o644, true), (0o620, false), (0o602, false)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let read = read(file.path());
            assert_eq!(read.is_ok(), is_taken, "{mode:o}: {read:?}");
        }
    }
}
