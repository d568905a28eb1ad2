//! The keys that what is stored is sealed with, out of the file that `ENCRYPTION_KEY_FILE` names.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use relay_store::cipher::Ciphers;

use super::{key_file, layers::Layers};
use crate::exit::{Exit, Failure};

/// The setting.
pub(crate) const SETTING: &str = "ENCRYPTION_KEY_FILE";

const OTHERS_READ: u32 = 0o004;

/// The keys for a server; none without the setting. Faults are noted.
pub(super) fn ciphers(layers: &mut Layers) -> Ciphers {
    let Some(path) = layers.text(SETTING) else { return Ciphers::default() };
    if fs::metadata(&path).is_ok_and(|found| found.mode() & OTHERS_READ != 0) {
        layers.notes.push(format!("{SETTING}: everybody on this machine may read {path}; want chmod 0400 (or 0440)"));
    }
    key_file::read(Path::new(&path)).unwrap_or_else(|why| {
        layers.fault(SETTING, why);
        Ciphers::default()
    })
}

/// The keys for a command.
///
/// # Errors
/// The file has none, or cannot be read.
pub(crate) fn for_command(layers: &Layers) -> Result<Ciphers, Failure> {
    let Some(path) = layers.text(SETTING) else { return Ok(Ciphers::default()) };
    key_file::read(Path::new(&path))
        .map_err(|why| Failure::new(Exit::Configuration, format!("{SETTING} ({path}): {why}")))
}
