//! Descriptions of convolutions: what [`Sequential`](crate::Sequential) builds them from, and what other libraries call their
//! values.

use super::*;

/// What all convolutions are described by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Settings {
    filters: usize,
    pub(in super::super) options: Options,
    bias: bool,
    kernel_init: Init,
    bias_init: Init,
}

impl Settings {
    fn new(filters: usize, size: Size2) -> Self {
        Settings {
            filters,
            options: Options { window: Sliding::new(size), groups: 1, activation: None },
            bias: true,
            kernel_init: Init::GlorotUniform,
            bias_init: Init::Zeros,
        }
    }

    /// Channels of one group, after a check that they can be divided.
    fn depth(&self, channels: usize) -> Result<usize> {
        let groups = self.options.groups;
        for (what, value) in [("the number of filters", self.filters), ("the number of groups", groups)] {
            if value == 0 {
                return Err(Error::BadSetting { what, value: 0.0, must: "at least 1" });
            }
        }
        if !channels.is_multiple_of(groups) || !self.filters.is_multiple_of(groups) {
            let (what, value) = ("the number of groups", groups as f64);
            let must = "a divisor of the channels and of the filters";
            return Err(Error::BadSetting { what, value, must });
        }
        Ok(channels / groups)
    }

    fn values(&self, weight: &[usize]) -> usize {
        let weight = weight.iter().fold(1usize, |all, &n| all.saturating_mul(n));
        weight.saturating_add(if self.bias { self.filters } else { 0 })
    }

    fn parameters(&self, weight: Shape, rng: &mut Rng) -> Result<(Parameter, Option<Parameter>)> {
        let weight = Parameter::new(self.kernel_init.tensor(weight, rng)?);
        let bias = if self.bias { Some(self.bias_init.tensor([self.filters], rng)?) } else { None };
        Ok((weight, bias.map(Parameter::new)))
    }

    fn rules(&self, framework: Framework, permutation: Permutation) -> Vec<Rule> {
        let weight = match framework {
            Framework::Keras => Rule::new("weight", "/kernel", Permutation::Same),
            _ => Rule::new("weight", ".weight", permutation),
        };
        let bias = self.bias.then(|| Rule::new("bias", framework.value("bias"), Permutation::Same));
        [weight].into_iter().chain(bias).collect()
    }
}

/// The options that change parameters.
macro_rules! parameters {
    () => {
        /// In groups that do not mix; as many as channels for a depthwise convolution.
        #[must_use]
        pub fn groups(mut self, groups: usize) -> Self {
            self.settings.options.groups = groups;
            self
        }

        /// With or without a bias (default with).
        #[must_use]
        #[doc(alias = "use_bias")]
        pub fn bias(mut self, bias: bool) -> Self {
            self.settings.bias = bias;
            self
        }

        /// With other initial filters (default Glorot's uniform ones).
        #[must_use]
        #[doc(alias = "kernel_initializer")]
        pub fn kernel_init(mut self, init: Init) -> Self {
            self.settings.kernel_init = init;
            self
        }

        /// With other initial biases (default 0).
        #[must_use]
        #[doc(alias = "bias_initializer")]
        pub fn bias_init(mut self, init: Init) -> Self {
            self.settings.bias_init = init;
            self
        }
    };
}

/// Description of a [convolution of images](crate::Conv2d), with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    pub(in super::super) settings: Settings,
}

impl Conv2d {
    /// So many filters of this size.
    pub fn new(filters: usize, size: impl Into<Size2>) -> Self {
        Conv2d { settings: Settings::new(filters, size.into()) }
    }

    options!(settings.options, images);
    parameters!();

    /// The layer for images with so many channels, with parameters drawn.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when groups do not divide channels and filters, or there are no filters; when memory does
    /// not hold the weight.
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<super::Conv2d> {
        let (weight, bias) = self.settings.parameters(self.weight(channels)?.into(), rng)?;
        Ok(super::Conv2d { weight, bias, options: self.settings.options, pool: None })
    }

    fn weight(&self, channels: usize) -> Result<[usize; 4]> {
        let [height, width] = self.settings.options.window.size.0;
        Ok([height, width, self.settings.depth(channels)?, self.settings.filters])
    }
}

impl LayerConfig for Conv2d {
    const KIND: &'static str = "conv2d";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let values = self.settings.values(&self.weight(channels)?);
        let [rows, columns] = self.settings.options.window.output([height, width])?;
        Ok(Plan { output: [rows, columns, self.settings.filters].into(), values })
    }

    fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.layer(image(input)?[2], rng)?))
    }

    fn rules(&self, framework: Framework, _: &mut Flow) -> Result<Vec<Rule>> {
        Ok(self.settings.rules(framework, Permutation::Conv2d))
    }
}

/// Description of a [convolution of sequences](crate::Conv1d), with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conv1d {
    pub(in super::super) settings: Settings,
}

impl Conv1d {
    /// So many filters of this length.
    pub fn new(filters: usize, size: usize) -> Self {
        Conv1d { settings: Settings::new(filters, along_time(size)) }
    }

    options!(settings.options, sequences);
    parameters!();

    /// The layer for sequences with so many channels, with parameters drawn.
    ///
    /// # Errors
    /// As [`Conv2d::layer`].
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<super::Conv1d> {
        let (weight, bias) = self.settings.parameters(self.weight(channels)?.into(), rng)?;
        Ok(super::Conv1d { weight, bias, options: self.settings.options })
    }

    fn weight(&self, channels: usize) -> Result<[usize; 3]> {
        let steps = self.settings.options.window.size.0[1];
        Ok([steps, self.settings.depth(channels)?, self.settings.filters])
    }
}

impl LayerConfig for Conv1d {
    const KIND: &'static str = "conv1d";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [steps, channels] = sequence(input)?;
        let values = self.settings.values(&self.weight(channels)?);
        let [_, steps] = self.settings.options.window.output([1, steps])?;
        Ok(Plan { output: [steps, self.settings.filters].into(), values })
    }

    fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.layer(sequence(input)?[1], rng)?))
    }

    fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
        flow.steps_first = false;
        Ok(self.settings.rules(framework, Permutation::Conv1d))
    }
}

/// Description of a [transposed convolution](crate::ConvTranspose2d), with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvTranspose2d {
    pub(in super::super) settings: Settings,
    pub(in super::super) extra: Size2,
}

impl ConvTranspose2d {
    /// So many filters of this size.
    pub fn new(filters: usize, size: impl Into<Size2>) -> Self {
        ConvTranspose2d { settings: Settings::new(filters, size.into()), extra: 0.into() }
    }

    options!(settings.options, transposed);
    parameters!();

    /// The layer for images with so many channels, with parameters drawn.
    ///
    /// # Errors
    /// As [`Conv2d::layer`].
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<super::ConvTranspose2d> {
        let (weight, bias) = self.settings.parameters(self.weight(channels)?.into(), rng)?;
        Ok(super::ConvTranspose2d { weight, bias, options: self.settings.options, extra: self.extra })
    }

    fn weight(&self, channels: usize) -> Result<[usize; 4]> {
        self.settings.depth(channels)?;
        let Options { window, groups, .. } = self.settings.options;
        let [height, width] = window.size.0;
        Ok([height, width, self.settings.filters / groups, channels])
    }
}

impl LayerConfig for ConvTranspose2d {
    const KIND: &'static str = "conv_transpose2d";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let sliding = &self.settings.options.window;
        let values = self.settings.values(&self.weight(channels)?);
        let (window, extra) = transposed_window(sliding, self.extra, [height, width]);
        let [rows, columns] = window.transposed_output(sliding.size.0, [height, width], extra)?;
        Ok(Plan { output: [rows, columns, self.settings.filters].into(), values })
    }

    fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.layer(image(input)?[2], rng)?))
    }

    fn rules(&self, framework: Framework, _: &mut Flow) -> Result<Vec<Rule>> {
        Ok(self.settings.rules(framework, Permutation::Conv2d))
    }
}
