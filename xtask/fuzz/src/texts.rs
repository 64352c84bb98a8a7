//! Texts, words and their vectors.

use std::path::{Path, PathBuf};

use cairn_datasets::table::{Preparation, TableReader};
use cairn_datasets::text::{LabelledReader, Vocabulary, WhitespaceTokenizer};
use cairn_datasets::{DataDir, ag_news, conllu, imdb, word_tests};
use cairn_optim::word2vec::WordVectors;

use crate::{Reader, at};

pub(crate) const READERS: &[Reader] = &[
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
        name: "csv-table",
        sample: || TABLE.into(),
        read: |bytes| TableReader::csv().from_reader(bytes).is_ok(),
    },
    Reader {
        name: "preparation",
        sample: preparation,
        read: |bytes| at("x", bytes, |path| Preparation::load(path).is_ok()),
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
        name: "word-pairs",
        sample: || b"cat dog 7.5\nsun moon 3\n".to_vec(),
        read: |bytes| at("x", bytes, |path| word_tests::read_pairs(path).is_ok()),
    },
    Reader {
        name: "word-analogies",
        sample: || b": x\na b c d\n".to_vec(),
        read: |bytes| at("x", bytes, |path| word_tests::read_analogies(path).is_ok()),
    },
    Reader {
        name: "vocabulary",
        sample: vocabulary,
        read: |bytes| at("x", bytes, |path| Vocabulary::load(path).is_ok()),
    },
    #[cfg(feature = "all")]
    Reader { name: "byte-pairs", sample: byte_pairs, read: read_byte_pairs },
];

/// A column of each type, with gaps.
const TABLE: &str = "size,kind,sold\n1.5,a,2024-01-01\nNA,\"b, c\",\n2e3,a,2024-01-02 10:00\n";

fn preparation() -> Vec<u8> {
    let table = TableReader::csv().from_reader(TABLE.as_bytes()).expect("a small table");
    let builder = Preparation::builder().numbers(["size"]).categories(["kind"]).dates(["sold"]);
    let preparation = builder.fit(&table).expect("each column has values");
    crate::written(|path| preparation.save(path).expect("a small file"))
}

const CONLLU: &str =
    "# text = a b\n1\ta\ta\tNOUN\tNN\t_\t0\troot\t_\t_\n2\tb\tb\tVERB\tVB\tX=Y\t1\tdep\t_\t_\n\n";

fn folder(path: &Path) -> DataDir {
    let root = path.ancestors().nth(3).map(PathBuf::from).unwrap_or_default();
    DataDir::new(root).offline()
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

fn vocabulary() -> Vec<u8> {
    let built = Vocabulary::builder().texts(["a rose is a rose"], &WhitespaceTokenizer).build();
    built.expect("a small vocabulary").to_text().into_bytes()
}

#[cfg(feature = "all")]
fn byte_pairs() -> Vec<u8> {
    let bpe = cairn_datasets::text::Bpe::builder().max_size(280);
    let bpe = bpe.train(["low lower lowest", "new newer newest"]).expect("trained");
    crate::written(|path| bpe.save(path).expect("written"))
}

#[cfg(feature = "all")]
fn read_byte_pairs(bytes: &[u8]) -> bool {
    at("x.json", bytes, |path| match cairn_datasets::text::Bpe::load(path) {
        Ok(bpe) => bpe.encode("the newest ☂").and_then(|ids| bpe.decode(&ids)).is_ok(),
        Err(_) => false,
    })
}
