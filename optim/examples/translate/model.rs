//! A translator: a transformer and the tokens of both languages, which are pieces of words learnt from the pairs themselves.

use cairn_datasets::Error;
use cairn_datasets::multi30k::Pair;
use cairn_datasets::text::{Bpe, Padding, Parallel, ParallelDataset, pad};
use cairn_nn::generate::BeamSearch;
use cairn_nn::{Context, Module, SequenceMask, Transformer, spec};
use cairn_optim::Result;
use cairn_tensor::{LinearCrossEntropyOptions, Rng, Tensor};

/// Sentences that are translated at a time.
const SENTENCES: usize = 50;

#[derive(Module)]
pub(crate) struct Translator {
    pub(crate) model: Transformer,
    #[module(skip)]
    pub(crate) tokens: Bpe,
    /// The ids of padding, and of what begins and ends a sentence.
    #[module(skip)]
    signs: [u32; 3],
}

impl Translator {
    /// A model of 4 + 4 layers, 128 features, 4 heads and a hidden width of 256, as fairseq's `transformer_tiny`, and at most
    /// `most` tokens that both languages share.
    pub(crate) fn new(pairs: &[Pair], most: usize, dropout: f32, rng: &mut Rng) -> Result<Self> {
        let texts = pairs.iter().flat_map(|pair| [&pair.source, &pair.target]);
        let tokens = Bpe::builder().max_size(most).special(["<s>", "</s>"]).train(texts)?;
        let sign = |name| {
            let message = format!("there is no token {name}");
            tokens.id(name).ok_or(Error::Argument { what: "the tokens", message })
        };
        let signs = [tokens.padding().unwrap_or(0), sign("<s>")?, sign("</s>")?];
        let description =
            spec::Transformer::new(tokens.len()).layers(4, 4).features(128).heads(4).hidden(256);
        Ok(Translator { model: description.dropout(dropout).layer(rng)?, tokens, signs })
    }

    /// Pairs as tokens.
    pub(crate) fn encode(&self, pairs: &[Pair]) -> Result<ParallelDataset> {
        let of = |part: fn(&Pair) -> &str| {
            pairs
                .iter()
                .map(|pair| self.tokens.encode(part(pair)))
                .collect::<std::result::Result<Vec<_>, _>>()
        };
        Ok(ParallelDataset::new(of(|pair| &pair.source)?, of(|pair| &pair.target)?, self.signs)?)
    }

    /// The sum of the losses of a batch's tokens, of whose targets a share is spread over all tokens, and their number.
    pub(crate) fn loss(
        &self,
        batch: &Parallel,
        labels: &Tensor<u32>,
        smoothing: f64,
        cx: &mut Context,
    ) -> Result<(cairn_autograd::Var, f32)> {
        let mask = SequenceMask::of_lengths(&batch.source.row_lengths()?);
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.target.row_lengths()?)));
        let states = self.model.forward(&batch.source.ids, Some(&mask), &batch.target.ids, cx)?;
        let options = LinearCrossEntropyOptions::default().ignored(self.signs[0]).smoothing(smoothing);
        Ok(states.linear_cross_entropy(&self.model.head.var(), None, labels, &options)?)
    }

    /// The likeliest translations that a search with so many beams finds, in the order of the texts.
    pub(crate) fn translate(&self, texts: &[&str], beams: usize) -> Result<Vec<String>> {
        let [padding, begin, end] = self.signs;
        let mut sources = Vec::with_capacity(texts.len());
        for text in texts {
            sources.push([self.tokens.encode(text)?, vec![end]].concat());
        }
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| sources[i].len());
        let mut translations = vec![String::new(); texts.len()];
        for part in order.chunks(SENTENCES) {
            let rows: Vec<&[u32]> = part.iter().map(|&i| sources[i].as_slice()).collect();
            let source = pad(&rows, &Padding::new().id(padding))?;
            let mask = SequenceMask::of_lengths(&source.row_lengths()?);
            let most = 2 * source.ids.shape()[1] + 10;
            let memory = self.model.read(&source.ids, Some(&mask), most + 1)?;
            let search = BeamSearch::new(beams, most).stop_at([end]);
            let found = search.search(&self.model, memory, &vec![&[begin][..]; part.len()])?;
            for (&i, best) in part.iter().zip(&found) {
                translations[i] = self.tokens.decode(&best[0].tokens)?;
            }
        }
        Ok(translations)
    }
}
