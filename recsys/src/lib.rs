#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

#[macro_use]
mod setters;

mod bootstrap;
mod check;
mod codec;
mod error;
mod evaluate;
mod filter;
mod fitted;
mod ids;
mod index;
mod interactions;
mod linalg;
mod memory;
mod models;
pub mod rating;
pub mod read;
mod recommender;
mod saved;
mod search;
mod serving;
mod similar;
mod sparse;
mod split;
mod svd;
pub mod synthetic;
mod top_k;

pub use error::{Error, Result};
pub use evaluate::{Evaluation, ListQuality, Metric, Protocol, Report};
pub use filter::Filter;
pub use fitted::{Fitted, Scored};
pub use ids::{FxHasher, Id, IdMap, Index, ItemIdx, UserIdx};
pub use index::{IndexSettings, ItemIndex};
pub use interactions::{Catalog, Duplicates, Interactions, Rating};
pub use models::als::{Als, AlsModel, AlsSolver, Confidence};
pub use models::bpr::{Bpr, BprModel};
pub use models::ease::Ease;
pub use models::factors::{Factors, Vectors};
pub use models::item_item::{ItemItemKind, ItemItemModel};
pub use models::knn::{ItemKnn, KnnWeighting, UserKnn, UserKnnModel};
pub use models::pure_svd::{PureSvd, PureSvdModel};
pub use models::rp3beta::Rp3Beta;
pub use models::slim::Slim;
pub use models::top_pop::{TopPop, TopPopModel};
pub use recommender::{Fit, FitReport, Recommender, Reported};
pub use saved::Saved;
pub use search::{Found, Search, Trial, draw};
pub use sparse::{Csr, ItemUsers, UserItems};
pub use split::Split;
pub use svd::{Svd, SvdSolver, TruncatedSvd};
pub use top_k::{ScoredItem, top_k};
