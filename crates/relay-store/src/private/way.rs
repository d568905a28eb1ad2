//! The way to a directory: whoever may change a directory above it, or a link that leads there, can put another one in its
//! place. Looked at as sshd looks at the way to its keys.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::{Danger, Unsafe};

const GROUP_WRITES: u32 = 0o020;
const ANYBODY_WRITES: u32 = 0o002;
/// Where everybody may make entries, and only their owners may replace them.
const STICKY: u32 = 0o1000;
/// As many links as the system itself follows.
const LINKS_MAX: usize = 40;
const ROOT: u32 = 0;
/// The file system that containers have for their root. The volumes that their platform mounts there may be anybody's to write
/// (`emptyDir` is), and nobody in the container can change that.
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;

/// Checks every directory above `dir`, and every link on the way there: each belongs to one of `trusted` or to root, and no
/// other may write into it. What is not there yet is made by us.
pub(super) fn check(dir: &Path, trusted: &[u32]) -> Result<(), Unsafe> {
    // Without a working directory nothing can be opened either.
    let Ok(whole) = std::path::absolute(dir) else { return Ok(()) };
    let users = Users::read();
    let mut here = PathBuf::from("/");
    let mut ahead = names(&whole);
    let mut links = 0;
    while let Some(next) = ahead.pop_front() {
        if next == ".." {
            here.pop();
            continue;
        }
        let refused = |path: &Path, why| Err(Unsafe { path: path.to_owned(), why });
        // What cannot be looked at cannot be opened.
        let Ok(found) = fs::symlink_metadata(&here) else { return Ok(()) };
        if let Some(why) = users.fault_of(&here, &found, trusted, dir) {
            return refused(&here, why);
        }
        let path = here.join(&next);
        let Ok(found) = fs::symlink_metadata(&path) else { return Ok(()) };
        if !found.is_symlink() {
            here = path;
            continue;
        }
        links += 1;
        let target = fs::read_link(&path);
        let (Ok(target), true) = (target, links <= LINKS_MAX) else { return Ok(()) };
        if !users.trusts(found.uid(), trusted) {
            return refused(&path, Danger::LinkOfOther { owner: found.uid(), below: dir.to_owned() });
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for name in names(&target).into_iter().rev() {
            ahead.push_front(name);
        }
    }
    Ok(())
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// Who is who, as far as files say.
struct Users {
    passwd: String,
    group: String,
    /// Whom root and others look like that this user namespace does not know.
    unmapped: Option<u32>,
    /// Who else is there was put there with us.
    in_container: bool,
}

/// Whether a directory of root's is where something is mounted.
fn is_volume(here: &Path, found: &Metadata) -> bool {
    let above = here.parent().and_then(|above| fs::symlink_metadata(above).ok());
    found.uid() == ROOT && above.is_some_and(|above| above.dev() != found.dev())
}

impl Users {
    fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let knows_all = text("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]);
        let unmapped = text("/proc/sys/kernel/overflowuid").trim().parse().ok();
        Self {
            passwd: text("/etc/passwd"),
            group: text("/etc/group"),
            unmapped: unmapped.filter(|_| !knows_all),
            in_container: rustix::fs::statfs("/").is_ok_and(|root| root.f_type == OVERLAY),
        }
    }

    fn trusts(&self, uid: u32, trusted: &[u32]) -> bool {
        uid == ROOT || trusted.contains(&uid) || self.unmapped == Some(uid)
    }

    fn fault_of(&self, here: &Path, found: &Metadata, trusted: &[u32], below: &Path) -> Option<Danger> {
        let (mode, owner) = (found.mode(), found.uid());
        if !self.trusts(owner, trusted) {
            return Some(Danger::AboveOfOther { owner, below: below.to_owned() });
        }
        let anybody = mode & ANYBODY_WRITES != 0;
        let group = mode & GROUP_WRITES != 0 && !self.is_alone_in(owner, found.gid());
        let others_write = (anybody || group) && mode & STICKY == 0 && !(self.in_container && is_volume(here, found));
        others_write.then(|| Danger::AboveWritable { mode: mode & 0o7777, below: below.to_owned() })
    }

    /// Whether a user's group has nobody else in it, as where each user has a group of his name. A group that no file names
    /// is one of a container's own.
    fn is_alone_in(&self, uid: u32, gid: u32) -> bool {
        let (uid, gid) = (uid.to_string(), gid.to_string());
        let users = || self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|of| of.len() > 3);
        let name = users().find(|of| of[2] == uid).map(|of| of[0]);
        let others = users().any(|of| of[3] == gid && of[2] != uid);
        let mut groups = self.group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|of| of.len() > 3);
        let own = groups.find(|of| of[2] == gid);
        !others && own.is_none_or(|of| Some(of[0]) == name && (of[3].is_empty() || Some(of[3]) == name))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets");
    }

    fn us() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// S39: a directory above the data that others may write is refused, with what mends it; a sticky one, like /tmp, is not.
    #[test]
    fn a_directory_above_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let (above, data) = (dir.path().join("above"), dir.path().join("above/data"));
        fs::create_dir_all(&data).expect("makes");
        for (mode, fine) in
            [(0o755, true), (0o711, true), (0o777, false), (0o757, false), (0o1777, true), (0o1757, true)]
        {
            set(&above, mode);
            for path in [&data, &above.join("not/yet"), &above.join("data/../data")] {
                let checked = check(path, &[us()]);
                assert_eq!(checked.is_ok(), fine, "{mode:o} {}", path.display());
                if let Err(refused) = checked {
                    let told = refused.to_string();
                    assert!(told.contains("chmod go-w") && told.contains(&*above.to_string_lossy()), "{told}");
                }
            }
        }
    }

    /// S39: so is one that belongs to another user, whatever its mode, and a link on the way that does.
    #[test]
    fn what_another_user_owns_on_the_way_is_refused() {
        if us() != ROOT {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (above, data, link) = (dir.path().join("above"), dir.path().join("above/data"), dir.path().join("link"));
        fs::create_dir_all(&data).expect("makes");
        symlink(&above, &link).expect("links");
        let through = link.join("data");
        check(&through, &[us()]).expect("a link of ours");
        std::os::unix::fs::lchown(&link, Some(4711), Some(4711)).expect("gives it away");
        let told = check(&through, &[us()]).expect_err("who owns the link says where it leads").to_string();
        assert!(told.contains("uid 4711") && told.contains("link"), "{told}");
        chown(&above, Some(4711), Some(4711)).expect("gives it away");
        let told = check(&data, &[us()]).expect_err("its owner may replace it").to_string();
        assert!(told.contains("uid 4711") && told.contains("chown"), "{told}");
        check(&data, &[us(), 4711]).expect("an administrator looks after what is that user's");
    }

    /// S39: where a link leads through others' directories, these count.
    #[test]
    fn what_a_link_leads_through_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let (open, link) = (dir.path().join("open"), dir.path().join("link"));
        fs::create_dir_all(open.join("data")).expect("makes");
        symlink("open/data", &link).expect("links");
        set(&open, 0o777);
        check(&link, &[us()]).expect_err("another may stand there tomorrow");
        set(&open, 0o700);
        check(&link, &[us()]).expect("like a state directory of systemd");
        symlink("round", dir.path().join("round")).expect("links");
        check(&dir.path().join("round"), &[us()]).expect("the system says what is wrong with it");
    }

    /// S39: in a container the volume that its platform mounts is what it is; elsewhere it is a directory like any other.
    #[test]
    fn a_volume_of_a_container_may_be_anybodys() {
        let volume = Path::new("/dev/shm");
        let (Ok(found), Ok(above)) = (fs::symlink_metadata(volume), fs::symlink_metadata("/dev")) else { return };
        let is_mounted = found.uid() == ROOT && above.dev() != found.dev();
        assert_eq!(is_volume(volume, &found), is_mounted);
        let dir = tempfile::tempdir().expect("a directory");
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).expect("makes");
        assert!(!is_volume(&inside, &fs::symlink_metadata(&inside).expect("is there")));
    }

    /// S39: a group that only its user is in is no other; any other group is.
    #[test]
    fn a_group_of_ones_own_is_no_other() {
        let users = Users {
            passwd: "root:x:0:0::/:\nanna:x:1000:1000::/:\nbert:x:1001:1001::/:\ncora:x:1002:100::/:\n".into(),
            group: "root:x:0:\nanna:x:1000:\nbert:x:1001:bert,cora\nusers:x:100:\n".into(),
            unmapped: None,
            in_container: false,
        };
        for (uid, gid, alone) in [
            (1000, 1000, true),
            (0, 0, true),
            (1001, 1001, false),
            (1002, 100, false),
            (1000, 100, false),
            (7, 7, true),
        ] {
            assert_eq!(users.is_alone_in(uid, gid), alone, "{uid} {gid}");
        }
    }
}
