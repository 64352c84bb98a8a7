//! An image as a sequence of patches (Dosovitskiy et al. 2021, ViT): squares of pixels, each through one dense layer, so that
//! transformer blocks can attend from one to another.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::super::config::{LayerConfig, Plan};
use super::super::{Layer, Linear, Value};
use crate::weights::{Flow, Framework, Rule, no_rule};
use crate::{Context, Error, Init, Module, Result};

/// The patches of images `[batch, height, width, channels]` as a sequence `[batch, patches, features]`, row by row, each with the
/// learned vector of its position added. A class token, if there is one, goes first.
///
/// ```
/// use cairn_nn::spec;
/// use cairn_tensor::{Tensor, rng};
/// let patches = spec::PatchEmbedding::new(7, 32).layer([28, 28, 1], &mut rng(0))?;
/// assert_eq!(patches.forward(&Tensor::ones([2, 28, 28, 1])?.into())?.shape(), [2, 16, 32]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// The dense layer's weight `[side · side · channels, features]` is that of a convolution whose stride is its kernel's size.
#[derive(Debug, Clone, Module)]
#[doc(alias("PatchEmbed", "PatchEncoder", "ViT", "vision transformer"))]
pub struct PatchEmbedding {
    /// From pixels to features.
    pub projection: Linear,
    /// What goes before the patches, `[1, features]`; its state after the last block is the image's.
    pub class_token: Option<Parameter>,
    /// `[patches, features]`, the class token included.
    pub positions: Parameter,
    #[module(skip)]
    side: usize,
    /// Rows and columns of patches.
    #[module(skip)]
    grid: [usize; 2],
}

impl PatchEmbedding {
    /// The sequence for images of the size that the layer was made for.
    ///
    /// # Errors
    /// For images of another size.
    pub fn forward(&self, images: &Var) -> Result<Var> {
        let &[batch, height, width, channels] = images.shape() else { return Err(no_image(images.dims())) };
        let (side, [rows, columns]) = (self.side, self.grid);
        if [rows * side, columns * side] != [height, width] {
            return Err(no_image(images.dims()));
        }
        let patches = images.reshape([batch, rows, side, columns, side, channels])?;
        let patches = patches.permute([0, 1, 3, 2, 4, 5])?;
        let patches = patches.reshape([batch, rows * columns, side * side * channels])?;
        let mut x = self.projection.forward(&patches)?;
        if let Some(token) = &self.class_token {
            let token = token.var().broadcast_to([batch, 1, x.shape()[2]])?;
            x = Var::cat(&[&token, &x], 1)?;
        }
        Ok(x.add(&self.positions.var())?)
    }
}

impl Layer for PatchEmbedding {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        PatchEmbedding::forward(self, &input.floats()?)
    }
}

fn no_image(input: &Shape) -> Error {
    Error::BadInput {
        input: input.clone(),
        why: "patches are of images of one size, whose sides they divide".into(),
    }
}

pub(in super::super) mod spec {
    use super::*;

    /// Description of a [`PatchEmbedding`](crate::PatchEmbedding): patches of `side` by `side` pixels, in so many features.
    ///
    /// Positions and the class token are drawn normally with a standard deviation of 0.02, as in the paper's code.
    ///
    /// ```
    /// use cairn_nn::spec::{Dense, GlobalAvgPool, LayerNorm, PatchEmbedding, TransformerEncoderLayer};
    /// use cairn_nn::{Activation::Gelu, Model, Sequential};
    /// use cairn_tensor::{Tensor, rng};
    /// let block = TransformerEncoderLayer::new(4, 64).activation(Gelu).norm_first(true);
    /// let vit = Sequential::new([28, 28, 1])
    ///     .add(PatchEmbedding::new(7, 32))
    ///     .add(block.clone())
    ///     .add(block)
    ///     .add(LayerNorm::new())
    ///     .add(GlobalAvgPool)
    ///     .add(Dense::new(10))
    ///     .build(&mut rng(0))?;
    /// assert_eq!(vit.predict_batch(&Tensor::<f32>::ones([2, 28, 28, 1])?)?.shape(), [2, 10]);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct PatchEmbedding {
        side: usize,
        features: usize,
        class_token: bool,
    }

    impl PatchEmbedding {
        /// Of squares with this side, without a class token.
        pub fn new(side: usize, features: usize) -> Self {
            PatchEmbedding { side, features, class_token: false }
        }

        /// With a class token before the patches.
        #[must_use]
        #[doc(alias = "cls_token")]
        pub fn class_token(self, class_token: bool) -> Self {
            PatchEmbedding { class_token, ..self }
        }

        /// The layer for images `[height, width, channels]`.
        ///
        /// # Errors
        /// [`Error::BadSetting`] for sizes of 0; [`Error::BadInput`] where patches do not divide the sides; when memory does not hold
        /// the weights.
        pub fn layer(&self, image: impl Into<Shape>, rng: &mut Rng) -> Result<super::PatchEmbedding> {
            let image: Shape = image.into();
            let [patches, pixels] = self.sizes(&image)?;
            let grid = [image[0] / self.side, image[1] / self.side];
            let projection = Linear::new(pixels, self.features, rng)?;
            let mut draw =
                |rows| Ok::<_, Error>(Parameter::new(Init::Normal(0.02).tensor([rows, self.features], rng)?));
            let class_token = self.class_token.then(|| draw(1)).transpose()?;
            let positions = draw(patches)?;
            Ok(super::PatchEmbedding { projection, class_token, positions, side: self.side, grid })
        }

        /// The length of the sequence, and the values of a patch.
        fn sizes(&self, image: &Shape) -> Result<[usize; 2]> {
            for (what, value) in
                [("the side of a patch", self.side), ("the number of features", self.features)]
            {
                if value == 0 {
                    return Err(Error::BadSetting { what, value: 0.0, must: "at least 1" });
                }
            }
            let &[height, width, channels] = &image[..] else { return Err(no_image(image)) };
            let fits = |side: usize| side > 0 && side.is_multiple_of(self.side);
            if !fits(height) || !fits(width) {
                return Err(no_image(image));
            }
            let patches = (height / self.side).saturating_mul(width / self.side);
            let pixels = self.side.saturating_mul(self.side).saturating_mul(channels);
            Ok([patches.saturating_add(self.class_token.into()), pixels])
        }
    }

    impl LayerConfig for PatchEmbedding {
        const KIND: &'static str = "patch_embedding";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            let [patches, pixels] = self.sizes(input)?;
            // The projection with its bias, positions, and the class token.
            let rows =
                pixels.saturating_add(1).saturating_add(patches).saturating_add(self.class_token.into());
            Ok(Plan { output: [patches, self.features].into(), values: rows.saturating_mul(self.features) })
        }

        fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(input.clone(), rng)?))
        }

        fn rules(&self, framework: Framework, _: &mut Flow) -> Result<Vec<Rule>> {
            let name = if framework == Framework::Keras { "Keras" } else { "PyTorch" };
            Err(no_rule("patch embedding", "", name))
        }
    }
}
