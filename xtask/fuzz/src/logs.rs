//! Logs of behaviour.

use std::io::Write as _;

use cairn_recsys::read::{LogReader, movielens};
use cairn_recsys::{Duplicates, StoredInteractions};

use crate::{Reader, at, written};

pub(crate) const READERS: &[Reader] = &[
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
        name: "stored-log",
        sample: || {
            written(|path| {
                let rows =
                    [(1, "a", 2.0), (1, "b", 1.0), (4, "a", 3.0)].map(|(u, i, v)| (u, i.to_owned(), v));
                StoredInteractions::<u32, String>::write(path, rows, Duplicates::Sum).expect("written");
            })
        },
        read: |bytes| {
            at("x.log", bytes, |path| {
                StoredInteractions::<u32, String>::open(path).is_ok_and(|log| log.user_items().is_ok())
            })
        },
    },
    #[cfg(feature = "all")]
    Reader {
        name: "parquet",
        sample: || include_bytes!("../../../recsys/tests/golden/log_snappy.parquet").to_vec(),
        read: read_parquet,
    },
];

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

#[cfg(feature = "all")]
fn read_parquet(bytes: &[u8]) -> bool {
    let reader = LogReader::csv().columns("user", "item").value("stars").time("when");
    at("x.parquet", bytes, |path| reader.read_parquet::<u32, String>(path).is_ok())
}
