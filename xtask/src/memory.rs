//! Memory: what the machine has left, and what this process takes, where the system says.

use std::fs;

/// Bytes that a program can have without anything being moved out.
pub fn free() -> Option<u64> {
    bytes("/proc/meminfo", "MemAvailable:")
}

/// By how much the process has grown at most since a moment.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    before: u64,
}

impl Growth {
    /// From now on. Where the system does not let the peak so far be forgotten, as some containers do not, that counts too.
    pub fn begin() -> Option<Self> {
        let _ = fs::write("/proc/self/clear_refs", "5");
        // Some systems say one and not the other.
        most()?;
        resident().map(|before| Self { before })
    }

    /// The most bytes that were resident at a time, less those that were when it began. What was freed before and not given back to the
    /// system is used again, and is no growth.
    pub fn bytes(self) -> Option<u64> {
        most().map(|most| most.saturating_sub(self.before))
    }
}

/// Bytes of this process that are resident.
pub fn resident() -> Option<u64> {
    bytes("/proc/self/status", "VmRSS:")
}

/// The most bytes of this process that were resident at a time.
pub fn most() -> Option<u64> {
    bytes("/proc/self/status", "VmHWM:")
}

/// A number of kilobytes in a file of lines that begin with a name.
fn bytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn what_is_taken_is_counted_though_it_is_gone_again() {
        let Some(growth) = Growth::begin() else { return };
        drop(black_box(vec![1_u8; 256 << 20]));
        let grown = growth.bytes().unwrap();
        assert!((128 << 20..64 << 30).contains(&grown), "{grown}");
        assert!(free().is_some_and(|bytes| bytes > 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_written_to_counts() {
        // Not zeros, for which the system keeps no memory until they are written to.
        let written = black_box(vec![1_u8; 64 << 20]);
        for found in [resident(), most()] {
            assert!(found.is_some_and(|found| found >= written.len() as u64), "{found:?}");
        }
        assert_eq!(bytes("/proc/self/status", "VmNothing:"), None);
    }
}
