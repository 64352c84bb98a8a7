//! Images.

use super::{KnownSet, RemoteFile};

/// One gzipped IDX file, under the same name on each server.
macro_rules! idx_file {
    ($folder:literal, $name:literal, $size:literal, $sha256:literal, [$($base:literal),+]) => {
        RemoteFile {
            path: concat!($folder, "/", $name, ".gz"),
            size: $size,
            sha256: $sha256,
            urls: &[$(concat!($base, $name, ".gz")),+],
            unpacked: &[concat!($folder, "/", $name)],
        }
    };
}

macro_rules! mnist_file {
    ($name:literal, $size:literal, $sha256:literal) => {
        idx_file!(
            "mnist",
            $name,
            $size,
            $sha256,
            [
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/"
            ]
        )
    };
}

macro_rules! fashion_file {
    ($name:literal, $size:literal, $sha256:literal) => {
        idx_file!(
            "fashion-mnist",
            $name,
            $size,
            $sha256,
            [
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
            ]
        )
    };
}

/// Handwritten digits: 60,000 and 10,000 grey images of 28 x 28 in 10 classes.
pub const MNIST: KnownSet = KnownSet {
    name: "mnist",
    title: "MNIST handwritten digits, 70,000 images of 28 x 28",
    files: &[
        mnist_file!(
            "train-images-idx3-ubyte",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        mnist_file!(
            "train-labels-idx1-ubyte",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        mnist_file!(
            "t10k-images-idx3-ubyte",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        mnist_file!(
            "t10k-labels-idx1-ubyte",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    ],
    licence: "the authors' page states none; by LeCun, Cortes and Burges",
    homepage: "http://yann.lecun.com/exdb/mnist/",
};

/// Small colour photographs: 50,000 and 10,000 of 32 x 32 in 10 classes (Krizhevsky 2009).
pub const CIFAR_10: KnownSet = KnownSet {
    name: "cifar-10",
    title: "CIFAR-10 photographs, 60,000 images of 32 x 32 in colour",
    files: &[RemoteFile {
        path: "cifar-10/cifar-10-binary.tar.gz",
        size: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        urls: &["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
        unpacked: &[
            "cifar-10/cifar-10-batches-bin/data_batch_1.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_2.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_3.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_4.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_5.bin",
            "cifar-10/cifar-10-batches-bin/test_batch.bin",
        ],
    }],
    licence: "the author's page states none and asks to cite Krizhevsky 2009",
    homepage: "https://www.cs.toronto.edu/~kriz/cifar.html",
};

/// Zalando's articles of clothing, in the form of MNIST but harder.
pub const FASHION_MNIST: KnownSet = KnownSet {
    name: "fashion-mnist",
    title: "Fashion-MNIST articles of clothing, 70,000 images of 28 x 28",
    files: &[
        fashion_file!(
            "train-images-idx3-ubyte",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        fashion_file!(
            "train-labels-idx1-ubyte",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        fashion_file!(
            "t10k-images-idx3-ubyte",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        fashion_file!(
            "t10k-labels-idx1-ubyte",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    ],
    licence: "MIT, Zalando SE",
    homepage: "https://github.com/zalandoresearch/fashion-mnist",
};
