//! Whatever a file of a few hundred kilobytes unpacks to, a reader takes at most twenty times its length and 64 MiB, or says no.
//! A program of its own, since it counts every allocation.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cairn_datasets::table::TableReader;
use cairn_datasets::text::{LabelledReader, Vocabulary};
use cairn_datasets::{
    DataDir, ImageDataset, ag_news, cifar10, conllu, idx, imdb, mr_polarity, multi30k, tiny_shakespeare,
    word_tests,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Of text that repeats there is a thousandfold in a file of gzip.
const UNPACKED: u64 = 160 << 20;

/// A file of gzip with a beginning and something over and over.
fn bomb(folder: &Path, name: &str, begin: &[u8], again: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut packed =
        GzEncoder::new(io::BufWriter::new(fs::File::create(&path).unwrap()), Compression::fast());
    packed.write_all(begin).unwrap();
    let block = again.repeat((1 << 20) / again.len() + 1);
    let mut left = UNPACKED;
    while left > 0 {
        packed.write_all(&block).unwrap();
        left = left.saturating_sub(block.len() as u64);
    }
    packed.finish().unwrap().flush().unwrap();
    path
}

fn bounded<T>(name: &str, path: &Path, read: impl FnOnce(&Path) -> T) -> T {
    let length = fs::metadata(path).unwrap().len();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = read(path);
    let peak = (ALLOCATOR.peak_usage() - before) as u64;
    let limit = 20 * length + (64 << 20);
    assert!(peak <= limit, "{name}: {peak} bytes of memory for {length} of file, more than {limit}");
    result
}

/// A tar archive of one entry of this kind whose contents go on.
fn tar(kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(UNPACKED);
    header.set_path("././@LongLink").unwrap();
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// All in one test: two at once would count each other's memory.
#[test]
fn no_file_takes_more_than_a_multiple_of_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let text = |name: &str, begin: &[u8], again: &[u8], read: &dyn Fn(&Path) -> bool| {
        let path = bomb(dir.path(), name, begin, again);
        let ok = bounded(name, &path, read);
        assert!(!ok, "{name} should not fit");
    };
    text("conllu.gz", b"", b"1\tx\t_\t_\t_\t_\t0\t_\t_\t_\n\n", &|path| conllu::read(path).is_ok());
    text("columns.conllu.gz", b"1", b"\t", &|path| conllu::read(path).is_ok());
    text("field.csv.gz", b"\"", b"x", &|path| ag_news::read(path).is_ok());
    text("rows.csv.gz", b"", b"1,a,b\n", &|path| ag_news::read(path).is_ok());
    text("labels.csv.gz", b"", b"a,b\n", &|path| LabelledReader::csv().read(path).is_ok());
    let table = |path: &Path| TableReader::csv().read(path).is_ok();
    text("table.csv.gz", b"a,b\n", b"1,2\n", &table);
    text("names.csv.gz", b"a", b",b", &table);
    text("words.csv.gz", b"a\n", b"word\n", &table);
    text("polarity.gz", b"", b"a\n", &|path| mr_polarity::read(path, 0).is_ok());
    text("pairs.gz", b"", b"a\n", &|path| multi30k::read_pairs(path, path).is_ok());
    text("words.gz", b"", b"a b 1\n", &|path| word_tests::read_pairs(path).is_ok());
    text("analogies.gz", b": x\n", b"a b c d\n", &|path| word_tests::read_analogies(path).is_ok());
    text("text.gz", b"", b"abc", &|path| tiny_shakespeare::read_text(path).is_ok());
    text("vocabulary.gz", b"cairn vocabulary 1\n- -\n", b"1\ta\n", &|path| Vocabulary::load(path).is_ok());
    let images: Vec<u8> = [2051u32, 300_000, 32, 32].iter().flat_map(|x| x.to_be_bytes()).collect();
    text("images.gz", &images, b"\0", &|path| idx::read(path, 3).is_ok());
    text("images.gz", &images, b"\0", &|path| ImageDataset::from_idx(path, path, 10).is_ok());
    text("batch.bin.gz", b"", b"\0", &|path| cifar10::read(path).is_ok());
    let load = |photographs: bool, dir: &DataDir| match photographs {
        true => cifar10::load(dir).is_ok(),
        false => imdb::load(dir).is_ok(),
    };
    for (name, photographs) in
        [("cifar-10/cifar-10-binary.tar.gz", true), ("text/imdb/aclImdb_v1.tar.gz", false)]
    {
        for kind in [
            tar::EntryType::GNULongName,
            tar::EntryType::GNULongLink,
            tar::EntryType::XHeader,
            tar::EntryType::XGlobalHeader,
        ] {
            let path = bomb(dir.path(), name, &tar(kind), b"x");
            let folder = DataDir::new(dir.path()).offline();
            let loaded = bounded(name, &path, |_| load(photographs, &folder));
            assert!(!loaded, "{name} {kind:?}");
        }
    }
}
