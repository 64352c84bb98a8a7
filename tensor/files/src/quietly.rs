//! Calls into libraries that panic where they should err.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// What a function gives, or `None` where it panics, which is not reported on standard error. For readers of other people that
/// panic on files of a form they do not expect; where programs are built to abort on panics, they do.
///
/// ```
/// assert_eq!(cairn_files::quietly(|| 1 + 1), Some(2));
/// assert_eq!(cairn_files::quietly(|| Vec::<u8>::new()[3]), None);
/// ```
pub fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    // One call may be within another.
    let outer = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(outer);
    result.ok()
}
