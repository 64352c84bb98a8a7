//! Any bytes for any reader: the first byte chooses which.

#![no_main]

use cairn_fuzz::readers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((&which, bytes)) = bytes.split_first() {
        let all = readers();
        let _ = (all[usize::from(which) % all.len()].read)(bytes);
    }
});
