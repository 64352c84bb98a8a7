//! Where paths lead: whether what is to be written, which need not be there yet, lies where something else does.

use std::path::{Component, Path, PathBuf};

/// Whether two paths lead to one file or folder that is there.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether a path, of which the last parts need not be there yet, leads into a folder.
pub(crate) fn lies_in(path: &Path, folder: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| resolved(path).starts_with(folder))
}

/// Whether of two such places, resolved, not both can be files: they are one, or one lies in the other.
pub(crate) fn collide(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Where a path leads, of which the last parts need not be there yet: through links, and without `..`.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut place = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            // Links before it are followed already.
            Component::ParentDir => {
                place.pop();
            }
            part => place.push(part),
        }
        if let Ok(there) = place.canonicalize() {
            place = there;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_within_another_are_told_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let (from, beside) = (folder.path().join("from"), folder.path().join("from, too"));
        std::fs::create_dir(&from).unwrap();
        assert!(lies_in(&from.join("new/one"), &from) && lies_in(&from.join("../from/one"), &from));
        assert!(!lies_in(&beside, &from) && !lies_in(&from.join("../other"), &from));
    }

    #[test]
    fn places_that_are_not_there_yet_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| resolved(&folder.path().join(path));
        assert_eq!(at("new"), at("./other/../new/."));
        assert_ne!(at("new"), at("new/one"));
        assert_eq!(resolved(Path::new("new")), resolved(Path::new("./new")));
        assert!(collide(&at("new"), &at("new/one")) && collide(&at("new/one"), &at("new")));
        assert!(!collide(&at("new"), &at("newer")) && !collide(&at("new/one"), &at("new/two")));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_parents_are_those_of_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("far/away")).unwrap();
        std::os::unix::fs::symlink(at("far/away"), at("link")).unwrap();
        assert_eq!(resolved(&at("link/new")), resolved(&at("far/away/new")));
        assert_eq!(resolved(&at("link/../new")), resolved(&at("far/new")));
        assert!(lies_in(&at("link/new"), &at("far")));
    }
}
