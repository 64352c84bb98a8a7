//! Fashion-MNIST: articles of clothing in MNIST's form (Xiao, Rasul and Vollgraf 2017).

use crate::dir::DataDir;
use crate::error::Result;
use crate::images::ImageDataset;
use crate::registry::FASHION_MNIST;

/// The names of the ten classes, by label.
pub const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// 60,000 images to train on and 10,000 to test on, 28 x 28 grey, labels as in [`CLASSES`]. Downloads what is missing.
///
/// # Errors
/// As [`DataDir::obtain`] and [`ImageDataset::from_idx`].
pub fn load(dir: &DataDir) -> Result<(ImageDataset, ImageDataset)> {
    crate::mnist::load_pairs(dir, &FASHION_MNIST)
}
