//! The models, a file each. All keep [`Recommender`](crate::Recommender); settings are builders that keep
//! [`Fit`](crate::Fit).

pub(crate) mod als;
pub(crate) mod factors;
pub(crate) mod pure_svd;
pub(crate) mod top_pop;
