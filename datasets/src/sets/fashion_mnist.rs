//! Fashion-MNIST: articles of clothing in MNIST's form (Xiao, Rasul and Vollgraf 2017).

use crate::error::Result;
use crate::images::ImageDataset;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

const SERVERS: &[&str] = &[
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
];

/// Zalando's articles of clothing, in the form of MNIST but harder.
pub const FASHION_MNIST: Resource<'_> = Resource {
    name: "fashion-mnist",
    title: "Fashion-MNIST articles of clothing, 70,000 images of 28 x 28",
    files: &[
        RemoteFile {
            path: "fashion-mnist/train-images-idx3-ubyte.gz",
            size: Some(26_421_880),
            sha256: Some("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            urls: SERVERS,
            unpacked: &["fashion-mnist/train-images-idx3-ubyte"],
        },
        RemoteFile {
            path: "fashion-mnist/train-labels-idx1-ubyte.gz",
            size: Some(29_515),
            sha256: Some("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            urls: SERVERS,
            unpacked: &["fashion-mnist/train-labels-idx1-ubyte"],
        },
        RemoteFile {
            path: "fashion-mnist/t10k-images-idx3-ubyte.gz",
            size: Some(4_422_102),
            sha256: Some("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            urls: SERVERS,
            unpacked: &["fashion-mnist/t10k-images-idx3-ubyte"],
        },
        RemoteFile {
            path: "fashion-mnist/t10k-labels-idx1-ubyte.gz",
            size: Some(5_148),
            sha256: Some("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            urls: SERVERS,
            unpacked: &["fashion-mnist/t10k-labels-idx1-ubyte"],
        },
    ],
    licence: "MIT, Zalando SE",
    homepage: "https://github.com/zalandoresearch/fashion-mnist",
};

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
/// [`Error::Missing`](crate::Error::Missing) or [`Error::Download`](crate::Error::Download) when it is not in the data folder and not to be had; [`Error::Format`](crate::Error::Format) naming the file
/// for one that is no IDX file, is damaged, has a label above 9, or labels and images of different number.
pub fn load(dir: &DataDir) -> Result<(ImageDataset, ImageDataset)> {
    super::mnist::load_pairs(dir, &FASHION_MNIST)
}
