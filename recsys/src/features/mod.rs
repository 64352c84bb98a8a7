//! What is known of users and items besides who met what: tables of raw columns, the numbered features that a model is trained on,
//! and the models that use them.
//!
//! A [`FeatureTable`] holds rows of named values by id. A [`FeatureSpace`] learns from it what there is (the categories of a column,
//! the mean and spread of a number) and turns raw rows into features; it is saved with the model, so that what comes later is encoded
//! alike. A [`FeatureMatrix`] is the features of the users or items of a catalogue, a row each; [`EventFeatures`] are those of who met what and
//! when. Models take them as settings: [`LightFm`], [`FeatureAls`], which is ALS with features, and (feature `neural`)
//! `FactorizationMachine`, which with dense layers is DeepFM or wide and deep, and `TwoTower`.

mod als;
#[cfg(feature = "neural")]
pub(crate) mod dense;
pub(crate) mod described;
mod events;
#[cfg(feature = "neural")]
mod fm;
pub(crate) mod kept;
pub(crate) mod known;
mod lightfm;
mod space;
mod table;
#[cfg(feature = "neural")]
mod two_tower;

pub use als::{FeatureAls, FeatureAlsModel};
pub use events::EventFeatures;
#[cfg(feature = "neural")]
pub use fm::{FactorizationMachine, FactorizationMachineModel};
pub use known::FeatureModel;
pub use lightfm::{LightFm, LightFmLoss, LightFmModel};
pub use space::{FeatureIdx, FeatureMatrix, FeatureSpace};
pub(crate) use table::is_bounded;
pub use table::{FeatureRow, FeatureTable, FeatureValue};
#[cfg(feature = "neural")]
pub use two_tower::{TwoTower, TwoTowerModel};
