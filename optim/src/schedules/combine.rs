//! Schedules made of others.

use std::fmt;

use super::Schedule;

/// Several schedules at once: the product of their factors.
#[doc(alias = "ChainedScheduler")]
#[derive(Default)]
pub struct Chained(Vec<Box<dyn Schedule>>);

impl Chained {
    /// No schedules: a factor of 1.
    pub fn new() -> Self {
        Chained::default()
    }

    /// With another one.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // Nobody adds schedules with `+`.
    pub fn add(mut self, schedule: impl Schedule + 'static) -> Self {
        self.0.push(Box::new(schedule));
        self
    }
}

impl Schedule for Chained {
    fn factor(&self, step: u64) -> f64 {
        self.0.iter().map(|schedule| schedule.factor(step)).product()
    }
}

impl fmt::Debug for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chained({} schedules)", self.0.len())
    }
}

/// Schedules one after the other, each counting its steps from 0.
#[doc(alias = "SequentialLR")]
pub struct Sequence {
    first: Box<dyn Schedule>,
    rest: Vec<(u64, Box<dyn Schedule>)>,
}

impl Sequence {
    /// Starts with a schedule.
    pub fn new(first: impl Schedule + 'static) -> Self {
        Sequence { first: Box::new(first), rest: Vec::new() }
    }

    /// Goes over to another at this step, counted from the start of all. Later parts start later.
    #[must_use]
    pub fn then(mut self, at: u64, schedule: impl Schedule + 'static) -> Self {
        self.rest.push((at, Box::new(schedule)));
        self
    }
}

impl Schedule for Sequence {
    fn factor(&self, step: u64) -> f64 {
        match self.rest.iter().rev().find(|(at, _)| *at <= step) {
            Some((at, schedule)) => schedule.factor(step - at),
            None => self.first.factor(step),
        }
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let starts: Vec<_> = self.rest.iter().map(|(at, _)| at).collect();
        write!(f, "Sequence(then at {starts:?})")
    }
}
