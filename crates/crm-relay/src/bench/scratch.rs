//! Where it is measured: a directory of its own, gone afterwards, on a file system that is told.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use crate::{
    exit::{Failure, reason},
    output::say,
    render::visible::visible,
};

/// What has to be free: for a store and a log that is as large, and what the server keeps free beside them, which one that serves there
/// may need.
pub(crate) const FREE_BYTES_MIN: u64 = 1_536 << 20;

/// The directory; removed with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    /// What kind the file system is of, if the kernel says so.
    pub(crate) file_system: Option<String>,
}

impl Scratch {
    /// Makes it below `parent`, for us alone.
    ///
    /// # Errors
    /// It cannot be made there, or there is not enough room.
    pub(crate) fn make(parent: &Path) -> Result<Self, Failure> {
        let wrong = |want: String| Failure::option("--dir", &parent.display().to_string(), want);
        let whole = parent.canonicalize().map_err(|error| wrong(reason(&error)))?;
        let stat = rustix::fs::statvfs(&whole).map_err(|error| wrong(reason(&error.into())))?;
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let file_system = file_system(&whole, &mounts);
        let memory = is_memory(file_system.as_deref()).then(|| fs::read_to_string("/proc/meminfo").unwrap_or_default());
        enough(stat.f_bavail.saturating_mul(stat.f_frsize), memory.as_deref()).map_err(wrong)?;
        let dir = whole.join(format!("crm-relay-bench-{:08x}", rand::random::<u32>()));
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| wrong(reason(&error)))?;
        Ok(Self { dir, file_system })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether what is written there is in memory, so that no disk is measured.
    pub(crate) fn is_memory(&self) -> bool {
        is_memory(self.file_system.as_deref())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                say(&format!("{} is left: {}; remove it", self.dir.display(), reason(&error)));
            }
            _ => {}
        }
    }
}

fn is_memory(file_system: Option<&str>) -> bool {
    matches!(file_system, Some("tmpfs" | "ramfs"))
}

/// Whether there is room: on the disk, or in memory too where that is what it is on; its limit is none that memory keeps.
fn enough(free: u64, memory: Option<&str>) -> Result<(), String> {
    let min = FREE_BYTES_MIN >> 20;
    if free < FREE_BYTES_MIN {
        return Err(format!("{} MiB are free there, want {min}: name a directory on another disk", free >> 20));
    }
    match memory.map(|told| available(told).unwrap_or(0)) {
        Some(free) if free < FREE_BYTES_MIN => {
            let free = free >> 20;
            Err(format!("it is in memory, of which {free} MiB are available, want {min}: name a directory on a disk"))
        }
        _ => Ok(()),
    }
}

/// Bytes, out of `/proc/meminfo`.
fn available(told: &str) -> Option<u64> {
    let kib = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The kind of the file system that `path` is on, out of `/proc/self/mountinfo`: that which is mounted nearest above it, and last there.
fn file_system(path: &Path, mounts: &[u8]) -> Option<String> {
    let mounted = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let at = PathBuf::from(unescaped(fields.nth(4)?));
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        path.starts_with(&at).then(|| (at.as_os_str().as_bytes().len(), kind))
    });
    let (_, kind) = mounted.max_by_key(|(length, _)| *length)?;
    Some(visible(&String::from_utf8_lossy(kind)).into_owned())
}

/// Blanks stand as `\040` there.
fn unescaped(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let code = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount_and_of_the_last_there() {
        let mounts = b"21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
            30 21 0:26 / /tmp rw master:2 shared:3 - tmpfs tmpfs rw\n\
            31 21 0:27 / /srv/a\\040disk rw - ext4 /dev/sdb rw\n\
            32 21 0:28 / /srv/a\\040disk rw - xfs /dev/sdc rw\n\
            torn\n";
        let at = |path: &str| file_system(Path::new(path), mounts);
        assert_eq!(at("/tmp/crm-relay-bench-1").as_deref(), Some("tmpfs"));
        assert_eq!(at("/tmporary").as_deref(), Some("ext4"));
        assert_eq!(at("/srv/a disk/x").as_deref(), Some("xfs"));
        assert_eq!(file_system(Path::new("/tmp"), b""), None);
    }

    #[test]
    fn in_memory_there_is_no_more_room_than_memory() {
        let memory = |mib: u64| format!("MemTotal: 1 kB\nMemAvailable:   {} kB\n", mib << 10);
        assert_eq!(enough(FREE_BYTES_MIN, None), Ok(()));
        assert_eq!(enough(FREE_BYTES_MIN, Some(&memory(1_536))), Ok(()));
        assert!(enough(1 << 30, None).unwrap_err().starts_with("1024 MiB are free there, want 1536"));
        assert!(enough(u64::MAX, Some(&memory(900))).unwrap_err().contains("900 MiB are available"));
        assert!(enough(u64::MAX, Some("")).is_err(), "the kernel does not say");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let failure = Scratch::make(Path::new("/nowhere/at all")).unwrap_err();
        assert_eq!(failure.text, "--dir \"/nowhere/at all\": no such file or directory");
    }
}
