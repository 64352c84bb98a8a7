//! What features are for: items and users that nobody has met, tables as people have them, and files that take raw rows.

use cairn_recsys::features::{
    EventFeatures, FeatureAls, FeatureMatrix, FeatureModel, FeatureRow, FeatureTable, FeatureValue, LightFm,
    LightFmLoss, LightFmModel,
};
use cairn_recsys::metrics::Ndcg;
use cairn_recsys::read::FeatureReader;
use cairn_recsys::{
    Als, Duplicates, Error, Estimator, Filter, Fitted, Interactions, ItemIdx, RankingEvaluator, Recommender,
    Saved, Scored, Split, TopPop, UserIdx, synthetic,
};

const GROUPS: u32 = 3;

fn log() -> Interactions {
    synthetic::planted_groups(150, 90, GROUPS, 12, 0.05, 7).unwrap()
}

fn row(group: u32) -> FeatureRow {
    FeatureRow::new().category("group", &format!("{group}")).categories("tags", ["all", "same"])
}

fn item_features(log: &Interactions) -> FeatureMatrix<ItemIdx> {
    let rows = (0..90).map(|item| (item, row(item % GROUPS)));
    FeatureMatrix::new(&FeatureTable::new(rows).unwrap(), &log.catalog().items).unwrap()
}

fn user_features(log: &Interactions) -> FeatureMatrix<UserIdx> {
    let rows = (0..150).map(|user| (user, row(user % GROUPS)));
    FeatureMatrix::new(&FeatureTable::new(rows).unwrap(), &log.catalog().users).unwrap()
}

/// Tables are often made of maps, whose order is another in every run.
#[test]
fn the_order_of_rows_does_not_change_a_bit() {
    let log = log();
    let made = |rows: Vec<u32>| {
        let row = |item: u32| {
            row(item % GROUPS).number("length", f64::from(item) * 0.1 + 1e6 * f64::from(item % 2))
        };
        let table = FeatureTable::new(rows.into_iter().map(|item| (item, row(item)))).unwrap();
        FeatureMatrix::new(&table, &log.catalog().items).unwrap()
    };
    let (forward, backward) = (made((0..90).collect()), made((0..90).rev().collect()));
    assert_eq!(forward, backward);
    let fit = |features: &FeatureMatrix<ItemIdx>| {
        LightFm::new().factors(4).epochs(2).item_features(features).fit(&log).unwrap()
    };
    assert!(fit(&forward).model() == fit(&backward).model());
}

/// NDCG@5 of items without rows in training, among themselves.
fn cold_ndcg<F: Estimator>(settings: &F, log: &Interactions) -> f64 {
    let (train, test) = log.split(Split::cold_items(0.2, 1)).unwrap();
    let model = settings.fit(&train).unwrap();
    let mut cold: Vec<u32> = test.ratings().map(|rating| rating.item).collect();
    cold.sort_unstable();
    cold.dedup();
    let report = RankingEvaluator::at([5]).evaluate_among(&model, &test, |_| cold.clone()).unwrap();
    report.mean(Ndcg, 5).unwrap()
}

#[test]
fn items_that_nobody_met_are_ranked_by_their_features() {
    let log = log();
    let features = item_features(&log);
    for loss in [LightFmLoss::Warp, LightFmLoss::Bpr, LightFmLoss::Logistic] {
        let settings = LightFm::new().factors(8).learning_rate(0.1).loss(loss);
        let (with, without) =
            (cold_ndcg(&settings.clone().item_features(&features), &log), cold_ndcg(&settings, &log));
        assert!(with > 0.35 && with > 1.5 * without, "{loss:?}: {with}, {without} without");
    }
    let settings = FeatureAls::new(Als::new().factors(8));
    let (with, without) =
        (cold_ndcg(&settings.clone().item_features(&features), &log), cold_ndcg(&settings, &log));
    assert!(with > 0.35 && with > 1.5 * without, "ALS: {with}, {without} without");
}

#[test]
fn who_is_new_is_known_by_features_to_a_model_from_a_file_too() {
    let log = log();
    let model = LightFm::new().factors(8).learning_rate(0.1);
    let model =
        model.item_features(&item_features(&log)).user_features(&user_features(&log)).fit(&log).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    model.save(&path).unwrap();
    let loaded = Fitted::<LightFmModel>::load(&path).unwrap();
    assert!(loaded.model() == model.model());
    for group in 0..GROUPS {
        let list = loaded.recommend_described(&row(group), 5, &Filter::unseen()).unwrap();
        assert_eq!(list, model.recommend_described(&row(group), 5, &Filter::unseen()).unwrap());
        assert!(list.iter().all(|entry| entry.id % GROUPS == group), "{list:?}");
        let scores = loaded.score_new_items(&group, &[0, 1, 2].map(row)).unwrap();
        assert!(
            (0..3).all(|other| other == group as usize || scores[other] < scores[group as usize]),
            "{scores:?}"
        );
    }
    let unknown =
        loaded.recommend_described(&FeatureRow::new().category("group", "none"), 5, &Filter::unseen());
    assert_eq!(unknown.unwrap().len(), 5, "a category that is not known is as good as none");
    assert!(loaded.recommend_described(&FeatureRow::new().number("age", 3.0), 5, &Filter::unseen()).is_err());

    let als = FeatureAls::new(Als::new().factors(8))
        .item_features(&item_features(&log))
        .user_features(&user_features(&log));
    let als = als.fit(&log).unwrap();
    als.save(&path).unwrap();
    let als = Fitted::<cairn_recsys::features::FeatureAlsModel>::load(&path).unwrap();
    for group in 0..GROUPS {
        let scores = als.score_new_items(&group, &[0, 1, 2].map(row)).unwrap();
        assert!(
            (0..3).all(|other| other == group as usize || scores[other] < scores[group as usize]),
            "{scores:?}"
        );
        let user = als.model().user_vector_of(&row(group)).unwrap();
        let item = |item: u32| {
            als.model().factors().items.get(log.catalog().item(&item).unwrap().0 as usize).to_vec()
        };
        let score = |n: u32| user.iter().zip(item(n)).map(|(a, b)| a * b).sum::<f32>();
        assert!(score(group) > score((group + 1) % GROUPS));
    }
    let plain = LightFm::new().fit(&log).unwrap();
    assert!(matches!(plain.score_new_items(&1, &[row(1)]), Err(Error::Unsupported { .. })));
    assert!(matches!(plain.recommend_described(&row(1), 5, &Filter::all()), Err(Error::Unsupported { .. })));
    let says = |error: Error, side: &str| assert!(error.to_string().contains(side), "{error}");
    says(plain.score_new_items(&1, &[row(1)]).unwrap_err(), "features of items");
    says(plain.recommend_described(&row(1), 5, &Filter::all()).unwrap_err(), "features of users");
}

#[test]
fn new_items_are_scored_for_a_user_whose_id_is_a_text_by_that_text() {
    let rows: Vec<(String, u32)> = log().ratings().map(|r| (format!("u{}", r.user), r.item)).collect();
    let log = Interactions::from_ratings(rows).unwrap();
    let features = FeatureMatrix::new(
        &FeatureTable::new((0..90).map(|item| (item, row(item % GROUPS)))).unwrap(),
        &log.catalog().items,
    )
    .unwrap();
    let model = LightFm::new().factors(4).epochs(2).item_features(&features).fit(&log).unwrap();
    assert!(model.score_new_items("u5", &[row(1)]).is_ok());
    assert!(matches!(model.score_new_items("z", &[row(1)]), Err(Error::UnknownUser(_))));
}

#[test]
fn tables_are_read_from_text_and_what_does_not_read_is_named_with_its_line() {
    let reader = FeatureReader::csv("film")
        .number("year")
        .category("studio")
        .categories("genres", "|")
        .date("released");
    let text = "film,genres,released,year,studio,unused\n7,War|Love,1995-01-02,1995,A,x\n8,,,,,\n";
    let table = reader.from_reader::<u32>(text.as_bytes()).unwrap();
    let expected = FeatureRow::new()
        .number("year", 1995.0)
        .category("studio", "A")
        .categories("genres", ["War", "Love"]);
    assert_eq!(table.rows()[0], (7, expected.number("released", 789_004_800.0)));
    assert_eq!(table.rows()[1], (8, FeatureRow::new()));
    let fails = |text: &str| reader.from_reader::<u32>(text.as_bytes()).unwrap_err();
    let head = "film,genres,released,year,studio\n";
    for (rows, line) in [
        ("7,,,old,\n", 2),
        ("7,,,1990,\n8,,soon,,\n", 3),
        ("7,,,1990,\n8,,,1e200,\n", 3),
        ("x,,,,\n", 2),
        ("7,,\n", 2),
    ] {
        let error = fails(&format!("{head}{rows}"));
        assert!(matches!(error, Error::InvalidRow { line: at, .. } if at == line), "{rows}: {error}");
    }
    assert!(matches!(fails("film,year\n1,2\n"), Error::Parameter { name: "column", .. }));
    let twice = fails(&format!("{head}7,,,,\n8,,,,\n7,,,,\n"));
    assert!(matches!(twice, Error::DuplicateId { .. }));
    assert!(twice.to_string().contains("7 (features, lines 2 and 4)"), "{twice}");
    assert!(matches!(fails(""), Error::Empty { .. }) && matches!(fails(head), Error::Empty { .. }));
    assert!(fails("film,year,year,genres,released,studio\n").to_string().contains("that one column has"));
    let bare = FeatureReader::separated_by("|", 0)
        .category(2)
        .from_reader::<u32>("1|a|x\n2|b|y\n".as_bytes())
        .unwrap();
    assert_eq!(bare.rows()[1].1, FeatureRow::new().category("column 2", "y"));
    assert!(
        FeatureReader::separated_by("|", "id").from_reader::<u32>("1|a\n".as_bytes()).is_err(),
        "no header"
    );
}

#[test]
fn an_item_that_came_in_today_is_listed_by_what_is_known_of_it() {
    let log = log().with_items([1000, 1001]).unwrap();
    let rows = (0..90).map(|item| (item, row(item % GROUPS))).chain([(1000, row(0)), (1001, row(1))]);
    let table = FeatureTable::new(rows).unwrap();
    let features = FeatureMatrix::new(&table, &log.catalog().items).unwrap();
    let model = LightFm::new().factors(8).item_features(&features).fit(&log).unwrap();
    let list = model.recommend(&4, 92, &Filter::unseen()).unwrap();
    let place = |id: u32| list.iter().position(|entry| entry.id == id).unwrap();
    assert!(place(1001) < place(1000), "user 4 is of group 1");
}

#[test]
fn marks_of_missing_values_are_what_the_reader_is_told() {
    let reader = FeatureReader::csv("film").number("year").category("studio").date("released");
    let text = "film,year,studio,released\n7,NA,?,NA\n8,1990,NA,1995-01-02\n";
    let why = reader.from_reader::<u32>(text.as_bytes()).unwrap_err().to_string();
    assert!(why.contains("line 2") && why.contains("`NA` of `year`") && why.contains("`missing`"), "{why}");
    let table = reader.clone().missing(["NA", "?"]).from_reader::<u32>(text.as_bytes()).unwrap();
    assert_eq!(table.rows()[0].1, FeatureRow::new());
    assert_eq!(table.rows()[1].1, FeatureRow::new().number("year", 1990.0).number("released", 789_004_800.0));
    let why = reader.from_reader::<u32>("film,year,studio,released\n7,,,soon\n".as_bytes()).unwrap_err();
    assert!(why.to_string().contains("`soon` of `released`") && !why.to_string().contains("without_time"));
}

/// Columns of every kind, as a file has them.
fn raw_columns() -> FeatureTable<u32> {
    let line = |item: u32| {
        let (group, year) = (item % GROUPS, 1900 + 30 * (item % GROUPS) + item % 7);
        format!("{item},{year},19{}0-0{}-01,g{group}|all\n", 5 + group, 1 + item % 9)
    };
    let text = format!("film,year,released,genres\n{}", (0..90).map(line).collect::<String>());
    let reader = FeatureReader::csv("film").number("year").date("released").categories("genres", "|");
    reader.from_reader(text.as_bytes()).unwrap()
}

/// That a model from a file takes raw rows as the model before did, by the vocabulary and the scaling that it was trained with.
fn keeps_its_scaling<F: Estimator<Model: FeatureModel + Saved>>(settings: &F, table: &FeatureTable<u32>) {
    let model = settings.fit(&log()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    model.save(&path).unwrap();
    let loaded = Fitted::<F::Model>::load(&path).unwrap();
    let space = loaded.model().item_space().unwrap();
    assert_eq!(space.names(), ["genres all", "genres g0", "genres g1", "genres g2", "released", "year"]);
    for column in ["released", "year"] {
        let number = |row: &FeatureRow| match row.get(column) {
            Some(FeatureValue::Number(x)) => *x,
            other => panic!("{other:?}"),
        };
        let numbers: Vec<f64> = table.rows().iter().map(|(_, row)| number(row)).collect();
        let mean = numbers.iter().sum::<f64>() / 90.0;
        let deviation = (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 90.0).sqrt();
        let encoded = space.encode(&FeatureRow::new().number(column, numbers[5])).unwrap();
        let want = (numbers[5] - mean) / deviation;
        assert!((f64::from(encoded[0].1) - want).abs() < 1e-5, "{column}: {encoded:?} for {want}");
        assert!((want - numbers[5]).abs() > 1.0);
    }
    // Rows that the table does not have, with a genre that it does not know.
    let new = |year: f64, released: f64, genre: &str| {
        let row = FeatureRow::new().number("year", year).number("released", released);
        row.categories("genres", ["all", genre])
    };
    let rows =
        [new(1903.0, -5e8, "g0"), new(1961.0, -5e8, "g0"), new(1961.0, 1e7, "g0"), new(1961.0, 1e7, "?")];
    for user in [0, 1, 2, 77] {
        let scores = loaded.score_new_items(&user, &rows).unwrap();
        let before = model.score_new_items(&user, &rows).unwrap();
        let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&scores), bits(&before));
        // Taken as they are, years and dates would all be as far from 0 as numbers are let, and the first three rows alike.
        assert!(scores.windows(2).all(|pair| pair[0] != pair[1]), "{scores:?}");
    }
}

#[test]
fn raw_rows_are_scaled_by_what_a_model_from_a_file_was_trained_with() {
    let table = raw_columns();
    let features = FeatureMatrix::new(&table, &log().catalog().items).unwrap();
    keeps_its_scaling(&LightFm::new().factors(4).epochs(5).item_features(&features), &table);
    #[cfg(feature = "neural")]
    {
        use cairn_recsys::features::{FactorizationMachine, TwoTower};
        let machine = FactorizationMachine::new().factors(4).epochs(3).item_features(&features);
        keeps_its_scaling(&machine, &table);
        keeps_its_scaling(&machine.hidden([4]), &table);
        keeps_its_scaling(&TwoTower::new().factors(4).hidden([8]).epochs(3).item_features(&features), &table);
    }
}

#[test]
fn tables_of_events_are_read_by_user_and_time() {
    let reader = FeatureReader::csv("user").category("device").number("hour").events("when");
    let text = "user,item,when,device,hour\nann,tea,8,phone,8\nbob,tea,1970-01-01 00:00:09,tv,\nann,milk,8,phone,8\n";
    let table = reader.from_reader::<String>(text.as_bytes()).unwrap();
    let phone = FeatureRow::new().category("device", "phone").number("hour", 8.0);
    let tv = FeatureRow::new().category("device", "tv");
    // Two items of one moment have one context.
    assert_eq!(table.rows(), [(("ann".to_owned(), 8), phone), (("bob".to_owned(), 9), tv)]);
    let log =
        Interactions::from_ratings([("ann".to_owned(), 1, 1.0, 8), ("cid".to_owned(), 1, 1.0, 8)]).unwrap();
    let context = EventFeatures::new(&table, &log.catalog().users).unwrap();
    assert_eq!(context.space().names(), ["device phone", "device tv", "hour"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    std::fs::write(&path, text).unwrap();
    assert_eq!(reader.read::<String>(&path).unwrap(), table);

    let fails = |rows: &str| {
        let text = format!("user,item,when,device,hour\n{rows}");
        reader.from_reader::<u32>(text.as_bytes()).unwrap_err()
    };
    let twice = fails("1,5,8,phone,\n2,5,8,tv,\n1,6,8,tv,\n");
    assert!(matches!(twice, Error::DuplicateId { .. }), "{twice}");
    assert!(twice.to_string().contains("(1, 8) (features of events, lines 2 and 4)"), "{twice}");
    for (rows, why) in [
        ("1,5,soon,tv,\n", "the time `soon` is neither a number nor a date"),
        ("1,5,,tv,\n", "the time of the event is missing"),
        (",5,8,tv,\n", "the user is missing"),
        ("ann,5,8,tv,\n", "user `ann` is no u32"),
    ] {
        let error = fails(rows);
        assert!(matches!(error, Error::InvalidRow { line: 2, .. }), "{rows}: {error}");
        assert!(error.to_string().contains(why) && !error.to_string().contains("without_time"), "{error}");
    }
    // Rows that are repeated take no memory, and what is not read does not.
    let limited = FeatureReader::csv("user").category("device").memory_limit(2000).events("when");
    let row = |time: u32| format!("1,{time},tv,{}\n", "x".repeat(500));
    let read = |times: &mut dyn Iterator<Item = u32>| {
        let text = format!("user,when,device,note\n{}", times.map(row).collect::<String>());
        limited.from_reader::<u32>(text.as_bytes())
    };
    assert_eq!(read(&mut (0..900).map(|at| at / 300)).unwrap().len(), 3);
    let error = read(&mut (0..9)).unwrap_err();
    assert!(matches!(error, Error::Memory { limit: 2000, .. }), "{error}");
    assert!(error.to_string().contains("see `FeatureReader::memory_limit`"), "{error}");
    let nowhere = FeatureReader::csv("user").events("moment").from_reader::<String>(text.as_bytes());
    assert!(matches!(nowhere, Err(Error::Parameter { name: "column", .. })));
    let by_place = FeatureReader::separated_by(";", 0).category(2).events(1);
    let table = by_place.from_reader::<u32>("7;100;x\n7;101;y\n".as_bytes()).unwrap();
    assert_eq!(table.rows()[1], ((7, 101), FeatureRow::new().category("column 2", "y")));
}

#[test]
fn features_of_another_catalogue_and_settings_out_of_range_are_refused() {
    let log = log();
    let other = synthetic::planted_groups(30, 30, 3, 5, 0.0, 1).unwrap();
    let foreign = item_features(&other);
    assert!(matches!(LightFm::new().item_features(&foreign).fit(&log), Err(Error::Shape { .. })));
    assert!(matches!(
        FeatureAls::new(Als::new()).item_features(&foreign).fit(&log),
        Err(Error::Shape { .. })
    ));
    let numbers =
        FeatureTable::new((0..90).map(|item| (item, FeatureRow::new().number("price", f64::from(item)))))
            .unwrap();
    let numbers = FeatureMatrix::new(&numbers, &log.catalog().items).unwrap();
    assert!(LightFm::new().factors(4).epochs(1).item_features(&numbers).fit(&log).is_ok());
    let refused = FeatureAls::new(Als::new()).item_features(&numbers).fit(&log).unwrap_err();
    assert!(matches!(refused, Error::Parameter { name: "features", .. }), "{refused}");
    for settings in
        [LightFm::new().factors(0), LightFm::new().max_draws(0), LightFm::new().learning_rate(-1.0)]
    {
        assert!(matches!(settings.fit(&log), Err(Error::Parameter { .. })));
    }
    assert!(matches!(LightFm::new().memory_limit(10).fit(&log), Err(Error::Memory { .. })));
    assert!(matches!(LightFm::new().learning_rate(1e30).fit(&log), Err(Error::Factorization { .. })));
}

/// A category that no user or item of training has.
fn strange() -> FeatureRow {
    FeatureRow::new().category("group", "strange")
}

/// A log with users 9000 to 9002 and items 1000 to 1002 of the groups 0 to 2, 9003 and 1003 of a category that nobody else has, and 9004
/// and 1004 of which nothing is known, all without rows; and the features of all.
struct NewOnes {
    log: Interactions,
    items: FeatureMatrix<ItemIdx>,
    users: FeatureMatrix<UserIdx>,
}

impl NewOnes {
    fn new() -> Self {
        let log = log().with_users(9000..9005).unwrap().with_items(1000..1005).unwrap();
        let rows = |n: u32, first: u32| {
            let old = (0..n).map(|id| (id, row(id % GROUPS)));
            let new = (0..GROUPS).map(move |group| (first + group, row(group)));
            FeatureTable::new(old.chain(new).chain([(first + 3, strange())])).unwrap()
        };
        let items = FeatureMatrix::new(&rows(90, 1000), &log.catalog().items).unwrap();
        let users = FeatureMatrix::new(&rows(150, 9000), &log.catalog().users).unwrap();
        Self { log, items, users }
    }
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * (1.0 + b.abs())
}

/// Users without rows get lists by their features, if training met those, and else what is popular; items without rows their places.
fn lists_go_by_features<F: Estimator>(settings: &F, log: &Interactions) {
    let (model, unseen) = (settings.fit(log).unwrap(), Filter::unseen());
    let name = model.model().name();
    for group in 0..GROUPS {
        let user = 9000 + group;
        let list = model.recommend(&user, 6, &unseen).unwrap();
        let own = list.iter().filter(|entry| entry.id % GROUPS == group || entry.id == 1000 + group).count();
        assert!(own > 3, "{name}, {user}: {list:?}");
        assert!(
            list.iter().all(|entry| close(model.score(&user, &entry.id).unwrap(), entry.score)),
            "{name}"
        );
        let many = model.recommend_many(&[9004, user], 6, &unseen).unwrap();
        assert!(many[1].iter().zip(&list).all(|(a, b)| close(a.score, b.score)), "{name}");
        assert!(!model.similar_users(&user, 5).unwrap().is_empty(), "{name}");
        assert!(!model.similar_items(&(1000 + group), 5).unwrap().is_empty(), "{name}");
    }
    let popular = TopPop::new().fit(log).unwrap().recommend(&9004, 6, &unseen).unwrap();
    for nobody in [9003, 9004] {
        assert_eq!(model.recommend(&nobody, 6, &unseen).unwrap(), popular, "{name}, {nobody}");
        assert!(model.similar_users(&nobody, 5).unwrap().is_empty(), "{name}, {nobody}");
    }
    let alike = model.similar_users(&9000, 200).unwrap();
    assert!(alike.iter().all(|entry| entry.id != 9003 && entry.id != 9004), "{name}: {alike:?}");
    let list = model.recommend(&4, 95, &Filter::all()).unwrap();
    let mut last: Vec<u32> = list[93..].iter().map(|entry| entry.id).collect();
    last.sort_unstable();
    assert_eq!(last, [1003, 1004], "{name}: what nothing is known of comes last");
    assert!(matches!(model.recommend_session(&[1003], 5, &unseen), Err(Error::UnknownItem(_))), "{name}");
}

/// A figure for users without rows is one of the model, not of popularity.
fn new_users_are_evaluated_by_their_features<F: Estimator>(settings: &F) {
    let (train, test) = log().split(Split::cold_users(0.2, 1)).unwrap();
    let model = settings.fit(&train).unwrap();
    let popular = TopPop::new().fit(&train).unwrap();
    for evaluator in [RankingEvaluator::at([5]), RankingEvaluator::at([5]).auc()] {
        let (report, other) =
            (evaluator.evaluate(&model, &test).unwrap(), evaluator.evaluate(&popular, &test).unwrap());
        let (own, popular) = (report.mean(Ndcg, 5).unwrap(), other.mean(Ndcg, 5).unwrap());
        assert!(own > 1.25 * popular, "{}: {own}, {popular} by popularity", report.model());
        assert_eq!(report.users_without_history(), 0, "{report}");
        assert_eq!(other.users_without_history(), other.users().len());
    }
}

/// What training did not meet says as little as nothing.
fn unmet_features_say_nothing<F: Estimator<Model: FeatureModel>>(settings: &F, log: &Interactions) {
    let model = settings.fit(log).unwrap();
    let name = model.model().name();
    let scores = model.score_new_items(&1, &[strange(), FeatureRow::new(), row(1)]).unwrap();
    assert!(close(scores[0], scores[1]) && !close(scores[2], scores[1]), "{name}: {scores:?}");
    says_nothing(&model, &strange());
    let both = |group: &str| FeatureRow::new().category("group", group).categories("tags", ["all", "same"]);
    assert_ne!(by_id(&model, &both("1")), by_id(&model, &both("2")), "{name}");
}

/// All scores for somebody of whom a row is known, by the items' ids.
fn by_id<M: FeatureModel>(model: &Fitted<M>, user: &FeatureRow) -> Vec<f32> {
    let mut list = model.recommend_described(user, 1000, &Filter::all()).unwrap();
    list.sort_by_key(|entry| entry.id);
    list.iter().map(|entry| entry.score).collect()
}

fn says_nothing<M: FeatureModel>(model: &Fitted<M>, user: &FeatureRow) {
    let (said, nothing) = (by_id(model, user), by_id(model, &FeatureRow::new()));
    assert_eq!(said.len(), nothing.len());
    assert!(said.iter().zip(&nothing).all(|(a, b)| close(*a, *b)), "{}: {said:?}", model.model().name());
}

/// A user of training with a session is somebody of whom their features and all that they met are known.
fn sessions_go_with_features<F: Estimator<Model: FeatureModel>>(settings: &F, log: &Interactions) {
    let (model, unseen) = (settings.fit(log).unwrap(), Filter::unseen());
    let name = model.model().name();
    let list = |session: &[u32], user: &FeatureRow| -> Vec<Scored<u32>> {
        model.recommend_session_described(session, user, 8, &unseen).unwrap()
    };
    for user in [4_u32, 9001] {
        let met = model.seen().row(model.catalog().user(&user).unwrap()).0;
        let mut session: Vec<u32> = met.iter().map(|&item| *model.catalog().items.id(item)).collect();
        let latest = [0, 2].map(|n| (0..90).filter(|item| !session.contains(item)).nth(n).unwrap());
        session.extend(latest);
        let next = model.recommend_next(&user, &latest, 8, &unseen).unwrap();
        assert_eq!(next, list(&session, &row(1)), "{name}, {user}");
        assert_ne!(next, list(&session, &row(2)), "{name}, {user}");
        assert_ne!(next, model.recommend_session(&session, 8, &unseen).unwrap(), "{name}, {user}");
        assert!(next.iter().all(|entry| !session.contains(&entry.id)), "{name}: {next:?}");
    }
    let alone = model.recommend_described(&row(1), 8, &unseen).unwrap();
    assert_eq!(list(&[], &row(1)), alone, "{name}");
    assert_eq!(list(&[777_777], &row(1)), alone, "{name}");
    assert_eq!(list(&[777_777, 3], &row(1)), list(&[3], &row(1)), "{name}");
    let unknown = model.recommend_session_described(&[3], &FeatureRow::new().number("age", 3.0), 5, &unseen);
    assert!(matches!(unknown, Err(Error::Parameter { name: "feature", .. })), "{name}");
    let none = model.recommend_session_described(&[3], &row(1), 0, &unseen);
    assert!(matches!(none, Err(Error::Parameter { name: "k", .. })), "{name}");
}

#[test]
fn users_and_items_without_rows_are_listed_and_evaluated_by_their_features() {
    let NewOnes { log, items, users } = NewOnes::new();
    let known = user_features(&self::log());
    let lightfm = LightFm::new().factors(8).learning_rate(0.1);
    lists_go_by_features(&lightfm.clone().item_features(&items).user_features(&users), &log);
    new_users_are_evaluated_by_their_features(&lightfm.user_features(&known));
    let als = FeatureAls::new(Als::new().factors(8));
    lists_go_by_features(&als.clone().item_features(&items).user_features(&users), &log);
    new_users_are_evaluated_by_their_features(&als.user_features(&known));
}

#[test]
fn features_that_training_did_not_meet_say_nothing() {
    let NewOnes { log, items, users } = NewOnes::new();
    let lightfm = LightFm::new().factors(8).learning_rate(0.1);
    unmet_features_say_nothing(&lightfm.item_features(&items).user_features(&users), &log);
    let als = FeatureAls::new(Als::new().factors(8));
    unmet_features_say_nothing(&als.item_features(&items).user_features(&users), &log);
}

#[test]
fn features_of_a_user_go_with_a_session() {
    let NewOnes { log, items, users } = NewOnes::new();
    let lightfm = LightFm::new().factors(8).learning_rate(0.1);
    sessions_go_with_features(&lightfm.item_features(&items).user_features(&users), &log);
    let als = FeatureAls::new(Als::new().factors(8));
    sessions_go_with_features(&als.item_features(&items).user_features(&users), &log);
    let plain = LightFm::new().factors(4).epochs(2).fit(&log).unwrap();
    let refused = plain.recommend_session_described(&[3], &row(1), 5, &Filter::all()).unwrap_err();
    assert!(refused.to_string().contains("features of users"), "{refused}");
}

/// With the features counted a history of training is what training was about.
#[test]
fn als_with_features_folds_in_who_it_was_trained_on() {
    let log = log();
    let als = FeatureAls::new(Als::new().factors(8)).user_features(&user_features(&log)).fit(&log).unwrap();
    folds_in_its_own_users(&als);
}

fn folds_in_its_own_users<M: FeatureModel>(model: &Fitted<M>) {
    for user in (0..20).map(UserIdx) {
        let (items, values) = model.seen().row(user);
        let mut scores = [vec![0.0; 90], vec![0.0; 90]];
        model.model().score_next(model.seen(), user, items, values, &mut scores[0]).unwrap();
        model.model().score_users(model.seen(), &[user], &mut scores[1]).unwrap();
        let differ =
            scores[0].iter().zip(&scores[1]).filter(|(a, b)| (*a - *b).abs() > 1e-3 * (1.0 + b.abs()));
        assert_eq!(differ.count(), 0, "{}, {user:?}", model.model().name());
    }
}

/// User 500 met everything, which tells nothing apart, and alone has a category.
fn who_met_everything() -> (Interactions, FeatureMatrix<UserIdx>, FeatureRow) {
    let mut log = log();
    let rows = (0..90_u32).map(|item| (500_u32, item, 1.0_f32, 1_000_000_i64));
    log.append(rows, Duplicates::Last).unwrap();
    let everything = FeatureRow::new().category("group", "everything");
    let rows = (0..150).map(|user| (user, row(user % GROUPS))).chain([(500, everything.clone())]);
    let features = FeatureMatrix::new(&FeatureTable::new(rows).unwrap(), &log.catalog().users).unwrap();
    (log, features, everything)
}

#[test]
fn what_only_somebody_has_whom_nothing_was_learned_of_says_nothing() {
    let (log, users, everything) = who_met_everything();
    for loss in [LightFmLoss::Warp, LightFmLoss::Bpr, LightFmLoss::Logistic] {
        let model = LightFm::new().factors(8).epochs(5).loss(loss).user_features(&users).fit(&log).unwrap();
        says_nothing(&model, &everything);
        let own = model.model().factors().users.get(150);
        assert!(own[..8].iter().all(|x| *x == 0.0) && own[8] == 1.0, "{loss:?}: {own:?}");
    }
}

#[cfg(feature = "neural")]
mod machines {
    use super::*;
    use cairn_recsys::features::{FactorizationMachine, FactorizationMachineModel, TwoTower, TwoTowerModel};
    use cairn_recsys::rerank::{Rank, Reranking};

    fn machines() -> [FactorizationMachine; 3] {
        let machine = FactorizationMachine::new().factors(8).batch_size(128).epochs(20);
        let deep = machine.clone().hidden([16]);
        [machine, deep.clone(), deep.pairs(false)]
    }

    #[test]
    fn items_that_nobody_met_are_ranked_by_their_features() {
        let log = log();
        let features = item_features(&log);
        for settings in machines() {
            let (with, without) =
                (cold_ndcg(&settings.clone().item_features(&features), &log), cold_ndcg(&settings, &log));
            assert!(with > 0.35 && with > 1.5 * without, "{settings:?}: {with}, {without} without");
        }
    }

    #[test]
    fn who_is_new_is_known_by_features_to_a_model_from_a_file_too() {
        let log = log();
        for settings in machines() {
            let settings = settings.item_features(&item_features(&log)).user_features(&user_features(&log));
            let model = settings.fit(&log).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model");
            model.save(&path).unwrap();
            let loaded = Fitted::<FactorizationMachineModel>::load(&path).unwrap();
            assert!(loaded.model() == model.model());
            assert_eq!(loaded.model().item_space().unwrap().len(), 5);
            for group in 0..GROUPS {
                let list = loaded.recommend_described(&row(group), 5, &Filter::unseen()).unwrap();
                assert!(list.iter().all(|entry| entry.id % GROUPS == group), "{settings:?}: {list:?}");
                let scores = loaded.score_new_items(&group, &[0, 1, 2].map(row)).unwrap();
                let best = scores[group as usize];
                assert!(
                    scores.iter().filter(|&&score| score >= best).count() == 1,
                    "{settings:?}: {scores:?}"
                );
            }
        }
        let plain = machines()[0].clone().epochs(2).fit(&log).unwrap();
        assert!(matches!(plain.score_new_items(&1, &[row(1)]), Err(Error::Unsupported { .. })));
    }

    /// What is met at night is of another group than what is met by day.
    #[test]
    fn lists_follow_the_context_of_the_request() {
        let rows = (0..80_u32).flat_map(|user| {
            (0..12_u32).map(move |time| {
                let (night, n) = (time % 2, (user * 7 + time * 5) % 10);
                (user, 2 * n + night, 1.0, i64::from(12 * user + time))
            })
        });
        let log = Interactions::from_ratings(rows).unwrap();
        let when = |night: bool| FeatureRow::new().category("when", if night { "night" } else { "day" });
        let events = (0..80_u32).flat_map(|user| {
            (0..12_u32).map(move |time| ((user, i64::from(12 * user + time)), time % 2 == 1))
        });
        let table = FeatureTable::new(events.map(|(event, night)| (event, when(night)))).unwrap();
        let context = EventFeatures::new(&table, &log.catalog().users).unwrap();
        for settings in machines() {
            let settings = settings.epochs(60).context(&context);
            let model = settings.fit(&log).unwrap();
            for (night, rest) in [(true, 1), (false, 0)] {
                let list = model.recommend_in(&5, &when(night), 5, &Filter::all()).unwrap();
                let right = list.iter().filter(|entry| entry.id % 2 == rest).count();
                assert!(right >= 4, "{settings:?}, {night}: {list:?}");
            }
            let unknown = model.recommend_in(&5, &FeatureRow::new().number("hour", 3.0), 5, &Filter::all());
            assert!(matches!(unknown, Err(Error::Parameter { name: "feature", .. })));
            assert!(matches!(settings.fit_matrix(&log.user_items()), Err(Error::Unsupported { .. })));
        }
        let without = machines()[0].fit(&log).unwrap();
        assert!(matches!(
            without.recommend_in(&5, &when(true), 5, &Filter::all()),
            Err(Error::Unsupported { .. })
        ));
    }

    #[test]
    fn settings_out_of_range_are_named_and_memory_is_asked_for_first() {
        let log = log();
        let machine = FactorizationMachine::new;
        for (settings, name) in [
            (machine().factors(0), "factors"),
            (machine().negatives(0), "negatives"),
            (machine().negatives(65_537), "negatives"),
            (machine().dropout(1.0), "dropout"),
            (machine().hidden([4, 0]), "hidden"),
            (machine().pairs(false), "pairs"),
            (machine().regularization(-1.0), "regularization"),
            (machine().batch_size(0), "batch_size"),
            (machine().learning_rate(f64::NAN), "learning_rate"),
        ] {
            let error = settings.fit(&log).unwrap_err();
            assert!(
                matches!(&error, Error::Parameter { name: said, .. } if *said == name),
                "{name}: {error}"
            );
        }
        for settings in
            [machine().factors(usize::MAX), machine().hidden([usize::MAX]), machine().memory_limit(9)]
        {
            assert!(matches!(settings.fit(&log), Err(Error::Memory { .. })), "{settings:?}");
        }
        // What a pair of many features takes is counted, too.
        let tags: Vec<String> = (0..200).map(|tag| tag.to_string()).collect();
        let rows = (0..90).map(|item| (item, FeatureRow::new().categories("tags", tags.clone())));
        let many = FeatureMatrix::new(&FeatureTable::new(rows).unwrap(), &log.catalog().items).unwrap();
        let needed = |settings: FactorizationMachine| match settings.memory_limit(9).fit(&log) {
            Err(Error::Memory { needed, .. }) => needed,
            other => panic!("{other:?}"),
        };
        assert!(needed(machine().item_features(&many)) > 8 * needed(machine()));
        let event = ((0_u32, 0_i64), FeatureRow::new().categories("tags", tags));
        let many = EventFeatures::new(&FeatureTable::new([event]).unwrap(), &log.catalog().users).unwrap();
        assert!(needed(machine().context(&many)) > 8 * needed(machine()));
    }

    #[test]
    fn users_and_items_without_rows_are_listed_and_evaluated_by_their_features() {
        let NewOnes { log, items, users } = NewOnes::new();
        let known = user_features(&super::log());
        for settings in machines() {
            let settings = settings.epochs(30);
            lists_go_by_features(&settings.item_features(&items).user_features(&users), &log);
        }
        new_users_are_evaluated_by_their_features(&machines()[0].clone().epochs(30).user_features(&known));
        lists_go_by_features(&towers().item_features(&items).user_features(&users), &log);
        new_users_are_evaluated_by_their_features(&towers().user_features(&known));
    }

    #[test]
    fn features_that_training_did_not_meet_say_nothing() {
        let NewOnes { log, items, users } = NewOnes::new();
        for settings in machines() {
            let settings = settings.epochs(4);
            unmet_features_say_nothing(&settings.item_features(&items).user_features(&users), &log);
        }
        unmet_features_say_nothing(&towers().epochs(4).item_features(&items).user_features(&users), &log);
    }

    #[test]
    fn features_of_a_user_go_with_a_session() {
        let NewOnes { log, items, users } = NewOnes::new();
        for settings in machines() {
            let settings = settings.epochs(4);
            sessions_go_with_features(&settings.item_features(&items).user_features(&users), &log);
        }
        sessions_go_with_features(&towers().epochs(4).item_features(&items).user_features(&users), &log);
        let towers = towers().user_features(&user_features(&super::log())).fit(&super::log()).unwrap();
        folds_in_its_own_users(&towers);
    }

    #[test]
    fn what_only_somebody_has_whom_nothing_was_learned_of_says_nothing() {
        let (log, users, everything) = who_met_everything();
        for settings in machines() {
            says_nothing(&settings.epochs(3).user_features(&users).fit(&log).unwrap(), &everything);
        }
        says_nothing(&towers().epochs(3).user_features(&users).fit(&log).unwrap(), &everything);
    }

    /// What was met in the only event of a kind that is held out has no say either.
    #[test]
    fn a_context_that_training_did_not_meet_says_nothing() {
        let log = log();
        let event =
            |user: u32, time: i64, when: &str| ((user, time), FeatureRow::new().category("when", when));
        let times = log.ratings().map(|rating| event(rating.user, rating.timestamp, "day"));
        let table = FeatureTable::new(times.chain([event(3, 1_000_000, "never")])).unwrap();
        let context = EventFeatures::new(&table, &log.catalog().users).unwrap();
        for settings in machines() {
            let settings = settings.epochs(3).context(&context);
            let model = settings.fit(&log).unwrap();
            let by_id = |row: &FeatureRow| {
                let mut list = model.recommend_in(&5, row, 90, &Filter::all()).unwrap();
                list.sort_by_key(|entry| entry.id);
                list
            };
            let never = by_id(&FeatureRow::new().category("when", "never"));
            let nothing = by_id(&FeatureRow::new());
            assert!(never.iter().zip(&nothing).all(|(a, b)| close(a.score, b.score)), "{settings:?}");
            let day = by_id(&FeatureRow::new().category("when", "day"));
            assert!(day.iter().zip(&nothing).any(|(a, b)| !close(a.score, b.score)), "{settings:?}");
        }
    }

    /// Item 700 was met by people who met nothing else: it is a positive, and never a part of what somebody met besides.
    #[test]
    fn an_item_that_was_never_a_part_of_a_history_is_passed_over_in_histories() {
        let mut log = log();
        let rows = [600_u32, 601].map(|user| (user, 700_u32, 1.0_f32, 5_i64));
        log.append(rows, Duplicates::Last).unwrap();
        let model = towers().fit(&log).unwrap();
        let list = |session: &[u32]| model.recommend_session(session, 8, &Filter::all());
        let refused = list(&[700]).unwrap_err();
        assert!(refused.to_string().contains("700: training learned nothing of it"), "{refused}");
        assert_eq!(list(&[3, 700, 6]).unwrap(), list(&[3, 6]).unwrap());
        let popular = model.recommend_for(&[(700, 1.0)], 3, &Filter::unseen()).unwrap();
        assert!(popular.iter().all(|entry| entry.score >= 1.0 && entry.score.fract() == 0.0), "{popular:?}");
        // It has rows, so it is listed by what was learned of it, and so are those who met it.
        assert!(!model.similar_items(&700, 3).unwrap().is_empty());
        assert_ne!(model.recommend(&600, 3, &Filter::unseen()).unwrap(), popular);
        let vector = |user: u32| {
            let user = log.catalog().user(&user).unwrap();
            model.model().factors().users.get(user.0 as usize)
        };
        let nobody = model.model().user_vector_with(&[], &FeatureRow::new()).unwrap();
        for user in [600, 601] {
            assert!(vector(user).iter().zip(&nobody).all(|(a, b)| close(*a, *b)), "as of nothing met");
        }
    }

    fn towers() -> TwoTower {
        TwoTower::new().factors(8).hidden([16]).batch_size(128).epochs(30).learning_rate(0.01)
    }

    #[test]
    fn towers_know_who_is_new_by_features_history_or_both() {
        let log = log();
        let features = item_features(&log);
        let (with, without) =
            (cold_ndcg(&towers().item_features(&features), &log), cold_ndcg(&towers(), &log));
        assert!(with > 0.35 && with > 1.5 * without, "{with}, {without} without");
        let settings = towers().item_features(&features).user_features(&user_features(&log));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        settings.fit(&log).unwrap().save(&path).unwrap();
        let model = Fitted::<TwoTowerModel>::load(&path).unwrap();
        for group in 0..GROUPS {
            let list = model.recommend_described(&row(group), 5, &Filter::unseen()).unwrap();
            assert!(list.iter().all(|entry| entry.id % GROUPS == group), "{list:?}");
            let scores = model.score_new_items(&group, &[0, 1, 2].map(row)).unwrap();
            assert!(scores.iter().all(|&score| score <= scores[group as usize]), "{scores:?}");
            // All that somebody met, and what is known of them: the user of training again.
            let user = log.catalog().user(&group).unwrap();
            let both = model.model().user_vector_with(model.seen().row(user).0, &row(group)).unwrap();
            let own = model.model().factors().users.get(group as usize);
            assert!(both.iter().zip(own).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + a.abs())), "{group}");
            let alone = model.model().user_vector_with(&[], &row(group)).unwrap();
            assert!(alone != both);
        }
        let plain = towers().fit(&log).unwrap();
        assert!(matches!(plain.score_new_items(&1, &[row(1)]), Err(Error::Unsupported { .. })));
        assert!(matches!(
            plain.recommend_described(&row(1), 5, &Filter::all()),
            Err(Error::Unsupported { .. })
        ));
    }

    #[test]
    fn candidates_of_towers_are_ranked_by_a_network_of_pairs() {
        let log = log();
        let (candidates, ranker) = (towers().fit(&log).unwrap(), machines()[1].fit(&log).unwrap());
        let steps = Reranking::from_best(20).then(Rank::by(&ranker));
        let best = candidates.recommend(&7, 20, &Filter::unseen()).unwrap();
        let list = candidates.recommend_reranked(&7, 5, &Filter::unseen(), &steps).unwrap();
        let score = |id: u32| ranker.score(&7, &id).unwrap();
        let mut want: Vec<f32> = best.iter().map(|entry| score(entry.id)).collect();
        want.sort_by(|a, b| b.total_cmp(a));
        let got: Vec<f32> = list.iter().map(|entry| score(entry.id)).collect();
        assert_eq!(got, want[..5]);
        let other = synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        let foreign = Reranking::from_best(20).then(Rank::by(&machines()[0].fit(&other).unwrap()));
        let refused = candidates.recommend_reranked(&7, 5, &Filter::unseen(), &foreign);
        assert!(matches!(refused, Err(Error::Shape { .. })));
    }

    #[test]
    fn settings_of_towers_out_of_range_are_named() {
        let log = log();
        let named = [
            (towers().factors(0), "factors"),
            (towers().hidden([0]), "hidden"),
            (towers().dropout(-0.1), "dropout"),
            (towers().batch_size(0), "batch_size"),
        ];
        for (settings, name) in named {
            let error = settings.fit(&log).unwrap_err();
            assert!(
                matches!(&error, Error::Parameter { name: said, .. } if *said == name),
                "{name}: {error}"
            );
        }
        for settings in
            [towers().factors(usize::MAX), towers().hidden([usize::MAX]), towers().memory_limit(9)]
        {
            assert!(matches!(settings.fit(&log), Err(Error::Memory { .. })), "{settings:?}");
        }
    }
}
