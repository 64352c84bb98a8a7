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
        "u,i,v,t\n1,10,4,1\n1,11\n,12,4,1\n2,x,4,1\n2,10,NaN,1\n2,10,inf,1\n2,11,9,1\n2,12,4,1:5\n2,13,4,7\n";
    let reader = LogReader::csv().values_between(1.0, 5.0);
    let (log, report) = reader.from_reader::<u32, u32>(text.as_bytes()).unwrap();
    assert_eq!(log.len(), 2);
    let got: Vec<(u64, &str)> = report.rejected().iter().map(|r| (r.line, r.reason.as_str())).collect();
    assert_eq!(got.len(), 7);
    assert_eq!(
        got[..6],
        [
            (
                3,
                "the value is missing: column 3 of a row of 2 fields, `1 11`; `without_value` counts every row as 1",
            ),
            (4, "the user is missing"),
            (5, "item `x` is no u32"),
            (6, "value NaN is not finite"),
            (7, "value inf is not finite"),
            (8, "value 9 is not from 1 to 5"),
        ][..]
    );
    assert!(got[6].1.starts_with("time `1:5` does not read"), "{}", got[6].1);
    assert!(report.to_string().contains("2 rows read, 7 rejected, 0 repeated"), "{report}");
}

#[test]
fn a_file_without_values_and_a_header_that_says_nothing_are_told_the_way_out() {
    let read = |reader: &LogReader, text: &str| {
        reader.from_reader::<u32, u32>(text.as_bytes()).unwrap_err().to_string()
    };
    let untimed = read(&LogReader::csv(), "user,item,time\n1,10,100\n");
    assert!(untimed.contains("`without_value().time(2)`"), "{untimed}");
    let dated = read(&LogReader::csv(), "user,item,time\n1,10,2005-04-02\n");
    assert!(dated.contains("it is a date") && dated.contains("`without_value`"), "{dated}");
    let named = LogReader::csv().columns("user", "item").without_value().without_time();
    let twice = read(&named, "user,item,item\n1,10,10\n");
    assert!(twice.contains("column = item") && twice.contains("that one column has"), "{twice}");
    assert!(named.columns(0, 1).from_reader::<u32, u32>(&b"user,item,item\n1,10,10\n"[..]).is_ok());
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

fn texts(log: &Interactions<String, String>) -> Vec<(&str, &str, f32)> {
    let catalog = log.catalog();
    let rows = log.users().iter().zip(log.items()).zip(log.values());
    rows.map(|((&u, &i), &v)| (catalog.users.id(u).as_str(), catalog.items.id(i).as_str(), v)).collect()
}

#[test]
fn quotes_go_with_every_separator() {
    let text =
        "\"User-ID\";\"ISBN\";\"Book-Rating\"\n\"276725\";\"034545104X\";\"0\"\n\"276726\";\"a;b\";\"5\"\n";
    let named = LogReader::separated_by(";")
        .header(true)
        .columns("User-ID", "ISBN")
        .value("Book-Rating")
        .without_time();
    let (log, report) = named.from_reader::<u32, String>(text.as_bytes()).unwrap();
    assert_eq!(log.catalog().users.ids(), [276_725, 276_726]);
    assert_eq!(log.catalog().items.ids(), ["034545104X", "a;b"]);
    assert_eq!((log.values(), report.rejections()), (&[0.0, 5.0][..], 0));
    for (reader, separator) in [
        (LogReader::tsv(), "\t"),
        (LogReader::separated_by("::"), "::"),
        (LogReader::separated_by("|"), "|"),
        (LogReader::separated_by(" "), " "),
    ] {
        let text = ["\"u1\"", "\"say \"\"hi\"\"\"", "5"].join(separator) + "\n";
        let reader = reader.without_time();
        let (log, _) = reader.from_reader::<String, String>(text.as_bytes()).unwrap();
        assert_eq!(texts(&log), [("u1", "say \"hi\"", 5.0)], "{separator:?}");
    }
    // Told that they are text, they are.
    let reader = LogReader::tsv().quotes(false).without_time();
    let (log, _) = reader.from_reader::<String, String>(&b"\"u1\"\t\"i1\t5\n"[..]).unwrap();
    assert_eq!(texts(&log), [("\"u1\"", "\"i1", 5.0)]);
}

#[test]
fn a_quote_that_is_never_closed_swallows_nothing_in_silence() {
    let reader = LogReader::csv().header(false).without_time();
    let (log, report) = reader.from_reader::<String, String>(&b"a,x,1\nb,\"y,2\nc,z,3\n"[..]).unwrap();
    assert_eq!(texts(&log), [("a", "x", 1.0)]);
    assert_eq!((report.rejected()[0].line, report.rejections()), (2, 1));
    assert!(report.rejected()[0].reason.contains("never closed"), "{report}");
    let endless = (&b"a,\"x"[..]).chain(io::repeat(b'\n').take(10 << 20));
    let error = reader.from_reader::<String, String>(endless).unwrap_err();
    assert!(error.to_string().contains("the quote that opens in line 1"), "{error}");
}

#[test]
fn numbers_with_a_decimal_comma_read_where_told_and_are_named_where_not() {
    let text = "\"u\";\"i\";\"3,5\"\nu;j;4\n";
    let reader = LogReader::separated_by(";").without_time();
    let (log, report) = reader.from_reader::<String, String>(text.as_bytes()).unwrap();
    assert_eq!(texts(&log), [("u", "j", 4.0)]);
    assert!(report.rejected()[0].reason.contains("decimal_comma"), "{report}");
    let (log, _) = reader.decimal_comma().from_reader::<String, String>(text.as_bytes()).unwrap();
    assert_eq!(texts(&log), [("u", "i", 3.5), ("u", "j", 4.0)]);
}

#[test]
fn dates_floats_and_ids_with_a_point_read() {
    let text = "userId,movieId,rating,timestamp\n1,2,3.5,2005-04-02 23:53:47\n1.0,29.0,3.5,1112486027.0\n1,30,4,1.112486027e9\n";
    let (log, report) = LogReader::csv().from_reader::<u32, u32>(text.as_bytes()).unwrap();
    assert_eq!(
        rows(&log),
        [2, 29, 30].map(|item| (1, item, if item == 30 { 4.0 } else { 3.5 }, 1_112_486_027))
    );
    assert_eq!((log.n_users(), report.rejections()), (1, 0));
}

#[test]
fn a_text_of_which_no_row_reads_says_why() {
    let text = "u,i,v,t\n1,2,3,yesterday\n1,3,3,today\n";
    let error = LogReader::csv().from_reader::<u32, u32>(text.as_bytes()).unwrap_err();
    assert!(matches!(error, Error::NoRows { rows: 2, line: 2, .. }), "{error:?}");
    let error = error.to_string();
    for part in ["none of 2 rows", "line 2", "yesterday", "without_time"] {
        assert!(error.contains(part), "{error}");
    }
    // Another separator than was said.
    let error =
        LogReader::csv().header(false).from_reader::<u32, u32>(&b"1;2;3;4\n5;6;7;8\n"[..]).unwrap_err();
    assert!(error.to_string().contains("`1;2;3;4`"), "{error}");
}

#[test]
fn comments_are_no_rows() {
    let text = "% bip weighted\n% 3 2 2\n1 1 5 978300760\n2 1 3 978300761\n";
    let reader = LogReader::separated_by(" ");
    let (log, report) = reader.clone().comment("%").from_reader::<String, String>(text.as_bytes()).unwrap();
    assert_eq!((texts(&log), report.rejections()), (vec![("1", "1", 5.0), ("2", "1", 3.0)], 0));
    let (log, report) = reader.from_reader::<String, String>(text.as_bytes()).unwrap();
    assert_eq!((log.len(), report.rejections()), (2, 2));
    assert_eq!(log.catalog().users.ids(), ["1", "2"]);
    let edges = LogReader::tsv().without_value().without_time();
    let (log, report) = edges.from_reader::<String, String>(&b"# FromNodeId\tToNodeId\n0\t4\n"[..]).unwrap();
    assert_eq!((texts(&log), report.rejections()), (vec![("0", "4", 1.0)], 1));
    assert!(report.rejected()[0].reason.contains("comment(\"#\")"), "{report}");
    // As the header it is one, and ids may begin so where the caller says that nothing is a comment, or later in the file.
    let header = edges.clone().header(true);
    let (log, report) = header.from_reader::<String, String>(&b"# From\tTo\n0\t4\n#1\t4\n"[..]).unwrap();
    assert_eq!((texts(&log), report.rejections()), (vec![("0", "4", 1.0), ("#1", "4", 1.0)], 0));
    let (log, _) = edges.comment("").from_reader::<String, String>(&b"#a\t1\n"[..]).unwrap();
    assert_eq!(texts(&log), [("#a", "1", 1.0)]);
}

#[test]
fn runs_of_blanks_are_one_separator() {
    let text = "  1   10 4\t100\n 2 10  3.5 99 \n";
    let (log, report) = LogReader::separated_by(" ").from_reader::<u32, u32>(text.as_bytes()).unwrap();
    assert_eq!((rows(&log), report.rejections()), (vec![(1, 10, 4.0, 100), (2, 10, 3.5, 99)], 0));
}

#[test]
fn lines_are_counted_as_an_editor_counts_them() {
    for text in ["u,i,v,t\r\n1,2,3,4\r\n1,x,3,4\r\n", "u,i,v,t\n1,2,3,4\n1,x,3,4\n"] {
        let (_, report) = LogReader::csv().from_reader::<u32, u32>(text.as_bytes()).unwrap();
        assert_eq!(report.rejected()[0].line, 3, "{text:?}");
    }
    let text = "u,i,v,t\r\n\r\n1,2,3,4\r\n\r\n\"1\",\"x\r\ny\",3,4\r\n1,z,3,4\r\n";
    let (_, report) = LogReader::csv().from_reader::<u32, u32>(text.as_bytes()).unwrap();
    assert_eq!(report.rejected().iter().map(|row| row.line).collect::<Vec<_>>(), [5, 7]);
}

#[test]
fn compressed_and_old_texts_read_and_cut_ones_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv.gz");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"u,i,v,t\n1,2,3,4\n1,3,3,4").unwrap();
    let packed = packed.finish().unwrap();
    fs::write(&path, &packed).unwrap();
    let (log, report) = LogReader::csv().read::<u32, u32>(&path).unwrap();
    assert_eq!((log.len(), report.unfinished()), (2, true));
    assert!(report.to_string().contains("the last line has no end"), "{report}");
    fs::write(&path, &packed[..packed.len() - 9]).unwrap();
    assert!(matches!(LogReader::csv().read::<u32, u32>(&path), Err(Error::Io { .. })));
    let reader = LogReader::csv().header(false).without_value().without_time();
    let (log, _) = reader.clone().latin1().from_reader::<String, String>(&b"Ren\xe9,caf\xe9\n"[..]).unwrap();
    assert_eq!(texts(&log), [("René", "café", 1.0)]);
    let wide: Vec<u8> = "\u{feff}a,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = reader.from_reader::<String, String>(&wide[..]).unwrap_err();
    assert!(error.to_string().contains("UTF-16"), "{error}");
}

#[test]
fn titles_keep_what_is_between_fields() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("ratings.dat", "1::2::5::100\n");
    put("movies.dat", "2::A::B (1996)::Comedy\r\n3::C (1997)::Drama\r\n");
    let titles = movielens::titles(folder.path()).unwrap();
    assert_eq!((titles[&2].as_str(), titles[&3].as_str()), ("A::B (1996)", "C (1997)"));
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    put("ratings.csv", "userId,movieId,rating,timestamp\r\n1,3,5,100\r\n");
    put("movies.csv", "movieId,title,genres\r\n3,\"City, The (1995)\",Drama\r\n4,B,C\r\n");
    let titles = movielens::titles(folder.path()).unwrap();
    assert_eq!((titles.len(), titles[&3].as_str(), titles[&4].as_str()), (2, "City, The (1995)", "B"));
    put("movies.csv", "movieId,title,genres\n3,City, The (1995),Drama\n");
    let error = movielens::titles(folder.path()).unwrap_err();
    assert!(matches!(error, Error::InvalidRow { line: 2, .. }), "{error}");
}

/// Some programs on Windows put backslashes into archives.
#[test]
#[cfg(feature = "zip")]
fn an_archive_with_backslashes_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ml-1m.zip");
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    archive.start_file("ml-1m\\ratings.dat", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(b"1::2::5::100\n").unwrap();
    archive.finish().unwrap();
    assert_eq!(rows(&movielens::ratings(&path).unwrap().0), [(1, 2, 5.0, 100)]);
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
    assert!(matches!(movielens::ratings(&broken), Err(Error::NoRows { .. })));
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
