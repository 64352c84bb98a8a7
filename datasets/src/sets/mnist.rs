//! MNIST: handwritten digits (LeCun, Bottou, Bengio and Haffner 1998).

use crate::error::Result;
use crate::images::ImageDataset;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

const SERVERS: &[&str] = &[
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
];

/// Handwritten digits: 60,000 and 10,000 grey images of 28 x 28 in 10 classes.
pub const MNIST: Resource<'_> = Resource {
    name: "mnist",
    title: "MNIST handwritten digits, 70,000 images of 28 x 28",
    files: &[
        RemoteFile {
            path: "mnist/train-images-idx3-ubyte.gz",
            size: Some(9_912_422),
            sha256: Some("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            urls: SERVERS,
            unpacked: &["mnist/train-images-idx3-ubyte"],
        },
        RemoteFile {
            path: "mnist/train-labels-idx1-ubyte.gz",
            size: Some(28_881),
            sha256: Some("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            urls: SERVERS,
            unpacked: &["mnist/train-labels-idx1-ubyte"],
        },
        RemoteFile {
            path: "mnist/t10k-images-idx3-ubyte.gz",
            size: Some(1_648_877),
            sha256: Some("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            urls: SERVERS,
            unpacked: &["mnist/t10k-images-idx3-ubyte"],
        },
        RemoteFile {
            path: "mnist/t10k-labels-idx1-ubyte.gz",
            size: Some(4_542),
            sha256: Some("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            urls: SERVERS,
            unpacked: &["mnist/t10k-labels-idx1-ubyte"],
        },
    ],
    licence: "the authors' page states none; by LeCun, Cortes and Burges",
    homepage: "http://yann.lecun.com/exdb/mnist/",
};

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
/// [`Error::Missing`](crate::Error::Missing) or [`Error::Download`](crate::Error::Download) when it is not in the data folder and not to be had; [`Error::Format`](crate::Error::Format) naming the file
/// for one that is no IDX file, is damaged, has a label above 9, or labels and images of different number.
#[doc(alias = "load_data")]
pub fn load(dir: &DataDir) -> Result<(ImageDataset, ImageDataset)> {
    load_pairs(dir, &MNIST)
}

/// Reads four IDX files: training images and labels, test images and labels.
pub(super) fn load_pairs(dir: &DataDir, set: &Resource<'_>) -> Result<(ImageDataset, ImageDataset)> {
    let [train_images, train_labels, test_images, test_labels] = dir.paths(set)?;
    let train = ImageDataset::from_idx(&train_images, &train_labels, 10)?;
    let test = ImageDataset::from_idx(&test_images, &test_labels, 10)?;
    Ok((train, test))
}
