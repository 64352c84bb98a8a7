//! One process.

use crate::{Communicator, Operation, Result};

/// The only member: what it gathers is its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec()])
    }

    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        Operation::AllToAll.check(parts.len(), 1)?;
        Ok(parts)
    }

    fn broadcast(&self, root: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        Operation::Broadcast(root).check(1, 1)?;
        Ok(bytes.to_vec())
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }

    fn abort(&self, why: &str) -> ! {
        eprintln!("{why}");
        std::process::exit(1)
    }
}
