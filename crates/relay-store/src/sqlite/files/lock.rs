//! The lock of a store's directory.

use std::fs::{File, TryLockError};

/// Says that nobody else may open the store. It is given back at its end even if a child that is just being made has the same
/// file open.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Locked as well: somebody who removes the file, because he takes it for a left one, lets nobody in by that.
    dir: File,
}

impl Lock {
    /// Takes both; gives the file back if another has one of them.
    pub(crate) fn take(file: File, dir: File) -> Result<Self, (File, TryLockError)> {
        if let Err(error) = file.try_lock() {
            return Err((file, error));
        }
        match dir.try_lock() {
            Err(error @ TryLockError::WouldBlock) => Err((file, error)),
            // A file system that locks no directory has the file.
            Err(TryLockError::Error(_)) | Ok(()) => Ok(Self { file, dir }),
        }
    }

    /// What is written into it is for whoever finds it locked.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the files gives them back as well, where no child has them.
        drop(self.file.unlock());
        drop(self.dir.unlock());
    }
}
