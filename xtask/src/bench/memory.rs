//! The memory of a process, as the system tells it.

/// The most bytes that this process has had in memory so far; `None` where the system does not tell.
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn memory_that_is_written_to_counts() {
        // Not zeros, for which the system keeps no memory until they are written to.
        let bytes = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(super::peak_memory().unwrap() >= bytes.len() as u64);
    }
}
