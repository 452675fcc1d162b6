//! Arguments to one command each. Nothing else parses arguments or prints.

/// Prints a line on standard output. A reader that has gone away, such as `head`, is no error.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Prints a line on standard error. One that is closed or full is no error.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod annotate;
mod batch;
mod bench;
mod eval;
mod finetune;
mod interrupt;
mod ledger;
#[cfg(feature = "gstreamer")]
mod live;
mod method;
mod model;
mod outputs;
mod phantom;
mod prepare;
mod presence;
mod reference;
mod shard;
mod track;
mod weights;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// How a command ended, when it was no error.
pub enum Outcome {
    /// All is done.
    Done,
    /// Results were written, but frames are missing or damaged.
    Incomplete,
    /// The user stopped it; what was begun is finished.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Incomplete => Self::from(3),
            Outcome::Interrupted => Self::from(130),
        }
    }
}

/// Follow one annotated object through video, recorded files and image series.
///
/// One picture is annotated, with a mask, points or a box; every other picture gets a mask of the
/// same object. The method is P2SAM (arXiv 2403.05433). For research use; not a medical device.
///
/// Exit codes: 0 done, 1 error, 2 arguments that cannot be read, 3 done but frames are missing or
/// damaged, a recording is incomplete or a part of the input failed, 130 stopped by the user.
#[derive(Parser)]
#[command(name = "p2sam", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow the object through a video or a series of images.
    Track(Box<track::TrackArgs>),
    /// Follow the objects of a list of recordings, each in its own folder of results.
    Batch(Box<batch::BatchArgs>),
    /// Follow objects through live video: display, recording, the operator's page.
    #[cfg(feature = "gstreamer")]
    Live(Box<live::LiveArgs>),
    /// Score the method and its rivals on a data set with known masks.
    Eval(Box<eval::EvalArgs>),
    /// Measure what every frame costs, stage by stage, and compare two measurements.
    Bench(Box<bench::BenchArgs>),
    /// Make a mask from points or a box, to look at and to use as a reference.
    Annotate(annotate::AnnotateArgs),
    /// Bring a downloaded data set into the layout that `eval` and `finetune` read.
    Prepare(prepare::PrepareArgs),
    /// Train a model on annotated pictures.
    Finetune(Box<finetune::FinetuneArgs>),
    /// Render a synthetic colonoscopy clip with the exact mask of its polyp.
    Phantom(phantom::PhantomArgs),
    /// List, fetch, verify, look into and convert model weights.
    Weights(weights::WeightsArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let result = match command {
        Command::Track(args) => track::run(*args),
        Command::Batch(args) => batch::run(*args),
        #[cfg(feature = "gstreamer")]
        Command::Live(args) => live::run(*args),
        Command::Eval(args) => eval::run(*args),
        Command::Bench(args) => bench::run(*args),
        Command::Annotate(args) => annotate::run(args),
        Command::Prepare(args) => prepare::run(args),
        Command::Finetune(args) => finetune::run(*args),
        Command::Phantom(args) => phantom::run(args),
        Command::Weights(args) => weights::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "p2sam", &mut script);
            say!("{}", String::from_utf8_lossy(&script));
            Ok(Outcome::Done)
        }
    };
    match result {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            tell!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
