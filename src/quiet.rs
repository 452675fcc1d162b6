//! Third-party code that reports failure by panicking.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Whether a device is being tried, whose backend panics on a thread of its own if it is missing.
static TRYING_DEVICE: AtomicBool = AtomicBool::new(false);

/// How the GPU backend names its threads.
const DEVICE_THREADS: &str = "DSD-";

/// Runs code that may panic; `None` if it did. What it says then stays off the user's terminal, if
/// it panics on this thread.
pub fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let on_device = thread.name().is_some_and(|name| name.starts_with(DEVICE_THREADS));
            let quiet = QUIET.get() || (on_device && TRYING_DEVICE.load(Ordering::Relaxed));
            if !quiet {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(before);
    result.ok()
}

/// [`quietly`] for code that tries a GPU: the backend's own threads are silent, too.
#[cfg(feature = "cuda")]
pub fn quietly_on_device<T>(run: impl FnOnce() -> T) -> Option<T> {
    TRYING_DEVICE.store(true, Ordering::Relaxed);
    let result = quietly(run);
    TRYING_DEVICE.store(false, Ordering::Relaxed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        assert_eq!(quietly(|| 3), Some(3));
        assert_eq!(quietly(|| -> i32 { panic!("never seen") }), None);
        assert!(!QUIET.get());
    }
}
