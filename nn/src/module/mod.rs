//! What models are made of, as seen by whatever works on all parameters: optimisers, files, freezing.
//!
//! A [`Module`] shows its parts to a visitor, by name and in a fixed order. That is all it has to do; counting, freezing,
//! saving and updating are written once on top. `#[derive(Module)]` writes it. Settings inside a module (sizes, rates)
//! are modules without parameters, so the derive needs no list of types.
//!
//! Parameters and buffers are cells that are changed through a shared reference, so one walk serves reading and changing. A
//! cell that stands in several places (tied weights) is shown once, under its first path: it is counted, saved, clipped and
//! stepped once.

mod buffer;
mod state;
mod visitor;

use std::collections::BTreeMap;

use cairn_autograd::Parameter;
use cairn_tensor::AnyTensor;

pub use buffer::Buffer;
pub(crate) use state::{Matching, Misfit, Types};
pub use visitor::{Part, Visitor};

use crate::Result;

/// A part of a model: [`Parameter`]s, [`Buffer`]s (values that are saved but not trained), or more modules.
///
/// ```
/// use cairn_nn::{Linear, Module};
/// use cairn_tensor::rng;
///
/// #[derive(Module)]
/// struct Classifier {
///     hidden: Linear,
///     head: Linear,
/// }
///
/// let mut rng = rng(0);
/// let model = Classifier { hidden: Linear::new(4, 8, &mut rng)?, head: Linear::new(8, 2, &mut rng)? };
/// let names: Vec<_> = model.parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["hidden.weight", "hidden.bias", "head.weight", "head.bias"]);
/// assert_eq!(model.parameter_count(), 4 * 8 + 8 + 8 * 2 + 2);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
pub trait Module {
    /// Shows each part to the visitor, always in the same order.
    fn visit(&self, visitor: &mut Visitor<'_>);

    /// Calls `f` with the path and each parameter, in order; a tied one once, under its first path.
    fn for_each_parameter(&self, f: &mut dyn FnMut(&str, &Parameter)) {
        self.visit(&mut Visitor::new(&mut |path, part| {
            if let Part::Parameter(parameter) = part {
                f(path, parameter);
            }
        }));
    }

    /// The parameters with their paths, tied ones once. Changing one changes the model's.
    #[doc(alias = "named_parameters")]
    fn parameters(&self) -> Vec<(String, Parameter)> {
        let mut all = Vec::new();
        self.for_each_parameter(&mut |path, parameter| all.push((path.to_owned(), parameter.clone())));
        all
    }

    /// The number of parameter values, frozen ones included, tied ones once.
    #[doc(alias = "count_params")]
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.for_each_parameter(&mut |_, parameter| count += parameter.len());
        count
    }

    /// The number of parameter values that are not frozen.
    fn trainable_count(&self) -> usize {
        let mut count = 0;
        self.for_each_parameter(&mut |_, parameter| {
            count += if parameter.is_trainable() { parameter.len() } else { 0 };
        });
        count
    }

    /// The table of the parts with values, by path: shapes, numbers of parameters, memory. That of a
    /// [`Sequential`](crate::Sequential) knows its layers' outputs and costs too.
    ///
    /// ```
    /// use cairn_nn::{Linear, Module};
    /// use cairn_tensor::rng;
    /// #[derive(Module)]
    /// struct Classifier {
    ///     hidden: Linear,
    ///     head: Linear,
    /// }
    /// let mut rng = rng(0);
    /// let model = Classifier { hidden: Linear::new(4, 8, &mut rng)?, head: Linear::new(8, 2, &mut rng)? };
    /// let text = model.summary().to_string();
    /// assert!(text.contains("hidden") && text.contains("4x8, 8") && text.contains("58 parameters"));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    fn summary(&self) -> crate::Summary {
        crate::Summary::of(self)
    }

    /// Stops training of all parameters: no gradients are computed for them.
    #[doc(alias = "requires_grad_")]
    fn freeze(&self) {
        // Only to let a parameter train can be refused.
        self.for_each_parameter(&mut |_, parameter| drop(parameter.set_trainable(false)));
    }

    /// Resumes training of all parameters.
    ///
    /// # Errors
    /// When the value of one, which is named, is stored in an element type that cannot be trained; the others train then.
    fn unfreeze(&self) -> Result<()> {
        let mut result = Ok(());
        self.for_each_parameter(&mut |path, parameter| {
            if let Err(error) = parameter.set_trainable(true) {
                result = Err(crate::Error::from(error).at(path));
            }
        });
        result
    }

    /// All values by path: parameters and buffers, tied ones under their first path. Cheap, since storage is shared until it
    /// changes.
    #[doc(alias = "state_dict")]
    fn state(&self) -> BTreeMap<String, AnyTensor> {
        let mut state = BTreeMap::new();
        self.visit(&mut Visitor::new(&mut |path, part| {
            let value = match part {
                Part::Parameter(parameter) => parameter.any(),
                Part::Buffer(buffer) => buffer.any(),
            };
            state.insert(path.to_owned(), value);
        }));
        state
    }

    /// Takes over all values by path. Nothing changes unless all of them fit. A tied value is given under one of its paths, or
    /// the same under several.
    ///
    /// # Errors
    /// [`Error::StateMismatch`](crate::Error::StateMismatch) naming the values that are missing, unexpected, of another shape
    /// or of another element type, and two paths of one tied value that are given different ones.
    #[doc(alias = "load_state_dict")]
    fn load_state(&self, state: &BTreeMap<String, AnyTensor>) -> Result<()> {
        load(self, state, Types::Same)
    }

    /// As [`load_state`](Self::load_state), with the element types of what is given: parameters that become bf16, f16 or
    /// integers are converted each time they are used, and are not trained.
    ///
    /// ```
    /// use cairn_nn::{Linear, Module};
    /// use cairn_tensor::{DType, Tensor, rng};
    /// let layer = Linear::new(4, 2, &mut rng(0))?;
    /// let mut state = layer.state();
    /// for value in state.values_mut() {
    ///     *value = value.cast(DType::BF16)?; // half the memory
    /// }
    /// layer.adopt_state(&state)?;
    /// assert_eq!(layer.weight.any().dtype(), DType::BF16);
    /// assert_eq!(layer.forward(&Tensor::ones([3, 4])?.into())?.shape(), [3, 2]);
    /// let error = layer.unfreeze().unwrap_err().to_string();
    /// assert!(error.contains("stored as bf16 cannot be trained"));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`load_state`](Self::load_state), but for the element types.
    fn adopt_state(&self, state: &BTreeMap<String, AnyTensor>) -> Result<()> {
        load(self, state, Types::Adopted)
    }
}

fn load<M: Module + ?Sized>(module: &M, state: &BTreeMap<String, AnyTensor>, types: Types) -> Result<()> {
    let matching = Matching::new(module, state, types)?;
    matching.check()?;
    matching.apply();
    Ok(())
}

impl Module for Parameter {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Part::Parameter(self));
    }
}

impl Module for Buffer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Part::Buffer(self));
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
}

impl<M: Module> Module for Option<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some(module) = self {
            module.visit(visitor);
        }
    }
}

macro_rules! sequences {
    ($([$($generics:tt)*] $t:ty;)*) => {$(
        /// Parts are named by their position.
        impl<$($generics)*> Module for $t {
            fn visit(&self, visitor: &mut Visitor<'_>) {
                for (i, module) in self.iter().enumerate() {
                    visitor.field(&i.to_string(), module);
                }
            }
        }
    )*};
}
sequences! {
    [M: Module] Vec<M>;
    [M: Module, const N: usize] [M; N];
}

macro_rules! settings {
    ($($t:ty),*) => {$(
        /// A setting: nothing to train or save as a value.
        impl Module for $t {
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}
settings!(
    bool,
    u8,
    u32,
    u64,
    usize,
    i32,
    i64,
    f32,
    f64,
    String,
    &'static str,
    cairn_tensor::Shape,
    crate::Activation
);
