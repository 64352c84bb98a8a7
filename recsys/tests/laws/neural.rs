//! Models that know order, each against what only order tells, and what is said before and during their training.

use cairn_recsys::features::TwoTower;
use cairn_recsys::{
    AnnSettings, Bert4Rec, Duplicates, Error, Estimator, Filter, Fitted, Gru4Rec, Interactions, LightGcn,
    MultVae, NeuMf, RankingEvaluator, Recommender, Sasrec, Scored, SequenceLoss, SequenceModel, Split,
    UserIdx, metrics::Ndcg,
};

/// Everybody walks round a circle of `n` items, from a place of their own, with a step of 1 or 3.
fn walks(users: u32, n: u32, length: u32) -> Interactions {
    let rows = (0..users).flat_map(|user| {
        let step = 1 + 2 * (user % 2);
        (0..length).map(move |time| (user, (user / 2 + time * step) % n, 1.0, i64::from(time)))
    });
    Interactions::from_ratings(rows).unwrap()
}

fn sasrec() -> Sasrec {
    Sasrec::new().dim(16).max_length(8).blocks(1).batch_size(16).epochs(60).learning_rate(0.01).patience(None)
}

#[test]
fn what_comes_next_depends_on_the_order_of_what_was_met() {
    let log = walks(80, 20, 6);
    let gru = Gru4Rec::new().dim(16).max_length(8).batch_size(16).epochs(60).learning_rate(0.02);
    for model in [sasrec().fit(&log).unwrap(), gru.patience(None).fit(&log).unwrap()] {
        let next = |session: &[u32]| model.recommend_session(session, 1, &Filter::unseen()).unwrap()[0].id;
        assert_eq!((next(&[3, 4, 5]), next(&[5, 8, 11])), (6, 14));
        // The same last item, another way to it.
        assert_eq!((next(&[9, 10, 11]), next(&[5, 8, 11])), (12, 14));
        let user = log.catalog().user(&4).unwrap();
        assert_eq!(
            model.model().encode(log.sequences().get(user)).unwrap(),
            model.model().factors().users.get(4)
        );
    }
}

/// The last item is asked for as in training, when something in the middle is too.
#[test]
fn what_is_masked_behind_a_history_is_what_comes_next() {
    let log = walks(80, 20, 6);
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let bert = Bert4Rec::new().dim(16).max_length(8).blocks(1).batch_size(16).epochs(100).learning_rate(0.01);
    let model = bert.patience(None).fit(&train).unwrap();
    let report = RankingEvaluator::at([10]).evaluate(&model, &test).unwrap();
    assert!(report.mean(Ndcg, 10).unwrap() > 0.5, "{report}");
    let user = train.catalog().user(&4).unwrap();
    let encoded = model.model().encode(train.sequences().get(user)).unwrap();
    assert_eq!(encoded, model.model().factors().users.get(4));
}

#[test]
fn training_ends_when_the_validation_items_are_ranked_no_better_and_goes_back_to_the_best() {
    let log = walks(80, 20, 6);
    let settings = sasrec().epochs(200).patience(Some(15));
    let model = settings.fit(&log).unwrap();
    let scores = model.model().validation();
    let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a))).unwrap();
    assert!(scores.len() == 200 || scores.len() == best + 16, "{scores:?}");
    assert!(scores[best] > 0.6, "{scores:?}");
    // As good on what was held out as it said, up to the choice of users: here all.
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let before = settings.epochs(best + 1).fit(&log).unwrap();
    assert_eq!(before.model().factors(), model.model().factors(), "the best epoch is the one that is kept");
    let report = RankingEvaluator::at([10]).evaluate(&sasrec().fit(&train).unwrap(), &test).unwrap();
    assert!(report.mean(Ndcg, 10).unwrap() > 0.5);
}

#[test]
fn folding_in_is_by_the_order_of_the_history() {
    let log = walks(80, 20, 6);
    let model = sasrec().fit(&log).unwrap();
    let (history, test) = log.split(Split::leave_last_out()).unwrap();
    let report = RankingEvaluator::at([10]).evaluate_fold_in(&model, &history, &test).unwrap();
    assert!(report.mean(Ndcg, 10).unwrap() > 0.9, "{report}");
}

/// A log whose catalogue has the items 100 to 102, which have no rows.
fn with_strangers() -> Interactions {
    let mut log = walks(80, 20, 6);
    let rows = log.len();
    let strangers = [100_u32, 101, 102].map(|item| (1000_u32, item, 1.0_f32, 0_i64));
    log.append(strangers, Duplicates::Last).unwrap();
    log.filter_rows(|row| row < rows)
}

#[test]
fn items_without_rows_are_listed_behind_all_others_and_passed_over_in_sessions() {
    let log = with_strangers();
    let folder = tempfile::tempdir().unwrap();
    let gru = Gru4Rec::new().dim(8).max_length(8).batch_size(16).epochs(6).learning_rate(0.02);
    let bert = Bert4Rec::new().dim(8).max_length(8).batch_size(16).epochs(6).learning_rate(0.02);
    let models = [
        sasrec().epochs(6).fit(&log).unwrap(),
        sasrec().epochs(6).loss(SequenceLoss::sampled_softmax()).patience(Some(2)).fit(&log).unwrap(),
        gru.fit(&log).unwrap(),
        bert.fit(&log).unwrap(),
    ];
    for model in models {
        let all = |session: &[u32]| model.recommend_session(session, 23, &Filter::all()).unwrap();
        let list = all(&[3, 4, 5]);
        let of_user = model.recommend(&7, 23, &Filter::all()).unwrap();
        let fast = model.with_index(AnnSettings::new().cells(4).probes(4)).unwrap();
        let by_index = fast.recommend_session(&[3, 4, 5], 23, &Filter::all()).unwrap();
        for list in [&list, &of_user, &by_index] {
            assert!(list.len() == 23 && list.iter().all(|entry| entry.score.is_finite()), "{list:?}");
            assert!(list[..20].iter().all(|entry| entry.id < 20), "{list:?}");
        }
        assert_eq!(all(&[3, 100, 4, 5, 102]), list);
        assert_eq!(all(&[3, 777, 4, 5]), list, "as one that the catalogue does not have");
        let unknown = model.recommend_session(&[100, 101], 5, &Filter::all()).unwrap_err();
        assert!(matches!(unknown, Error::UnknownItem(_)), "{unknown}");
        let path = folder.path().join("model");
        model.save(&path).unwrap();
        let loaded: Fitted<SequenceModel> = Fitted::load(&path).unwrap();
        assert!(loaded.model() == model.model());
        assert_eq!(loaded.recommend_session(&[3, 100, 4, 5], 23, &Filter::all()).unwrap(), list);
    }
}

#[test]
fn items_that_are_held_out_alone_are_as_those_without_rows() {
    let mut log = walks(80, 20, 6);
    let last = [(500_u32, 3_u32), (500, 4), (500, 5), (500, 200)];
    let times = 1_000_000..;
    log.append(
        last.into_iter().zip(times).map(|((user, item), time)| (user, item, 1.0, time)),
        Duplicates::Last,
    )
    .unwrap();
    let model = sasrec().epochs(4).patience(Some(2)).fit(&log).unwrap();
    let list = model.recommend_session(&[3, 4, 5], 21, &Filter::all()).unwrap();
    assert_eq!((list.len(), list[20].id), (21, 200));
    let unknown = model.recommend_session(&[200], 5, &Filter::all()).unwrap_err().to_string();
    assert!(unknown.contains("200: training learned nothing of it"), "{unknown}");
    assert!(model.similar_items(&3, 30).unwrap().iter().all(|entry| entry.id != 200));
    // Their history counts without it, and what is known of nobody is what is popular.
    let of = |history: &[u32]| {
        let history: Vec<(u32, f32)> = history.iter().map(|&item| (item, 1.0)).collect();
        model.recommend_for(&history, 5, &Filter::all()).unwrap()
    };
    assert_eq!(of(&[3, 4, 5, 200]), of(&[3, 4, 5]));
    // The scores of a user of training are of a product for many, and rounded otherwise.
    let ids = |list: &[Scored<u32>]| list.iter().map(|entry| entry.id).collect::<Vec<u32>>();
    assert_eq!(ids(&model.recommend(&500, 5, &Filter::all()).unwrap()), ids(&of(&[3, 4, 5])));
    assert!(of(&[200]).iter().all(|entry| entry.score >= 1.0), "by how often they were met");
    assert!(sasrec().epochs(4).fit(&log).unwrap().recommend_session(&[200], 5, &Filter::all()).is_ok());
}

#[test]
fn encoders_of_sets_pass_over_items_without_rows() {
    let log = with_strangers();
    let vae = MultVae::new().hidden(8).latent(4).epochs(3).fit(&log).unwrap();
    let list = |session: &[u32]| vae.recommend_session(session, 20, &Filter::all()).unwrap();
    assert_eq!(list(&[3, 100, 4]), list(&[3, 4]));
    let towers = TwoTower::new().factors(4).hidden([4]).epochs(3).fit(&log).unwrap();
    let list = |session: &[u32]| towers.recommend_session(session, 20, &Filter::all()).unwrap();
    assert_eq!(list(&[3, 100, 4]), list(&[3, 4]));
}

#[test]
fn memory_is_said_before_training_and_a_matrix_is_refused() {
    let log = walks(20, 10, 5);
    let settings = sasrec();
    let plan = settings.plan(&log);
    assert_eq!(plan.steps, 20 * 4);
    assert!(plan.memory < settings.memory_needed(20, 10), "nobody met as many as the model looks back on");
    let short = settings.clone().max_length(5);
    assert_eq!(short.plan(&log).memory, short.memory_needed(20, 10));
    assert!(plan.epoch_flops > 0.0 && plan.to_string().contains("80 positions"), "{plan}");
    let refused = settings.clone().memory_limit(plan.memory - 1).fit(&log).unwrap_err();
    assert!(matches!(refused, Error::Memory { needed, .. } if needed == plan.memory), "{refused}");
    assert!(settings.memory_needed(20, 1_000_000_000) > 1 << 38);
    assert!(matches!(settings.fit_matrix(&log.user_items()), Err(Error::Unsupported { .. })));
}

/// What is planned goes by the log: a network without a table of positions takes no more for looking back further than anybody goes.
#[test]
fn memory_is_that_of_the_longest_history_however_far_a_model_may_look_back() {
    let log = walks(150, 20, 5);
    let gru = || Gru4Rec::new().epochs(1).patience(None);
    let (far, near) = (gru().max_length(100_000), gru().max_length(5));
    assert_eq!(far.plan(&log), near.plan(&log));
    assert!(far.memory_needed(150, 20) > 1 << 35);
    let (far, near) = (far.dim(8).fit(&log).unwrap(), near.dim(8).fit(&log).unwrap());
    assert_eq!(far.model().factors(), near.model().factors());
    // A table of as many positions is there whether or not they are met.
    let long = sasrec().max_length(100_000);
    assert!(long.plan(&log).memory > sasrec().max_length(5).plan(&log).memory + 100_000 * 16 * 4);
    // One history as long as that is planned for.
    let mut log = walks(150, 20, 5);
    let rows = (0..3000_u32).map(|n| (1000_u32, n, 1.0_f32, i64::from(n)));
    log.append(rows, Duplicates::Last).unwrap();
    assert!(gru().max_length(100_000).plan(&log).memory > 10 * gru().max_length(5).plan(&log).memory);
    assert!(matches!(
        gru().max_length(100_000).memory_limit(1 << 28).fit(&log),
        Err(Error::Memory { needed, .. }) if needed == gru().max_length(100_000).plan(&log).memory
    ));
}

#[test]
fn an_epoch_is_planned_as_it_is_trained() {
    // Who met two items has none to hold out; who met one has nothing to learn from.
    let pairs = walks(30, 10, 2);
    let settings = sasrec().epochs(2).patience(Some(5));
    assert_eq!(settings.plan(&pairs).steps, 30);
    assert!(settings.fit(&pairs).unwrap().model().progress()[0] > 0.0);
    assert_eq!(settings.plan(&walks(30, 10, 1)).steps, 0);
    // Of three the last is held out, and of ten items no more are learned from than the model looks back on.
    assert_eq!(settings.plan(&walks(30, 10, 3)).steps, 30);
    assert_eq!(settings.clone().patience(None).plan(&walks(30, 10, 3)).steps, 60);
    assert_eq!(settings.max_length(4).plan(&walks(30, 40, 10)).steps, 120);
    // What is masked is learned from: of ten items a fifth, or the last alone.
    let bert = Bert4Rec::new().dim(16).max_length(10).patience(None).masked(0.2);
    let log = walks(300, 40, 10);
    let want = 300.0 * (0.1 + 0.9 * (10.0 * 0.2 + 0.8_f64.powi(10)));
    let plan = bert.plan(&log);
    assert!((plan.steps as f64 - want).abs() <= 1.0, "{plan}");
    // The softmax is over those alone: its work grows by that of the masked with the number of items.
    let wide = bert.loss(SequenceLoss::SampledSoftmax { negatives: 1039, popularity: 0.0 }).plan(&log);
    let more = wide.epoch_flops - plan.epoch_flops;
    assert!((more / (6.0 * plan.steps as f64 * 1000.0 * 16.0) - 1.0).abs() < 0.01, "{more}");
}

#[test]
fn settings_out_of_range_are_named() {
    let log = walks(20, 10, 5);
    let most = SequenceLoss::SampledSoftmax { negatives: usize::MAX, popularity: 0.0 };
    for error in [
        sasrec().blocks(usize::MAX).fit(&log).err(),
        sasrec().blocks(usize::MAX).memory_limit(u64::MAX).fit(&log).err(),
        sasrec().loss(most).fit(&log).err(),
    ] {
        assert!(matches!(error, Some(Error::Memory { .. })), "{error:?}");
    }
    let negatives = SequenceLoss::SampledSoftmax { negatives: 0, popularity: 0.0 };
    for (settings, name) in [
        (sasrec().dim(0), "dim"),
        (sasrec().heads(3), "heads"),
        (sasrec().blocks(0), "blocks"),
        (sasrec().max_length(0), "max_length"),
        (sasrec().batch_size(0), "batch_size"),
        (sasrec().dropout(1.0), "dropout"),
        (sasrec().learning_rate(f64::NAN), "learning_rate"),
        (sasrec().patience(Some(0)), "patience"),
        (sasrec().loss(negatives), "negatives"),
        (sasrec().loss(SequenceLoss::Gbce { negatives: 5, calibration: 1.5 }), "calibration"),
    ] {
        let error = settings.fit(&log).unwrap_err();
        assert!(matches!(&error, Error::Parameter { name: said, .. } if *said == name), "{name}: {error}");
    }
    for (settings, name) in [
        (Bert4Rec::new().masked(1.0), "masked"),
        (Bert4Rec::new().max_length(1), "max_length"),
        (Bert4Rec::new().heads(5), "heads"),
        (Bert4Rec::new().blocks(0), "blocks"),
    ] {
        let error = settings.fit(&log).unwrap_err();
        assert!(matches!(&error, Error::Parameter { name: said, .. } if *said == name), "{name}: {error}");
    }
    let wild = sasrec().learning_rate(1e30).fit(&log).unwrap_err();
    assert!(matches!(wild, Error::Network { model: "SASRec", .. }), "{wild}");
}

#[test]
fn rows_of_one_moment_keep_the_order_of_the_log() {
    let log =
        Interactions::from_ratings([(1, 5, 1.0, 9), (1, 3, 1.0, 9), (1, 4, 1.0, 2), (1, 1, 1.0, 9)]).unwrap();
    let ids: Vec<u32> =
        log.sequences().get(UserIdx(0)).iter().map(|&item| *log.catalog().items.id(item)).collect();
    assert_eq!(ids, [4, 5, 3, 1]);
    assert_eq!(log.split(Split::leave_last_out()).unwrap().1.rating(0).item, 1);
    assert!(log.sequences().get(UserIdx(7)).is_empty());
}

#[test]
fn settings_of_networks_of_sets_are_named_and_memory_is_asked_for_first() {
    fn name(error: Error) -> &'static str {
        match error {
            Error::Parameter { name, .. } => name,
            error => panic!("{error}"),
        }
    }
    let log = walks(20, 10, 5);
    let (vae, gcn) = (MultVae::new, LightGcn::new);
    for (settings, wrong) in [
        (vae().hidden(0), "hidden"),
        (vae().latent(0), "latent"),
        (vae().dropout(1.0), "dropout"),
        (vae().beta(-1.0), "beta"),
        (vae().anneal(f32::NAN), "anneal"),
        (vae().batch_size(0), "batch_size"),
        (vae().learning_rate(0.0), "learning_rate"),
    ] {
        assert_eq!(name(settings.fit(&log).unwrap_err()), wrong);
    }
    for (settings, wrong) in [
        (gcn().factors(0), "factors"),
        (gcn().layers(0), "layers"),
        (gcn().regularization(f32::NAN), "regularization"),
    ] {
        assert_eq!(name(settings.fit(&log).unwrap_err()), wrong);
    }
    for negatives in [0, 65_537] {
        assert_eq!(name(NeuMf::new().negatives(negatives).fit(&log).unwrap_err()), "negatives");
    }
    let wild = vae().hidden(8).latent(4).epochs(5).learning_rate(1e30).fit(&log).unwrap_err();
    assert!(matches!(wild, Error::Network { model: "Mult-VAE", .. }), "{wild}");
    for most in [1 << 40, usize::MAX] {
        assert!(matches!(vae().hidden(most).fit(&log), Err(Error::Memory { .. })));
        assert!(matches!(vae().latent(most).fit(&log), Err(Error::Memory { .. })));
        assert!(matches!(gcn().factors(most).fit(&log), Err(Error::Memory { .. })));
        assert!(matches!(gcn().layers(most).fit(&log), Err(Error::Memory { .. })));
    }
    // What cannot even be counted is refused whatever the limit.
    let boundless = gcn().layers(usize::MAX).memory_limit(u64::MAX);
    assert!(matches!(boundless.fit(&log), Err(Error::Memory { .. })));
    assert!(matches!(vae().memory_limit(9).fit(&log), Err(Error::Memory { limit: 9, .. })));
}
