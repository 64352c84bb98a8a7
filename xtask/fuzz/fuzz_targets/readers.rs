//! Any bytes for any reader: the first byte chooses which. `cargo +nightly fuzz run readers --features fuzz`.

#![no_main]

use cairn_fuzz::READERS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((&which, bytes)) = bytes.split_first() {
        let _ = (READERS[usize::from(which) % READERS.len()].read)(bytes);
    }
});
