//! Logs from text: separators, headers, rejected rows, and MovieLens folders in each published layout.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cairn_recsys::read::{LogReader, movielens};
use cairn_recsys::{Duplicates, Error, Interactions};

fn rows(log: &Interactions) -> Vec<(u32, u32, f32, i64)> {
    log.ratings().map(|r| (r.user, r.item, r.value, r.timestamp)).collect()
}

#[test]
fn separators_read_alike() {
    let expected = [(1, 10, 4.0, 100), (2, 10, 3.5, 99), (1, 11, 5.0, 102)];
    for (reader, separator) in [
        (LogReader::csv().header(false), ","),
        (LogReader::tsv(), "\t"),
        (LogReader::separated_by("::"), "::"),
        (LogReader::separated_by(";"), ";"),
        (LogReader::separated_by(" | "), " | "),
    ] {
        for (end, last) in [("\n", "\n"), ("\r\n", ""), ("\n", "\n\n")] {
            let text = ["1,10,4,100", "2,10,3.5,99", "1,11,5,102"].join(end).replace(',', separator) + last;
            let (log, report) = reader.from_reader::<u32, u32>(text.as_bytes()).unwrap();
            assert_eq!(rows(&log), expected, "{separator:?}");
            assert_eq!((report.accepted(), report.rejections()), (3, 0));
        }
    }
}

#[test]
fn rejected_rows_are_named_with_line_and_reason() {
    let text =
        "u,i,v,t\n1,10,4,1\n1,11\n,12,4,1\n2,x,4,1\n2,10,NaN,1\n2,10,inf,1\n2,11,9,1\n2,12,4,1.5\n2,13,4,7\n";
    let reader = LogReader::csv().values_between(1.0, 5.0);
    let (log, report) = reader.from_reader::<u32, u32>(text.as_bytes()).unwrap();
    assert_eq!(log.len(), 2);
    let got: Vec<(u64, &str)> = report.rejected().iter().map(|r| (r.line, r.reason.as_str())).collect();
    assert_eq!(
        got,
        [
            (3, "the value is missing"),
            (4, "the user is missing"),
            (5, "item `x` does not read"),
            (6, "value NaN is not finite"),
            (7, "value inf is not finite"),
            (8, "value 9 is not from 1 to 5"),
            (9, "time `1.5` does not read"),
        ]
    );
    assert!(report.to_string().contains("2 rows read, 7 rejected, 0 repeated"), "{report}");
}

#[test]
fn quotes_marks_and_bytes() {
    let text = b"\xef\xbb\xbfwho,what\n\"ann, senior\",tea\nbob,\"milk\nfresh\"\nc\xff,tea\ndan,tea\n";
    let reader = LogReader::csv().columns("who", "what").without_value().without_time();
    let (log, report) = reader.from_reader::<String, String>(&text[..]).unwrap();
    assert_eq!(log.catalog().users.ids(), ["ann, senior", "bob", "dan"]);
    assert_eq!(log.catalog().items.ids(), ["tea", "milk\nfresh"]);
    assert_eq!((log.values(), log.timestamps()), (&[1.0; 3][..], &[0, 1, 2][..]));
    assert_eq!((report.rejected()[0].line, report.rejected()[0].reason.as_str()), (5, "not UTF-8"));
    let (_, report) = LogReader::separated_by("::")
        .without_value()
        .without_time()
        .from_reader::<String, String>(&b"a::b\n\xff::c\n"[..])
        .unwrap();
    assert_eq!(report.rejections(), 1);
}

#[test]
fn repeats_follow_the_policy() {
    let text = "1,1,2,5\n1,1,3,4\n";
    let reader = LogReader::csv().header(false);
    let (log, report) =
        reader.clone().duplicates(Duplicates::Sum).from_reader::<u32, u32>(text.as_bytes()).unwrap();
    assert_eq!((rows(&log), report.repeated()), (vec![(1, 1, 5.0, 5)], 1));
    let error = reader.duplicates(Duplicates::Error).from_reader::<u32, u32>(text.as_bytes());
    assert!(matches!(error, Err(Error::DuplicateInteraction { .. })));
}

#[test]
fn what_cannot_be_read_at_all_is_an_error() {
    let read = |reader: &LogReader, text: &str| reader.from_reader::<u32, u32>(text.as_bytes());
    assert!(matches!(read(&LogReader::csv(), ""), Err(Error::Empty { .. })));
    assert!(matches!(read(&LogReader::csv(), "a,b,c,d\n"), Err(Error::Empty { .. })));
    let named = LogReader::csv().columns("user", "item");
    assert!(matches!(read(&named, "u,item,v,t\n1,2,3,4\n"), Err(Error::Parameter { .. })));
    assert!(matches!(read(&LogReader::tsv().value("stars"), "1\t2\t3\t4\n"), Err(Error::Parameter { .. })));
    assert!(matches!(read(&LogReader::separated_by(""), "1"), Err(Error::Parameter { .. })));
    assert!(matches!(LogReader::csv().read::<u32, u32>("no/such/file"), Err(Error::Io { .. })));
    let endless = io::repeat(b'1').take(10 << 20);
    assert!(matches!(LogReader::separated_by("::").from_reader::<u32, u32>(endless), Err(Error::Io { .. })));
}

#[test]
fn movielens_in_each_layout() {
    let folder = tempfile::tempdir().unwrap();
    let write = |set: &str, files: &[(&str, &[u8])]| {
        let path = folder.path().join(set);
        fs::create_dir(&path).unwrap();
        files.iter().for_each(|(name, text)| fs::write(path.join(name), text).unwrap());
        path
    };
    let expected = [(1, 7, 5.0, 100), (2, 7, 3.0, 101), (2, 9, 1.0, 102)];
    let tabs = write(
        "ml-100k",
        &[
            ("u.data", b"1\t7\t5\t100\n2\t7\t3\t101\n2\t9\t1\t102\n"),
            ("u.item", b"7|Mis\xe9rables, Les (1995)|01-Jan-1995||\n9|Heat (1995)|||\n"),
        ],
    );
    let colons = write(
        "ml-1m",
        &[
            ("ratings.dat", b"1::7::5::100\n2::7::3::101\n2::9::1::102\n"),
            ("movies.dat", b"7::Mis\xe9rables, Les (1995)::Drama\n9::Heat (1995)::Crime\n"),
        ],
    );
    let csv = write(
        "ml-latest-small",
        &[
            ("ratings.csv", b"userId,movieId,rating,timestamp\n1,7,5.0,100\n2,7,3.0,101\n2,9,1.0,102\n"),
            (
                "movies.csv",
                "movieId,title,genres\n7,\"Misérables, Les (1995)\",Drama\n9,Heat (1995),Crime\n".as_bytes(),
            ),
        ],
    );
    let sets = [tabs, colons, csv];
    // The archive as published: the folder in a zip file.
    let archives = sets.each_ref().map(|set| archive(set));
    let names = ["u.data", "ratings.dat", "ratings.csv"];
    let files: [PathBuf; 3] = std::array::from_fn(|n| sets[n].join(names[n]));
    for path in sets.into_iter().chain(archives).chain(files) {
        let (log, report) = movielens::ratings(&path).unwrap();
        assert_eq!((rows(&log), report.rejections()), (expected.to_vec(), 0), "{}", path.display());
        let titles = movielens::titles(&path).unwrap();
        assert_eq!((titles[&7].as_str(), titles[&9].as_str()), ("Misérables, Les (1995)", "Heat (1995)"));
    }
    assert!(matches!(movielens::ratings(folder.path()), Err(Error::Parameter { .. })));
    let broken = write(
        "ml-25m",
        &[("ratings.csv", b"userId,movieId,rating,timestamp\n1,1,9,1\n"), ("movies.csv", b"h\nx,y\n")],
    );
    assert!(matches!(movielens::ratings(&broken), Err(Error::Empty { .. })));
    assert!(matches!(movielens::titles(&broken), Err(Error::InvalidRow { line: 2, .. })));
}

/// A folder of files packed beside itself.
fn archive(folder: &Path) -> PathBuf {
    let path = folder.with_extension("zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    let name = folder.file_name().unwrap().to_str().unwrap();
    zip.add_directory(name, options).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        zip.start_file(format!("{name}/{}", entry.file_name().to_str().unwrap()), options).unwrap();
        zip.write_all(&fs::read(entry.path()).unwrap()).unwrap();
    }
    zip.finish().unwrap();
    path
}

#[test]
fn a_damaged_or_foreign_archive_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("ml-1m");
    fs::create_dir(&set).unwrap();
    let rows: String = (0..2000).map(|i| format!("{}::{}::4::{i}\n", i % 50 + 1, i % 70 + 1)).collect();
    fs::write(set.join("ratings.dat"), rows).unwrap();
    let path = archive(&set);
    let whole = fs::read(&path).unwrap();
    assert_eq!(movielens::ratings(&path).unwrap().1.accepted(), 2000);
    for end in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(matches!(movielens::ratings(&path), Err(Error::Io { .. })), "{end} bytes");
    }
    // Within the packed rows: the checksum tells.
    let mut changed = whole.clone();
    changed[whole.len() / 3] ^= 0x55;
    fs::write(&path, &changed).unwrap();
    assert!(matches!(movielens::ratings(&path), Err(Error::Io { .. })));
    fs::rename(set.join("ratings.dat"), set.join("other.dat")).unwrap();
    assert!(matches!(movielens::ratings(archive(&set)), Err(Error::Parameter { .. })));
}
