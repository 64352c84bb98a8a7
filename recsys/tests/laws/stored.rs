//! A log on disk is the log in memory: the same matrices, models and lists, to the bit, with little memory.

use cairn_recsys::read::LogReader;
use cairn_recsys::{
    Als, AlsModel, AlsSolver, Bpr, Duplicates, Error, Estimator, FactorModel, Factors, Filter, Fitted,
    Interactions, Rating, StoredInteractions, StoredWriter, synthetic,
};
use proptest::prelude::*;

/// A log on disk that was sorted in parts of a few rows.
fn stored(folder: &std::path::Path, rows: &[Rating], policy: Duplicates) -> StoredInteractions {
    let path = folder.join("a.log");
    let mut writer = StoredWriter::create(&path, policy).unwrap().memory(200);
    rows.iter().for_each(|row| writer.add(row.clone()).unwrap());
    let written = writer.finish().unwrap();
    let opened = StoredInteractions::open(&path).unwrap();
    assert_eq!(written.user_items().unwrap(), opened.user_items().unwrap());
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "files are left over");
    opened
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_matrix_is_that_of_the_log_in_memory(
        rows in prop::collection::vec((0..9_u32, 0..9_u32, -3.0..3.0_f32, 0..4_i64), 1..80),
        policy in prop::sample::select(vec![Duplicates::Last, Duplicates::Sum, Duplicates::Max]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Rating> = rows.into_iter().map(Rating::from).collect();
        let log = stored(folder.path(), &rows, policy);
        let memory = Interactions::with_duplicates(rows, policy).unwrap();
        prop_assert_eq!(log.user_items().unwrap(), memory.user_items());
        prop_assert_eq!((log.n_users(), log.n_items(), log.len()), (memory.n_users(), memory.n_items(), memory.len()));
        for (user, index) in memory.catalog().users.ids().iter().zip(0..) {
            let matrix = memory.user_items();
            let (items, values) = matrix.row(cairn_recsys::UserIdx(index));
            let history = items.iter().map(|&item| *memory.catalog().items.id(item)).zip(values.iter().copied());
            prop_assert_eq!(log.history(user).unwrap(), history.collect::<Vec<_>>());
        }
    }
}

fn same_lists<M: FactorModel + PartialEq>(log: &StoredInteractions, model: &M, memory: &Fitted<M>) {
    assert!(model == memory.model(), "the models differ");
    let users: Vec<u32> = memory.catalog().users.ids().iter().rev().copied().collect();
    for filter in [Filter::unseen(), Filter::all().without([3, 4])] {
        let lists = memory.recommend_many(&users, 7, &filter).unwrap();
        assert_eq!(log.recommend_many(model, &users, 7, &filter).unwrap(), lists);
    }
}

#[test]
fn models_and_lists_have_the_bits_of_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    // So many that rows are read in more than one part.
    let memory = synthetic::planted_groups(3_000, 300, 5, 40, 0.1, 3).unwrap();
    assert!(memory.len() > 1 << 16);
    let log = memory.store(folder.path().join("log")).unwrap();
    for solver in [AlsSolver::Cholesky, AlsSolver::ConjugateGradient { steps: 2 }] {
        let als = Als::new().factors(6).epochs(1).solver(solver);
        same_lists(&log, &als.fit_stored(&log).unwrap(), &als.fit(&memory).unwrap());
    }
    // Blocks of dimensions: but for rounding, since what interactions miss is measured and not kept.
    let als = Als::new().factors(40).epochs(3).solver(AlsSolver::Blocks { size: 16 });
    let (model, expected) = (als.fit_stored(&log).unwrap(), als.fit(&memory).unwrap());
    assert!(model == als.fit_stored(&log).unwrap());
    let exact = als.clone().solver(AlsSolver::Cholesky).fit_stored(&log).unwrap();
    let distance = |other: &AlsModel| {
        let [a, b] = [&model, other].map(|model| model.factors().users.as_slice());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let (rounding, solver) = (distance(expected.model()), distance(&exact));
    assert!(rounding < 1e-4 && solver > 10.0 * rounding, "{rounding} {solver}");
    let bpr = Bpr::new().factors(5).epochs(2);
    same_lists(&log, &bpr.fit_stored(&log).unwrap(), &bpr.fit(&memory).unwrap());
}

#[test]
fn a_text_becomes_the_log_that_is_read_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    std::fs::write(&path, "user,item,value\nann,tea,2\nbob,tea,1\nann,milk,x\nann,tea,3\n").unwrap();
    let reader = LogReader::csv().columns("user", "item").value("value").without_time();
    for policy in [Duplicates::Last, Duplicates::Sum] {
        let reader = reader.clone().duplicates(policy);
        let (log, report) = reader.store::<String, String>(&path, folder.path().join("log")).unwrap();
        let (memory, expected) = reader.read::<String, String>(&path).unwrap();
        assert_eq!((log.user_items().unwrap(), report), (memory.user_items(), expected));
        assert_eq!(log.catalog().users.ids(), memory.catalog().users.ids());
    }
}

#[test]
fn what_cannot_be_stored_or_trained_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let empty = StoredInteractions::<u32, u32>::write(&path, [] as [(u32, u32); 0], Duplicates::Sum);
    assert!(matches!(empty.unwrap_err(), Error::Empty { .. }));
    let twice =
        StoredInteractions::write(&path, [(7_u32, 8_u32), (1, 2), (7, 8)], Duplicates::Error).unwrap_err();
    assert!(
        twice.to_string().contains("user 7 and item 8") && twice.to_string().contains("rows 0 and 2"),
        "{twice}"
    );
    let large = [(7_u32, 8_u32, f32::MAX), (7, 8, f32::MAX)];
    let large = StoredInteractions::write(&path, large, Duplicates::Sum).unwrap_err();
    assert!(large.to_string().contains("user 7, item 8"), "{large}");
    let nan = StoredInteractions::write(&path, [(7_u32, 8_u32, f32::NAN)], Duplicates::Sum).unwrap_err();
    assert!(nan.to_string().contains("row 0 (user 7, item 8)"), "{nan}");
    assert!(!path.exists());

    let rows = [(70_u32, 8_u32, 1.0), (71, 8, 2.0), (72, 9, -1.0)];
    let log = StoredInteractions::write(&path, rows, Duplicates::Sum).unwrap();
    let exact = Als::new().factors(2).solver(AlsSolver::Cholesky);
    let negative = exact.fit_stored(&log).unwrap_err();
    assert!(negative.to_string().contains("user 72, item 9"), "{negative}");
    let limit = exact.clone().factors(1000).memory_limit(1 << 10).fit_stored(&log).unwrap_err();
    assert!(matches!(limit, Error::Memory { .. }), "{limit}");
    let limit = Bpr::new().factors(1000).memory_limit(1 << 10).fit_stored(&log).unwrap_err();
    assert!(matches!(limit, Error::Memory { .. }), "{limit}");
    let model = Bpr::new().factors(2).epochs(1).fit_stored(&log).unwrap();
    let unknown = log.recommend_many(&model, &[7], 1, &Filter::unseen()).unwrap_err();
    assert!(matches!(unknown, Error::UnknownUser(_)), "{unknown}");
    assert!(log.recommend_many(&model, &[70], 0, &Filter::unseen()).is_err());
    let other =
        synthetic::planted_groups(10, 9, 2, 3, 0.0, 0).unwrap().store(folder.path().join("b")).unwrap();
    let shape = other.recommend_many(&model, &[7], 1, &Filter::unseen()).unwrap_err();
    assert!(matches!(shape, Error::Shape { .. }), "{shape}");
}

#[test]
fn a_file_that_is_cut_or_damaged_is_an_error_or_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = synthetic::planted_groups(6, 5, 2, 2, 0.1, 1).unwrap().store(&path).unwrap();
    let (matrix, bytes) = (log.user_items().unwrap(), std::fs::read(&path).unwrap());
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        StoredInteractions::<u32, u32>::open(&path).and_then(|log| {
            Bpr::new().factors(2).epochs(1).fit_stored(&log)?;
            Als::new().factors(2).epochs(1).solver(AlsSolver::Cholesky).fit_stored(&log)?;
            log.user_items()
        })
    };
    for length in 0..bytes.len() {
        read(&bytes[..length]).unwrap_err();
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x81;
        // An entry may have become another; nothing else may.
        if let Ok(found) = read(&damaged) {
            assert!(
                (8..8 + 16 * matrix.nnz()).contains(&at) && found.n_rows() == matrix.n_rows(),
                "byte {at}"
            );
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    let ids = StoredInteractions::<u64, u32>::open(&path).unwrap_err();
    assert!(ids.to_string().contains("the user ids of the file are of type u32, not u64"), "{ids}");
    assert!(matches!(
        StoredInteractions::<u32, u32>::open(folder.path().join("none")),
        Err(Error::Io { .. })
    ));
}

/// A log of which a child has no more than a fifth in memory at any time.
#[cfg(target_os = "linux")]
mod beyond_memory {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// KiB that come into use beside the program itself. The system counts, and is no limit: products of matrices ask it for far more
    /// than they use.
    const LIMIT: u64 = 12 * 1024;
    const ROWS: u32 = 5 * 1024 * LIMIT as u32 / 16;
    const USERS: u32 = 30_000;
    const ITEMS: u32 = 4_000;
    const FOLDER: &str = "CAIRN_TEST_STORED_FOLDER";

    /// No pair twice: a user's items are apart by an odd step.
    fn rows() -> impl Iterator<Item = (u32, u32, f32)> {
        (0..ROWS).map(|n| {
            let (user, turn) = ((u64::from(n) * 7919 % u64::from(USERS)) as u32, n / USERS);
            (user, (user.wrapping_mul(31) + turn * (2 * (user % 8) + 3)) % ITEMS, 1.0 + (n % 3) as f32)
        })
    }

    fn als() -> Als {
        Als::new().factors(4).epochs(1).solver(AlsSolver::Cholesky)
    }

    fn bpr() -> Bpr {
        Bpr::new().factors(4).epochs(1)
    }

    fn bits(factors: &Factors) -> Vec<u8> {
        let all = factors.users.as_slice().iter().chain(factors.items.as_slice());
        all.flat_map(|x| x.to_le_bytes()).collect()
    }

    /// The part of the child.
    #[test]
    fn run() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let begun = most_memory();
        let mut writer = StoredWriter::create(folder.join("log"), Duplicates::Sum).unwrap().memory(1 << 21);
        rows().for_each(|row| writer.add(row).unwrap());
        drop(writer.finish().unwrap());
        let log = StoredInteractions::<u32, u32>::open(folder.join("log")).unwrap();
        std::fs::write(folder.join("als"), bits(als().fit_stored(&log).unwrap().factors())).unwrap();
        std::fs::write(folder.join("bpr"), bits(bpr().fit_stored(&log).unwrap().factors())).unwrap();
        let taken = most_memory() - begun;
        assert!(taken < LIMIT, "{taken} KiB");
    }

    /// The most that this process has had in use, in KiB, without the program's own text, of which more comes in as it is run.
    fn most_memory() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        kib("VmHWM:") - kib("RssFile:")
    }

    #[test]
    fn a_log_of_five_times_the_memory_trains_to_the_bits_of_one_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "stored::beyond_memory::run"]).env(FOLDER, folder.path());
        let output = child.env("RAYON_NUM_THREADS", "1").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let log = Interactions::with_duplicates(rows(), Duplicates::Sum).unwrap();
        assert_eq!(log.len(), ROWS as usize);
        let found = |name| std::fs::read(folder.path().join(name)).unwrap();
        assert!(found("als") == bits(als().fit(&log).unwrap().model().factors()), "ALS");
        assert!(found("bpr") == bits(bpr().fit(&log).unwrap().model().factors()), "BPR");
    }
}
