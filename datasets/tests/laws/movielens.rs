//! Where the sets of MovieLens lie: their archive, or the folder it was unpacked to.

use std::fs;

use cairn_datasets::movielens;
use cairn_datasets::{DataDir, Error, registry};

/// The folder where there is one, their archive where that is there as well, and where to look if not.
#[test]
fn sets_are_located() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::new(dir.path()).offline();
    for (set, name, ratings) in [
        (&registry::MOVIELENS_100K, "ml-100k", &["u.data", "u.item"][..]),
        (&registry::MOVIELENS_1M, "ml-1m", &["ratings.dat"]),
        (&registry::MOVIELENS_20M, "ml-20m", &["ratings.csv"]),
        (&registry::MOVIELENS_25M, "ml-25m", &["ratings.csv"]),
    ] {
        let error = movielens::locate(&data, set).unwrap_err();
        assert!(matches!(&error, Error::Missing { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("{name}.zip")) && text.contains(&format!("{name}/{}", ratings[0])),
            "{text}"
        );

        let folder = dir.path().join("movielens").join(name);
        fs::create_dir_all(&folder).unwrap();
        for file in ratings {
            assert!(movielens::locate(&data, set).is_err(), "{name} without {file}");
            fs::write(folder.join(file), "").unwrap();
        }
        assert_eq!(movielens::locate(&data, set).unwrap(), folder);

        let archive = dir.path().join("movielens").join(format!("{name}.zip"));
        fs::write(&archive, "").unwrap();
        assert_eq!(movielens::locate(&data, set).unwrap(), archive);
    }
    fs::create_dir(dir.path().join("mnist")).unwrap();
    for file in registry::MNIST.files {
        fs::write(dir.path().join(file.path), "").unwrap();
    }
    let several = movielens::locate(&data, &registry::MNIST).unwrap_err();
    assert!(matches!(several, Error::Argument { .. }), "{several}");
}
