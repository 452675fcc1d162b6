//! How the picture moves around an object: sparse pyramidal Lucas-Kanade (Bouguet 2000) on a small
//! grey picture, and a similarity or affine map fitted to it. Places are in pixels of the whole
//! picture; a pixel's centre has whole coordinates.

mod affine;
mod corners;
mod estimate;
mod fit;
mod flow;
mod grey;
#[cfg(test)]
mod tests;
mod warp;

pub use affine::Affine;
pub(crate) use estimate::estimate_with;
pub use estimate::{Motion, estimate};
pub use grey::GreyPicture;
pub use warp::warp;
