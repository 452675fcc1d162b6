//! P2SAM (Zhao & Shen, arXiv 2403.05433): part-aware prompts and distribution-based retrieval, on
//! any promptable model of this crate.

mod config;
mod emd;
mod error;
mod grid;
mod kmeans;
mod reference;
mod similarity;
#[cfg(test)]
mod tests;
mod tracker;

pub use config::{MethodConfig, Variant};
pub use emd::{Nearest, emd, emd_below, emd_lower_bound, nearest};
pub use error::MethodError;
pub use kmeans::{KMeans, KMeansError, kmeans, kmeans_best_of};
pub use reference::{Reference, check_annotation};
pub use tracker::{StageTimes, Track, Tracker};
