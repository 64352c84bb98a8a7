//! Distillation (Hinton et al. 2015): a small model learns from what a large one thinks of all classes, and not from the right one
//! alone.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use super::{CrossEntropy, Loss, cross_entropy, same_shape, soft_cross_entropy};
use crate::{Error, Result};

/// How far a student's scores are from a teacher's, and from the labels: α T² KL(softmax(t / T) ‖ softmax(s / T)) + (1 - α) times the
/// cross-entropy of the labels, both a mean over rows. The factor T² keeps the first part's gradients as large whatever the temperature.
///
/// Defaults: a temperature T of 2, and an α of 0.5. The targets are the teacher's logits and the labels.
///
/// ```
/// use cairn_autograd::{Var, no_grad};
/// use cairn_nn::{Distillation, Linear, Loss};
/// use cairn_tensor::{Tensor, rng};
/// let (teacher, student) = (Linear::new(8, 3, &mut rng(0))?, Linear::new(8, 3, &mut rng(1))?);
/// let x = Var::from(Tensor::normal([16, 8], 0.0, 1.0, &mut rng(2))?);
/// let thought = no_grad(|| teacher.forward(&x))?.value().clone();
/// let labels = thought.argmax(1)?;
/// let loss = Distillation::new().temperature(4.0).alpha(0.9).loss(&student.forward(&x)?, &(thought, labels))?;
/// assert!(loss.backward()?.of(&student.weight)?.norm(..)?.item()? > 0.0);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[doc(alias("knowledge distillation", "KLDivLoss", "teacher", "student"))]
pub struct Distillation {
    temperature: f32,
    alpha: f32,
    ignored: Option<u32>,
}

impl Default for Distillation {
    fn default() -> Self {
        Distillation { temperature: 2.0, alpha: 0.5, ignored: None }
    }
}

impl Distillation {
    /// With a temperature of 2, both parts weighing alike.
    pub fn new() -> Self {
        Self::default()
    }

    /// Divides both models' logits by this: the higher, the more the classes that are not the likeliest count.
    #[must_use]
    pub fn temperature(self, temperature: f32) -> Self {
        Distillation { temperature, ..self }
    }

    /// The share of the teacher, from 0 to 1; the rest is the labels'.
    #[must_use]
    pub fn alpha(self, alpha: f32) -> Self {
        Distillation { alpha, ..self }
    }

    /// Leaves out the rows with this label, that of padding, of both parts: see [`CrossEntropy::ignore`]. The label need not be a class.
    #[must_use]
    #[doc(alias = "ignore_index")]
    pub fn ignore(self, label: u32) -> Self {
        Distillation { ignored: Some(label), ..self }
    }

    fn check(&self) -> Result<()> {
        let check = |what, value: f32, fits, must| {
            if fits { Ok(()) } else { Err(Error::BadSetting { what, value: value.into(), must }) }
        };
        let warm = self.temperature > 0.0 && self.temperature.is_finite();
        check("the temperature of distillation", self.temperature, warm, "positive and finite")?;
        check("the share of the teacher", self.alpha, (0.0..=1.0).contains(&self.alpha), "from 0 to 1")
    }

    /// The first part, for logits `[…, classes]` of both.
    ///
    /// # Errors
    /// When their shapes differ, there are none, or a setting is out of range.
    pub fn divergence(&self, student: &Var, teacher: &Tensor) -> Result<Var> {
        self.check()?;
        same_shape("distillation", student, teacher)?;
        let cooled = 1.0 / self.temperature;
        let wanted = teacher.scale(cooled)?.softmax(-1)?;
        // What the teacher's distribution has by itself: with it the divergence of equals is 0.
        let own = wanted.mul(&wanted.map(|p: f32| if p > 0.0 { p.ln() } else { 0.0 })?)?.sum(-1)?.mean(..)?;
        let crossed = soft_cross_entropy(&student.scale(cooled)?, &wanted)?;
        Ok(crossed.add(&Var::constant(own))?.scale(self.temperature * self.temperature)?)
    }
}

impl Distillation {
    /// The loss of the rows that count, of both parts a mean over these alone; 0 where there are none.
    fn ignoring(
        &self,
        prediction: &Var,
        teacher: &Tensor,
        labels: &Tensor<u32>,
        ignored: u32,
    ) -> Result<Var> {
        self.check()?;
        same_shape("distillation", prediction, teacher)?;
        let hard = CrossEntropy::new().ignore(ignored).loss(prediction, labels)?;
        let rows: Vec<u32> =
            (0..).zip(labels.iter()).filter(|(_, label)| *label != ignored).map(|(row, _)| row).collect();
        if rows.is_empty() {
            return Ok(hard);
        }
        // What is left out may be anything, NaN too: it is not looked at.
        let all = [labels.len(), prediction.shape().last().copied().unwrap_or(1)];
        let student = prediction.reshape(all)?.index_select(0, &rows)?;
        let teacher = teacher.reshape(all)?.index_select(0, &rows)?;
        let divergence = self.divergence(&student, &teacher)?.scale(self.alpha)?;
        if self.alpha == 1.0 {
            return Ok(divergence);
        }
        Ok(divergence.add(&hard.scale(1.0 - self.alpha)?)?)
    }
}

impl Loss<(Tensor, Tensor<u32>)> for Distillation {
    fn loss(&self, prediction: &Var, (teacher, labels): &(Tensor, Tensor<u32>)) -> Result<Var> {
        if let Some(ignored) = self.ignored {
            return self.ignoring(prediction, teacher, labels, ignored);
        }
        let divergence = self.divergence(prediction, teacher)?.scale(self.alpha)?;
        if self.alpha == 1.0 {
            return Ok(divergence);
        }
        Ok(divergence.add(&cross_entropy(prediction, labels)?.scale(1.0 - self.alpha)?)?)
    }

    fn weight(&self, _: &Var, (_, labels): &(Tensor, Tensor<u32>)) -> Result<Option<f64>> {
        let counted = labels.iter().filter(|label| Some(*label) != self.ignored).count();
        Ok(Some(counted as f64))
    }
}
