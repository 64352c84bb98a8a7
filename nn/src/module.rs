//! What models are made of, as seen by whatever works on all parameters: optimisers, files, freezing.
//!
//! A [`Module`] shows its parts to a visitor, by name and in a fixed order. That is all it has to do; counting, freezing,
//! saving and updating are written once on top. `#[derive(Module)]` writes it. Settings inside a module (sizes, rates)
//! are modules without parameters, so the derive needs no list of types.

use std::collections::BTreeMap;

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use crate::{Error, Result};

/// A part of a model: parameters (`Var`), buffers (`Tensor`: values that are saved but not trained), or more modules.
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

    /// As [`visit`](Self::visit), for changing parts, in the same order.
    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_>);

    /// Calls `f` with the path and the handle of each parameter, in order.
    fn for_each_parameter(&self, f: &mut dyn FnMut(&str, &Var)) {
        self.visit(&mut Visitor::new(&mut |path, part| {
            if let Part::Parameter(var) = part {
                f(path, var);
            }
        }));
    }

    /// As [`for_each_parameter`](Self::for_each_parameter), for changing them.
    fn for_each_parameter_mut(&mut self, f: &mut dyn FnMut(&str, &mut Var)) {
        self.visit_mut(&mut VisitorMut::new(&mut |path, part| {
            if let PartMut::Parameter(var) = part {
                f(path, var);
            }
        }));
    }

    /// The parameters with their paths.
    fn parameters(&self) -> Vec<(String, Var)> {
        let mut all = Vec::new();
        self.for_each_parameter(&mut |path, var| all.push((path.to_owned(), var.clone())));
        all
    }

    /// The number of parameter values, frozen ones included.
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.for_each_parameter(&mut |_, var| count += var.value().len());
        count
    }

    /// The number of parameter values that are not frozen.
    fn trainable_count(&self) -> usize {
        let mut count = 0;
        self.for_each_parameter(&mut |_, var| count += if var.is_tracked() { var.value().len() } else { 0 });
        count
    }

    /// Stops training of all parameters: no gradients are computed for them.
    fn freeze(&mut self) {
        self.for_each_parameter_mut(&mut |_, var| var.set_tracked(false));
    }

    /// Resumes training of all parameters.
    fn unfreeze(&mut self) {
        self.for_each_parameter_mut(&mut |_, var| var.set_tracked(true));
    }

    /// All values by path: parameters and buffers. Cheap, since storage is shared until it changes.
    fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        self.visit(&mut Visitor::new(&mut |path, part| {
            let tensor = match part {
                Part::Parameter(var) => var.value(),
                Part::Buffer(tensor) => tensor,
            };
            state.insert(path.to_owned(), tensor.clone());
        }));
        state
    }

    /// Takes over all values by path. Nothing changes unless all of them fit.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] naming the values that are missing, unexpected or of another shape.
    fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let own = self.state();
        let mut problems = Vec::new();
        for (path, tensor) in &own {
            match state.get(path) {
                None => problems.push(format!("{path} is missing")),
                Some(new) if new.shape() != tensor.shape() => {
                    problems.push(format!(
                        "{path} has shape {}, the model's is {}",
                        new.dims(),
                        tensor.dims()
                    ));
                }
                Some(_) => {}
            }
        }
        problems.extend(
            state
                .keys()
                .filter(|path| !own.contains_key(*path))
                .map(|path| format!("{path} is not expected")),
        );
        if !problems.is_empty() {
            return Err(Error::StateMismatch(problems.join("; ")));
        }
        self.visit_mut(&mut VisitorMut::new(&mut |path, part| {
            if let Some(new) = state.get(path) {
                match part {
                    PartMut::Parameter(var) => var.set(new.clone()),
                    PartMut::Buffer(tensor) => *tensor = new.clone(),
                }
            }
        }));
        Ok(())
    }
}

/// A leaf of a module.
#[derive(Debug)]
pub enum Part<'a> {
    /// A trained value.
    Parameter(&'a Var),
    /// A value that is kept but not trained, such as a running mean.
    Buffer(&'a Tensor),
}

/// A leaf of a module, to be changed.
#[derive(Debug)]
pub enum PartMut<'a> {
    /// A trained value.
    Parameter(&'a mut Var),
    /// A value that is kept but not trained.
    Buffer(&'a mut Tensor),
}

macro_rules! visitor {
    ($visitor:ident, $part:ident, $visit:ident, $($mutability:tt)?) => {
        /// Walks over a module, keeping the dotted path.
        pub struct $visitor<'a> {
            path: String,
            f: &'a mut dyn FnMut(&str, $part<'_>),
        }

        impl std::fmt::Debug for $visitor<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($visitor)).field("path", &self.path).finish_non_exhaustive()
            }
        }

        impl<'a> $visitor<'a> {
            /// A visitor that calls `f` with the path and each leaf.
            pub fn new(f: &'a mut dyn FnMut(&str, $part<'_>)) -> Self {
                $visitor { path: String::new(), f }
            }

            /// Visits a part under its name.
            pub fn field<M: Module + ?Sized>(&mut self, name: &str, module: &$($mutability)? M) {
                let outer = self.path.len();
                if outer > 0 {
                    self.path.push('.');
                }
                self.path.push_str(name);
                module.$visit(self);
                self.path.truncate(outer);
            }

            fn leaf(&mut self, part: $part<'_>) {
                (self.f)(&self.path, part);
            }
        }
    };
}
visitor!(Visitor, Part, visit,);
visitor!(VisitorMut, PartMut, visit_mut, mut);

impl Module for Var {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Part::Parameter(self));
    }
    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_>) {
        visitor.leaf(PartMut::Parameter(self));
    }
}

impl Module for Tensor {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Part::Buffer(self));
    }
    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_>) {
        visitor.leaf(PartMut::Buffer(self));
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_>) {
        (**self).visit_mut(visitor);
    }
}

impl<M: Module> Module for Option<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some(module) = self {
            module.visit(visitor);
        }
    }
    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_>) {
        if let Some(module) = self {
            module.visit_mut(visitor);
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
            fn visit_mut(&mut self, visitor: &mut VisitorMut<'_>) {
                for (i, module) in self.iter_mut().enumerate() {
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
            fn visit_mut(&mut self, _: &mut VisitorMut<'_>) {}
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
