//! Recommenders on many processes, here threads of this one: neighbours, SLIM, lists and evaluation have the same bits at any number of them.
//! Of ALS the laws are beside it.

use cairn_processes::{Communicator, Threads};
use cairn_recsys::{
    Als, Ease, Estimator, Filter, Fitted, Interactions, ItemKnn, RankingEvaluator, Recommender, Slim, Split,
    synthetic,
};

fn logs() -> (Interactions, Interactions) {
    let log = synthetic::planted_groups(700, 90, 4, 12, 0.1, 3).unwrap();
    log.split(Split::per_user(0.3, 0)).unwrap()
}

/// What every one of 1 to 4 processes finds is what one finds without them.
fn same_on_all<T: PartialEq + Send>(alone: &T, of: impl Fn(&dyn Communicator) -> T + Sync) {
    for size in 1..5 {
        let found = Threads::run(size, |process| of(process));
        assert!(found.iter().all(|found| found == alone), "on {size} processes");
    }
}

#[test]
fn item_neighbours_and_slim_have_the_same_bits_at_any_number_of_processes() {
    let (train, _) = logs();
    let knn = ItemKnn::new(10).shrink(2.0);
    same_on_all(knn.fit(&train).unwrap().model(), |process| {
        knn.fit_on(&train, process).unwrap().model().clone()
    });
    let slim = Slim::new().l1(0.5);
    same_on_all(slim.fit(&train).unwrap().model(), |process| {
        slim.fit_on(&train, process).unwrap().model().clone()
    });
}

fn lists_and_evaluation<M: Recommender>(model: &Fitted<M>, test: &Interactions) {
    let users: Vec<u32> = model.catalog().users.ids().to_vec();
    let lists =
        |process: &dyn Communicator| model.recommend_many_on(&users, 7, &Filter::unseen(), process).unwrap();
    same_on_all(&model.recommend_many(&users, 7, &Filter::unseen()).unwrap(), lists);
    for evaluator in [
        RankingEvaluator::at([5, 10]).list_quality(),
        RankingEvaluator::at([10]).auc(),
        RankingEvaluator::at([3]).sampled(20, 1),
    ] {
        let alone = evaluator.evaluate(model, test).unwrap();
        same_on_all(&alone, |process| evaluator.evaluate_on(model, test, process).unwrap());
    }
}

#[test]
fn lists_and_evaluation_have_the_same_bits_at_any_number_of_processes() {
    let (train, test) = logs();
    // Lists by an inner product, by dense weights and by sparse ones.
    lists_and_evaluation(&Als::new().factors(8).epochs(2).fit(&train).unwrap(), &test);
    lists_and_evaluation(&Ease::new(10.0).fit(&train).unwrap(), &test);
    lists_and_evaluation(&ItemKnn::new(5).fit(&train).unwrap(), &test);
}

#[test]
fn a_difference_or_an_error_on_one_is_one_on_all() {
    let (train, test) = logs();
    let model = ItemKnn::new(5).fit(&train).unwrap();
    let said = |of: &(dyn Fn(&Threads) -> cairn_recsys::Result<()> + Sync)| {
        Threads::run(3, |process| of(process).map_or_else(|error| error.to_string(), |()| "fine".to_owned()))
    };
    let odd = |process: &Threads| if process.rank() == 1 { 6 } else { 5 };
    for said in said(&|process| ItemKnn::new(odd(process)).fit_on(&train, process).map(|_| ())) {
        assert!(said.starts_with("the settings: ") && said.contains("on rank 1"), "{said}");
    }
    for said in
        said(&|process| RankingEvaluator::at([odd(process)]).evaluate_on(&model, &test, process).map(|_| ()))
    {
        assert!(said.starts_with("the settings: ") && said.contains("on rank 1"), "{said}");
    }
    let unknown = said(&|process| {
        let users = if process.rank() == 2 { vec![0, 1_000_000] } else { vec![0, 1] };
        model.recommend_many_on(&users, 5, &Filter::all(), process).map(|_| ())
    });
    assert!(unknown[2].contains("1000000") && unknown[0] == format!("rank 2: {}", unknown[2]), "{unknown:?}");
    let slim = said(&|process| {
        let slim = if process.rank() == 0 { Slim::new().l1(-1.0) } else { Slim::new() };
        slim.fit_on(&train, process).map(|_| ())
    });
    assert!(slim[0].contains("l1") && slim[1] == format!("rank 0: {}", slim[0]), "{slim:?}");
}
