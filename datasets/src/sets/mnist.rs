//! MNIST: handwritten digits (LeCun, Bottou, Bengio and Haffner 1998).

use crate::dir::{DataDir, Located};
use crate::error::Result;
use crate::images::ImageDataset;
use crate::registry::{KnownSet, MNIST};

/// 60,000 images to train on and 10,000 to test on, 28 x 28 grey, labels 0 to 9, in the publisher's order. Downloads what
/// is missing.
///
/// ```no_run
/// use cairn_datasets::{mnist, DataDir, Dataset};
/// let (train, test) = mnist::load(&DataDir::default())?;
/// assert_eq!((train.len(), test.len()), (60_000, 10_000));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// As [`DataDir::obtain`] and [`ImageDataset::from_idx`].
pub fn load(dir: &DataDir) -> Result<(ImageDataset, ImageDataset)> {
    load_pairs(dir, &MNIST)
}

/// Reads four IDX files: training images and labels, test images and labels.
pub(crate) fn load_pairs(dir: &DataDir, set: &KnownSet) -> Result<(ImageDataset, ImageDataset)> {
    let located = dir.obtain(set)?;
    // Packed or unpacked, each is one file that is read the same way.
    let paths: Vec<_> = located.iter().flat_map(Located::paths).collect();
    let [train_images, train_labels, test_images, test_labels] = paths[..] else {
        return Err(crate::Error::argument("load", format!("{} is not four IDX files", set.name)));
    };
    let train = ImageDataset::from_idx(train_images, train_labels, 10)?;
    let test = ImageDataset::from_idx(test_images, test_labels, 10)?;
    Ok((train, test))
}
