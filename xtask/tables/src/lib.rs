//! The tables of operations and layers that are timed, in `f32`: a name, what bounds it, and what makes the inputs and gives
//! back one run.
//!
//! They stand here once, for `cargo xtask bench --only ops`, which compares them with the machine, and for `cargo bench -p
//! bench-tables -- softmax`, which compares them with their own last run; a package of its own, so that the latter builds
//! nothing but the two crates below. The names are those under which other libraries' times are printed, so that they can be
//! compared line by line.
#![forbid(unsafe_code)]

mod layers;
mod operations;

pub use layers::layers;
pub use operations::operations;

/// One run of an operation; the result is dropped.
pub type Run = Box<dyn FnMut()>;

/// What an operation can be no faster than.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Moving so many bytes: the operands read once, the result written once.
    Memory(usize),
    /// So many floating-point operations.
    Arithmetic(usize),
    /// Neither: functions, several passes, chains of dependent steps.
    Other,
}

/// A named operation.
pub struct Operation {
    /// `operation/shape`.
    pub name: String,
    /// What bounds it.
    pub bound: Bound,
    /// Makes the inputs, and returns what runs the operation once.
    pub prepare: Box<dyn Fn() -> Run>,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// Every operation that is timed: single ones, then whole layers.
pub fn all() -> Vec<Operation> {
    let mut all = operations();
    all.extend(layers());
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique_and_every_small_operation_runs() {
        let all = super::all();
        for (i, operation) in all.iter().enumerate() {
            assert!(operation.name.contains('/'), "{}", operation.name);
            assert!(all[..i].iter().all(|other| other.name != operation.name), "{} twice", operation.name);
        }
        for operation in all.iter().filter(|operation| operation.name.contains("64x64x64")) {
            (operation.prepare)()();
        }
    }
}
