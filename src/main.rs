//! The `p2sam` program.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    start_logging();
    silence_caught_panics();
    cli::main()
}

/// What the library logs goes to standard error: warnings and errors of p2sam itself, or what
/// `RUST_LOG` asks for (`RUST_LOG=p2sam=debug`).
fn start_logging() {
    let filter = env_logger::Env::default().default_filter_or("p2sam=warn");
    env_logger::Builder::from_env(filter).init();
}

/// Keeps panics of third-party readers that the library turns into errors off the terminal.
fn silence_caught_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !p2sam::is_panic_caught() {
            usual(info);
        }
    }));
}
