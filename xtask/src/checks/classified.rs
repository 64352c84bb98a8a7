//! What an image classifier makes of a test set, for every check that has one: confusion matrix and its worst mistakes.

use cairn_datasets::{Dataset, ImageDataset, Loader};
use cairn_nn::Model;
use cairn_tensor::Tensor;

use crate::check::Context;
use crate::report::{Confusion, GreyImage, ImageGrid};

const BATCH: usize = 256;
/// Mistakes shown: three rows on a wide screen.
const SHOWN: usize = 33;

/// Predictions for a whole set of images, in its order.
pub(super) struct Classified<'a> {
    images: &'a ImageDataset,
    predicted: Vec<u32>,
    /// Probability given to the predicted class.
    confidence: Vec<f32>,
}

impl<'a> Classified<'a> {
    /// Runs a model whose outputs are logits over every image.
    pub(super) fn new(model: &impl Model<Tensor<f32>>, images: &'a ImageDataset) -> anyhow::Result<Self> {
        let (mut predicted, mut confidence) = (Vec::new(), Vec::new());
        for batch in Loader::new(images).batch_size(BATCH).epoch(0)? {
            let probabilities = model.predict_batch(&batch?.0)?.softmax(-1)?;
            predicted.extend(probabilities.argmax(-1)?.to_vec());
            confidence.extend(probabilities.max(-1)?.to_vec());
        }
        Ok(Self { images, predicted, confidence })
    }

    /// Share of the images whose class is predicted.
    pub(super) fn accuracy(&self) -> f64 {
        let right = self.predicted.iter().zip(self.images.labels()).filter(|(p, l)| p == l).count();
        right as f64 / self.images.len() as f64
    }

    /// Shows the confusion matrix, and the mistakes it was surest of as pictures.
    pub(super) fn show(&self, ctx: &mut Context<'_>) {
        let mut confusion = Confusion::new((0..self.images.classes()).map(|class| class.to_string()));
        let mut wrong = Vec::new();
        for (i, (&truth, &predicted)) in self.images.labels().iter().zip(&self.predicted).enumerate() {
            confusion.add(truth as usize, predicted as usize);
            if truth != predicted {
                wrong.push(i);
            }
        }
        let right = 100.0 * self.accuracy();
        ctx.show(&format!("Confusion matrix of the test set, of one model: {right:.2} % right"), &confusion);
        wrong.sort_by(|&a, &b| self.confidence[b].total_cmp(&self.confidence[a]));
        let pictures: Vec<GreyImage> = wrong.iter().take(SHOWN).filter_map(|&i| self.picture(i)).collect();
        let caption = format!(
            "The {} surest of its {} mistakes, as predicted for true class",
            pictures.len(),
            wrong.len()
        );
        ctx.show(&caption, &ImageGrid(pictures));
    }

    fn picture(&self, i: usize) -> Option<GreyImage> {
        let [height, width, channels] = self.images.size();
        let pixels = self.images.pixels(i).filter(|_| channels == 1)?;
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        let picture = GreyImage::new(width, height, pixels.to_vec())
            .caption(format!("{} for {}", self.predicted[i], self.images.labels()[i]))
            .caption(format!("{:.0} % sure", 100.0 * self.confidence[i]));
        Some(picture.hover(format!("test image {i}")))
    }
}
