//! What this program was started as.

use crate::{Alone, Communicator, Result};

/// Variables by which launchers tell a program its place: Open MPI's, those of MPICH and Intel MPI, and of `srun --mpi=pmix`.
const LAUNCHED: [&str; 4] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "PMI_ID"];

/// The processes that this program is one of: those that `mpirun` or `srun` started, or itself alone.
///
/// To be called once, on the thread that trains, and kept to the end of the program: MPI is over when it is dropped.
///
/// ```no_run
/// let world = cairn_processes::world()?;
/// println!("rank {} of {}", world.rank(), world.size());
/// # Ok::<(), cairn_processes::Error>(())
/// ```
///
/// # Errors
/// [`Error::Engine`](crate::Error::Engine) when a launcher started the program, but it was built without the feature `mpi`, or MPI was
/// started before.
pub fn world() -> Result<Box<dyn Communicator>> {
    match LAUNCHED.into_iter().find(|name| std::env::var_os(name).is_some()) {
        None => Ok(Box::new(Alone)),
        Some(variable) => launched(variable),
    }
}

#[cfg(feature = "mpi")]
fn launched(_: &str) -> Result<Box<dyn Communicator>> {
    Ok(Box::new(crate::Mpi::new()?))
}

#[cfg(not(feature = "mpi"))]
fn launched(variable: &str) -> Result<Box<dyn Communicator>> {
    Err(crate::Error::Engine(format!(
        "this program was started as one of several processes ({variable} is set), but built without the feature `mpi`"
    )))
}
