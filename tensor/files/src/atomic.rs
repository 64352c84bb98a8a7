//! Files that are replaced in one step.
//!
//! What is written goes to a temporary file in the target's folder, is flushed and synced, and is renamed over the target:
//! whenever the program or the machine stops there is the old file or the new one, never half of one. Names of temporary
//! files are drawn at random, so two threads or processes that save to one path do not meet; the last to finish wins.
//!
//! A temporary file is locked as long as it is being written, and the operating system frees the lock when the process ends,
//! however it ends. So a temporary file that can be locked belongs to nobody any more: those of killed runs are removed
//! when their target is written again. Where a file system knows no locks nothing is removed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Ending of temporary files: `.NAME.0123456789abcdef.part`.
const ENDING: &str = ".part";
/// Random digits in their names: 64 bits.
const DIGITS: usize = 16;
/// Names tried before giving up. The second is needed only if a cleaner takes the first between its creation and its lock.
const ATTEMPTS: usize = 16;

/// Writes a file in one step: whatever goes wrong, the old file is still there and whole.
///
/// # Errors
/// [`Error::Io`] naming the path when the folder is not there, the disk is full, or the operating system refuses for another
/// reason.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.commit()
}

/// A file that takes the place of its target when it is [committed](Self::commit). Dropped before, as on an error, it is
/// removed and the target is as it was.
///
/// ```
/// use std::io::Write as _;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("vectors.txt");
/// let mut file = cairn_files::AtomicFile::create(&path)?;
/// writeln!(file, "{} {}", 10, 300).unwrap();
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "10 300\n");
/// # Ok::<(), cairn_files::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    file: BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Begins a file for this path. The folder must be there. A symbolic link is replaced, not followed.
    ///
    /// # Errors
    /// [`Error::Io`] naming the path when no file can be made in its folder, or the path names no file.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let target = path.as_ref();
        let begin = || {
            let name = target.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
            remove_abandoned(folder(target), name);
            create_locked(target, name)
        };
        let (temporary, file) = begin().map_err(Error::io("create", target))?;
        let file = BufWriter::with_capacity(1 << 16, file);
        Ok(AtomicFile { file, temporary, target: target.to_owned(), committed: false })
    }

    /// Puts the file in the place of its target, once its bytes have reached the disk.
    ///
    /// # Errors
    /// [`Error::Io`] naming the path when the rest cannot be written (a full disk), or the file cannot be moved (the target
    /// is a folder).
    pub fn commit(mut self) -> Result<()> {
        let finish = |file: &mut BufWriter<File>, temporary: &Path, target: &Path| {
            file.flush()?;
            keep_permissions(file.get_ref(), target)?;
            file.get_ref().sync_all()?;
            fs::rename(temporary, target)
        };
        finish(&mut self.file, &self.temporary, &self.target).map_err(Error::io("write", &self.target))?;
        self.committed = true;
        sync_folder(folder(&self.target));
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// For formats whose header is known last.
impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Of no use to anybody; that it cannot be removed either would only hide the first error.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The folder that a path lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_name(target: &OsStr) -> OsString {
    let mut name = OsString::from(".");
    name.push(target);
    // Every `RandomState` hashes with keys of its own, drawn from the operating system's randomness.
    name.push(format!(".{:0DIGITS$x}{ENDING}", RandomState::new().hash_one(std::process::id())));
    name
}

/// Whether a file of this name was made by [`temporary_name`] for that target.
fn is_temporary_of(name: &OsStr, target: &OsStr) -> bool {
    let digits = (name.as_encoded_bytes().strip_prefix(b"."))
        .and_then(|rest| rest.strip_prefix(target.as_encoded_bytes()))
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(ENDING.as_bytes()));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// A new file beside the target, locked by this process.
fn create_locked(target: &Path, name: &OsStr) -> io::Result<(PathBuf, File)> {
    for _ in 0..ATTEMPTS {
        let path = target.with_file_name(temporary_name(name));
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        match file.try_lock() {
            // Another writer may have taken the new file for an abandoned one before it was locked.
            Ok(()) if !path.exists() => {}
            Err(fs::TryLockError::WouldBlock) => {}
            // A file system without locks serves as well: nobody can take the file for an abandoned one there.
            Ok(()) | Err(fs::TryLockError::Error(_)) => return Ok((path, file)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "temporary files are taken away as soon as they are made",
    ))
}

/// Removes temporary files that were left behind for this target. Best effort: what cannot be removed harms nobody.
fn remove_abandoned(folder: &Path, target: &OsStr) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary_of(&entry.file_name(), target)) {
        if let Ok(file) = OpenOptions::new().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file that only its owner may read stays so.
#[cfg(unix)]
fn keep_permissions(file: &File, target: &Path) -> io::Result<()> {
    match fs::metadata(target) {
        Ok(old) if old.is_file() => file.set_permissions(old.permissions()),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn keep_permissions(_file: &File, _target: &Path) -> io::Result<()> {
    Ok(())
}

/// The rename itself is on disk once the folder is synced. Not every system lets a folder be opened or synced, and the new
/// file is there either way.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
