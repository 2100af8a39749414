//! What programs see on a mount, and what a crash leaves of it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why it was skipped"
)]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use gristmill_lossfs::{CrashReport, LossFs, Rules, Stats};
use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use tempfile::TempDir;

/// A mount in a folder of its own. Dropped in this order: first the mount.
struct Mounted {
    lossfs: LossFs,
    _folder: TempDir,
}

impl Mounted {
    /// `None`, with a line saying why, where nothing can be mounted.
    fn new(rules: Rules) -> Option<Mounted> {
        if let Err(reason) = LossFs::available() {
            println!("skipped: {reason}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let lossfs = LossFs::mount(folder.path().join("made"), rules).unwrap();
        Some(Mounted { lossfs, _folder: folder })
    }

    fn root(&self) -> &Path {
        self.lossfs.path()
    }

    fn crash(&mut self) -> CrashReport {
        self.lossfs.crash(1).unwrap()
    }

    fn read(&self, name: &str) -> Option<String> {
        match fs::read_to_string(self.root().join(name)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<OsString> =
            fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Makes files and folders (names ending in `/`) that survive.
    fn durable(&self, names: &[&str]) {
        for name in names {
            let path = self.root().join(name);
            if name.ends_with('/') {
                fs::create_dir(&path).unwrap();
            } else {
                write_synced(&path, "old");
            }
            sync(path.parent().unwrap());
        }
    }
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn write_synced(path: &Path, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn a_rename_over_a_file_needs_a_sync_of_the_directory() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["state"]);
    let (root, target) = (mounted.root().to_owned(), mounted.root().join("state"));

    write_synced(&root.join("state.tmp"), "new");
    fs::rename(root.join("state.tmp"), &target).unwrap();
    assert_eq!(mounted.read("state").as_deref(), Some("new"), "seen at once");
    assert_eq!(mounted.crash().names_dropped, 3, "the new name, its end, and the other's new meaning");
    assert_eq!(mounted.read("state").as_deref(), Some("old"));
    assert_eq!(mounted.names(), ["state"]);

    write_synced(&root.join("state.tmp"), "new");
    fs::rename(root.join("state.tmp"), &target).unwrap();
    sync(&root);
    assert_eq!(mounted.crash(), CrashReport::default());
    assert_eq!(mounted.read("state").as_deref(), Some("new"));
    assert_eq!(mounted.names(), ["state"]);
}

#[test]
fn a_rename_of_a_file_without_a_sync_of_its_data_leaves_it_empty() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["state"]);
    let root = mounted.root().to_owned();
    fs::write(root.join("state.tmp"), "new").unwrap();
    fs::rename(root.join("state.tmp"), root.join("state")).unwrap();
    sync(&root);
    let report = mounted.crash();
    assert_eq!(report, CrashReport { pages_dropped: 1, ..CrashReport::default() });
    assert_eq!(mounted.read("state").as_deref(), Some(""));
}

#[test]
fn the_sync_of_a_file_keeps_its_name_only_by_concession() {
    for concession in [false, true] {
        let rules = Rules { file_sync_keeps_names: concession, ..Rules::default() };
        let Some(mut mounted) = Mounted::new(rules) else { return };
        write_synced(&mounted.root().join("new"), "text");
        mounted.crash();
        assert_eq!(mounted.read("new"), concession.then(|| "text".to_owned()));
    }
}

/// Where `a/file` is after a move to `b/file`, the sync of some directories, and a crash.
fn moved_across(rules: Rules, synced: &[&str]) -> Option<(bool, bool)> {
    let mut mounted = Mounted::new(rules)?;
    mounted.durable(&["a/", "b/", "a/file"]);
    let root = mounted.root().to_owned();
    fs::rename(root.join("a/file"), root.join("b/file")).unwrap();
    synced.iter().for_each(|name| sync(&root.join(name)));
    mounted.crash();
    Some((mounted.read("a/file").is_some(), mounted.read("b/file").is_some()))
}

#[test]
fn a_rename_across_directories_needs_both() {
    if LossFs::available().is_err() {
        return;
    }
    let moved = |synced| moved_across(Rules::default(), synced).unwrap();
    assert_eq!(moved(&[]), (true, false));
    assert_eq!(moved(&["a"]), (false, false), "gone from the old, not yet in the new");
    assert_eq!(moved(&["b"]), (true, true), "in the new, not yet gone from the old");
    assert_eq!(moved(&["a", "b"]), (false, true));
}

#[test]
fn an_atomic_rename_needs_either() {
    if LossFs::available().is_err() {
        return;
    }
    let moved = |synced| moved_across(Rules { atomic_renames: true, ..Rules::default() }, synced).unwrap();
    assert_eq!(moved(&[]), (true, false));
    assert_eq!(moved(&["a"]), (false, true));
    assert_eq!(moved(&["b"]), (false, true));
}

#[test]
fn an_atomic_rename_takes_along_what_came_before_under_its_name_only() {
    let Some(mut mounted) = Mounted::new(Rules { atomic_renames: true, ..Rules::default() }) else { return };
    mounted.durable(&["a/", "b/", "a/file", "b/file"]);
    let root = mounted.root().to_owned();
    fs::rename(root.join("b/file"), root.join("b/away")).unwrap();
    fs::write(root.join("b/bystander"), "").unwrap();
    fs::rename(root.join("a/file"), root.join("b/file")).unwrap();
    sync(&root.join("a"));
    mounted.crash();
    let names: Vec<_> = ["a/file", "b/file", "b/bystander"].map(|name| mounted.read(name).is_some()).into();
    assert_eq!(names, [false, true, false]);
}

#[test]
fn a_moved_directory_has_one_place() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["a/", "b/", "a/dir/", "a/dir/file"]);
    let root = mounted.root().to_owned();
    fs::rename(root.join("a/dir"), root.join("b/dir")).unwrap();
    sync(&root.join("b"));
    mounted.crash();
    let places = ["a/dir/file", "b/dir/file"].map(|name| mounted.read(name).is_some());
    assert_eq!(places, [true, false], "both names are durable, so the first counts");
}

#[test]
fn a_removed_name_comes_back_until_the_directory_is_synced() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file", "folder/"]);
    let root = mounted.root().to_owned();
    for left in [vec!["file", "folder"], vec![]] {
        fs::remove_file(root.join("file")).unwrap();
        fs::remove_dir(root.join("folder")).unwrap();
        if left.is_empty() {
            sync(&root);
        }
        mounted.crash();
        assert_eq!(mounted.names(), left);
    }
}

#[test]
fn an_unlinked_open_file_lives_on() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file"]);
    // After a crash the kernel knows no names, so that it looks this one up.
    mounted.crash();
    let path = mounted.root().join("file");
    for synced in [false, true] {
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        file.write_all(b"new!").unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(b" and more").unwrap();
        file.rewind().unwrap();
        // Past the kernel's cache, which might hide what the file system lost.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        assert_eq!(io::read_to_string(&file).unwrap(), "new! and more");
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        if synced {
            file.sync_all().unwrap();
        }
        drop(file);
        mounted.crash();
        let expected = if synced { "new! and more" } else { "old" };
        assert_eq!(mounted.read("file").as_deref(), Some(expected), "the name was still durable");
    }
}

#[test]
fn a_new_file_unlinked_while_open_lives_on() {
    let Some(mounted) = Mounted::new(Rules::default()) else { return };
    let path = mounted.root().join("file");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b"text").unwrap();
    fs::remove_file(&path).unwrap();
    sync(mounted.root());
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    file.rewind().unwrap();
    assert_eq!(io::read_to_string(&file).unwrap(), "text");
}

#[test]
fn hard_links_share_data_and_count() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["one"]);
    let root = mounted.root().to_owned();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    write_synced(&root.join("two"), "both");
    assert_eq!(mounted.read("one").as_deref(), Some("both"));
    assert_eq!(fs::metadata(root.join("one")).unwrap().nlink(), 2);
    mounted.crash();
    assert_eq!((mounted.read("one").as_deref(), mounted.read("two")), (Some("both"), None));
    assert_eq!(fs::metadata(root.join("one")).unwrap().nlink(), 1);
}

#[test]
fn a_survivor_of_the_crash_can_do_nothing() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file"]);
    let mut file = File::options().append(true).open(mounted.root().join("file")).unwrap();
    mounted.crash();
    let lost = |result: io::Result<()>| result.unwrap_err().raw_os_error();
    let eio = Some(rustix::io::Errno::IO.raw_os_error());
    assert_eq!(lost(file.write_all(b"more")), eio);
    assert_eq!(lost(file.sync_all()), eio);
    assert_eq!(mounted.read("file").as_deref(), Some("old"));
}

#[test]
fn synchronous_writes_are_durable() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file"]);
    for (flags, text) in [(OFlags::DSYNC, "one"), (OFlags::SYNC, "two")] {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(i32::try_from(flags.bits()).unwrap());
        options.open(mounted.root().join("file")).unwrap().write_all(text.as_bytes()).unwrap();
        mounted.crash();
        assert_eq!(mounted.read("file").as_deref(), Some(text));
    }
}

#[test]
fn syncing_the_whole_file_system_is_not_enough() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file"]);
    fs::write(mounted.root().join("file"), "new").unwrap();
    rustix::fs::syncfs(File::open(mounted.root()).unwrap()).unwrap();
    mounted.crash();
    assert_ne!(
        mounted.read("file").as_deref(),
        Some("new"),
        "the kernel passes syncfs on: say so in the docs"
    );
}

#[test]
fn a_wild_size_is_refused() {
    let Some(mounted) = Mounted::new(Rules::default()) else { return };
    let file = File::create(mounted.root().join("file")).unwrap();
    let limit = 1 << 40;
    file.set_len(limit).unwrap();
    let too_big = Some(rustix::io::Errno::FBIG.raw_os_error());
    assert_eq!(file.set_len(limit + 1).unwrap_err().raw_os_error(), too_big);
    assert_eq!(file.write_at(b"x", limit).unwrap_err().raw_os_error(), too_big);
    assert_eq!(file.write_at(b"x", limit - 1).unwrap(), 1);
}

#[test]
fn permissions_and_times_need_a_whole_sync() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file"]);
    let path = mounted.root().join("file");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let before = mode(&path);
    for (whole, left) in [(false, before), (true, 0o604)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let file = File::open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!((mode(&path), fs::metadata(&path).unwrap().mtime()), (0o604, 0));
        if whole {
            file.sync_all().unwrap();
        } else {
            file.sync_data().unwrap();
        }
        drop(file);
        mounted.crash();
        assert_eq!(mode(&path), left);
        assert_eq!(fs::metadata(&path).unwrap().mtime() == 0, whole);
        assert!(fs::metadata(&path).unwrap().is_file());
    }
}

#[test]
fn truncation_goes_back_and_appending_too() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["file"]);
    let path = mounted.root().join("file");
    File::options().write(true).truncate(true).open(&path).unwrap();
    assert_eq!(mounted.read("file").as_deref(), Some(""));
    mounted.crash();
    assert_eq!(mounted.read("file").as_deref(), Some("old"));
    File::options().append(true).open(&path).unwrap().write_all(b"er").unwrap();
    assert_eq!(mounted.read("file").as_deref(), Some("older"));
    mounted.crash();
    assert_eq!(mounted.read("file").as_deref(), Some("old"));
}

/// The pages that survive a crash with `seed`, of 64 overwritten ones.
fn torn_pages(seed: u64) -> Option<Vec<bool>> {
    let mut mounted = Mounted::new(Rules { torn: true, ..Rules::default() })?;
    let path = mounted.root().join("file");
    write_synced(&path, &"o".repeat(64 * 4096));
    sync(mounted.root());
    File::options().write(true).open(&path).unwrap().write_all(&[b'n'; 64 * 4096]).unwrap();
    let report = mounted.lossfs.crash(seed).unwrap();
    let content = fs::read(&path).unwrap();
    let kept: Vec<bool> = content.chunks(4096).map(|page| page[0] == b'n').collect();
    assert!(content.chunks(4096).all(|page| page.iter().all(|byte| *byte == page[0])));
    let count = kept.iter().filter(|kept| **kept).count() as u64;
    assert_eq!((report.pages_kept, report.pages_dropped), (count, 64 - count));
    Some(kept)
}

#[test]
fn torn_writes_follow_from_the_seed() {
    let Some(first) = torn_pages(1) else { return };
    assert_eq!(torn_pages(1), Some(first.clone()));
    assert_ne!(torn_pages(2), Some(first.clone()));
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
}

#[test]
fn a_journal_keeps_the_oldest_name_changes() {
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let Some(mut mounted) = Mounted::new(Rules { journal: true, ..Rules::default() }) else { return };
        for name in ["a", "b", "c"] {
            fs::create_dir(mounted.root().join(name)).unwrap();
        }
        let report = mounted.lossfs.crash(seed).unwrap();
        assert_eq!(report.names_kept + report.names_dropped, 3);
        assert_eq!(report.names_kept, mounted.names().len() as u64);
        kept.insert(mounted.names());
    }
    let kept: Vec<_> = kept.iter().map(|names| names.join(OsString::new().as_os_str())).collect();
    assert_eq!(kept, ["", "a", "ab", "abc"], "each prefix comes up, and nothing else");
}

#[test]
fn counts_what_happens() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    let root = mounted.root().to_owned();
    write_synced(&root.join("a"), "12345");
    fs::rename(root.join("a"), root.join("b")).unwrap();
    sync(&root);
    fs::write(root.join("c"), "123").unwrap();
    mounted.crash();
    let expected = Stats {
        file_syncs: 1,
        directory_syncs: 1,
        bytes_written: 8,
        name_changes: 4,
        crashes: 1,
        pages_dropped: 1,
        names_dropped: 1,
    };
    assert_eq!(mounted.lossfs.stats(), expected);
}

#[test]
fn locks_exclude_and_end_with_the_file() {
    let Some(mounted) = Mounted::new(Rules::default()) else { return };
    let path = mounted.root().join("lock");
    let (first, second) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    flock(&first, FlockOperation::LockExclusive).unwrap();
    let refused = flock(&second, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(refused, Err(rustix::io::Errno::WOULDBLOCK));
    drop(first);
    flock(&second, FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn what_is_not_supported_is_said_so() {
    let Some(mounted) = Mounted::new(Rules::default()) else { return };
    let unsupported = rustix::io::Errno::OPNOTSUPP;
    let nameless = rustix::fs::open(mounted.root(), OFlags::TMPFILE | OFlags::RDWR, 0o600.into());
    assert_eq!(nameless.unwrap_err(), unsupported);
    let file = File::create(mounted.root().join("file")).unwrap();
    let flags = rustix::fs::FallocateFlags::empty();
    assert_eq!(rustix::fs::fallocate(&file, flags, 0, 4096), Err(unsupported));
    let set = rustix::fs::fsetxattr(&file, "user.key", b"value", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Err(unsupported));
}

#[test]
fn other_kinds_of_files_and_odd_names() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    let root = mounted.root().to_owned();
    symlink("some/where", root.join("link")).unwrap();
    drop(UnixListener::bind(root.join("socket")).unwrap());
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    fs::write(root.join(&longest), "").unwrap();
    let error = fs::write(root.join(&too_long), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()));
    let error = fs::rename(root.join(&longest), root.join(&too_long)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()));
    sync(&root);
    mounted.crash();
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("some/where"));
    assert_eq!(fs::symlink_metadata(root.join("link")).unwrap().len(), 10);
    assert!(fs::metadata(root.join("socket")).unwrap().file_type().is_socket());
    assert_eq!(mounted.names(), [OsString::from("link"), OsString::from(longest), OsString::from("socket")]);
}

#[test]
fn rename_can_refuse_to_replace() {
    let Some(mounted) = Mounted::new(Rules::default()) else { return };
    mounted.durable(&["a", "b"]);
    let rename = |to: &str| {
        let (from, to) = (mounted.root().join("a"), mounted.root().join(to));
        renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
    };
    assert_eq!(rename("b"), Err(rustix::io::Errno::EXIST));
    assert_eq!(rename("c"), Ok(()));
    assert_eq!(mounted.names(), ["b", "c"]);
}

#[test]
fn a_large_folder_is_listed_and_removed_whole() {
    let Some(mounted) = Mounted::new(Rules::default()) else { return };
    let folder = mounted.root().join("folder");
    fs::create_dir(&folder).unwrap();
    for number in 0..2000 {
        File::create(folder.join(format!("a name of some length {number}"))).unwrap();
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2000);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(mounted.names(), Vec::<OsString>::new());
}

#[test]
fn large_writes_at_odd_places_read_back() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    let path = mounted.root().join("file");
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut file = File::create(&path).unwrap();
    file.seek(io::SeekFrom::Start(4097)).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync_data().unwrap();
    sync(mounted.root());
    drop(file);
    mounted.crash();
    let mut read = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), 4097 + bytes.len());
    assert!(read[..4097].iter().all(|byte| *byte == 0));
    assert!(read[4097..] == bytes);
}

#[test]
fn nothing_stays_mounted() {
    let Some(mut mounted) = Mounted::new(Rules::default()) else { return };
    let path = mounted.root().to_owned();
    let is_mounted =
        || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(path.to_str().unwrap()).count();
    assert_eq!(is_mounted(), 1);
    mounted.crash();
    assert_eq!(is_mounted(), 1, "the crashed one has gone");
    let open = File::create(path.join("file")).unwrap();
    drop(mounted.lossfs);
    assert_eq!(is_mounted(), 0, "also with a file still open");
    drop(open);
}
