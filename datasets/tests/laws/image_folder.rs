//! Folders of images, generated, whole and hostile.

use std::fs;
use std::path::Path;

use cairn_datasets::{Dataset, Error, ImageFolder};
use image::{Rgb, RgbImage};

fn save(root: &Path, name: &str, [height, width]: [u32; 2], colour: [u8; 3]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(colour)).save(path).unwrap();
}

fn fault(folder: &ImageFolder, names: &str) -> String {
    let error = folder.load().unwrap_err();
    let Error::Format { path, message, .. } = &error else { panic!("{error}") };
    assert!(path.ends_with(names), "{} is not {names}", path.display());
    message.clone()
}

#[test]
fn classes_and_files_come_by_name() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "dog/b.png", [3, 4], [1, 2, 3]);
    save(dir.path(), "dog/a.jpg", [3, 4], [200, 200, 200]);
    save(dir.path(), "cat/z.PNG", [3, 4], [0, 255, 0]);
    fs::write(dir.path().join("dog/notes.txt"), "not an image").unwrap();
    fs::write(dir.path().join("labels.csv"), "").unwrap();
    fs::create_dir(dir.path().join(".cache")).unwrap();
    let (images, classes) = ImageFolder::new(dir.path()).load().unwrap();
    assert_eq!((classes, images.labels()), (vec!["cat".into(), "dog".into()], &[0, 1, 1][..]));
    assert_eq!((images.len(), images.size(), images.classes()), (3, [3, 4, 3], 2));
    assert_eq!(images.pixels(0).unwrap()[..3], [0, 255, 0]);
    assert!(images.pixels(1).unwrap().iter().all(|&byte| byte.abs_diff(200) <= 2));
    assert_eq!(images.pixels(2).unwrap()[..3], [1, 2, 3]);
    assert_eq!(ImageFolder::new(dir.path()).grey().load().unwrap().0.size(), [3, 4, 1]);
}

#[test]
fn differing_sizes_are_an_error_unless_resized() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "a/1.png", [3, 4], [10, 20, 30]);
    save(dir.path(), "b/2.png", [9, 5], [40, 50, 60]);
    let folder = ImageFolder::new(dir.path());
    assert!(fault(&folder, "b/2.png").contains("9 x 5 pixels where others have 3 x 4"));
    let (images, _) = folder.clone().resize(6, 7).load().unwrap();
    assert_eq!((images.size(), &images.pixels(1).unwrap()[..3]), ([6, 7, 3], &[40, 50, 60][..]));
    assert!(matches!(folder.resize(0, 7).load(), Err(Error::Argument { .. })));
}

#[test]
fn bad_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(ImageFolder::new(dir.path()).load(), Err(Error::Empty { .. })));
    assert!(matches!(ImageFolder::new(dir.path().join("none")).load(), Err(Error::Io { .. })));
    let folder = ImageFolder::new(dir.path());
    fs::create_dir(dir.path().join("a")).unwrap();
    assert!(fault(&folder, "a").contains("without"));
    save(dir.path(), "a/1.png", [30, 40], [10, 20, 30]);
    assert!(fault(&folder.clone().max_side(39), "a/1.png").contains("not a readable image"));
    assert!(fault(&folder.clone().max_bytes(100), "a/1.png").len() > 10);
    let path = dir.path().join("a/1.png");
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() - 12 {
        fs::write(&path, &whole[..cut]).unwrap();
        fault(&folder, "a/1.png");
    }
    // A decoder would fill in what is missing of a JPEG file. A preview within it has an end of its own.
    let preview: &[u8] = b"\xff\xe1\x00\x08\xff\xd8\xff\xd9\x00\x00";
    fs::remove_file(&path).unwrap();
    let (from, to) = (dir.path().join("a/noise.jpg"), dir.path().join("a/cut.jpg"));
    RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 97 + y * 31) as u8, (x * y) as u8, (y * 53) as u8]))
        .save(&from)
        .unwrap();
    let picture = fs::read(&from).unwrap();
    fs::remove_file(&from).unwrap();
    let picture = [&picture[..2], preview, &picture[2..]].concat();
    fs::write(&to, &picture).unwrap();
    assert_eq!(folder.load().unwrap().0.len(), 1);
    for cut in 0..picture.len() - 1 {
        fs::write(&to, &picture[..cut]).unwrap();
        let message = fault(&folder, "a/cut.jpg");
        assert!(!message.contains('\n') && !message.ends_with(char::is_whitespace), "{message:?}");
    }
    fs::remove_file(&to).unwrap();
    // A header that announces 2^31 - 1 pixels each way: refused, not allocated.
    let mut huge = whole;
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    fs::write(&path, &huge).unwrap();
    fault(&folder, "a/1.png");
    fs::write(&path, "GIF89a not really").unwrap();
    fault(&folder, "a/1.png");
}
