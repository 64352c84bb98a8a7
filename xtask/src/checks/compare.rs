//! Every kind of recommender on the same two splits of MovieLens 100K: popularity, neighbours, factorisations, closed forms, networks of
//! sets, networks of order, and models with genres.
//!
//! The first split leaves out each user's last film. It is that of most papers, and lets other people's future into the training log. The
//! second cuts the log at a moment: what came before is learned from, what came after is to be found, for people who were there
//! before. All films are ranked, those met before left out. Settings are the defaults or those of the papers, fewer epochs where these
//! are long; nothing was searched for, so small differences mean nothing, and the intervals say which are small.

use cairn_datasets::registry;
use cairn_recsys::features::{FactorizationMachine, FeatureAls, FeatureMatrix, LightFm, TwoTower};
use cairn_recsys::{
    Als, Bpr, Ease, GfCf, Gru4Rec, Interactions, ItemIdx, ItemKnn, LightGcn, MultVae, NeuMf, Rp3Beta, Sasrec,
    Split, TopPop,
};

use super::ranked::Ranked;
use super::{coldstart, reranked};
use crate::check::{Check, Context};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "compare",
    title: "All kinds of recommenders on the same splits",
    about: "MovieLens 100K, each user's last film, and all films after a moment, among all. Classical models, networks of sets (Mult-VAE, \
            LightGCN), of order (SASRec, GRU4Rec) and models with genres in one table, with intervals and seconds. In a full run each \
            has to be clearly better than popularity for the last film; after a moment popularity is hard to beat, and none may be \
            clearly worse. Then what making lists over costs in NDCG: for variety, to the shares of a history, by quotas and boosts, with films \
            barred.",
    data: &[&registry::MOVIELENS_100K],
    run,
};

/// Of a model's NDCG@10 over that of popularity, for the last film and after a moment: of 1.26 to 1.98 and 1.00 to 1.04 here.
const BARS: [f64; 2] = [1.15, 0.95];

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (log, table) = coldstart::load(ctx)?;
    let genres = FeatureMatrix::new(&table, &log.catalog().items)?;
    let log = log.map_values(|_| 1.0)?;
    let bars = BARS.map(|bar| if ctx.quick() || ctx.stands_in() { Bar::None } else { Bar::AtLeast(bar) });
    compare(ctx, &log, Split::leave_last_out(), ("Each user's last film", bars[0]), &genres)?;
    if !ctx.quick() {
        compare(ctx, &log, Split::temporal(0.2), ("The latest fifth of the log", bars[1]), &genres)?;
    }
    reranked::costs(ctx, &log, &table)
}

fn compare(
    ctx: &mut Context<'_>,
    log: &Interactions,
    split: Split,
    (name, bar): (&'static str, Bar),
    genres: &FeatureMatrix<ItemIdx>,
) -> anyhow::Result<()> {
    let mut models = Ranked::new(log, split, name, bar)?;
    let (seed, quick) = (ctx.seed(), ctx.quick());
    let epochs = |n: usize| if quick { n.div_ceil(20) } else { n };
    models.add(ctx, &TopPop::new())?;
    models.add(ctx, &ItemKnn::new(100))?;
    models.add(ctx, &Rp3Beta::new())?;
    models.add(ctx, &Ease::new(300.0))?;
    models.add(ctx, &Als::new().factors(32).seed(seed))?;
    models.add(ctx, &Bpr::new().epochs(epochs(100)).seed(seed))?;
    models.add(ctx, &GfCf::new().seed(seed))?;
    let gcn = LightGcn::new().epochs(epochs(60)).learning_rate(5e-3).seed(seed);
    models.add(ctx, &gcn)?;
    let vae = MultVae::new().hidden(200).latent(64).batch_size(100).epochs(epochs(100)).seed(seed);
    models.add(ctx, &vae)?;
    models.add(ctx, &NeuMf::new().epochs(epochs(20)).seed(seed))?;
    models.add(ctx, &Gru4Rec::new().epochs(epochs(60)).seed(seed))?;
    models.add(ctx, &Sasrec::new().epochs(epochs(60)).seed(seed))?;
    models.add(ctx, &LightFm::new().epochs(epochs(30)).item_features(genres).seed(seed))?;
    models.add(ctx, &FeatureAls::new(Als::new().factors(32).seed(seed)).item_features(genres))?;
    let machine = FactorizationMachine::new().epochs(epochs(10)).item_features(genres).seed(seed);
    models.add(ctx, &machine)?;
    let deep = machine.hidden([64, 32]);
    models.add(ctx, &deep)?;
    models.add(ctx, &deep.pairs(false))?;
    models.add(ctx, &TwoTower::new().epochs(epochs(20)).item_features(genres).seed(seed))?;
    models.show(ctx);
    Ok(())
}
