//! Tokens, vocabularies, padding, windows and grouping, against their laws and for each bad input.

use std::path::Path;

use cairn_datasets::text::{
    CharTokenizer, Padding, ParallelDataset, SequenceDataset, Side, TokenFile, Tokenizer, Vocabulary,
    WhitespaceTokenizer, WindowDataset, WordTokenizer, pad,
};
use cairn_datasets::{Dataset, Error, Loader};
use proptest::prelude::*;

#[test]
fn words_of_several_scripts() {
    let words = WordTokenizer::new();
    assert_eq!(words.tokens("ÉCOLE Straße ПРИВЕТ, мир"), ["école", "straße", "привет", "мир"]);
    assert_eq!(words.tokens("a\u{a0}b\u{2003}c\nd"), ["a", "b", "c", "d"]);
    assert!(words.tokens(" \t…!? ").is_empty());
    assert!(words.punctuation(true).tokens(" \t\n").is_empty());
}

#[test]
fn numbers_go_by_frequency_then_by_the_token() {
    let vocabulary = Vocabulary::builder()
        .special(["<bos>"])
        .texts(["c b b a a", "d <unk> <unk>"], &WhitespaceTokenizer)
        .build()
        .unwrap();
    assert_eq!(vocabulary.iter().collect::<Vec<_>>(), ["<pad>", "<unk>", "<bos>", "a", "b", "c", "d"]);
    assert_eq!(vocabulary.counts(), [0, 2, 0, 2, 2, 1, 1]);
    assert_eq!((vocabulary.padding(), vocabulary.unknown()), (Some(0), Some(1)));
    assert_eq!((vocabulary.id("c"), vocabulary.id("z"), vocabulary.token(7)), (Some(5), None, None));
    assert_eq!(vocabulary.lookup("z").unwrap(), 1);
}

#[test]
fn limits_of_a_vocabulary() {
    let build = |max, min| {
        let vocabulary =
            Vocabulary::builder().max_size(max).min_count(min).texts(["a a a b b c"], &WhitespaceTokenizer);
        vocabulary.build().map(|v| v.iter().skip(2).map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(build(4, 1).unwrap(), ["a", "b"]);
    assert_eq!(build(99, 2).unwrap(), ["a", "b"]);
    assert_eq!(build(2, 1).unwrap(), Vec::<String>::new());
    assert!(matches!(build(1, 1), Err(Error::Argument { .. })));
    let twice = Vocabulary::builder().special(["<pad>"]).build();
    assert!(twice.unwrap_err().to_string().contains("<pad>"));
}

#[test]
fn without_an_unknown_token_lookups_can_fail() {
    let tags = Vocabulary::builder()
        .padding(None)
        .unknown(None)
        .texts(["NOUN VERB"], &WhitespaceTokenizer)
        .build()
        .unwrap();
    assert_eq!(tags.encode("VERB NOUN", &WhitespaceTokenizer).unwrap(), [1, 0]);
    let error = tags.encode("VERB X NOUN Y", &WhitespaceTokenizer).unwrap_err().to_string();
    assert!(error.contains("`X`"), "{error}");
    let error = tags.decode(&[0, 1, 2]).unwrap_err().to_string();
    assert!(error.contains("id 2 at position 2"), "{error}");
}

#[test]
fn a_vocabulary_is_saved_and_loaded() {
    let text = "a b\n\\n \\ \r\t ü 😀";
    let vocabulary = Vocabulary::builder().special(["<bos>"]).texts([text], &CharTokenizer).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vocabulary.txt");
    vocabulary.save(&path).unwrap();
    assert_eq!(Vocabulary::load(&path).unwrap(), vocabulary);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    assert!(matches!(Vocabulary::load(&dir.path().join("none")), Err(Error::Io { .. })));
    assert!(matches!(vocabulary.save(&dir.path().join("no/folder")), Err(Error::Io { .. })));
}

#[test]
fn damaged_vocabularies_are_named_by_line() {
    for (text, line) in [
        ("", None),
        ("something else\n- -\n", Some(1)),
        ("cairn vocabulary 1\n", None),
        ("cairn vocabulary 1\n0 9\n1\ta\n", Some(2)),
        ("cairn vocabulary 1\n-\n1\ta\n", Some(2)),
        ("cairn vocabulary 1\n- -\n1 a\n", Some(3)),
        ("cairn vocabulary 1\n- -\n1\ta\nx\tb\n", Some(4)),
        ("cairn vocabulary 1\n- -\n1\ta\\q\n", Some(3)),
        ("cairn vocabulary 1\n- -\n1\ta\n1\tb\n1\ta\n", Some(5)),
    ] {
        match Vocabulary::from_text(text, Path::new("v")).unwrap_err() {
            Error::Format { line: got, .. } => assert_eq!(got, line, "{text:?}"),
            other => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn sequences_that_cannot_be_padded() {
    let none: [Vec<u32>; 0] = [];
    assert!(matches!(pad(&none, &Padding::new()), Err(Error::Empty { .. })));
    let error = pad(&[vec![1], vec![]], &Padding::new()).unwrap_err().to_string();
    assert!(error.contains("sequence 1 is empty"), "{error}");
    for padding in [Padding::new().length(0), Padding::new().max_length(0)] {
        assert!(matches!(pad(&[vec![1]], &padding), Err(Error::Argument { .. })));
    }
    let dataset = |sequences, labels| SequenceDataset::new(sequences, labels, Padding::new());
    assert!(dataset(vec![vec![1]], vec![]).is_err());
    assert!(dataset(vec![vec![1], vec![]], vec![0, 0]).unwrap_err().to_string().contains("sequence 1"));
    let data = dataset(vec![vec![1]], vec![0]).unwrap();
    assert!(matches!(data.batch(&[1]), Err(Error::IndexOutOfRange { .. })));
    assert!(matches!(Loader::new(&data).group_by_length(vec![]), Err(Error::Argument { .. })));
}

#[test]
fn windows_that_do_not_fit() {
    for (len, time, stride) in [(3, 3, 1), (0, 1, 1), (5, 0, 1), (5, 2, 0)] {
        assert!(matches!(WindowDataset::new(vec![0; len], time, stride), Err(Error::Argument { .. })));
    }
    for (len, rows, time) in [(6, 2, 3), (0, 1, 1), (5, 0, 1), (5, 1, 0)] {
        assert!(matches!(WindowDataset::in_rows(vec![0; len], rows, time), Err(Error::Argument { .. })));
    }
    assert_eq!(WindowDataset::in_rows(vec![0; 7], 2, 3).unwrap().len(), 2);
    assert!(matches!(
        WindowDataset::new(vec![0; 9], 3, 3).unwrap().batch(&[2]),
        Err(Error::IndexOutOfRange { .. })
    ));
}

proptest! {
    #[test]
    fn characters_join_to_the_text(text in any::<String>()) {
        prop_assert_eq!(CharTokenizer.tokens(&text).concat(), text);
    }

    /// With punctuation and case kept, only white space is lost.
    #[test]
    fn words_lose_only_white_space(text in "[a-zß .,!?'\u{e9}\n0-9]{0,60}") {
        let tokens = WordTokenizer::new().lowercase(false).punctuation(true).tokens(&text).concat();
        let solid = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        prop_assert_eq!(solid(&tokens), solid(&text));
    }

    #[test]
    fn tokenizers_never_panic(text in any::<String>()) {
        for keep in [false, true] {
            let tokens = WordTokenizer::new().punctuation(keep).tokens(&text);
            prop_assert!(tokens.iter().all(|token| !token.trim().is_empty()));
        }
    }

    #[test]
    fn vocabularies_round_trip(text in any::<String>(), words in any::<bool>(), min in 1u64..3) {
        let tokenizer: &dyn Tokenizer = if words { &WordTokenizer::new() } else { &CharTokenizer };
        let vocabulary = Vocabulary::builder().min_count(min).texts([&text], tokenizer).build().unwrap();
        prop_assert_eq!(&Vocabulary::from_text(&vocabulary.to_text(), Path::new("v")).unwrap(), &vocabulary);
        let ids = vocabulary.encode(&text, tokenizer).unwrap();
        for (id, token) in ids.iter().zip(tokenizer.tokens(&text)) {
            prop_assert!(vocabulary.token(*id) == Some(token.as_str()) || (min > 1 && *id == 1));
        }
        for id in 0..vocabulary.len() as u32 {
            prop_assert_eq!(vocabulary.id(vocabulary.token(id).unwrap()), Some(id));
        }
        // Falling counts after the special tokens.
        prop_assert!(vocabulary.counts()[2..].is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn what_a_mutated_vocabulary_gives_is_whole(text in "(cairn vocabulary 1\n)?[0-9a-c\t\n -]{0,30}") {
        if let Ok(vocabulary) = Vocabulary::from_text(&text, Path::new("v")) {
            prop_assert_eq!(&Vocabulary::from_text(&vocabulary.to_text(), Path::new("v")).unwrap(), &vocabulary);
        }
    }

    /// Against the definition, entry by entry.
    #[test]
    fn padding(sequences in prop::collection::vec(prop::collection::vec(1u32..9, 1..8), 1..6), length in prop::option::of(1usize..10), max in 1usize..10, pad_end in any::<bool>(), cut_end in any::<bool>()) {
        let side = |end| if end { Side::End } else { Side::Start };
        let mut how = Padding::new().id(0).max_length(max).pad(side(pad_end)).truncate(side(cut_end));
        let longest = sequences.iter().map(Vec::len).max().unwrap();
        let time = length.unwrap_or(longest).min(max);
        if let Some(length) = length {
            how = how.length(length);
        }
        let batch = pad(&sequences, &how).unwrap();
        prop_assert_eq!(batch.ids.shape(), [sequences.len(), time]);
        for (i, sequence) in sequences.iter().enumerate() {
            let kept = sequence.len().min(time);
            prop_assert_eq!(batch.lengths[i], kept);
            let dropped = if cut_end { 0 } else { sequence.len() - kept };
            for t in 0..time {
                let from = if pad_end { Some(t) } else { (t + kept).checked_sub(time) };
                let expected = from.filter(|&j| j < kept).map_or(0, |j| sequence[dropped + j]);
                prop_assert_eq!(batch.ids.get(&[i, t]).unwrap(), expected);
            }
        }
    }

    #[test]
    fn windows_are_continuous(len in 2usize..60, rows in 1usize..4, time in 1usize..6) {
        let ids: Vec<u32> = (0..len as u32).collect();
        let Ok(data) = WindowDataset::in_rows(ids, rows, time) else {
            prop_assert!((len - 1) / rows < time);
            return Ok(());
        };
        let mut before: Option<Vec<u32>> = None;
        for batch in Loader::new(&data).batch_size(rows).epoch(0).unwrap() {
            let (x, y) = batch.unwrap();
            let (x, y) = (x.to_vec(), y.to_vec());
            prop_assert!(x.iter().zip(&y).all(|(x, y)| x + 1 == *y));
            let firsts: Vec<u32> = x.chunks(time).map(|row| row[0]).collect();
            if let Some(before) = before {
                prop_assert_eq!(before, firsts);
            }
            before = Some(y.chunks(time).map(|row| row[time - 1]).collect());
        }
    }

    /// Each sample once, the same for the same epoch, and less padding than without grouping.
    #[test]
    fn grouping(lengths in prop::collection::vec(1usize..50, 40..200), size in 2usize..9, shuffle in any::<bool>()) {
        let sequences = lengths.iter().map(|&n| vec![1; n]).collect();
        let data = SequenceDataset::new(sequences, (0..lengths.len() as u32).collect(), Padding::new()).unwrap();
        let plain = Loader::new(&data).batch_size(size);
        let plain = if shuffle { plain.shuffle(5) } else { plain };
        let grouped = plain.clone().group_by_length(data.lengths()).unwrap();
        let cells = |loader: &Loader<&SequenceDataset>| loader.epoch(1).unwrap().map(|b| b.unwrap().0.ids.len()).sum::<usize>();
        prop_assert!(cells(&grouped) <= cells(&plain));
        let order_of = |epoch| grouped.epoch(epoch).unwrap().order().to_vec();
        let mut order = order_of(1);
        prop_assert_eq!(&order, &order_of(1));
        if shuffle {
            prop_assert_ne!(&order, &order_of(2));
        }
        order.sort_unstable();
        prop_assert_eq!(order, (0..lengths.len()).collect::<Vec<_>>());
    }

    /// Each sample once, as many batches as were announced, none above the budget but of a single sample, and other batches first in
    /// another epoch.
    #[test]
    fn budgets_of_tokens(lengths in prop::collection::vec(1usize..50, 1..200), budget in 1usize..300, shuffle in any::<bool>()) {
        let sequences = lengths.iter().map(|&n| vec![1; n]).collect();
        let data = SequenceDataset::new(sequences, (0..lengths.len() as u32).collect(), Padding::new()).unwrap();
        let loader = Loader::new(&data).group_by_length(data.lengths()).unwrap().max_tokens(budget);
        let loader = if shuffle { loader.shuffle(5) } else { loader };
        for epoch in [1, 2] {
            let batches = loader.epoch(epoch).unwrap();
            prop_assert_eq!(batches.len(), loader.batches());
            let mut order = batches.order().to_vec();
            let (mut count, mut seen) = (0, Vec::new());
            for batch in batches {
                let (x, labels) = batch.unwrap();
                prop_assert!(x.ids.len() <= budget || labels.len() == 1);
                seen.extend(labels.iter().map(|label| label as usize));
                count += 1;
            }
            prop_assert_eq!(count, loader.batches());
            prop_assert_eq!(&seen, &order);
            order.sort_unstable();
            prop_assert_eq!(order, (0..lengths.len()).collect::<Vec<_>>());
        }
        let order = || loader.epoch(1).unwrap().order().to_vec();
        prop_assert_eq!(order(), order());
    }
}

#[test]
fn a_budget_of_tokens_needs_lengths() {
    let data = SequenceDataset::new(vec![vec![1], vec![2, 2]], vec![0, 0], Padding::new()).unwrap();
    let refused = |loader: Loader<&SequenceDataset>| matches!(loader.epoch(0), Err(Error::Argument { .. }));
    assert!(refused(Loader::new(&data).max_tokens(8)));
    let grouped = || Loader::new(&data).group_by_length(data.lengths()).unwrap();
    assert!(refused(grouped().max_tokens(0)));
    assert!(refused(grouped().max_tokens(8).drop_last(true)));
    assert_eq!(grouped().max_tokens(1).batches(), 2, "a sample above the budget is a batch of its own");
    assert_eq!(grouped().max_tokens(4).batches(), 1);
}

#[test]
fn pairs_of_sequences() {
    let pairs = |sources: usize, targets: Vec<Vec<u32>>| {
        ParallelDataset::new(vec![vec![5]; sources], targets, [0, 1, 2])
    };
    assert!(matches!(pairs(2, vec![vec![3]]), Err(Error::Argument { .. })));
    let error = pairs(2, vec![vec![3], vec![3, 0]]).unwrap_err().to_string();
    assert!(error.contains("target 1"), "{error}");
    assert!(ParallelDataset::new(vec![], vec![], [2, 1, 2]).is_err(), "padding and end are one");
    // Texts of no tokens have the signs around them.
    let data = ParallelDataset::new(vec![vec![], vec![7, 8]], vec![vec![], vec![9]], [0, 1, 2]).unwrap();
    assert_eq!(data.lengths(), [1, 3]);
    let (batch, labels) = data.batch(&[1, 0]).unwrap();
    assert_eq!(batch.source.ids.to_vec(), [7, 8, 2, 2, 0, 0]);
    assert_eq!(batch.source.row_lengths().unwrap().to_vec(), [3, 1]);
    assert_eq!((batch.target.ids.to_vec(), labels.to_vec()), (vec![1, 9, 1, 0], vec![9, 2, 2, 0]));
    assert_eq!(data.sources(&[0]).unwrap().ids.to_vec(), [2]);
    assert!(matches!(data.batch(&[2]), Err(Error::IndexOutOfRange { .. })));
}

/// What is read by position is what windows in memory give, in two bytes an id and in four.
#[test]
fn token_files_are_windows_of_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.bin");
    for (vocabulary, width) in [(65_536, 2), (65_537, 4)] {
        let ids: Vec<u32> = (0..50).map(|i| (i * 1337) % 65_536).collect();
        TokenFile::write(&path, vocabulary, ids.iter().copied()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 50 * width);
        let file = TokenFile::open(&path, vocabulary).unwrap();
        assert_eq!((file.tokens(), file.len()), (50, 1));
        assert_eq!(file.read(0, 50).unwrap(), ids);
        assert!(matches!(file.read(49, 2), Err(Error::IndexOutOfRange { .. })));
        assert!(matches!(file.read(usize::MAX, 2), Err(Error::IndexOutOfRange { .. })));
        for (time, stride) in [(1, 1), (7, 3), (49, 50), (24, 24)] {
            let (read, held) = (
                file.clone().windows(time, stride).unwrap(),
                WindowDataset::new(ids.clone(), time, stride).unwrap(),
            );
            assert_eq!(read.len(), held.len());
            let all: Vec<usize> = (0..read.len()).rev().collect();
            let (a, b) = (read.batch(&all).unwrap(), held.batch(&all).unwrap());
            assert_eq!((a.0.to_vec(), a.1.to_vec()), (b.0.to_vec(), b.1.to_vec()));
        }
        for (time, stride) in [(0, 1), (1, 0), (50, 1)] {
            assert!(matches!(file.clone().windows(time, stride), Err(Error::Argument { .. })));
        }
    }
}

#[test]
fn token_files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.bin");
    let error = TokenFile::write(&path, 10, [3, 10]).unwrap_err().to_string();
    assert!(error.contains("id 10 at position 1"), "{error}");
    assert!(!path.exists(), "nothing is written of what cannot be");
    assert!(TokenFile::write(&path, 0, []).is_err());
    assert!(matches!(TokenFile::open(&path, 10), Err(Error::Io { .. })));
    std::fs::write(&path, [1, 0, 2]).unwrap();
    assert!(matches!(TokenFile::open(&path, 10), Err(Error::Format { .. })));
    std::fs::write(&path, [1, 0]).unwrap();
    assert!(matches!(TokenFile::open(&path, 10), Err(Error::Empty { .. })));
    std::fs::write(&path, [1, 0, 2, 0, 9, 9, 3, 0]).unwrap();
    let file = TokenFile::open(&path, 10).unwrap().windows(1, 1).unwrap();
    assert_eq!(file.batch(&[0]).unwrap().1.to_vec(), [2]);
    let error = file.batch(&[1]).unwrap_err().to_string();
    assert!(error.contains("id 2313 at position 2"), "{error}");
    // A file may be larger than memory: a part of it is read, and more than can be held refused.
    let sparse = std::fs::File::create(folder.path().join("large.bin")).unwrap();
    if sparse.set_len(1 << 43).is_ok() {
        let large = TokenFile::open(folder.path().join("large.bin"), 10).unwrap();
        assert_eq!(large.read(1 << 41, 3).unwrap(), [0; 3]);
        let windows = large.windows(1 << 41, 1).unwrap();
        assert!(matches!(windows.batch(&vec![0; 1 << 20]), Err(Error::Io { .. })));
    }
    // The file is cut while it is open.
    std::fs::write(&path, [1, 0, 2, 0]).unwrap();
    assert!(matches!(file.batch(&[2]), Err(Error::Io { .. })));
}
