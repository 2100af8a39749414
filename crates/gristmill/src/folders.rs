//! Who may look into what lies on the disk.
//!
//! The storage lies below the data folder by default, and another web server may serve its public part.
//! So others may pass through the data folder, without seeing what is in it; everything in it but the
//! storage is for this user only.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use gristmill_model::FolderId;

/// The data folder: others may pass through it and not list it.
const PASSABLE: u32 = 0o711;
/// Folders for this user only.
const PRIVATE: u32 = 0o700;
/// Files for this user only.
const PRIVATE_FILE: u32 = 0o600;

/// Makes the data folder where there is none. One that is there keeps its mode: somebody chose it.
pub(crate) fn make_data(folder: &Path) -> io::Result<()> {
    make(folder, PASSABLE).map(drop)
}

/// The user whom the database, else the data folder, belongs to, where that is somebody else and we are root: what we
/// made there nobody else could open.
pub(crate) fn other_owner(database: &Path, data: &Path) -> Option<u32> {
    let found = database.metadata().or_else(|_| data.metadata()).ok()?;
    (rustix::process::geteuid().is_root() && found.uid() != 0).then(|| found.uid())
}

/// Gives a new file to the owner of its folder, where we are root and that is somebody else.
pub(crate) fn leave_to_owner(file: &File, folder: &Path) -> io::Result<()> {
    let found = folder.metadata()?;
    if rustix::process::geteuid().is_root() && found.uid() != 0 {
        std::os::unix::fs::fchown(file, Some(found.uid()), Some(found.gid()))?;
    }
    Ok(())
}

/// Makes a folder in which everything is for this user only, whether or not it is there.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    let is_new = make(folder, PRIVATE)?;
    if is_new || folder.metadata()?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(folder, Permissions::from_mode(PRIVATE))
}

/// Makes the folder of the database and an empty file where there is none: SQLite gives the files it
/// makes beside it the same mode. A file that is there keeps its mode: somebody may have chosen it.
pub(crate) fn make_database(path: &Path, data: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder != data => make(folder, PRIVATE).map(drop)?,
        _ => {}
    }
    open_private(path).map(drop)
}

/// Opens a file for writing, and makes it for this user only where there is none.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(PRIVATE_FILE).open(path)
}

/// Makes a file for this user only with this content, whole and synced or not at all. One that is there stays as
/// it is, also where another process makes it at this moment.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".gristmill-")
        .permissions(Permissions::from_mode(PRIVATE_FILE))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    File::open(folder)?.sync_all()
}

/// The id of a data folder, by which programs on one database know it again; made by `new` where there is none. It
/// names the file that it stands in, so that a copy of the folder gets another one.
pub(crate) fn id(data: &Path, new: impl Fn() -> FolderId) -> io::Result<FolderId> {
    let path = data.join("id");
    let read = || -> io::Result<Option<FolderId>> {
        let inode = path.metadata()?.ino().to_string();
        let text = std::fs::read_to_string(&path)?;
        let known = text.trim().split_once(' ').filter(|(_, of)| *of == inode);
        Ok(known.and_then(|(id, _)| id.parse().ok()))
    };
    match read() {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Only the holder of the folder's lock comes here. One that is torn by a lost power is made anew.
    let id = new();
    let mut file = open_private(&path)?;
    let inode = file.metadata()?.ino();
    file.set_len(0)?;
    file.write_all(format!("{id} {inode}\n").as_bytes())?;
    file.sync_all()?;
    Ok(id)
}

/// Whether the folder was made; it has exactly this mode then, whatever the umask is.
fn make(folder: &Path, mode: u32) -> io::Result<bool> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(mode)).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_keeps_its_id_and_a_copy_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        let new = || {
            made.set(made.get() + 1);
            FolderId::new(gristmill_model::Timestamp(7), made.get())
        };
        let first = id(folder.path(), new).unwrap();
        assert_eq!((id(folder.path(), new).unwrap(), made.get()), (first, 1));
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(folder.path().join("id"), copy.path().join("id")).unwrap();
        let second = id(copy.path(), new).unwrap();
        assert_ne!(second, first);
        assert_eq!((id(copy.path(), new).unwrap(), made.get()), (second, 2));
        std::fs::write(copy.path().join("id"), "torn").unwrap();
        assert_ne!(id(copy.path(), new).unwrap(), second);
    }

    #[test]
    fn what_root_makes_in_somebody_elses_folder_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            println!("not tried: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (data, database) = (folder.path().join("data"), folder.path().join("data/db"));
        std::fs::create_dir(&data).unwrap();
        assert_eq!(other_owner(&database, &data), None);
        std::os::unix::fs::chown(&data, Some(12_345), Some(54_321)).unwrap();
        assert_eq!(other_owner(&database, &data), Some(12_345));
        let file = File::create(&database).unwrap();
        assert_eq!(other_owner(&database, &data), None, "a server that runs as root has made it");
        leave_to_owner(&file, &data).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (12_345, 54_321));
        assert_eq!(other_owner(&database, &data), Some(12_345));
    }
    use crate::app::{App, lock_data};
    use crate::config::{Config, Surroundings};

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    async fn open(folder: &Path, text: &str) -> (Config, App) {
        std::fs::write(folder.join("gristmill.toml"), text).unwrap();
        let mut around = Surroundings::new(folder.to_owned(), |_| None);
        around.system_file = folder.join("none.toml");
        let config = Config::load(None, &around).unwrap();
        (config.clone(), App::open(config, &around).await.unwrap())
    }

    #[tokio::test]
    async fn others_pass_to_the_storage_and_see_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (config, _app) = open(folder.path(), "data_dir = \"a/data\"\n").await;
        lock_data(&config.data_dir).unwrap().unwrap();
        let data = folder.path().join("a/data");
        assert_eq!(mode(&data), 0o711);
        let mut found: Vec<(String, u32)> = Vec::new();
        for entry in data.read_dir().unwrap() {
            let entry = entry.unwrap();
            found.push((entry.file_name().into_string().unwrap(), mode(&entry.path())));
        }
        found.sort();
        for (name, mode) in &found {
            assert!(name == "storage" || mode & 0o077 == 0, "{name} has mode {mode:o}");
        }
        let expected = [
            "git",
            "gristmill.db",
            "gristmill.db-shm",
            "gristmill.db-wal",
            "lock",
            "logs",
            "mirrors",
            "server.key",
            "storage",
        ];
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected);
        assert_eq!(mode(&data.join("storage")) & 0o011, 0o011);
        assert_eq!(mode(&data.join("storage/public")) & 0o055, 0o055);
    }

    #[tokio::test]
    async fn what_was_open_is_closed_and_what_was_chosen_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("gristmill-data");
        std::fs::create_dir_all(data.join("logs")).unwrap();
        for (path, mode) in [(&data, 0o750), (&data.join("logs"), 0o755)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        open(folder.path(), "[database]\nurl = \"sqlite:elsewhere/mill.db\"\n").await;
        assert_eq!((mode(&data), mode(&data.join("logs"))), (0o750, 0o700));
        let elsewhere = folder.path().join("elsewhere");
        assert_eq!((mode(&elsewhere), mode(&elsewhere.join("mill.db"))), (0o700, 0o600));
        std::fs::set_permissions(elsewhere.join("mill.db"), Permissions::from_mode(0o640)).unwrap();
        make_database(&elsewhere.join("mill.db"), &data).unwrap();
        assert_eq!(mode(&elsewhere.join("mill.db")), 0o640);
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        assert!(make_data(&path).is_err());
        assert!(make_private(&path).is_err());
    }
}
