//! The models, a file each. All keep [`Recommender`](crate::Recommender); settings are builders that keep
//! [`Fit`](crate::Fit).

pub(crate) mod als;
pub(crate) mod bpr;
pub(crate) mod ease;
pub(crate) mod factors;
pub(crate) mod item_item;
pub(crate) mod knn;
pub(crate) mod pure_svd;
pub(crate) mod rp3beta;
pub(crate) mod slim;
pub(crate) mod top_pop;
