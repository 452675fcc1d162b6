//! A data set's sequences through the method and its rivals: scores, files to resume from, tables.

mod ablation;
mod error;
mod fit;
mod patients;
mod presence;
mod published;
mod result;
mod run;
mod store;
mod summary;
#[cfg(test)]
mod tests;

pub use ablation::{UNCHANGED, ablation};
pub use error::EvalError;
pub use fit::{FitImage, FittedPresence, fit_presence};
pub use patients::PatientScore;
pub use presence::PresenceSummary;
pub use published::{Measure, published};
pub use result::{FrameResult, SequenceResult};
pub use run::{Entry, Plan, evaluate};
pub use store::{Settings, Store, digest};
pub use summary::{
    Bin, EvalSummary, Failure, MethodSummary, Reliability, SequenceScore, Spread, Total, columns,
    summarise,
};
