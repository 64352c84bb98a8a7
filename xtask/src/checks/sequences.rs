//! The next item on Amazon Beauty: models that know order against their published figures, and against models that do not.
//!
//! Protocol of Klenitskiy & Vasilev (RecSys 2023): each user's last item is to be found among all, those met before left out; the
//! last but one decides when training ends, and is part of the history that the lists follow. Rows lie in the order they were made,
//! and ties in time stay as the file has them. Leave-last-out lets other people's future into the training log; that is the price
//! of comparing with published figures.

use std::time::Instant;

use cairn_datasets::{beauty, registry};
use cairn_recsys::read::LogReader;
use cairn_recsys::{
    AnyModel, Bpr, Estimator, Filter, Fitted, Gru4Rec, Interactions, RankingEvaluator, RankingReport,
    Recommender as _, Rp3Beta, Sasrec, Saved, SequenceModel, Split, TopPop, TrainingPlan, UserIdx, metrics,
    synthetic,
};

use crate::check::{Check, Context};
use crate::format;
use crate::memory::Growth;
use crate::report::{LineChart, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "sequences",
    title: "What comes next",
    about: "Amazon Beauty, each user's last item among all 54,542. SASRec with the softmax over all items within 0.002 of its \
            published figures (Klenitskiy & Vasilev 2023: HR@10 0.0533, NDCG@10 0.0327) or above, GRU4Rec and models without order \
            beside it. What was said of a training before it began stands beside what it took. A quick run is on generated walks, \
            where order is all there is to know.",
    data: &[&registry::BEAUTY],
    run,
};

/// Of SASRec: published, less 0.002.
const HIT_RATE: f64 = 0.0533 - 0.002;
const NDCG: f64 = 0.0327 - 0.002;
/// Of SASRec's NDCG over popularity's.
const OVER_POPULARITY: f64 = 3.0;
/// What SASRec's training on Beauty is meant to take at most on two cores, in minutes. Said beside the figure and no bar: other machines,
/// and this one with other work, take longer without anything being wrong.
const MINUTES: f64 = 15.0;
/// Epochs of GRU4Rec, at most.
const RECURRENT_EPOCHS: usize = 12;
/// How far back models look.
const LENGTH: usize = 50;
/// Items shown of a history, and of a list.
const SHOWN: usize = 10;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let log = load(ctx)?;
    let (train, test) = log.split(Split::leave_last_out())?;
    let sizes = [log.n_users(), log.n_items(), train.len(), test.len()].map(|n| format::count(n as u64));
    ctx.say(format!(
        "{} people, {} items; {} rows to train on, {} to find",
        sizes[0], sizes[1], sizes[2], sizes[3]
    ));
    let mut models = Models { train, test, table: table(), fitted: Vec::new(), reports: Vec::new() };
    models.add(ctx, &TopPop::new(), None)?;
    models.add(ctx, &Rp3Beta::new(), None)?;
    models.add(ctx, &Bpr::new().epochs(if ctx.quick() { 10 } else { 100 }), None)?;
    let (gru, sasrec) = settings(ctx);
    let plan = sasrec.plan(&models.train);
    ctx.say(format!("SASRec: {plan}"));
    let attention = models.add(ctx, &sasrec, Some(plan))?;
    let plan = gru.plan(&models.train);
    ctx.say(format!("GRU4Rec: {plan}"));
    let recurrent = models.add(ctx, &gru, Some(plan))?;
    ctx.show("Each user's last item, among all that they had not met", &models.table);
    bars(ctx, &models);
    curves(ctx, &recurrent, &attention);
    history(ctx, &models)
}

fn load(ctx: &mut Context<'_>) -> anyhow::Result<Interactions> {
    let seed = ctx.seed();
    if ctx.quick() {
        // A part of the real log would take longer to learn from than a quick run has.
        ctx.generated();
        return Ok(synthetic::walks(400, 120, 12, 0.2, seed)?);
    }
    let place = ctx.load(&registry::BEAUTY, |dir| beauty::locate(dir).map(Some), || Ok(None))?;
    let Some(place) = place else {
        return Ok(synthetic::walks(2_000, 500, 12, 0.2, seed)?);
    };
    let reader = LogReader::separated_by(" ").columns(0, 1).without_value().without_time();
    let (log, report) = reader.read::<u32, u32>(&place)?;
    anyhow::ensure!(report.rejections() == 0, "{}: {report}", place.display());
    Ok(log)
}

/// Generated walks are learned in many short passes.
fn settings(ctx: &Context<'_>) -> (Gru4Rec, Sasrec) {
    let gru = Gru4Rec::new().max_length(LENGTH).seed(ctx.seed());
    let sasrec = Sasrec::new().max_length(LENGTH).seed(ctx.seed());
    if ctx.stands_in() || ctx.quick() {
        let gru = gru.dim(32).epochs(40).learning_rate(5e-3).patience(None);
        return (gru, sasrec.dim(32).epochs(40).learning_rate(5e-3).patience(None));
    }
    // The recurrent network stands beside without a bar of its own, and by its patience alone would train longer than all else.
    (gru.epochs(RECURRENT_EPOCHS).patience(Some(4)), sasrec.patience(Some(6)))
}

fn table() -> Table {
    let headings = ["model", "HR@10", "NDCG@10", "95 %", "coverage@10", "training", "lists"];
    Table::new(headings).numbers([1, 2, 3, 4, 5, 6])
}

/// Trains models one after another and keeps what they are worth.
struct Models {
    train: Interactions,
    test: Interactions,
    table: Table,
    fitted: Vec<Fitted<dyn AnyModel>>,
    reports: Vec<RankingReport>,
}

impl Models {
    /// The report of the model that has bars.
    fn sasrec(&self) -> Option<&RankingReport> {
        self.reports.iter().find(|report| report.model() == "SASRec")
    }

    /// `plan` is what was said of the training.
    fn add<F: Estimator>(
        &mut self,
        ctx: &mut Context<'_>,
        settings: &F,
        plan: Option<TrainingPlan>,
    ) -> anyhow::Result<Fitted<F::Model>>
    where
        F::Model: Saved,
    {
        let (started, growth) = (Instant::now(), Growth::begin());
        let model = settings.fit(&self.train)?;
        let training = started.elapsed().as_secs_f64();
        if let Some(plan) = plan {
            costs(ctx, model.model().name(), &plan, training, growth.and_then(Growth::bytes));
        }
        let started = Instant::now();
        let report = RankingEvaluator::at([10]).list_quality().evaluate(&model, &self.test)?;
        let lists = started.elapsed().as_secs_f64();
        let name = report.model();
        let [hits, ndcg] = figures(&report);
        ctx.metric(format!("HR@10 of {name}"), hits, Bar::None);
        ctx.metric(format!("NDCG@10 of {name}"), ndcg, Bar::None);
        let interval = report.interval(metrics::Ndcg, 10, 0.95, 500, ctx.seed())?;
        let interval = interval.map_or(String::new(), |(low, high)| format!("{low:.4} to {high:.4}"));
        let coverage = report.list_quality(10).map_or(f64::NAN, |quality| quality.coverage);
        let cells = [format!("{hits:.4}"), format!("{ndcg:.4}"), interval, format!("{coverage:.3}")];
        let seconds = [training, lists].map(format::seconds);
        self.table.row(std::iter::once(name.to_owned()).chain(cells).chain(seconds));
        self.fitted.push(model.clone().boxed());
        self.reports.push(report);
        Ok(model)
    }
}

/// Records what was said of a training and what it took.
fn costs(ctx: &mut Context<'_>, name: &str, plan: &TrainingPlan, seconds: f64, grown: Option<u64>) {
    let held = name == "SASRec" && !ctx.stands_in() && !ctx.quick();
    let most = if held { format!(", at most {MINUTES} on two cores") } else { String::new() };
    ctx.metric(format!("minutes that training {name} took{most}"), seconds / 60.0, Bar::None);
    ctx.metric(
        format!("GB that training {name} takes at most, said before"),
        gigabytes(plan.memory),
        Bar::None,
    );
    if let Some(grown) = grown {
        ctx.metric(
            format!("GB that the process grew by at most in training {name}"),
            gigabytes(grown),
            Bar::None,
        );
    }
}

fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn figures(report: &RankingReport) -> [f64; 2] {
    let mean = |value: Option<f64>| value.unwrap_or(f64::NAN);
    [mean(report.mean(metrics::HitRate, 10)), mean(report.mean(metrics::Ndcg, 10))]
}

fn bars(ctx: &mut Context<'_>, models: &Models) {
    let (Some(popular), Some(sasrec)) = (models.reports.first(), models.sasrec()) else { return };
    let ([_, popular], [hits, ndcg]) = (figures(popular), figures(sasrec));
    ctx.metric("NDCG@10 of SASRec over TopPop's", ndcg / popular, Bar::AtLeast(OVER_POPULARITY));
    if !ctx.stands_in() && !ctx.quick() {
        ctx.metric("HR@10 of SASRec, published 0.0533", hits, Bar::AtLeast(HIT_RATE));
        ctx.metric("NDCG@10 of SASRec, published 0.0327", ndcg, Bar::AtLeast(NDCG));
    }
}

fn curves(ctx: &mut Context<'_>, recurrent: &Fitted<SequenceModel>, attention: &Fitted<SequenceModel>) {
    let models = [("GRU4Rec", recurrent.model()), ("SASRec", attention.model())];
    let chart = |y: &str, values: fn(&SequenceModel) -> Vec<f64>| {
        let empty = LineChart::new("epoch", y);
        models.iter().fold(empty, |chart, (name, model)| chart.epochs(*name, values(model)))
    };
    ctx.show("Loss in training", &chart("nats a step", |model| model.progress().to_vec()));
    if !attention.model().validation().is_empty() {
        ctx.show("The last item but one", &chart("NDCG@10", |model| model.validation().to_vec()));
    }
}

/// One user's history in order, and what each model has next.
fn history(ctx: &mut Context<'_>, models: &Models) -> anyhow::Result<()> {
    let sequences = models.train.sequences();
    // Somebody whose next item is on SASRec's list, with a history that fits on a page: a look at what it is to be right.
    let hits = models.sasrec().and_then(|report| report.per_user(metrics::HitRate, 10));
    let users = models.sasrec().map_or(&[][..], RankingReport::users);
    let fits = |user: UserIdx| (4..=SHOWN).contains(&sequences.get(user).len());
    let found = users.iter().zip(hits.unwrap_or_default()).find(|(user, hit)| *hit > 0.0 && fits(**user));
    let Some(user) = found.map(|(user, _)| *user).or_else(|| users.first().copied()) else { return Ok(()) };
    let catalog = models.train.catalog();
    let id = catalog.users.id(user);
    let mut table = Table::new(["", "item"]).numbers([1]);
    for (at, item) in sequences.get(user).iter().enumerate() {
        table.row([format!("{}", at + 1), catalog.items.id(*item).to_string()]);
    }
    let next = models.test.ratings().find(|row| row.user == *id).map(|row| row.item);
    table.row(["to be found".to_owned(), next.map_or(String::new(), |item| item.to_string())]);
    ctx.show(&format!("User {id}: met, in order"), &table);
    let mut lists = Table::new(["model", "next, best first"]).full_width();
    for model in &models.fitted {
        let list = model.recommend(id, SHOWN, &Filter::unseen())?;
        let mark = |item: u32| if Some(item) == next { format!("[{item}]") } else { item.to_string() };
        let list: Vec<String> = list.iter().map(|entry| mark(entry.id)).collect();
        lists.row([model.model().name().to_owned(), list.join(", ")]);
    }
    ctx.show(&format!("User {id}: recommended, the item to be found in brackets"), &lists);
    Ok(())
}
