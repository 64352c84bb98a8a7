//! Recommenders: a whole file, whose checksum refuses most damage at once, and the contents alone, as somebody would forge them who knows
//! how to make one. What still loads is asked for lists.

use cairn_files::container::{self, Format, Kind};
use cairn_recsys::features::{FeatureAls, FeatureMatrix, FeatureRow, FeatureTable, LightFm};
use cairn_recsys::{
    Als, AnyModel, Estimator, Filter, Fitted, IdMap, Idx, Interactions, Saved, TopPop, synthetic,
};

use crate::{Reader, at, written};

pub(crate) const READERS: &[Reader] = &[
    Reader {
        name: "recommender",
        sample: || file(&TopPop::new()),
        read: |bytes| at("x.cairn", bytes, |path| Fitted::<dyn AnyModel>::load_any(path).is_ok()),
    },
    Reader { name: "top-pop", sample: || contents(&TopPop::new()), read: read_contents },
    Reader { name: "lightfm", sample: light_fm, read: read_contents },
    Reader { name: "als-features", sample: feature_als, read: read_contents },
    #[cfg(feature = "all")]
    Reader { name: "sasrec", sample: networks::sasrec, read: read_contents },
    #[cfg(feature = "all")]
    Reader { name: "mult-vae", sample: networks::mult_vae, read: read_contents },
    #[cfg(feature = "all")]
    Reader { name: "deepfm", sample: networks::deep_fm, read: read_contents },
    #[cfg(feature = "all")]
    Reader { name: "two-tower", sample: networks::two_tower, read: read_contents },
];

/// What is in the header before the contents.
const FORMAT: Format = Kind::Recommender.version(2);

fn log() -> Interactions {
    synthetic::planted_groups(9, 6, 2, 3, 0.1, 0).expect("a small log")
}

fn file<F: Estimator<Model: Saved>>(settings: &F) -> Vec<u8> {
    written(|path| settings.fit(&log()).expect("trained").save(path).expect("written"))
}

fn contents<F: Estimator<Model: Saved>>(settings: &F) -> Vec<u8> {
    at("x.cairn", &file(settings), |path| container::load_payload(path, FORMAT).expect("it was written"))
}

fn read_contents(bytes: &[u8]) -> bool {
    at("x.cairn", &[], |path| {
        container::save_payload(path, FORMAT, bytes).expect("a file can be written");
        Fitted::<dyn AnyModel>::load_any(path).is_ok_and(|model| {
            ask(&model);
            true
        })
    })
}

/// Lists and what is alike, or errors.
fn ask(model: &Fitted<dyn AnyModel>) {
    let (users, items) = (model.catalog().users.ids(), model.catalog().items.ids());
    let lists = model.recommend_many(users, 3, &Filter::unseen()).unwrap_or_default();
    assert!(lists.iter().flatten().all(|entry| entry.score.is_finite()), "a list with what is no number");
    let _ = model.recommend_for(&[(items[0], 1.0)], 3, &Filter::unseen());
    let _ = (model.similar_items(&items[0], 3), model.similar_users(&users[0], 3));
}

/// A category, tags and a number for all but the first.
fn features<X: Idx>(ids: &IdMap<u32, X>, numbers: bool) -> FeatureMatrix<X> {
    let row = |id: u32| {
        let row = FeatureRow::new().category("kind", if id.is_multiple_of(2) { "a" } else { "b" });
        let row = row.categories("tags", ["x", "y"]);
        if numbers { row.number("size", f64::from(id)) } else { row }
    };
    let table = FeatureTable::new(ids.ids().iter().skip(1).map(|&id| (id, row(id)))).expect("a small table");
    FeatureMatrix::new(&table, ids).expect("its own rows")
}

fn light_fm() -> Vec<u8> {
    let (users, items) = (log().catalog().users.clone(), log().catalog().items.clone());
    let settings = LightFm::new().factors(2).epochs(1).item_features(&features(&items, true));
    contents(&settings.user_features(&features(&users, true)))
}

fn feature_als() -> Vec<u8> {
    let (users, items) = (log().catalog().users.clone(), log().catalog().items.clone());
    let settings = FeatureAls::new(Als::new().factors(2).epochs(1)).item_features(&features(&items, false));
    contents(&settings.user_features(&features(&users, false)))
}

#[cfg(feature = "all")]
mod networks {
    use cairn_recsys::features::{EventFeatures, FactorizationMachine, TwoTower};
    use cairn_recsys::{MultVae, Sasrec};

    use super::*;

    pub(super) fn sasrec() -> Vec<u8> {
        contents(&Sasrec::new().dim(2).blocks(1).max_length(3).epochs(1))
    }

    pub(super) fn mult_vae() -> Vec<u8> {
        contents(&MultVae::new().hidden(2).latent(2).epochs(1))
    }

    pub(super) fn deep_fm() -> Vec<u8> {
        let log = log();
        let rows = [((0, 0), FeatureRow::new().number("hour", 3.0))];
        let context = FeatureTable::new(rows).expect("a small table");
        let context = EventFeatures::new(&context, &log.catalog().users).expect("its own rows");
        let settings = FactorizationMachine::new().factors(2).hidden([2]).negatives(1).epochs(1);
        let settings = settings.context(&context).item_features(&features(&log.catalog().items, true));
        contents(&settings.user_features(&features(&log.catalog().users, true)))
    }

    pub(super) fn two_tower() -> Vec<u8> {
        let log = log();
        let settings = TwoTower::new().factors(2).hidden([2]).epochs(1);
        let settings = settings.item_features(&features(&log.catalog().items, true));
        contents(&settings.user_features(&features(&log.catalog().users, true)))
    }
}
