//! Models of ratings on a MovieLens set, five-fold cross-validation as Surprise does it: RMSE, MAE and seconds a fold.
//!
//! `cargo run --release -p cairn-recsys --example ratings -- path/to/ml-100k [part of a model's name]`

use cairn_recsys::rating::{
    Baseline, BaselineMethod, BiasedMf, CoClustering, Nmf, RatingKnn, RatingModel, Similarity, SlopeOne,
    SvdPlusPlus, cross_validate,
};
use cairn_recsys::{Estimator, Interactions, Result, read};

fn check<F: Estimator<Model: RatingModel>>(name: &str, settings: &F, log: &Interactions) -> Result<()> {
    if std::env::args().nth(2).is_some_and(|part| !name.contains(&part)) {
        return Ok(());
    }
    let result = cross_validate(settings, log, 5, 0)?;
    println!(
        "{name:<28} RMSE {:.4}  MAE {:.4}  fit {:.3} s, prediction {:.3} s a fold",
        result.rmse(),
        result.mae(),
        result.fit_seconds / 5.0,
        result.predict_seconds / 5.0
    );
    Ok(())
}

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1) else {
        println!("give the folder of a MovieLens set; see https://grouplens.org/datasets/movielens/");
        return Ok(());
    };
    let (log, report) = read::movielens::ratings(folder)?;
    println!("{report}");
    check("Baseline, ALS", &Baseline::new(), &log)?;
    check("Baseline, SGD", &Baseline::new().method(BaselineMethod::SGD), &log)?;
    check("SVD", &BiasedMf::new(), &log)?;
    check("SVD++", &SvdPlusPlus::new(), &log)?;
    check("NMF", &Nmf::new(), &log)?;
    check("SlopeOne", &SlopeOne::new(), &log)?;
    check("CoClustering", &CoClustering::new(), &log)?;
    check("kNN", &RatingKnn::new(), &log)?;
    check("kNN with means", &RatingKnn::with_means(), &log)?;
    check("kNN baseline", &RatingKnn::with_baseline(), &log)?;
    let correlation = RatingKnn::with_baseline().similarity(Similarity::PEARSON_BASELINE);
    check("kNN baseline, Pearson", &correlation, &log)?;
    check("kNN baseline, Pearson, items", &correlation.item_based(), &log)
}
