//! What a [`Sequential`](crate::Sequential) is written with: descriptions of layers, and the one list of their kinds.

use std::fmt::Debug;

use cairn_tensor::{Rng, Shape};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Layer;
use crate::Result;
use crate::weights::{Flow, Framework, Rule};

/// What a layer will be for an input shape, known before any memory is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The shape of its output, without the batch axis.
    pub output: Shape,
    /// The elements of its parameters and buffers, saturating.
    pub values: usize,
}

impl Plan {
    /// Of a layer without parameters and buffers.
    pub fn of(output: impl Into<Shape>) -> Self {
        Plan { output: output.into(), values: 0 }
    }
}

/// The description of a layer, from which a [`Sequential`](crate::Sequential) builds it once the shape of its input is known.
pub trait LayerConfig: Debug {
    /// The name of the kind. Files know layers by it, so it never changes.
    const KIND: &'static str;

    /// What layers of this description are named after.
    fn name(&self) -> &'static str {
        Self::KIND
    }

    /// What the layer will be for inputs of this shape (without the batch axis), or why it cannot be.
    ///
    /// # Errors
    /// When the input or a setting does not fit.
    fn plan(&self, input: &Shape) -> Result<Plan>;

    /// The layer for an input shape that [`plan`](Self::plan) has accepted, its parameters drawn.
    ///
    /// # Errors
    /// As [`plan`](Self::plan), and when memory does not hold the parameters.
    fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>>;

    /// Whether the steps of a sequence that goes in are the steps of the one that comes out, so that the same ones are
    /// valid. In a `Sequential` the mask goes no further than the first layer where they are not.
    fn keeps_steps(&self) -> bool {
        false
    }

    /// How another library names and lays out the layer's values; none for a layer without values. `flow` is what is known
    /// about the layers before it, and is to be kept up to date.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) where the library has no such layer.
    fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
        let _ = (framework, flow);
        Ok(Vec::new())
    }
}

/// A description that got settings after files of its kind had been written. Where all of them are as the first files take them, it is written
/// as ever, so that old and new programs read each other's; else under the name of a second form, with these settings behind it.
pub(crate) trait Extended: LayerConfig + Sized {
    /// The name of the second form. Like that of the kind it never changes.
    const FORM: &'static str;
    /// The settings that the first form does not have.
    type Further: Serialize + DeserializeOwned;

    /// These settings, unless the first form says it all.
    fn further(&self) -> Option<Self::Further>;

    /// The description of a first form, with these settings.
    fn with_further(self, further: Self::Further) -> Self;
}

/// Makes the room of descriptions of one list: `file: Name, …;` for the names in module `spec` of each file of layers, and the names of those
/// that have a second form.
macro_rules! layers {
    ($($file:ident: $($name:ident),+;)+ => $($extended:ident),+;) => {
        /// Descriptions of layers, for [`Sequential`](crate::Sequential): no input sizes, Keras's defaults.
        ///
        /// The plain names in the crate's root are the layers themselves, with `new(inputs, outputs, …)` and `forward`. Each
        /// description with parameters makes one by `layer(inputs, &mut rng)`, which is how a layer with unusual settings
        /// gets into a struct of your own. What has no parameters is the same type in both places.
        ///
        /// ```
        /// use cairn_nn::{Conv2d, spec};
        /// let layer: Conv2d = spec::Conv2d::new(32, 3).groups(4).bias(false).layer(16, &mut cairn_tensor::rng(0))?;
        /// # Ok::<(), cairn_nn::Error>(())
        /// ```
        pub mod spec {
            use cairn_tensor::{Rng, Shape};
            use serde::de::{Error as _, SeqAccess, Visitor};
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use super::config::Extended;
            pub use super::config::{LayerConfig, Plan};
            $(pub use super::$file::spec::*;)+
            use super::Layer;
            use crate::Result;
            use crate::weights::{Flow, Framework, Rule};

            /// Any of the descriptions: what a model is made of, and what is saved of its architecture.
            #[derive(Debug, Clone, PartialEq)]
            #[non_exhaustive]
            pub enum LayerSpec {
                $($(
                    #[doc = concat!("See [`", stringify!($name), "`].")]
                    $name($name),
                )+)+
            }

            $($(
                impl From<$name> for LayerSpec {
                    fn from(config: $name) -> Self {
                        LayerSpec::$name(config)
                    }
                }
            )+)+

            /// The description, whatever its kind, as the expression wants it.
            macro_rules! with_config {
                ($spec:expr, $config:ident => $value:expr) => {
                    match $spec {
                        $($(LayerSpec::$name($config) => $value,)+)+
                    }
                };
            }

            impl LayerSpec {
                /// The name that layers of a model get: their kind in lower case, of an activation the function's.
                pub fn kind(&self) -> &'static str {
                    with_config!(self, config => config.name())
                }

                pub(crate) fn plan(&self, input: &Shape) -> Result<Plan> {
                    with_config!(self, config => config.plan(input))
                }

                pub(crate) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
                    with_config!(self, config => config.build(input, rng))
                }

                pub(crate) fn keeps_steps(&self) -> bool {
                    with_config!(self, config => config.keeps_steps())
                }

                pub(crate) fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
                    with_config!(self, config => config.rules(framework, flow))
                }
            }

            /// The name of the kind, then the description.
            impl Serialize for LayerSpec {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    $(
                        if let LayerSpec::$extended(config) = self
                            && let Some(further) = config.further()
                        {
                            return (<$extended as Extended>::FORM, (config, further)).serialize(serializer);
                        }
                    )+
                    match self {
                        $($(LayerSpec::$name(config) => {
                            (<$name as LayerConfig>::KIND, config).serialize(serializer)
                        })+)+
                    }
                }
            }

            impl<'de> Deserialize<'de> for LayerSpec {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct Tagged;
                    impl<'de> Visitor<'de> for Tagged {
                        type Value = LayerSpec;
                        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                            f.write_str("a kind of layer and its description")
                        }
                        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<LayerSpec, A::Error> {
                            let kind: String =
                                sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                            let config = match kind.as_str() {
                                $($(<$name as LayerConfig>::KIND => {
                                    sequence.next_element::<$name>()?.map(LayerSpec::from)
                                })+)+
                                $(<$extended as Extended>::FORM => sequence
                                    .next_element::<($extended, <$extended as Extended>::Further)>()?
                                    .map(|(config, further)| LayerSpec::from(config.with_further(further))),)+
                                _ => return Err(A::Error::custom(format!("`{kind}` is no kind of layer here"))),
                            };
                            config.ok_or_else(|| A::Error::invalid_length(1, &self))
                        }
                    }
                    deserializer.deserialize_tuple(2, Tagged)
                }
            }
        }
    };
}
pub(super) use layers;
