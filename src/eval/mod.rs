//! A data set's sequences through the method and its rivals: scores, files to resume from, tables.

mod ablation;
mod error;
mod patients;
mod published;
mod result;
mod run;
mod store;
mod summary;
#[cfg(test)]
mod tests;

pub use ablation::{UNCHANGED, ablation};
pub use error::EvalError;
pub use patients::PatientScore;
pub use published::{Measure, published};
pub use result::{FrameResult, SequenceResult};
pub use run::{Entry, Plan, evaluate};
pub use store::{Settings, Store, digest};
pub use summary::{
    Bin, EvalSummary, Failure, MethodSummary, Reliability, SequenceScore, Spread, Total, columns,
    summarise,
};
