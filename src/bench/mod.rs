//! Per-frame latency, measured: every frame's stages are kept, so that two measurements can be
//! compared by what a frame took and not by one number each.

mod compare;
mod machine;
mod measure;
mod report;
#[cfg(test)]
mod tests;

pub use compare::{Comparison, Verdict, compare};
pub use machine::Machine;
pub use measure::{MeasureError, Measured, Pace, Stages, measure};
pub use report::{BenchReport, Case, CaseReport, Distribution, Series};
