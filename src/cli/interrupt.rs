use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

static STOP: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C (or SIGTERM) asks for a clean stop; the second ends the program at
/// once.
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        tell!("\nstopping: finishing the files that were begun (again to stop at once)");
    })
    .context("cannot watch for Ctrl-C")
}

/// The same for a process that another one watches: it asks for a stop and says nothing, however often
/// it is called.
pub fn install_quietly() -> anyhow::Result<()> {
    ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst)).context("cannot watch for Ctrl-C")
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    STOP.load(Ordering::SeqCst)
}
