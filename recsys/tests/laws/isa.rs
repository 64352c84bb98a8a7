//! The instruction set changes the last digits and nothing more: the figures of this process, of one held to AVX2 and of one
//! held to the baseline are the same within rounding.

use std::path::Path;
use std::process::Command;

use cairn_recsys::rating::{BiasedMf, SvdPlusPlus};
use cairn_recsys::{
    Als, AlsSolver, AnnSettings, Bpr, Ease, Estimator, Filter, RankingEvaluator, Slim, TruncatedSvd, UserIdx,
    synthetic,
};

/// Where the child process writes its figures.
const OUT: &str = "CAIRN_FIGURES_OUT";

#[test]
fn the_instruction_set_changes_the_last_digits_alone() {
    let figures = figures();
    if let Some(path) = std::env::var_os(OUT) {
        let lines: String = figures.iter().map(|figure| format!("{figure:e}\n")).collect();
        std::fs::write(path, lines).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for isa in ["avx2", "baseline"] {
        let path = folder.path().join(isa);
        let others = figures_under(isa, &path);
        assert_eq!(others.len(), figures.len());
        for (n, (other, own)) in others.iter().zip(&figures).enumerate() {
            let close = (other - own).abs() <= 2e-3 * (0.1 + own.abs());
            assert!(close, "figure {n} of {}: {other} under {isa}, {own} here", figures.len());
        }
        if cairn_tensor::kernel::instruction_set() == "avx512" {
            assert!(others != figures, "`CAIRN_ISA={isa}` reaches no loop of this crate");
        }
    }
}

/// What this very test finds in a process of its own, since the instruction set is chosen once for each.
fn figures_under(isa: &str, path: &Path) -> Vec<f64> {
    let name = "isa::the_instruction_set_changes_the_last_digits_alone";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("CAIRN_ISA", isa)
        .env(OUT, path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Figures of each loop that is compiled for several instruction sets.
fn figures() -> Vec<f64> {
    let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 7).unwrap();
    let matrix = log.user_items();
    let mut figures = Vec::new();
    let solvers =
        [AlsSolver::Cholesky, AlsSolver::ConjugateGradient { steps: 3 }, AlsSolver::Blocks { size: 16 }];
    for solver in solvers {
        let settings = Als::new().factors(40).epochs(3).solver(solver);
        let model = settings.fit_matrix(&matrix).unwrap();
        figures.push(settings.loss(&matrix, model.factors()).unwrap());
    }
    let model = Als::new().factors(16).epochs(3).fit(&log).unwrap();
    let index = model.with_index(AnnSettings::new().cells(8).probes(8)).unwrap();
    for model in [&model, &index] {
        let lists = model.recommend_indices(&[UserIdx(3), UserIdx(77)], 5, &Filter::unseen()).unwrap();
        figures.extend(lists.iter().flatten().map(|entry| f64::from(entry.score)));
    }
    let squares = |xs: &[f32]| xs.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let bpr = Bpr::new().factors(8).epochs(3).fit(&log).unwrap();
    figures.push(squares(bpr.model().factors().items.as_slice()));
    figures.push(RankingEvaluator::at([5]).keep_seen().auc().evaluate(&bpr, &log).unwrap().auc().unwrap());
    figures.extend(BiasedMf::new().factors(8).epochs(3).fit_reported(&log).unwrap().1.progress);
    figures.extend(SvdPlusPlus::new().factors(8).epochs(3).fit_reported(&log).unwrap().1.progress);
    for model in [Ease::new(10.0).fit(&log).unwrap(), Slim::new().l2(5.0).fit(&log).unwrap()] {
        let list = model.recommend(&3, 5, &Filter::unseen()).unwrap();
        figures.extend(list.iter().map(|entry| f64::from(entry.score)));
    }
    let sparse = synthetic::power_law(600, 400, 20_000, 0).unwrap();
    for svd in [TruncatedSvd::new(5), TruncatedSvd::new(5).value_tolerance(1e-6)] {
        figures.extend(svd.fit_sparse(&sparse).unwrap().s);
    }
    figures
}
