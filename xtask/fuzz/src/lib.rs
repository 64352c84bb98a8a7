//! Every reader of Cairn as a function of bytes, with a valid file to begin with.
//!
//! A reader may give a value or an error for whatever bytes; it may not panic, hang or take more memory than a multiple of the
//! file. To add one: its line in [`READERS`].

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cairn_datasets::text::{Bpe, LabelledReader, Vocabulary, WhitespaceTokenizer};
use cairn_datasets::{DataDir, ImageFolder, ag_news, cifar10, conllu, idx, imdb, word_tests};
use cairn_nn::weights::Weights;
use cairn_nn::{Sequential, spec::Dense};
use cairn_optim::word2vec::WordVectors;
use cairn_recsys::read::{LogReader, movielens};
use cairn_recsys::{AnyModel, Estimator as _, Fitted, TopPop, synthetic};
use cairn_tensor::{AnyTensor, NpzReader, NpzWriter, Tensor, rng};

/// A format: its name, a valid file, and what reads it.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// One lower-case word.
    pub name: &'static str,
    /// A valid file.
    pub sample: fn() -> Vec<u8>,
    /// Whether it reads.
    pub read: fn(&[u8]) -> bool,
}

/// All of them.
pub const READERS: &[Reader] = &[
    Reader {
        name: "npy",
        sample: npy,
        read: |bytes| at("x.npy", bytes, |path| AnyTensor::read_npy(path).is_ok()),
    },
    Reader { name: "npz", sample: npz, read: read_npz },
    Reader {
        name: "npz-weights",
        sample: npz,
        read: |bytes| at("x.npz", bytes, |path| Weights::read_npz(path).is_ok()),
    },
    Reader { name: "safetensors", sample: safetensors, read: read_safetensors },
    Reader { name: "safetensors-index", sample: index, read: read_safetensors },
    Reader {
        name: "model",
        sample: model,
        read: |bytes| at("x.cairn", bytes, |path| Sequential::load(path).is_ok()),
    },
    Reader {
        name: "recommender",
        sample: recommender,
        read: |bytes| at("x.cairn", bytes, |path| Fitted::<dyn AnyModel>::load_any(path).is_ok()),
    },
    Reader { name: "idx", sample: idx_bytes, read: |bytes| idx::read_from(bytes, Path::new("x"), 3).is_ok() },
    Reader {
        name: "cifar",
        sample: || vec![3; 2 * 3073],
        read: |bytes| at("x.bin", bytes, |path| cifar10::read(path).is_ok()),
    },
    Reader {
        name: "tar",
        sample: tar_gz,
        read: |bytes| at("text/imdb/aclImdb_v1.tar.gz", bytes, |path| imdb::load(&folder(path)).is_ok()),
    },
    Reader {
        name: "conllu",
        sample: || CONLLU.into(),
        read: |bytes| at("x", bytes, |path| conllu::read(path).is_ok()),
    },
    Reader {
        name: "csv-news",
        sample: || b"1,\"a, b\",c\n4,d,e\n".to_vec(),
        read: |bytes| ag_news::read_from(bytes, Path::new("x")).is_ok(),
    },
    Reader {
        name: "csv-labels",
        sample: || b"label,text\nspam,a b\nham,\"c, d\"\n".to_vec(),
        read: |bytes| LabelledReader::csv().from_reader(bytes).is_ok(),
    },
    Reader {
        name: "csv-log",
        sample: || b"u,i,v,t\n1,2,3.5,100\n\"2\",3,4,2005-04-02 23:53:47\n".to_vec(),
        read: |bytes| LogReader::csv().from_reader::<u32, String>(bytes).is_ok(),
    },
    Reader {
        name: "movielens",
        sample: movielens_zip,
        read: |bytes| {
            at("ml.zip", bytes, |path| movielens::ratings(path).is_ok() & movielens::titles(path).is_ok())
        },
    },
    Reader {
        name: "parquet",
        sample: || include_bytes!("../../../recsys/tests/golden/log_snappy.parquet").to_vec(),
        read: read_parquet,
    },
    Reader {
        name: "vectors-text",
        sample: || b"2 2\nthe 0.1 0.2\nat 0.3 0.4\n".to_vec(),
        read: |bytes| at("x", bytes, |path| WordVectors::load_text(path).is_ok()),
    },
    Reader {
        name: "vectors-binary",
        sample: || b"2 1\nab 1234\ncd 5678\n".to_vec(),
        read: |bytes| at("x", bytes, |path| WordVectors::load_binary(path).is_ok()),
    },
    Reader {
        name: "word-tests",
        sample: || b": x\na b c d\n".to_vec(),
        read: |bytes| {
            at("x", bytes, |path| {
                word_tests::read_pairs(path).is_ok() | word_tests::read_analogies(path).is_ok()
            })
        },
    },
    Reader {
        name: "vocabulary",
        sample: vocabulary,
        read: |bytes| at("x", bytes, |path| Vocabulary::load(path).is_ok()),
    },
    Reader { name: "tokenizer", sample: tokenizer, read: read_tokenizer },
    Reader {
        name: "png",
        sample: || picture("png"),
        read: |bytes| at("class/x.png", bytes, |path| images(path).load().is_ok()),
    },
    Reader {
        name: "jpeg",
        sample: || picture("jpg"),
        read: |bytes| at("class/x.jpg", bytes, |path| images(path).load().is_ok()),
    },
];

const CONLLU: &str =
    "# text = a b\n1\ta\ta\tNOUN\tNN\t_\t0\troot\t_\t_\n2\tb\tb\tVERB\tVB\tX=Y\t1\tdep\t_\t_\n\n";

/// A file of a name in a folder of its own.
fn at<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a name in a folder")).expect("a folder can be made");
    fs::write(&path, bytes).expect("a file can be written");
    read(&path)
}

/// What a writer puts into a file.
fn written(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("file");
    write(&path);
    fs::read(path).expect("the file was written")
}

fn folder(path: &Path) -> DataDir {
    let root = path.ancestors().nth(3).map(PathBuf::from).unwrap_or_default();
    DataDir::new(root).offline()
}

fn images(path: &Path) -> ImageFolder {
    ImageFolder::new(path.ancestors().nth(2).unwrap_or(path)).max_bytes(64 << 20)
}

fn values() -> Tensor {
    Tensor::normal([3, 4], 0.0, 1.0, &mut rng(0)).expect("a small tensor")
}

fn npy() -> Vec<u8> {
    written(|path| values().write_npy(path).expect("written"))
}

fn npz() -> Vec<u8> {
    written(|path| {
        let mut archive = NpzWriter::create(path).expect("written");
        archive.add("a", &values()).expect("written");
        archive.add("b", &Tensor::scalar(true)).expect("written");
        archive.finish().expect("written");
    })
}

fn read_npz(bytes: &[u8]) -> bool {
    at("x.npz", bytes, |path| {
        let Ok(mut archive) = NpzReader::open(path) else { return false };
        archive.names().iter().all(|name| archive.dtype(name).is_ok() & archive.read_any(name).is_ok())
    })
}

fn dense() -> Sequential {
    Sequential::new([4]).add(Dense::new(3)).add(Dense::new(2)).build(&mut rng(0)).expect("a small model")
}

fn safetensors() -> Vec<u8> {
    written(|path| Weights::of(&dense()).note("epochs", "5").write_safetensors(path).expect("written"))
}

fn index() -> Vec<u8> {
    b"{\"metadata\":{},\"weight_map\":{\"a\":\"x-1.safetensors\",\"b\":\"x-2.safetensors\"}}".to_vec()
}

fn read_safetensors(bytes: &[u8]) -> bool {
    at("x.safetensors", bytes, |path| Weights::read_safetensors(path).is_ok())
}

fn model() -> Vec<u8> {
    written(|path| dense().save(path).expect("written"))
}

fn recommender() -> Vec<u8> {
    let log = synthetic::planted_groups(9, 6, 2, 3, 0.1, 0).expect("a small log");
    written(|path| TopPop::new().fit(&log).expect("trained").save(path).expect("written"))
}

fn idx_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    idx::write(&mut bytes, &idx::Idx { shape: vec![2, 3, 4], values: (0..24).collect() }).expect("written");
    bytes
}

fn tar_gz() -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(packed);
    for name in ["train/pos/1_9", "train/neg/1_2", "test/pos/1_9", "test/neg/1_2"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("aclImdb/{name}.txt"), &b"good"[..]).expect("written");
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("written")
}

fn movielens_zip() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in
        [("ml/ratings.dat", "1::2::5::100\n2::2::4::101\n"), ("ml/movies.dat", "2::A::B (1996)::Drama\n")]
    {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("written");
        archive.write_all(text.as_bytes()).expect("written");
    }
    archive.finish().expect("written").into_inner()
}

fn read_parquet(bytes: &[u8]) -> bool {
    let reader = LogReader::csv().columns("user", "item").value("stars").time("when");
    at("x.parquet", bytes, |path| reader.read_parquet::<u32, String>(path).is_ok())
}

fn vocabulary() -> Vec<u8> {
    let built = Vocabulary::builder().texts(["a rose is a rose"], &WhitespaceTokenizer).build();
    built.expect("a small vocabulary").to_text().into_bytes()
}

fn tokenizer() -> Vec<u8> {
    let bpe = Bpe::builder().max_size(280).train(["low lower lowest", "new newer newest"]).expect("trained");
    written(|path| bpe.save(path).expect("written"))
}

fn read_tokenizer(bytes: &[u8]) -> bool {
    at("x.json", bytes, |path| match Bpe::load(path) {
        Ok(bpe) => bpe.encode("the newest ☂").and_then(|ids| bpe.decode(&ids)).is_ok(),
        Err(_) => false,
    })
}

fn picture(ending: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join(format!("x.{ending}"));
    let noise =
        image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([(x * 31) as u8, (y * 53) as u8, (x * y) as u8]));
    noise.save(&path).expect("written");
    fs::read(path).expect("the file was written")
}

/// Damage that is a function of a number: flipped bits, other bytes, extreme numbers in place of lengths, cuts, and pieces that are
/// there twice.
#[must_use]
pub fn damaged(valid: &[u8], number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
    // SplitMix64 (Steele, Lea and Flood 2014).
    let mut draw = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    };
    let mut bytes = valid.to_vec();
    for _ in 0..=draw(3) {
        if bytes.is_empty() {
            break;
        }
        let at = draw(bytes.len());
        match draw(6) {
            0 => bytes[at] ^= 1 << draw(8),
            1 => bytes[at] = draw(256) as u8,
            2 => {
                let extremes: [u64; 6] = [0, 1, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 40];
                let width = [1, 2, 4, 8][draw(4)].min(bytes.len() - at);
                let value = extremes[draw(extremes.len())];
                let number = if draw(2) == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
                let from = if number[0] == 0 { 8 - width } else { 0 };
                bytes[at..at + width].copy_from_slice(&number[from..from + width]);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + 1 + draw(16)).min(bytes.len()))),
            _ => {
                let end = (at + 1 + draw(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}
