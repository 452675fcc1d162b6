//! The `p2sam` program.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
