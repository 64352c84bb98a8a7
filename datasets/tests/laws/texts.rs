//! Text collections: read from small invented files in each layout, and every malformed one refused by name and line.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cairn_datasets::conllu::{self, Sentence};
use cairn_datasets::text::{LabelledReader, LabelledText};
use cairn_datasets::{
    DataDir, Error, ag_news, imdb, mr_polarity, multi30k, penn_treebank, tiny_shakespeare, word_tests,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn put(root: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn offline(root: &Path) -> DataDir {
    DataDir::new(root).offline()
}

/// Line and message of a format error about the file of that name.
fn fault<T: std::fmt::Debug>(result: Result<T, Error>, file: &str) -> (Option<usize>, String) {
    match result.unwrap_err() {
        Error::Format { path, line, message } => {
            assert!(path.ends_with(file), "{} is not {file}: {message}", path.display());
            (line, message)
        }
        other => panic!("not a format error: {other}"),
    }
}

const REVIEWS: [(&str, &[u8]); 5] = [
    ("train/neg/1_2.txt", b"Dull.<br /><br />Very."),
    ("train/pos/10_9.txt", b"Fine"),
    ("train/pos/2_7.txt", "Größe".as_bytes()),
    ("test/pos/0_10.txt", b"Good"),
    ("test/neg/0_1.txt", b"Bad"),
];

fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

fn imdb_archive(reviews: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = reviews.iter().map(|(name, _)| format!("aclImdb/{name}")).collect();
    let mut files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(reviews.iter().map(|r| r.1)).collect();
    // What the official archive has besides.
    files.push(("aclImdb/README", b"about"));
    files.push(("aclImdb/train/unsup/0_0.txt", b"unlabelled"));
    files.push(("aclImdb/train/labeledBow.feat", b"9 0:9"));
    tar_gz(&files)
}

#[test]
fn imdb_reads_alike_from_archive_and_folder() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(a.path(), "text/imdb/aclImdb_v1.tar.gz", &imdb_archive(&REVIEWS));
    for (name, bytes) in REVIEWS {
        put(b.path(), &format!("imdb/aclImdb/{name}"), bytes);
    }
    let [(train, test), folder] = [a, b].map(|dir| imdb::load(&offline(dir.path())).unwrap());
    assert_eq!((&train, &test), (&folder.0, &folder.1));
    let facts: Vec<_> = train.iter().map(|r| (r.id, r.label, r.rating, r.text.as_str())).collect();
    assert_eq!(facts, [(2, 1, 7, "Größe"), (10, 1, 9, "Fine"), (1, 0, 2, "Dull.\n\nVery.")]);
    assert_eq!(test.len(), 2);
}

#[test]
fn imdb_refuses_bad_reviews() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &'static str, bytes: &[u8]| {
        put(
            dir.path(),
            "text/imdb/aclImdb_v1.tar.gz",
            &imdb_archive(&[&REVIEWS[..], &[(name, bytes)]].concat()),
        );
        imdb::load(&offline(dir.path()))
    };
    assert_eq!(
        fault(load("test/neg/5_1.txt", b"line\nbad \xff"), "test/neg/5_1.txt"),
        (Some(2), "not UTF-8".into())
    );
    assert!(fault(load("test/neg/5_1.txt", b" \n"), "5_1.txt").1.contains("empty"));
    assert!(fault(load("test/neg/5.txt", b"x"), "test/neg/5.txt").1.contains("ID_RATING"));
    assert!(fault(load("test/neg/5_1.txt", &vec![b'x'; 2 << 20]), "5_1.txt").1.contains("more than"));
    assert!(load("elsewhere/5.txt", b"\xff").is_ok());
}

#[test]
fn imdb_refuses_damaged_archives() {
    let dir = tempfile::tempdir().unwrap();
    let whole = imdb_archive(&REVIEWS);
    for cut in [0, 1, 10, whole.len() / 3, whole.len() / 2] {
        put(dir.path(), "text/imdb/aclImdb_v1.tar.gz", &whole[..cut]);
        let error = imdb::load(&offline(dir.path())).unwrap_err();
        assert!(
            matches!(error, Error::Format { .. } | Error::Empty { .. } | Error::Io { .. }),
            "cut at {cut}: {error}"
        );
    }
    put(dir.path(), "text/imdb/aclImdb_v1.tar.gz", &imdb_archive(&REVIEWS[..3]));
    assert!(matches!(imdb::load(&offline(dir.path())), Err(Error::Empty { .. })));
}

#[test]
fn mr_polarity_is_latin_1() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "text/mr/rt-polarity.pos.gz", &gzip(b"a caf\xe9 . \nfine\n"));
    put(dir.path(), "text/mr/rt-polarity.neg", b"dull");
    let sentences = mr_polarity::load(&offline(dir.path())).unwrap();
    let facts: Vec<_> = sentences.iter().map(|s| (s.text.as_str(), s.label)).collect();
    assert_eq!(facts, [("a café .", 1), ("fine", 1), ("dull", 0)]);
    put(dir.path(), "text/mr/rt-polarity.neg", b"dull\n\nx\n");
    assert_eq!(fault(mr_polarity::load(&offline(dir.path())), "rt-polarity.neg").0, Some(2));
    put(dir.path(), "text/mr/rt-polarity.neg", b"");
    assert!(matches!(mr_polarity::load(&offline(dir.path())), Err(Error::Empty { .. })));
}

#[test]
fn ag_news_rows() {
    let read = |text: &[u8]| ag_news::read_from(text, Path::new("train.csv"));
    let news = read(b"\"3\",\"Title \"\"quoted\"\"\",\"Text, with a comma\"\n1,A,B\n").unwrap();
    assert_eq!((news[0].text.as_str(), news[0].label), ("Title \"quoted\" Text, with a comma", 2));
    assert_eq!(ag_news::CLASSES[news[1].label as usize], "World");
    for (row, what) in [
        ("2,only", "2 columns"),
        ("2,a,b,c", "4 columns"),
        ("0,a,b", "class 0"),
        ("5,a,b", "class 5"),
        ("x,a,b", "class `x`"),
        ("1,,", "no text"),
    ] {
        let (line, message) = fault(read(format!("1,a,b\n{row}\n1,a,b\n").as_bytes()), "train.csv");
        assert!(message.contains(what), "{row}: {message}");
        assert_eq!(line, Some(2), "{row}");
    }
    assert_eq!(fault(read(b"1,a,b\n1,\xff,b\n"), "train.csv").0, Some(2));
    assert!(matches!(read(b""), Err(Error::Empty { .. })));
}

#[test]
fn plain_texts() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "text/ptb/ptb.train.txt.gz", &gzip(b" a b <unk> \n c \n"));
    put(dir.path(), "text/ptb/ptb.valid.txt", b"v\n");
    put(dir.path(), "text/ptb/ptb.test.txt", b"t\n");
    let text = penn_treebank::load(&offline(dir.path())).unwrap();
    assert_eq!(
        (text.train.as_str(), text.valid.as_str(), text.test.as_str()),
        (" a b <unk> \n c \n", "v\n", "t\n")
    );
    put(dir.path(), "text/ptb/ptb.test.txt", b"t\nt\n\xe9\n");
    assert_eq!(
        fault(penn_treebank::load(&offline(dir.path())), "ptb.test.txt"),
        (Some(3), "not UTF-8".into())
    );

    put(dir.path(), "text/tinyshakespeare/input.txt.gz", &gzip(b"First"));
    assert_eq!(tiny_shakespeare::load(&offline(dir.path())).unwrap(), "First");
    put(dir.path(), "text/tinyshakespeare/input.txt.gz", &gzip(b"First")[..12]);
    assert!(fault(tiny_shakespeare::load(&offline(dir.path())), "input.txt.gz").1.contains("truncated"));
    let empty = put(dir.path(), "empty", b"");
    assert!(matches!(tiny_shakespeare::read_text(&empty), Err(Error::Empty { .. })));
}

#[test]
fn parallel_texts() {
    let dir = tempfile::tempdir().unwrap();
    let source = put(dir.path(), "de.gz", &gzip("Größe\nzwei\n".as_bytes()));
    let target = put(dir.path(), "en", b"size\r\ntwo");
    let pairs = multi30k::read_pairs(&source, &target).unwrap();
    assert_eq!((pairs[0].source.as_str(), pairs[0].target.as_str(), pairs.len()), ("Größe", "size", 2));
    put(dir.path(), "en", b"size\n");
    assert!(fault(multi30k::read_pairs(&source, &target), "en").1.contains("1 lines, but"));
    put(dir.path(), "en", b"size\n\n");
    assert_eq!(fault(multi30k::read_pairs(&source, &target), "en").0, Some(2));
    let empty = put(dir.path(), "empty", b"");
    assert!(matches!(multi30k::read_pairs(&empty, &empty), Err(Error::Empty { .. })));
}

const TREE: &str = "# text = Dogs can't.\n\
    1\tDogs\tdog\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t_\t_\n\
    2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_\n\
    2\tca\tcan\tAUX\tMD\t_\t0\troot\t_\t_\n\
    3\tn't\tnot\tPART\tRB\t_\t2\tadvmod\t_\tSpaceAfter=No\n\
    3.1\tbark\tbark\tVERB\tVB\t_\t_\t_\t_\t_\n\
    4\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\t_\n\
    \n\
    1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_\n";

fn parse(text: &str) -> Result<Vec<Sentence>, Error> {
    conllu::parse(text, Path::new("x.conllu"))
}

#[test]
fn trees_are_read() {
    let sentences = parse(TREE).unwrap();
    assert_eq!(sentences.iter().map(|s| s.words.len()).collect::<Vec<_>>(), [4, 1]);
    let word = &sentences[0].words[2];
    assert_eq!((word.form.as_str(), word.lemma.as_str(), word.upos.as_str()), ("n't", "not", "PART"));
    assert_eq!(
        (word.xpos.as_str(), word.feats.as_str(), word.head, word.deprel.as_str()),
        ("RB", "_", Some(2), "advmod")
    );
    assert!(conllu::UPOS.is_sorted());
    assert_eq!(parse(&TREE.replace('\n', "\r\n")).unwrap(), sentences);
    assert_eq!(parse(&format!("\n\n{TREE}\n\n\n")).unwrap(), sentences);
}

#[test]
fn parts_of_speech_may_be_missing_or_of_another_tag_set() {
    let sentences = parse("1\tdog\t_\t_\t_\t_\t0\troot\t_\t_\n").unwrap();
    assert_eq!((sentences[0].words.len(), sentences[0].words[0].upos.as_str()), (1, "_"));
    let sentences = parse("1\tder\tder\tART\tART\t_\t_\t_\t_\t_\n").unwrap();
    assert_eq!(sentences[0].words[0].upos, "ART");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "x", format!("\u{feff}{TREE}").as_bytes());
    assert_eq!(conllu::read(&path).unwrap(), parse(TREE).unwrap());
    let wide: Vec<u8> = "\u{feff}a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = put(dir.path(), "x", &wide);
    assert!(fault(conllu::read(&path), "x").1.contains("UTF-16"));
}

/// Names with backslashes, as some programs on Windows write, and names in members of their own, as pax has them.
#[test]
fn archives_of_other_programs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for (i, (name, bytes)) in REVIEWS.iter().enumerate() {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let name = format!("aclImdb/{name}");
        if i % 2 == 0 {
            builder.append_pax_extensions([("path", name.as_bytes()), ("mtime", b"1.5")]).unwrap();
            builder.append_data(&mut header, "short", *bytes).unwrap();
        } else {
            let field = &mut header.as_old_mut().name;
            let windows = name.replace('/', "\\");
            field[..windows.len()].copy_from_slice(windows.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
    }
    let archive = gzip(&builder.into_inner().unwrap());
    put(dir.path(), "text/imdb/aclImdb_v1.tar.gz", &archive);
    let (train, test) = imdb::load(&offline(dir.path())).unwrap();
    assert_eq!((train.len(), test.len()), (3, 2));
}

#[test]
fn news_are_counted_by_line_whatever_ends_lines() {
    let read = |text: &str| ag_news::read_from(text.as_bytes(), Path::new("train.csv"));
    assert_eq!(fault(read("1,a,b\r\n\r\n2,only\r\n"), "train.csv").0, Some(3));
    assert!(fault(read("1,a,b\n2,\"open,b\n"), "train.csv").1.contains("never closed"));
}

#[test]
fn malformed_trees_are_named_by_line() {
    for (from, to, line, what) in [
        ("\tNumber=Plur", "", 2, "9 columns"),
        ("1\tDogs", "2\tDogs", 2, "ID `2` where 1"),
        ("4\t.", "5\t.", 7, "ID `5` where 4"),
        ("2-3", "2-x", 3, "not an ID"),
        ("NOUN", "", 2, "part of speech"),
        ("1\tDogs", "1\t", 2, "form"),
        ("2\tnsubj", "x\tnsubj", 2, "head `x`"),
        ("2\tnsubj", "5\tnsubj", 2, "head 5 is outside a sentence of 4"),
        ("2\tadvmod", "3\tadvmod", 2, "word 3 of the sentence that begins here: the word is its own head"),
    ] {
        let text = TREE.replacen(from, to, 1);
        assert_ne!(text, TREE);
        let (at, message) = fault(parse(&text), "x.conllu");
        assert!(message.contains(what), "{to}: {message}");
        assert_eq!(at, Some(line), "{to}: {message}");
    }
    assert!(matches!(parse(""), Err(Error::Empty { .. })));
    assert!(matches!(parse("# only a comment\n\n"), Err(Error::Empty { .. })));
}

/// The tree above, compressed by `xz -9e`, in hexadecimal.
#[test]
#[cfg(feature = "xz")]
fn files_compressed_by_xz() {
    let bytes: Vec<u8> = XZ
        .split_whitespace()
        .flat_map(|line| {
            (0..line.len()).step_by(2).map(move |i| u8::from_str_radix(&line[i..i + 2], 16).unwrap())
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "x.conllu.xz", &bytes);
    assert_eq!(conllu::read(&path).unwrap(), parse(TREE).unwrap());
    for cut in [7, 20, bytes.len() / 2, bytes.len() - 1] {
        put(dir.path(), "x.conllu.xz", &bytes[..cut]);
        fault(conllu::read(&path), "x.conllu.xz");
    }
    let mut bad = bytes.clone();
    bad[bytes.len() / 2] ^= 0x10;
    put(dir.path(), "x.conllu.xz", &bad);
    fault(conllu::read(&path), "x.conllu.xz");
}

#[cfg(feature = "xz")]
const XZ: &str = "
    fd377a585a000004e6d6b446020021011c00000010cf58cce0010000ba5d0011880b06b26804edd66c43c75b61fc8bf8b8c8
    9beb285569a06e4ab24d4fc968a3e99eab3623abe19c475684564996ab62f1b16d9a44b90a2e1d4099e298c892dde980efc3
    923fe4bab4826ac8789b1a6869ef0851b1cba5331992d979cfde3c332252eda362f2e13e335dd331882465682ddf952db2ce
    907ad2eb890abb65be49a4af5dff86ec026166cb4283b0a3c33c58819f86fad0c19a33fac78e716b05ae5785c42eea8a1d6e
    1f08ad1bf20d0ec5fbd7ce254788bd2900000000b2d338c590c3ec710001d601810200006f07336cb1c467fb020000000004
    595a";

proptest! {
    #[test]
    fn mutated_trees_are_refused_or_sound(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bad = TREE.as_bytes().to_vec();
        let at = at.index(bad.len());
        bad[at] = byte;
        if let Ok(text) = String::from_utf8(bad)
            && let Ok(sentences) = parse(&text)
        {
            for sentence in &sentences {
                prop_assert!(!sentence.words.is_empty());
                let n = sentence.words.len();
                prop_assert!(sentence.words.iter().all(|word| !word.form.is_empty()));
                prop_assert!(sentence.words.iter().all(|word| word.head.is_none_or(|head| head <= n)));
            }
        }
    }

    #[test]
    fn random_rows_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(news) = ag_news::read_from(&bytes[..], Path::new("x")) {
            prop_assert!(news.iter().all(|item| item.label < 4));
        }
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn news_round_trip(rows in prop::collection::vec((1u32..=4, "[a-z\",\n ]{0,12}[a-z]", "[a-z\",\n ]{0,20}[a-z]"), 1..8)) {
        let quote = |s: &str| format!("\"{}\"", s.replace('"', "\"\""));
        let text: String = rows.iter().map(|(c, t, d)| format!("\"{c}\",{},{}\n", quote(t), quote(d))).collect();
        let news = ag_news::read_from(text.as_bytes(), Path::new("x")).unwrap();
        prop_assert_eq!(news.len(), rows.len());
        for (item, (class, title, description)) in news.iter().zip(&rows) {
            prop_assert_eq!(item.label, class - 1);
            prop_assert_eq!(&item.text, &format!("{} {}", title.trim(), description.trim()));
        }
    }
}

#[test]
fn word_tests_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tests");
    let write = |text: &str| fs::write(&path, text).unwrap();
    write("Love\tsex\t6.77\ntiger cat 7.35\n");
    let pairs = word_tests::read_pairs(&path).unwrap();
    assert_eq!((pairs[0].a.as_str(), pairs[1].b.as_str(), pairs[1].score), ("love", "cat", 7.35));
    write(": capital\nAthens Greece Oslo Norway\n: family\nboy girl man woman\nhe she his her\n");
    let sections = word_tests::read_analogies(&path).unwrap();
    assert_eq!((sections[0].heading.as_str(), sections[1].questions.len()), ("capital", 2));
    assert_eq!(sections[0].questions[0], ["athens", "greece", "oslo", "norway"]);
}

#[test]
fn damaged_word_tests_are_named_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tests");
    let line = |result: Result<(), Error>| match result {
        Err(Error::Format { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    for text in ["a b 1\na b\n", "a b 1\na b x\n", "a b 1\na b NaN\n", "a b 1\n\nc d 2\n", "a b 1\na b 1 2\n"]
    {
        fs::write(&path, text).unwrap();
        assert_eq!(line(word_tests::read_pairs(&path).map(drop)), Some(2), "{text:?}");
    }
    for text in [": x\na b c\n", ": x\na b c d e\n", ": x\n\n"] {
        fs::write(&path, text).unwrap();
        assert_eq!(line(word_tests::read_analogies(&path).map(drop)), Some(2), "{text:?}");
    }
    fs::write(&path, "a b c d\n").unwrap();
    assert_eq!(line(word_tests::read_analogies(&path).map(drop)), Some(1));
    fs::write(&path, b"a b 1\n\xff b 1\n").unwrap();
    assert_eq!(line(word_tests::read_pairs(&path).map(drop)), Some(2));
    fs::write(&path, "").unwrap();
    assert!(matches!(word_tests::read_pairs(&path), Err(Error::Empty { .. })));
    assert!(matches!(word_tests::read_analogies(&path), Err(Error::Empty { .. })));
}

#[test]
fn labelled_lines_read_as_people_keep_them() {
    let dir = tempfile::tempdir().unwrap();
    let facts = |(texts, classes): (Vec<LabelledText>, Vec<String>)| {
        (texts.into_iter().map(|t| (t.text, t.label)).collect::<Vec<_>>(), classes)
    };
    let csv = LabelledReader::csv();
    let path = put(
        dir.path(),
        "x.csv.gz",
        &gzip("\u{feff}label,text\r\npos,\"good, and\r\nlong\"\r\n\r\nneg, bad, very\r\n".as_bytes()),
    );
    let expected = vec![("good, and\nlong".to_owned(), 1), ("bad, very".to_owned(), 0)];
    assert_eq!(facts(csv.read(&path).unwrap()), (expected, vec!["neg".to_owned(), "pos".to_owned()]));
    // Text first, as in SST-2, and numbers in their order.
    let path = put(dir.path(), "x.tsv", b"sentence\tlabel\na \"b\t10\nc\t9\n");
    let (texts, classes) =
        facts(LabelledReader::tsv().header(true).columns(1, 0).quotes(false).read(&path).unwrap());
    assert_eq!(
        (texts, classes),
        (vec![("a \"b".to_owned(), 1), ("c".to_owned(), 0)], vec!["9".to_owned(), "10".to_owned()])
    );
    let path = put(dir.path(), "latin", b"x,caf\xe9\n");
    let latin = csv.clone().header(false);
    assert_eq!(fault(latin.read(&path), "latin").0, Some(1));
    assert_eq!(latin.clone().latin1().read(&path).unwrap().0[0].text, "café");
    for (text, line) in [("a,b\n,b\n", 2), ("a,b\na,\n", 2), ("a,b\n\na\n", 3)] {
        let path = put(dir.path(), "bad", text.as_bytes());
        assert_eq!(fault(latin.read(&path), "bad").0, Some(line), "{text:?}");
    }
    assert!(matches!(csv.from_reader(&b"label,text\n"[..]), Err(Error::Empty { .. })));
}
