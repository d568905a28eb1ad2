//! Files and directories that are one user's alone: how they are made and opened, so that nobody else can read them, put
//! others in their place, or lead a write elsewhere with a link.

mod way;

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

/// Bits of a mode that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// Bits of a mode that let others than the owner do anything.
const OTHERS_ANY: u32 = 0o077;

/// Why a directory or a file is not safe to keep webhooks and secrets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsafe {
    path: PathBuf,
    why: Danger,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Danger {
    /// `inside`: a directory in it would be safe.
    OthersMayWrite {
        mode: u32,
        inside: bool,
    },
    OtherOwner {
        owner: u32,
        us: u32,
    },
    /// A directory on the way to `below`.
    AboveWritable {
        mode: u32,
        below: PathBuf,
    },
    AboveOfOther {
        owner: u32,
        below: PathBuf,
    },
    LinkOfOther {
        owner: u32,
        below: PathBuf,
    },
    Link,
    Linked,
    NoFile,
}

impl std::error::Error for Unsafe {}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Danger::OthersMayWrite { mode, inside } => {
                write!(
                    f,
                    "{path} is writable by others than its owner (mode {mode:03o}), who could replace what is in it. Close \
                     it: chmod go-w {path}; or name "
                )?;
                if *inside {
                    write!(f, "a directory below it, which is made for its owner alone: {path}/relay")
                } else {
                    write!(f, "one that nobody else can replace")
                }
            }
            Danger::OtherOwner { owner, us } => write!(
                f,
                "{path} belongs to another user (uid {owner}; this is uid {us}), who could replace what is in it. \
                 Give it to the relay: chown {us} {path}; or run as its owner"
            ),
            Danger::AboveWritable { mode, below } => write!(
                f,
                "{path}, on the way to {}, is writable by others than its owner (mode {mode:03o}), who could put another \
                 directory in its place. Close it: chmod go-w {path}; or choose a directory that nobody else can replace",
                below.display()
            ),
            Danger::AboveOfOther { owner, below } => write!(
                f,
                "{path}, on the way to {}, belongs to another user (uid {owner}), who could put another directory in its \
                 place. Give it to root: chown root {path}; or choose a directory that nobody else can replace",
                below.display()
            ),
            Danger::LinkOfOther { owner, below } => write!(
                f,
                "{path}, on the way to {}, is a symbolic link of another user (uid {owner}), who could let it lead \
                 elsewhere. Name the directory that it leads to, or make the link yours: chown -h root {path}",
                below.display()
            ),
            Danger::Link => write!(
                f,
                "{path} is a symbolic link, and none is followed there. Put the file itself in its place: rm {path}"
            ),
            Danger::Linked => write!(
                f,
                "{path} has another name elsewhere (a hard link), so that what root does to it is done there too. Make it \
                 a file of its own: cp -p {path} {path}.copy && mv {path}.copy {path}"
            ),
            Danger::NoFile => write!(f, "{path} is not a regular file. Remove it: rm -r {path}"),
        }
    }
}

/// Who may own a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Whoever we are, and root: a process that stays.
    Us,
    /// Root may also look after what is another user's: `store check` and its like, run by an administrator.
    UsOrServed,
}

/// Whether nobody but us (and root) can change what is in a directory, or put another in its place.
///
/// # Errors
/// What is wrong with it or with the way there, and what mends it. A directory that is not there yet is fine.
pub fn check_dir(dir: &Path, owners: Owners) -> Result<(), Unsafe> {
    // The path itself is the operator's word and may be a link, as a state directory of systemd is.
    let us = rustix::process::geteuid().as_raw();
    let is_served = us == 0 && owners == Owners::UsOrServed;
    let found = fs::metadata(dir).ok();
    let served = found.as_ref().filter(|_| is_served).map(MetadataExt::uid);
    let trusted = [us, served.unwrap_or(us)];
    way::check(dir, &trusted)?;
    let Some(found) = found else { return Ok(()) };
    let bad = |why| Err(Unsafe { path: dir.to_owned(), why });
    if found.uid() != us && found.uid() != 0 && !is_served {
        return bad(Danger::OtherOwner { owner: found.uid(), us });
    }
    if found.mode() & OTHERS_WRITE != 0 {
        let inside = way::check(&dir.join("relay"), &trusted).is_ok();
        return bad(Danger::OthersMayWrite { mode: found.mode() & 0o777, inside });
    }
    Ok(())
}

/// Makes a directory, and those above it that are missing, for us alone.
///
/// # Errors
/// Those of the system.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Opens a file for reading and writing, and makes it if it is not there: no link is followed, and it is ours alone. One
/// that others may read is closed to them, with a warning. What root makes in a directory of another user belongs to that
/// user, as all that is in it; a file with a second name is refused there.
///
/// # Errors
/// Those of the system; an [`Unsafe`] for what is a link, no file, or another user's.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow())
        .open(path)
        .map_err(|error| of_link(path, error))?;
    claim(path, &file)?;
    Ok(file)
}

/// Opens a file that is there for reading, without following a link.
///
/// # Errors
/// Those of the system; an [`Unsafe`] for what is a link, no file, or another user's.
pub fn open_existing(path: &Path) -> io::Result<File> {
    // A pipe would wait for somebody who writes.
    let flags = nofollow() | rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| of_link(path, error))?;
    claim(path, &file)?;
    Ok(file)
}

/// Makes a file that is not there yet.
///
/// # Errors
/// Those of the system; `AlreadyExists` also for a link.
pub fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    claim(path, &file)?;
    Ok(file)
}

/// Puts `bytes` into the place of a file, whole or not at all, also when the power goes: a new file, synced, takes the name.
///
/// # Errors
/// Those of the system; the old file is untouched then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = create(&fresh).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    if let Err(error) = written {
        // Half of it is of no use to anybody.
        drop(fs::remove_file(&fresh));
        return Err(error);
    }
    sync_dir_of(path)
}

/// Whether something was not written for want of room, be it of the disk or of a quota.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the names in the directory of a file durable.
///
/// # Errors
/// Those of the system.
pub fn sync_dir_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The [`Unsafe`] inside an error of this module.
pub fn of_error(error: &io::Error) -> Option<&Unsafe> {
    error.get_ref()?.downcast_ref()
}

/// What gives this process what it was denied, to be appended to words about `error`; empty where the system's words say all.
pub fn way_out(error: &io::Error, path: &Path, uid: u32) -> String {
    match (error.kind(), error.raw_os_error().map(rustix::io::Errno::from_raw_os_error)) {
        (io::ErrorKind::PermissionDenied, _) => of_permission(path, uid),
        (_, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)) => {
            ". Allow more open files: ulimit -n 4096; in systemd units: LimitNOFILE=65536".to_owned()
        }
        _ => String::new(),
    }
}

fn of_permission(path: &Path, uid: u32) -> String {
    let shown = path.display();
    match (fs::symlink_metadata(path), path.parent()) {
        // Whoever may not go in there learns nothing of what is there.
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::PermissionDenied => of_permission(parent, uid),
        (Ok(found), _) if found.uid() == uid && found.is_dir() => format!(". Let its owner in: chmod u+rwx {shown}"),
        (Ok(found), _) if found.uid() == uid => format!(". Let its owner write it: chmod u+rw {shown}"),
        // One file of another user is seldom alone.
        (Ok(found), Some(dir)) if !found.is_dir() => {
            format!(". Give it to the relay, with what is beside it: chown -R {uid} {}", dir.display())
        }
        _ => format!(". Give it to the relay: chown {uid} {shown}"),
    }
}

fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn of_link(path: &Path, error: io::Error) -> io::Error {
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if is_link { refused(path, Danger::Link) } else { error }
}

fn refused(path: &Path, why: Danger) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, Unsafe { path: path.to_owned(), why })
}

/// Whether an open file is a plain one of ours; closes it to others, and gives it to whom the directory belongs.
fn claim(path: &Path, file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refused(path, Danger::NoFile));
    }
    let us = rustix::process::geteuid().as_raw();
    if us == 0 {
        let dir = path.parent().and_then(|dir| fs::metadata(dir).ok());
        if let Some(dir) = dir.filter(|dir| dir.uid() != 0) {
            // Whoever owns the directory may have put a file of somebody else there under a second name.
            if found.nlink() > 1 {
                return Err(refused(path, Danger::Linked));
            }
            if found.uid() == 0 {
                fchown(file, Some(dir.uid()), Some(dir.gid()))?;
            }
        }
    } else if found.uid() != us && found.uid() != 0 {
        return Err(refused(path, Danger::OtherOwner { owner: found.uid(), us }));
    }
    let mode = found.mode() & 0o777;
    if mode & OTHERS_ANY != 0 && (us == 0 || found.uid() == us) {
        tracing::warn!(event = "file_closed", path = %path.display(), "others had access (mode {mode:03o}): it is closed to them");
        file.set_permissions(fs::Permissions::from_mode(mode & !OTHERS_ANY))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").mode() & 0o777
    }

    /// S39: what others may write is refused with what mends it; what they may only read is fine.
    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for (bits, fine) in
            [(0o700, true), (0o755, true), (0o750, true), (0o775, false), (0o777, false), (0o702, false)]
        {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(bits)).expect("sets");
            let checked = check_dir(dir.path(), Owners::Us);
            assert_eq!(checked.is_ok(), fine, "{bits:o}");
            if let Err(refused) = checked {
                assert!(refused.to_string().contains("chmod go-w"), "{refused}");
            }
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("sets");
        check_dir(&dir.path().join("none"), Owners::Us).expect("it is made with the right mode");
    }

    /// S39: another user's directory is refused, but for an administrator who looks after it.
    #[test]
    fn a_directory_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).expect("gives it away");
        let refused = check_dir(dir.path(), Owners::Us).expect_err("is another's").to_string();
        assert!(refused.contains("uid 65534") && refused.contains("chown 0"), "{refused}");
        check_dir(dir.path(), Owners::UsOrServed).expect("root looks after it");
        open(&dir.path().join("made")).expect("opens");
        replace(&dir.path().join("replaced"), b"x").expect("replaces");
        for name in ["made", "replaced"] {
            let found = fs::metadata(dir.path().join(name)).expect("is there");
            assert_eq!((found.uid(), found.mode() & 0o777), (65_534, 0o600), "{name}");
        }
    }

    /// S39: no link is followed, neither by what opens nor by what makes or replaces.
    #[test]
    fn no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").expect("writes");
        let link = dir.path().join("link");
        symlink(&victim, &link).expect("links");
        for error in [open(&link), open_existing(&link)].map(|opened| opened.expect_err("is a link")) {
            assert!(of_error(&error).is_some_and(|refused| refused.to_string().contains("symbolic link")), "{error}");
        }
        assert_eq!(create(&link).expect_err("is there").kind(), io::ErrorKind::AlreadyExists);
        symlink(&victim, dir.path().join("file.new")).expect("links");
        replace(&dir.path().join("file"), b"new").expect("replaces");
        replace(&link, b"new").expect("the link itself is replaced");
        assert_eq!(fs::read(&victim).expect("reads"), b"precious");
        assert_eq!(fs::read(&link).expect("reads"), b"new");
    }

    /// S39: root gives away no file that the owner of a directory has put there under a second name.
    #[test]
    fn root_touches_no_hard_link_in_the_directory_of_another_user() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (outside, dir) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).expect("gives it away");
        let victim = outside.path().join("victim");
        fs::write(&victim, "precious").expect("writes");
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).expect("sets");
        let link = dir.path().join("store.lock");
        fs::hard_link(&victim, &link).expect("one file system");
        for error in [open(&link), open_existing(&link)].map(|opened| opened.expect_err("has two names")) {
            assert!(of_error(&error).is_some_and(|refused| refused.to_string().contains("hard link")), "{error}");
        }
        let found = fs::metadata(&victim).expect("is there");
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644));
    }

    /// S39: what is there with a mode for others is closed to them.
    #[test]
    fn a_file_that_others_may_read_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("loose");
        fs::write(&path, "secret").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("sets");
        open(&path).expect("opens");
        assert_eq!(mode(&path), 0o600);
        let error = open(dir.path()).expect_err("no file");
        assert!(error.kind() == io::ErrorKind::IsADirectory || of_error(&error).is_some(), "{error}");
    }
}
