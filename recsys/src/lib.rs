#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

#[macro_use]
mod setters;

mod by_rank;
mod check;
mod data;
mod error;
mod estimator;
mod evaluate;
pub mod features;
mod linalg;
mod memory;
mod models;
#[cfg(feature = "neural")]
mod neural;
pub mod rating;
mod recommender;
mod serve;
mod tune;
mod update;

pub use data::filter::Filter;
pub use data::ids::{FxHasher, Id, IdMap, Idx, ItemIdx, UserIdx};
pub use data::interactions::{Catalog, Duplicates, Interactions, Rating};
pub use data::lint::{LogLint, SplitLint};
pub use data::sequences::{LogColumns, Sequences};
pub use data::sparse::{Csr, ItemUsers, UserItems};
pub use data::split::Split;
pub use data::stored::{StoredInteractions, StoredWriter};
pub use data::{read, synthetic};
pub use error::{Error, Result};
pub use estimator::{Estimator, FitReport, Reported};
pub use evaluate::{
    ListQuality, PairedDifference, PairedTest, Protocol, RankingEvaluator, RankingMetric, RankingReport,
    metrics,
};
pub use linalg::svd::{Svd, SvdSolver, TruncatedSvd};
pub use models::als::{Als, AlsModel, AlsSolver, Confidence};
pub use models::bpr::{Bpr, BprModel};
pub use models::ease::Ease;
pub use models::factors::{FactorModel, Factors, Vectors};
pub use models::gf_cf::GfCf;
pub use models::item_item::{ItemItemKind, ItemItemModel};
pub use models::knn::{ItemKnn, KnnWeighting, UserKnn, UserKnnModel};
pub use models::pure_svd::{PureSvd, PureSvdModel};
pub use models::rp3beta::Rp3Beta;
pub use models::slim::Slim;
pub use models::top_pop::{TopPop, TopPopModel};
#[cfg(feature = "neural")]
pub use neural::{
    Bert4Rec, Gru4Rec, LightGcn, LightGcnModel, MultVae, MultVaeModel, NeuMf, NeuMfModel, Sasrec,
    SequenceLoss, SequenceModel, TrainingPlan,
};
pub use recommender::Recommender;
pub use serve::ann::{AnnIndex, AnnSettings};
pub use serve::file::{AnyModel, ModelFile, ModelFormat, Saved, inspect};
pub use serve::fitted::{Fitted, Scored};
pub use serve::rerank;
pub use serve::top_k::{ScoredItem, top_k};
pub use tune::{GridSearch, SearchResult, Trial, random_candidates};
pub use update::Update;
