//! Third-party code that reports failure by panicking.
//!
//! A panic that is caught here is still printed by the process's panic hook, which belongs to the
//! program and not to a library. A program that wants such panics off its users' terminals asks
//! [`is_panic_caught`] in a hook of its own, as `p2sam` does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a device is being tried, whose backend panics on a thread of its own if it is missing.
static TRYING_DEVICE: AtomicBool = AtomicBool::new(false);

/// How the GPU backend names its threads.
const DEVICE_THREADS: &str = "DSD-";

/// Whether a panic on the calling thread is expected and handled: it comes from a third-party reader
/// or device library and is turned into an error. For panic hooks, which may then stay silent.
pub fn is_panic_caught() -> bool {
    let on_device = || {
        let thread = std::thread::current();
        thread.name().is_some_and(|name| name.starts_with(DEVICE_THREADS))
    };
    CAUGHT.get() || (TRYING_DEVICE.load(Ordering::Relaxed) && on_device())
}

/// Runs code that may panic; `None` if it did.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    let before = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(before);
    result.ok()
}

/// [`quietly`] for code that tries a GPU: panics of the backend's own threads are expected, too.
#[cfg(feature = "cuda")]
pub(crate) fn quietly_on_device<T>(run: impl FnOnce() -> T) -> Option<T> {
    TRYING_DEVICE.store(true, Ordering::Relaxed);
    let result = quietly(run);
    TRYING_DEVICE.store(false, Ordering::Relaxed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_and_is_announced_to_the_hook_of_the_program() {
        assert!(!is_panic_caught());
        assert_eq!(quietly(|| (3, is_panic_caught())), Some((3, true)));
        assert_eq!(quietly(|| -> i32 { panic!("this panic belongs to the test") }), None);
        assert!(!is_panic_caught());
        // Another thread's panics are not covered.
        let other = quietly(|| std::thread::spawn(is_panic_caught).join().unwrap());
        assert_eq!(other, Some(false));
    }
}
