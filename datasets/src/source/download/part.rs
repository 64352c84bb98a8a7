//! The partial file: locked while it is being written, resumed later, checked, and moved into place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Expected;
use crate::error::{Error, Result};

/// `NAME.part`, open, locked, with the position at its end.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    len: u64,
    folders: Folders,
    finished: bool,
}

/// Folders that were made for the file.
struct Folders(Vec<PathBuf>);

impl Folders {
    fn make(target: &Path) -> Result<Folders> {
        let Some(folder) = target.parent() else { return Ok(Folders(Vec::new())) };
        let missing =
            folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = missing.map(Path::to_owned).collect();
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        Ok(Folders(made))
    }
}

/// Of a download that brought nothing, nothing is left.
impl Drop for Part {
    fn drop(&mut self) {
        // Where files have no identity, another process might hold the name that is removed.
        if cfg!(unix) && self.len == 0 && !self.finished {
            let _ = fs::remove_file(&self.path);
            // The deepest first; one that has other files stays.
            self.folders.0.iter().for_each(|folder| drop(fs::remove_dir(folder)));
        }
    }
}

impl Part {
    /// Opens and locks the partial file for `target`; `None` if `target` is already there, perhaps because the process
    /// that held the lock finished it. Where it has to wait and `progress` says so, it tells standard error.
    ///
    /// The lock belongs to the open file. Whoever held it before may have moved or removed the file meanwhile: then the name stands
    /// for another file, or for none, and it begins anew. A link is no file of ours: what it leads to must not be written to.
    pub(super) fn open(target: &Path, patience: Duration, progress: bool) -> Result<Option<Part>> {
        if target.exists() {
            return Ok(None);
        }
        let folders = Folders::make(target)?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = target.with_file_name(name);
        loop {
            refuse_link(&path)?;
            let mut options = OpenOptions::new();
            let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(Error::io("create", &path))?;
            lock(&file, &path, target, patience, progress)?;
            if target.exists() {
                // Another process finished while we waited. Our partial file is its, moved, or an empty one made since.
                let _ = fs::remove_file(&path);
                return Ok(None);
            }
            if !is_at(&file, &path)? {
                refuse_link(&path)?;
                continue;
            }
            let len = file.seek(SeekFrom::End(0)).map_err(Error::io("read", &path))?;
            return Ok(Some(Part { file, path, target: target.to_owned(), len, folders, finished: false }));
        }
    }

    /// Bytes there so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(source) = self.file.write_all(bytes) {
            // Some of these bytes may be there and some not; what came before them is still good.
            let _ = self.file.set_len(self.len);
            return Err(Error::Io { action: "write", path: self.path.clone(), source });
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is there.
    pub(super) fn restart(&mut self) -> Result<()> {
        if self.len == 0 {
            return Ok(());
        }
        self.len = 0;
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(drop).map_err(Error::io("empty", &self.path))
    }

    /// Compares what is there with what it should be; `url` is for the message.
    pub(super) fn check(&self, url: &str, expected: &Expected) -> Result<()> {
        verify(&self.path, url, expected)
    }

    /// Moves the file into place, after its bytes have reached the disk.
    pub(super) fn finish(mut self) -> Result<()> {
        self.finished = true;
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        fs::rename(&self.path, &self.target).map_err(Error::io("move into place", &self.target))
    }
}

/// A partial file may lie in a folder that others write to.
fn refuse_link(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            Err(Error::format(path, "is a link, through which nothing is downloaded; remove it"))
        }
        _ => Ok(()),
    }
}

/// Whether an open file is the one at a path, and no link is there.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let own = file.metadata().map_err(Error::io("read", path))?;
    let same = |there: fs::Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
    Ok(fs::symlink_metadata(path).is_ok_and(same))
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> Result<bool> {
    Ok(path.exists())
}

/// Waits for the lock, asking a few times a second: the operating system's own waiting has no time limit.
fn lock(file: &File, path: &Path, target: &Path, patience: Duration, progress: bool) -> Result<()> {
    let start = Instant::now();
    let mut told = !progress;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            // Some network file systems know no locks; then the last to finish wins, with the right bytes either way.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", path)(e)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                return Err(Error::Busy { path: target.to_owned() });
            }
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut told, true) {
                    let (name, seconds) = (target.display(), patience.as_secs());
                    // A closed terminal is no reason not to wait.
                    let _ = writeln!(
                        io::stderr(),
                        "waiting for another process that is downloading {name}, for at most {seconds} s"
                    );
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

pub(super) fn verify(path: &Path, name: &str, expected: &Expected) -> Result<()> {
    let read = Error::io("read", path);
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let (got, len) = digest(&mut file).map_err(read)?;
    if let Some(size) = expected.size.filter(|&size| size != len) {
        return Err(Error::WrongLength { url: name.to_owned(), expected: size, got: len });
    }
    match &expected.sha256 {
        Some(sum) if !sum.eq_ignore_ascii_case(&got) => {
            Err(Error::Checksum { url: name.to_owned(), expected: sum.clone(), got })
        }
        _ => Ok(()),
    }
}

/// SHA-256 in hexadecimal, and the length.
fn digest(reader: &mut impl Read) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut len = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                len += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let hex = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((hex, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_known_text() {
        // FIPS 180-2, appendix B.1.
        let (hex, len) = digest(&mut &b"abc"[..]).unwrap();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(len, 3);
    }

    #[test]
    fn a_locked_part_is_busy_and_free_again_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let held = Part::open(&target, Duration::ZERO, false).unwrap().unwrap();
        assert!(matches!(Part::open(&target, Duration::ZERO, false), Err(Error::Busy { .. })));
        drop(held);
        assert!(Part::open(&target, Duration::ZERO, false).unwrap().is_some());
    }

    #[test]
    fn waiting_for_another_download_ends_when_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let mut held = Part::open(&target, Duration::ZERO, false).unwrap().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| Part::open(&target, Duration::from_secs(20), false));
            thread::sleep(Duration::from_millis(150));
            held.append(b"whole").unwrap();
            held.finish().unwrap();
            assert!(waiting.join().unwrap().unwrap().is_none());
        });
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert!(!dir.path().join("file.part").exists());
    }
}
