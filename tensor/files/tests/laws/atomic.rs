//! A file is the old one or the new one, whoever else writes it, and nothing is left beside it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread;

use cairn_files::{AtomicFile, Error, write};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    write(&path, b"old").unwrap();
    write(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(dir.path()), ["model.cairn"]);
}

/// Runs a little, so that the other thread meets it in each state.
#[test]
fn two_threads_save_200_times_to_one_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    let contents = [vec![b'a'; 100_000], vec![b'b'; 70_000]];
    write(&path, &contents[0]).unwrap();
    thread::scope(|scope| {
        for bytes in &contents {
            scope.spawn(|| (0..100).for_each(|_| write(&path, bytes).unwrap()));
        }
        for _ in 0..200 {
            let seen = fs::read(&path).unwrap();
            assert!(contents.contains(&seen), "{} bytes that nobody wrote", seen.len());
        }
    });
    assert_eq!(names(dir.path()), ["model.cairn"]);
}

#[test]
fn a_file_that_is_not_committed_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    write(&path, b"old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half of the new").unwrap();
    file.flush().unwrap();
    assert_eq!(names(dir.path()).len(), 2);
    drop(file);
    assert_eq!(names(dir.path()), ["model.cairn"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

/// What a killed process leaves: a temporary file that nobody holds. Files of other targets, of other programs and of
/// writers that are alive stay.
#[test]
fn leftovers_of_killed_runs_are_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    let put = |name: &str| fs::write(dir.path().join(name), "x").unwrap();
    put(".model.cairn.0123456789abcdef.part");
    put(".other.cairn.0123456789abcdef.part");
    put(".model.cairn.12345.part");
    put(".model.cairn.backup.part");
    put("model.cairn.part");
    let alive = AtomicFile::create(&path).unwrap();
    let left = names(dir.path());
    assert!(!left.contains(&".model.cairn.0123456789abcdef.part".to_owned()), "{left:?}");
    assert_eq!(left.len(), 5, "{left:?}");
    write(&path, b"new").unwrap();
    assert_eq!(
        names(dir.path()).len(),
        6,
        "the file of the living writer was taken: {:?}",
        names(dir.path())
    );
    alive.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    let left = [".model.cairn.12345.part", ".model.cairn.backup.part", ".other.cairn.0123456789abcdef.part"];
    assert_eq!(names(dir.path())[..3], left);
}

/// The test program runs itself, writes half a file and aborts.
#[test]
fn a_process_that_is_killed_leaves_the_old_file() {
    const VARIABLE: &str = "CAIRN_FILES_ABORT_WHILE_WRITING";
    if let Some(path) = std::env::var_os(VARIABLE) {
        let mut file = AtomicFile::create(path).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    write(&path, b"old").unwrap();
    let this = std::env::current_exe().unwrap();
    let test = "atomic::a_process_that_is_killed_leaves_the_old_file";
    let ran = Command::new(this).args(["--exact", test]).env(VARIABLE, &path).output().unwrap();
    assert!(!ran.status.success());
    assert_eq!(names(dir.path()).len(), 2, "{ran:?}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    write(&path, b"new").unwrap();
    assert_eq!(names(dir.path()), ["model.cairn"]);
}

#[test]
fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |path: &Path| {
        let error = write(path, b"x").unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        text
    };
    fails(&dir.path().join("missing/model.cairn"));
    assert!(fails(&dir.path().join("..")).contains("names no file"));
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), "").unwrap();
    fails(&folder);
    assert_eq!(names(dir.path()), ["folder"]);
}

/// A limit on the size of files makes the operating system refuse in the middle, as a full disk does. The shell sets it for a
/// process of its own, in which the test program runs itself, and turns off the signal that would end it.
#[test]
#[cfg(unix)]
fn a_disk_that_takes_no_more_is_an_error_and_leaves_the_old_file() {
    const VARIABLE: &str = "CAIRN_FILES_WRITE_TOO_MUCH";
    if let Some(path) = std::env::var_os(VARIABLE) {
        let error = write(&path, &vec![0; 4 << 20]).unwrap_err();
        print!("refused: {error}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    write(&path, b"old").unwrap();
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --nocapture --exact \"$1\"";
    let test = "atomic::a_disk_that_takes_no_more_is_an_error_and_leaves_the_old_file";
    let mut shell = Command::new("sh");
    shell.args(["-c", limited]).arg(std::env::current_exe().unwrap()).arg(test).env(VARIABLE, &path);
    let printed = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let refused = format!("refused: cannot write {}: ", path.display());
    assert!(printed.contains(&refused), "{printed}");
    assert_eq!(names(dir.path()), ["model.cairn"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
#[cfg(unix)]
fn who_may_read_the_old_file_may_read_the_new_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    write(&path, b"old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write(&path, b"new").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(OpenOptions::new().write(true).open(&path).is_ok());
}

/// What a user of links has to know: the link is replaced, its target stays as it was.
#[test]
#[cfg(unix)]
fn a_link_is_replaced_and_its_target_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (link, target) = (dir.path().join("latest.cairn"), dir.path().join("first.cairn"));
    write(&target, b"old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write(&link, b"new").unwrap();
    assert_eq!((fs::read(&link).unwrap(), fs::read(&target).unwrap()), (b"new".to_vec(), b"old".to_vec()));
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}

#[test]
fn three_threads_save_and_load_one_path_60_times_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cairn");
    write(&path, &[0; 50_000]).unwrap();
    thread::scope(|scope| {
        for writer in 1..=3_u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..60 {
                    write(path, &vec![writer; 50_000 + 5000 * usize::from(writer)]).unwrap();
                    let seen = fs::read(path).unwrap();
                    let own = seen.first().copied().unwrap_or(9);
                    assert_eq!(
                        seen,
                        vec![own; 50_000 + 5000 * usize::from(own)],
                        "a file of several writers"
                    );
                }
            });
        }
    });
    assert_eq!(names(dir.path()), ["model.cairn"]);
}

#[test]
fn a_name_without_a_folder_is_in_the_working_folder() {
    let name = format!("cairn-files-{}.tmp", std::process::id());
    write(&name, b"x").unwrap();
    assert_eq!(fs::read(&name).unwrap(), b"x");
    fs::remove_file(&name).unwrap();
}
