//! Measures of the confusion of classes: precision, recall and F1.

use std::fmt;

use cairn_tensor::{Setting, Tensor};

use super::{Accumulator, Metric, check_labels, predictions};
use crate::{Error, Result, StateDict};

/// How often each label was taken for each class: rows are labels, columns predictions.
///
/// ```
/// use cairn_optim::metrics::ConfusionMatrix;
/// use cairn_tensor::Tensor;
///
/// let mut matrix = ConfusionMatrix::new(2);
/// let scores = Tensor::from_vec(vec![0.9f32, 0.1, 0.2, 0.8, 0.7, 0.3], [3, 2])?;
/// matrix.update(&scores, &Tensor::from_vec(vec![0, 1, 1], [3])?)?;
/// assert_eq!((matrix.count(1, 0), matrix.count(1, 1)), (1, 1));
/// assert_eq!((matrix.precision(1), matrix.recall(1)), (1.0, 0.5));
/// println!("{matrix}");
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// Row by row; none before the first batch.
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Of nothing yet.
    pub fn new(classes: usize) -> Self {
        ConfusionMatrix { classes, counts: Vec::new() }
    }

    /// Takes in a batch: scores `[…, classes]`, labels `[…]`.
    ///
    /// # Errors
    /// When labels and rows differ in shape, a label is no class, a score is NaN, or the number of classes is another; nothing is
    /// taken in then.
    pub fn update(&mut self, scores: &Tensor, labels: &Tensor<u32>) -> Result<()> {
        let classes = check_labels("confusion_matrix", scores, labels)?;
        let fits = classes == self.classes;
        Setting::check("the number of scores in a row", classes, fits, "the number of classes")?;
        let predicted = predictions("confusion_matrix", scores, labels)?;
        if self.counts.is_empty() {
            let cells = classes.saturating_mul(classes);
            let held = self.counts.try_reserve_exact(cells).is_ok();
            Setting::check("the number of classes", classes, held, "one whose square memory holds")?;
            self.counts.resize(cells, 0);
        }
        for (label, predicted) in labels.iter().zip(predicted.iter()) {
            self.counts[label as usize * classes + predicted as usize] += 1;
        }
        Ok(())
    }

    /// The counts as a tensor, `[classes, classes]`.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn to_tensor(&self) -> Result<Tensor<i64>> {
        let shape = [self.classes, self.classes];
        if self.counts.is_empty() {
            return Ok(Tensor::zeros(shape)?);
        }
        Ok(Tensor::from_vec(self.counts.iter().map(|&count| count as i64).collect(), shape)?)
    }

    /// The matrix of these counts, `[classes, classes]`.
    ///
    /// # Errors
    /// [`Error::BadState`] for another shape, or a count below 0.
    pub fn from_tensor(counts: &Tensor<i64>) -> Result<Self> {
        let &[classes, columns] = counts.shape() else { return Err(not_counts(counts)) };
        let values: Result<Vec<u64>, _> = counts.iter().map(u64::try_from).collect();
        match values {
            Ok(counts) if classes == columns => Ok(ConfusionMatrix { classes, counts }),
            _ => Err(not_counts(counts)),
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often `label` was taken for `predicted`; 0 for what are no classes.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        let inside = label < self.classes && predicted < self.classes && !self.counts.is_empty();
        if inside { self.counts[label * self.classes + predicted] } else { 0 }
    }

    /// Of what was taken for this class, the share that is of it; 0 where nothing was.
    pub fn precision(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.predicted(class))
    }

    /// Of what is of this class, the share that was taken for it; 0 where nothing is.
    pub fn recall(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.support(class))
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(&self, class: usize) -> f64 {
        ratio(2 * self.count(class, class), self.predicted(class) + self.support(class))
    }

    /// The number of samples with this label.
    pub fn support(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|label| self.count(label, class)).sum()
    }

    /// A measure of single classes, averaged.
    fn average(&self, average: Average, of: impl Fn(&Self, usize) -> f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        if total == 0 {
            return f64::NAN;
        }
        match average {
            Average::Class(class) => of(self, class),
            // Each wrong prediction is one too many for a class and one too few for another, so all three are the accuracy.
            Average::Micro => ratio((0..self.classes).map(|class| self.count(class, class)).sum(), total),
            Average::Macro => {
                let seen = |class: &usize| self.support(*class) + self.predicted(*class) > 0;
                let values: Vec<f64> = (0..self.classes).filter(seen).map(|class| of(self, class)).collect();
                values.iter().sum::<f64>() / values.len() as f64
            }
            Average::Weighted => {
                let weighted = |class| of(self, class) * self.support(class) as f64;
                (0..self.classes).map(weighted).sum::<f64>() / total as f64
            }
        }
    }
}

fn not_counts(counts: &Tensor<i64>) -> Error {
    Error::BadState(format!("`counts`, of shape {}, must be square and not negative", counts.dims()))
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A table: a row for each label, a column for each prediction, both headed by the class.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |number: u64| number.to_string().len();
        let last = self.classes.saturating_sub(1) as u64;
        let width = digits(*self.counts.iter().max().unwrap_or(&0)).max(digits(last));
        let head = "label";
        let side = head.len().max(digits(last));
        write!(f, "{head:>side$} |")?;
        for class in 0..self.classes {
            write!(f, " {class:>width$}")?;
        }
        write!(f, "  predicted")?;
        for label in 0..self.classes {
            write!(f, "\n{label:>side$} |")?;
            for predicted in 0..self.classes {
                write!(f, " {:>width$}", self.count(label, predicted))?;
            }
        }
        Ok(())
    }
}

/// How the values of single classes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Average {
    /// The mean over the classes that came up as a label or a prediction.
    #[default]
    Macro,
    /// Over all samples, whatever their class.
    Micro,
    /// The mean over classes, weighted by their number of samples.
    Weighted,
    /// That of one class alone, which must be one.
    Class(usize),
}

macro_rules! by_class {
    ($($name:ident, $text:literal, $measure:ident, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name(pub Average);

        impl Metric<Tensor<u32>> for $name {
            fn name(&self) -> &str {
                $text
            }

            fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
                Box::new(ByClass { matrix: None, average: self.0, of: ConfusionMatrix::$measure })
            }
        }
    )*};
}
by_class! {
    Precision, "precision", precision, "[`ConfusionMatrix::precision`], averaged over classes.";
    Recall, "recall", recall, "[`ConfusionMatrix::recall`], averaged over classes.";
    F1, "f1", f1, "[`ConfusionMatrix::f1`], averaged over classes.";
}

struct ByClass {
    /// Made when the first batch tells the number of classes.
    matrix: Option<ConfusionMatrix>,
    average: Average,
    of: fn(&ConfusionMatrix, usize) -> f64,
}

impl Accumulator<Tensor<u32>> for ByClass {
    fn update(&mut self, prediction: &Tensor, target: &Tensor<u32>) -> Result<()> {
        let classes = check_labels("confusion_matrix", prediction, target)?;
        if let Average::Class(class) = self.average {
            Setting::check("the class", class, class < classes, "below the number of scores in a row")?;
        }
        self.matrix.get_or_insert_with(|| ConfusionMatrix::new(classes)).update(prediction, target)
    }

    fn value(&self) -> f64 {
        self.matrix.as_ref().map_or(f64::NAN, |matrix| matrix.average(self.average, self.of))
    }

    fn state(&self) -> Result<StateDict> {
        let state = StateDict::new("confusion_matrix");
        match &self.matrix {
            Some(matrix) => Ok(state.with_tensor("counts", matrix.to_tensor()?)),
            None => Ok(state),
        }
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        state.require("confusion_matrix")?;
        // A pass that had seen nothing yet has no matrix.
        let counts = state.tensors.contains_key("counts").then(|| state.tensor("counts")).transpose()?;
        self.matrix = counts.map(ConfusionMatrix::from_tensor).transpose()?;
        Ok(())
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        let mut other = ByClass { matrix: None, average: self.average, of: self.of };
        other.load_state(later)?;
        match (&mut self.matrix, other.matrix) {
            (_, None) => {}
            (None, other) => self.matrix = other,
            (Some(matrix), Some(other)) => {
                let (here, classes) = (matrix.classes, other.classes);
                Setting::check("the number of classes", classes, classes == here, "that of earlier batches")?;
                if matrix.counts.is_empty() {
                    matrix.counts = other.counts;
                } else {
                    matrix.counts.iter_mut().zip(other.counts).for_each(|(count, other)| *count += other);
                }
            }
        }
        Ok(())
    }
}
