//! P2SAM (Zhao & Shen, arXiv 2403.05433): part-aware prompts and distribution-based retrieval, on
//! any promptable model of this crate.

mod approach;
mod candidates;
mod config;
mod emd;
mod error;
mod grid;
mod kmeans;
mod memory;
mod presence;
mod reference;
mod retrieval;
mod scales;
mod similarity;
#[cfg(test)]
mod tests;
mod tracker;
mod view;

pub use approach::{Approach, Follower};
pub use config::{MethodConfig, Profile, Retrieval, Variant};
pub use emd::{Nearest, emd, emd_below, emd_lower_bound, nearest};
pub use error::MethodError;
pub use kmeans::{KMeans, KMeansError, kmeans, kmeans_best_of};
pub use presence::{
    Evidence, PRESENCE, Presence, PresenceFilter, PresenceModel, PresenceWeights, State, stability,
};
pub use reference::{Reference, check_annotation};
pub use tracker::{StageTimes, Track, Tracker};
pub use view::View;
