//! Word vectors: reproducible, right against a plain reference of what they should learn, files, and each bad input.

use std::fs;
use std::path::Path;

use cairn_datasets::text::{Vocabulary, WhitespaceTokenizer};
use cairn_datasets::word_tests::{Analogies, WordPair};
use cairn_optim::Error;
use cairn_optim::word2vec::{AnalogyScore, Word2Vec, WordVectors};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

/// Sentences about one of two topics, of four words each, so that words of a topic stand together and others never do.
fn topics(sentences: usize) -> Vec<Vec<String>> {
    let mut state = 1u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let sentence = |_| {
        let topic = next(2);
        (0..8).map(|_| format!("{}{}", ["a", "b"][topic as usize], next(4))).collect()
    };
    (0..sentences).map(sentence).collect()
}

fn small(settings: Word2Vec) -> Word2Vec {
    settings.vector_size(20).window(3).sample(0.0).epochs(3)
}

#[test]
fn words_that_stand_together_are_near() {
    let text = topics(1500);
    for settings in [Word2Vec::skip_gram(), Word2Vec::cbow().alpha(0.05), Word2Vec::skip_gram().negative(14)]
    {
        let vectors = small(settings).fit(&text).unwrap();
        assert_eq!((vectors.len(), vectors.size()), (8, 20));
        for word in ["a0", "a3", "b1"] {
            let near = vectors.most_similar(word, 3).unwrap();
            assert!(near.iter().all(|(other, _)| other[..1] == word[..1]), "{word}: {near:?}");
            assert!(near.is_sorted_by(|a, b| a.1 >= b.1));
        }
    }
}

/// The fewer the words, the more often each is met in one step of training.
#[test]
fn few_words_do_not_lead_too_far() {
    for words in [2u32, 3, 5] {
        let text: Vec<Vec<String>> =
            (0..200).map(|i| (0..10).map(|k| ((i * k + k) % words).to_string()).collect()).collect();
        for settings in [Word2Vec::skip_gram(), Word2Vec::cbow()] {
            let vectors = settings.sample(0.0).window(10).fit(&text).unwrap();
            let longest = vectors.vectors().iter().map(f32::abs).fold(0.0, f32::max);
            assert!(longest < 20.0, "{words} words: {longest}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let text = topics(400);
    for settings in [Word2Vec::skip_gram(), Word2Vec::cbow()] {
        // With words left out, and a size that is no multiple of a register.
        let settings = settings.vector_size(37).sample(0.05).epochs(2);
        let one = settings.clone().workers(1).fit(&text).unwrap();
        for threads in [2, 3, 7] {
            let more = settings.clone().workers(threads).fit(&text).unwrap();
            assert_eq!(one.vectors(), more.vectors(), "{threads} threads");
        }
        assert_eq!(one.vectors(), settings.clone().fit(&text).unwrap().vectors());
        assert_ne!(one.vectors(), settings.seed(2).fit(&text).unwrap().vectors());
    }
}

#[test]
fn text_and_sentences_are_the_same() {
    let text = topics(100);
    let lines: Vec<String> = text.iter().map(|sentence| sentence.join(" ")).collect();
    let settings = small(Word2Vec::skip_gram());
    let (a, b) = (settings.fit(&text).unwrap(), settings.fit_texts(&lines, &WhitespaceTokenizer).unwrap());
    assert_eq!((a.words(), a.vectors()), (b.words(), b.vectors()));
}

#[test]
fn sentences_of_one_word_change_nothing() {
    let text = vec![vec!["a"]; 100];
    let vectors = Word2Vec::skip_gram().vector_size(4).fit(&text).unwrap();
    let start = Word2Vec::skip_gram().vector_size(4).epochs(0).fit(&text).unwrap();
    assert_eq!(vectors.vectors(), start.vectors());
}

#[test]
fn settings_that_make_no_sense() {
    let text = topics(20);
    for settings in [
        Word2Vec::cbow().vector_size(0),
        Word2Vec::cbow().window(0),
        Word2Vec::cbow().window(usize::MAX),
        Word2Vec::cbow().negative(usize::MAX),
        Word2Vec::cbow().alpha(-1.0),
        Word2Vec::cbow().alpha(f64::NAN),
        Word2Vec::cbow().min_alpha(f64::INFINITY),
        Word2Vec::cbow().sample(-1.0),
        Word2Vec::cbow().ns_exponent(f64::NAN),
        Word2Vec::cbow().workers(0),
        Word2Vec::cbow().vector_size(usize::MAX),
    ] {
        assert!(settings.fit(&text).is_err(), "{settings:?}");
    }
    let none: [Vec<&str>; 0] = [];
    assert!(matches!(Word2Vec::cbow().fit(&none), Err(Error::Data(_))));
    assert!(matches!(Word2Vec::cbow().min_count(10_000).fit(&text), Err(Error::Data(_))));
}

fn example() -> WordVectors {
    let words = ["man", "woman", "king", "queen", "naïve"].map(String::from).to_vec();
    let values = vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.1, 2.0, -0.125, 1e-30];
    WordVectors::new(words, &Tensor::from_vec(values, [5, 2]).unwrap()).unwrap()
}

#[test]
fn queries() {
    let vectors = example();
    assert_eq!(vectors.vector("king").unwrap(), [1.0, 1.0]);
    assert!((vectors.similarity("man", "king").unwrap() - 0.5f32.sqrt()).abs() < 1e-6);
    assert_eq!(vectors.most_similar("man", 99).unwrap().len(), 4);
    assert_eq!(vectors.most_similar("man", 0).unwrap().len(), 0);
    assert_eq!(vectors.analogy("man", "woman", "king").unwrap().unwrap().0, "queen");
    let error = vectors.most_similar("prince", 1).unwrap_err();
    assert!(matches!(&error, Error::UnknownWord(word) if word == "prince"), "{error}");
    assert!(vectors.similarity("king", "prince").is_err() && vectors.analogy("man", "x", "king").is_err());
    let one = WordVectors::new(vec!["a".into()], &Tensor::zeros([1, 2]).unwrap()).unwrap();
    assert_eq!(one.analogy("a", "a", "a").unwrap(), None);
}

#[test]
fn evaluation_counts_what_is_known() {
    let vectors = example();
    let pair = |a: &str, b: &str, score| WordPair { a: a.into(), b: b.into(), score };
    let pairs = [
        pair("man", "king", 9.0),
        pair("man", "woman", 1.0),
        pair("woman", "queen", 9.5),
        pair("man", "?", 5.0),
    ];
    let score = vectors.evaluate_pairs(&pairs).unwrap();
    assert!((score.spearman - 1.0).abs() < 1e-12);
    assert_eq!((score.used, score.unknown), (3, 1));
    let question = |words: [&str; 4]| words.map(String::from);
    let sections = [
        Analogies {
            heading: "royal".into(),
            questions: vec![
                question(["man", "woman", "king", "queen"]),
                question(["woman", "man", "queen", "naïve"]),
            ],
        },
        Analogies {
            heading: "none".into(),
            questions: vec![question(["man", "woman", "prince", "princess"])],
        },
    ];
    let scores = vectors.evaluate_analogies(&sections).unwrap();
    assert_eq!((scores[0].correct, scores[0].used, scores[0].unknown), (1, 2, 0));
    assert_eq!((scores[1].used, scores[1].unknown), (0, 1));
    assert_eq!(AnalogyScore::total(&scores).accuracy(), 0.5);
}

#[test]
fn an_embedding_follows_the_vocabulary() {
    let vocabulary = Vocabulary::builder().texts(["king king man x"], &WhitespaceTokenizer).build().unwrap();
    let table = example().embedding(&vocabulary, &mut rng(1)).unwrap();
    assert_eq!(table.shape(), [5, 2]); // <pad> <unk> king man x
    let rows: Vec<Vec<f32>> = table.to_vec().chunks(2).map(<[f32]>::to_vec).collect();
    assert_eq!(
        (&rows[0][..], &rows[2][..], &rows[3][..]),
        (&[0.0, 0.0][..], &[1.0, 1.0][..], &[1.0, 0.0][..])
    );
    assert!(rows[1] != rows[4] && rows[4].iter().all(|x| *x != 0.0));
}

#[test]
fn files_give_the_same_bits_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vectors");
    let vectors = example();
    vectors.save_text(&path).unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("5 2\nman 1 0\n"));
    assert_eq!(WordVectors::load_text(&path).unwrap().vectors(), vectors.vectors());
    vectors.save_binary(&path).unwrap();
    let loaded = WordVectors::load_binary(&path).unwrap();
    assert_eq!((loaded.vectors(), loaded.words()), (vectors.vectors(), vectors.words()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    let spaced = WordVectors::new(vec!["a b".into()], &Tensor::zeros([1, 2]).unwrap()).unwrap();
    assert!(matches!(spaced.save_text(&path), Err(Error::WordVectors(_))));
    assert!(matches!(vectors.save_text(dir.path().join("no/folder")), Err(Error::Data(_))));
    assert!(matches!(WordVectors::load_text(dir.path().join("none")), Err(Error::Data(_))));
}

/// gensim 4 read these very bytes to the same words and values; see `golden/word2vec.py`.
#[test]
fn files_are_written_as_gensim_has_read_them() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let vectors = WordVectors::load_binary(golden.join("word2vec.bin")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    vectors.save_text(dir.path().join("word2vec_cairn.txt")).unwrap();
    vectors.save_binary(dir.path().join("word2vec_cairn.bin")).unwrap();
    for name in ["word2vec_cairn.txt", "word2vec_cairn.bin"] {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), fs::read(golden.join(name)).unwrap(), "{name}");
    }
}

/// Written by gensim 4's `KeyedVectors.save_word2vec_format`; see `golden/word2vec.py`.
#[test]
fn files_of_gensim_are_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = WordVectors::load_text(golden.join("word2vec.txt")).unwrap();
    let binary = WordVectors::load_binary(golden.join("word2vec.bin")).unwrap();
    assert_eq!(text.words(), ["sun", "mond", "été"]);
    assert_eq!((text.words(), text.vectors()), (binary.words(), binary.vectors()));
    assert_eq!(text.vector("été").unwrap(), [0.1, -2.5e-8, 3e7, 0.0]);
}

#[test]
fn damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vectors");
    let text = |contents: &str| {
        fs::write(&path, contents).unwrap();
        WordVectors::load_text(&path).unwrap_err().to_string()
    };
    assert!(text("").contains("line 1"));
    for heading in [
        "x",
        "1",
        "-1 2",
        "1 0",
        "99999999999999 2",
        "18446744073709551615 18446744073709551615",
        "0 18446744073709551615",
    ] {
        assert!(text(&format!("{heading}\na 1 2\n")).contains("line 1"), "{heading}");
    }
    assert!(text("2 2\na 1 2\nb 1 x\n").contains("line 3"));
    assert!(text("2 2\na 1 2\nb 1\n").contains("line 3"));
    assert!(text("1 2\na 1 2\nb 1 2\n").contains("line 3"));
    assert!(text("2 2\na 1 2\n     \n").contains("1 of the 2 vectors"));
    assert!(text("2 2\na 1 2\nb 1 2").contains("line 3"), "the last number may be cut");
    assert!(text("2 2\na 1 2\na 1 2\n").contains("twice"));
    assert!(text("1 2\na 1 NaN\n").contains("not finite"));
    assert!(text(&format!("1 2\n{} 1 2\n", "a".repeat(1 << 17))).contains("line 2"));
    let binary = |contents: &[u8]| {
        fs::write(&path, contents).unwrap();
        WordVectors::load_binary(&path).unwrap_err().to_string()
    };
    assert!(binary(b"1 2\na 1234567").contains("truncated"));
    assert!(binary(b"1 2\na 12345678more").contains("more contents"));
    assert!(binary(b"1 1\n\xff\xff 1234").contains("UTF-8"));
    assert!(binary(b"1 1\n 123456").contains("empty"));
    assert!(binary(b"1 1\naaaaaaaaaaaa").contains("truncated"));
    assert!(binary(b"4000000000 4000000000\na").contains("line 1"));
}

#[test]
fn texts_read_as_glove_and_others_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vectors.txt");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        let vectors = WordVectors::load_text(&path).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        (vectors.words().to_vec(), vectors.vectors().to_vec())
    };
    let two = (vec!["the".to_owned(), "at".to_owned()], vec![0.1, 0.2, 0.3, 0.4]);
    for text in [
        "the 0.1 0.2\nat 0.3 0.4\n",
        "2 2\nthe 0.1 0.2\nat 0.3 0.4\n",
        "2 2\r\nthe 0.1 0.2\r\nat 0.3 0.4\r\n",
        "the  0.1  0.2\nat\t0.3\t0.4 \n",
        "\u{feff}the 0.1 0.2\n\nat 0.3 0.4",
    ] {
        assert_eq!(read(text), two, "{text:?}");
    }
    for text in
        ["2 2\n. . . 0.1 0.2\nat name@domain.com 0.3 0.4\n", ". . . 0.1 0.2\nat name@domain.com 0.3 0.4\n"]
    {
        assert_eq!(read(text).0, [". . .", "at name@domain.com"], "{text:?}");
    }
    assert_eq!(read("2 2\nroute 66 0.1 0.2\n1 1 2\n").0, ["route 66", "1"]);
    assert_eq!(read("1 2 3\nnan 1 2\n"), (vec!["1".to_owned(), "nan".to_owned()], vec![2.0, 3.0, 1.0, 2.0]));
}

/// The shell limits the size of files for a process of its own, in which this test runs again, as a full disk would.
#[test]
#[cfg(unix)]
fn a_full_disk_leaves_the_old_vectors_and_nothing_else() {
    const VARIABLE: &str = "CAIRN_WORD2VEC_WRITE_TOO_MUCH";
    let words = (0..50_000).map(|i| format!("word{i}")).collect();
    let vectors = WordVectors::new(words, &Tensor::ones([50_000, 20]).unwrap()).unwrap();
    if let Some(path) = std::env::var_os(VARIABLE) {
        let refused = vectors.save_text(&path).is_err() && vectors.save_binary(&path).is_err();
        print!("refused: {refused}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vectors.txt");
    example().save_text(&path).unwrap();
    let old = fs::read(&path).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --nocapture --exact \"$1\"";
    let test = "word2vec::a_full_disk_leaves_the_old_vectors_and_nothing_else";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", limited]).arg(std::env::current_exe().unwrap()).arg(test).env(VARIABLE, &path);
    let printed = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    assert!(printed.contains("refused: true"), "{printed}");
    assert_eq!(fs::read(&path).unwrap(), old);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn vectors_round_trip(values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 1..40), size in 1usize..5) {
        let rows = values.len() / size;
        let words = (0..rows).map(|i| format!("w{i}")).collect();
        let tensor = Tensor::from_vec(values[..rows * size].to_vec(), [rows, size]).unwrap();
        let vectors = WordVectors::new(words, &tensor).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v");
        vectors.save_text(&path).unwrap();
        let loaded = WordVectors::load_text(&path).unwrap();
        prop_assert_eq!(loaded.vectors(), vectors.vectors());
        vectors.save_binary(&path).unwrap();
        let loaded = WordVectors::load_binary(&path).unwrap();
        prop_assert_eq!(loaded.vectors(), vectors.vectors());
    }

    /// Whatever the bytes, there is an answer or an error.
    #[test]
    fn no_file_is_too_strange(heading in "[0-9]{1,3} [0-9]{1,3}\n", rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v");
        fs::write(&path, [heading.as_bytes(), &rest].concat()).unwrap();
        let _ = WordVectors::load_text(&path);
        let _ = WordVectors::load_binary(&path);
    }
}
