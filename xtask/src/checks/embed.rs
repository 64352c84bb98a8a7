//! Sentences as vectors by a published encoder: whether those alike in meaning are alike as vectors.

use std::time::Instant;

use cairn_nn::language::Encoder;

use super::lm::tokens;
use crate::check::{Check, Context};
use crate::format::{count, seconds};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "embed",
    title: "Sentences as vectors",
    about: "all-MiniLM-L6-v2 embeds the pairs of sentences of STS-B's test set, and the cosines are ranked against people's judgements: \
            a Spearman correlation of .8203 is the figure of the MTEB leaderboard's results for this revision. A sentence has the same vector \
            alone as among others, whatever padding that takes. Tokens are those of the `tokenizers` crate, of drawn texts too.",
    data: &[],
    run,
};

const MODEL: &str = "models/all-MiniLM-L6-v2";
const PAIRS: &str = "text/stsb/sts-test.csv.gz";
/// The published correlation, and how far from it is still the same.
const PUBLISHED: f64 = 0.8203;
const WITHIN: f64 = 0.0005;
/// Largest text of pairs.
const MOST_BYTES: u64 = 1 << 24;
/// Sentences that are embedded alone, too.
const ALONE: usize = 32;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let model = ctx.find(MODEL)?;
    let pairs = ctx.find(PAIRS)?;
    let text = String::from_utf8(cairn_files::unpack::read(&pairs, MOST_BYTES)?)?;
    let pairs = text.lines().filter_map(|line| {
        let mut fields = line.split('\t').skip(4);
        Some((fields.next()?.parse::<f64>().ok()?, [fields.next()?, fields.next()?]))
    });
    let (scores, pairs): (Vec<f64>, Vec<[&str; 2]>) = pairs.unzip();
    let encoder = Encoder::load(&model)?;
    let sentences: Vec<&str> = pairs.iter().flatten().copied().collect();
    let reference = tokens::of_json(&model.join("tokenizer.json"))?;
    tokens::compare(ctx, encoder.tokenizer(), &reference, ("sentences", &sentences))?;
    let began = Instant::now();
    let vectors = encoder.embed(&sentences)?;
    let took = began.elapsed().as_secs_f64();
    let rate = count((sentences.len() as f64 / took) as u64);
    ctx.say(format!("{} sentences in {}, {rate} a second", sentences.len(), seconds(took)));
    let rows: Vec<Vec<f32>> =
        (0..sentences.len()).map(|row| Ok(vectors.index(0, row)?.to_vec())).collect::<anyhow::Result<_>>()?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let cosines: Vec<f64> = rows.chunks_exact(2).map(|pair| dot(&pair[0], &pair[1])).collect();
    let found = spearman(&scores, &cosines);
    ctx.metric("Spearman on STS-B", found, Bar::AtLeast(PUBLISHED - WITHIN));
    ctx.metric("distance from the published figure", (found - PUBLISHED).abs(), Bar::AtMost(WITHIN));
    let mut most = 0f32;
    for (row, sentence) in rows.iter().zip(&sentences).step_by(sentences.len().div_ceil(ALONE)) {
        let alone = encoder.embed(&[sentence])?.index(0, 0)?;
        most = alone.iter().zip(row).map(|(a, b)| (a - b).abs()).fold(most, f32::max);
    }
    ctx.metric("what padding changes", most.into(), Bar::AtMost(0.0));
    Ok(())
}

/// The correlation of ranks, equals sharing the mean of theirs.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut place = 0;
    for equals in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let mean = place as f64 + (equals.len() as f64 + 1.0) / 2.0;
        equals.iter().for_each(|&i| ranks[i] = mean);
        place += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_equals_are_shared_and_order_is_all_that_counts() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert!((spearman(&[1.0, 2.0, 5.0], &[0.1, 0.2, 9.0]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
    }
}
