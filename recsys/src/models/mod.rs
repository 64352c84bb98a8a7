//! The models, a file each. All keep [`Recommender`](crate::Recommender); settings are builders that keep
//! [`Estimator`](crate::Estimator).

pub(crate) mod als;
pub(crate) mod bpr;
pub(crate) mod ease;
pub(crate) mod factors;
pub(crate) mod gf_cf;
pub(crate) mod item_item;
pub(crate) mod knn;
pub(crate) mod pure_svd;
pub(crate) mod rp3beta;
pub(crate) mod slim;
pub(crate) mod top_pop;

use crate::rating::{
    BaselineModel, BiasedMfModel, CoClusteringModel, NmfModel, RatingKnnModel, SlopeOneModel,
    SvdPlusPlusModel,
};
use crate::serve::file::ModelFormat;

/// Every model that a file can hold, those of ratings included.
pub(crate) const FORMATS: &[ModelFormat] = &[
    ModelFormat::of::<top_pop::TopPopModel>(),
    ModelFormat::of::<item_item::ItemItemModel>(),
    ModelFormat::of::<knn::UserKnnModel>(),
    ModelFormat::of::<pure_svd::PureSvdModel>(),
    ModelFormat::of::<als::AlsModel>(),
    ModelFormat::of::<bpr::BprModel>(),
    #[cfg(feature = "neural")]
    ModelFormat::of::<crate::neural::SequenceModel>(),
    #[cfg(feature = "neural")]
    ModelFormat::of::<crate::neural::MultVaeModel>(),
    #[cfg(feature = "neural")]
    ModelFormat::of::<crate::neural::LightGcnModel>(),
    #[cfg(feature = "neural")]
    ModelFormat::of::<crate::neural::NeuMfModel>(),
    ModelFormat::of::<crate::features::LightFmModel>(),
    #[cfg(feature = "neural")]
    ModelFormat::of::<crate::features::FactorizationMachineModel>(),
    #[cfg(feature = "neural")]
    ModelFormat::of::<crate::features::TwoTowerModel>(),
    ModelFormat::of::<crate::features::FeatureAlsModel>(),
    ModelFormat::of::<BaselineModel>(),
    ModelFormat::of::<BiasedMfModel>(),
    ModelFormat::of::<SvdPlusPlusModel>(),
    ModelFormat::of::<NmfModel>(),
    ModelFormat::of::<SlopeOneModel>(),
    ModelFormat::of::<CoClusteringModel>(),
    ModelFormat::of::<RatingKnnModel>(),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{FORMATS, ModelFormat};

    #[test]
    fn no_two_models_share_a_format() {
        let names: HashSet<&str> = FORMATS.iter().map(ModelFormat::name).collect();
        assert_eq!(names.len(), FORMATS.len(), "{FORMATS:?}");
    }
}
