//! A synthetic colonoscopy clip with the exact mask of one polyp, for tests and demonstrations.
//!
//! A camera with its own light moves through a bent tube with half-moon folds, vessels and wet
//! mucosa. One polyp sits on the wall, leaves the picture for a while and returns. Picture and mask
//! come from the same ray for each pixel: a pixel belongs to the mask if the ray through its centre
//! meets the polyp first. The clip depends on nothing but its options.

mod math;
mod motion;
mod polyp;
mod render;
mod shade;
#[cfg(test)]
mod tests;
mod vessels;
mod wall;

use crate::{Frame, ImageError, Mask};

/// Longest cycle of the motion in seconds; a longer clip is cut into equal cycles.
const LONGEST_CYCLE: f64 = 12.0;
/// Fewest frames of a cycle, unless the clip itself is shorter.
const SHORTEST_CYCLE: u32 = 25;

/// How hard the polyp is to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Difficulty {
    /// A clearly red polyp, slow motion, few glints.
    Easy,
    /// A polyp with its own colour and texture.
    #[default]
    Normal,
    /// A polyp close to the wall's colour, smaller; faster motion with motion blur, more glints
    /// and sensor noise.
    Hard,
}

/// What a clip looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomOptions {
    /// Chooses the scene and the motion.
    pub seed: u64,
    /// Picture width in pixels, 16 to 8192.
    pub width: u32,
    /// Picture height in pixels, 16 to 8192.
    pub height: u32,
    /// Length of the clip in frames, at least 1.
    pub frames: u32,
    /// Frames per second of the clip, above 0. It sets how much moves from frame to frame.
    pub frames_per_second: f64,
    /// How hard the polyp is to follow.
    pub difficulty: Difficulty,
}

impl Default for PhantomOptions {
    /// Seed 1, 640 x 360 pixels, 100 frames at 25 per second, normal difficulty.
    fn default() -> Self {
        Self {
            seed: 1,
            width: 640,
            height: 360,
            frames: 100,
            frames_per_second: 25.0,
            difficulty: Difficulty::Normal,
        }
    }
}

/// One picture of the clip and what is true of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhantomFrame {
    /// The picture.
    pub frame: Frame,
    /// The polyp's pixels.
    pub mask: Mask,
    /// Whether at least one pixel shows the polyp.
    pub present: bool,
}

/// What can go wrong with a clip.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// A side outside of 16 to 8192 pixels.
    #[error("a synthetic clip needs sides of 16 to 8192 pixels, not {width} x {height}")]
    Size {
        /// Width asked for in pixels.
        width: u32,
        /// Height asked for in pixels.
        height: u32,
    },
    /// A clip without frames.
    #[error("a synthetic clip needs at least one frame")]
    Length,
    /// A rate that is not a positive finite number.
    #[error("a synthetic clip needs a positive number of frames per second, not {0}")]
    Rate(f64),
    /// The picture could not be made from its pixels.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// A clip, ready to render any of its frames.
pub struct Phantom {
    options: PhantomOptions,
    /// Number of motion cycles in the clip.
    cycles: u32,
    scene: render::Scene,
}

impl Phantom {
    /// Builds the scene: some tenths of a second of work and some megabytes of tables.
    ///
    /// # Errors
    /// [`PhantomError`] if a side, the length or the rate is out of range.
    pub fn new(options: PhantomOptions) -> Result<Self, PhantomError> {
        let (width, height) = (options.width, options.height);
        if !(16..=8192).contains(&width) || !(16..=8192).contains(&height) {
            return Err(PhantomError::Size { width, height });
        }
        if options.frames == 0 {
            return Err(PhantomError::Length);
        }
        let rate = options.frames_per_second;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(PhantomError::Rate(rate));
        }
        let seconds = f64::from(options.frames) / rate;
        // The conversion saturates, so a very slow clip is limited by its number of frames.
        let cycles =
            ((seconds / LONGEST_CYCLE).ceil() as u32).min(options.frames / SHORTEST_CYCLE).max(1);
        let scene = render::Scene::new(&options, seconds / f64::from(cycles));
        Ok(Self { options, cycles, scene })
    }

    /// The options the clip was made with.
    pub fn options(&self) -> &PhantomOptions {
        &self.options
    }

    /// Renders one frame, in any order. The polyp is in view in frame 0, out of view for about a
    /// sixth of the clip around its middle, and back at the end; a clip of more than 12 seconds
    /// consists of equal cycles of at most 12 seconds that each go this way (a clip of only a few
    /// frames may step over the absence). After the last frame the clip starts again without a
    /// jump: frame `frames` shows what frame 0 shows, apart from sensor noise.
    ///
    /// # Errors
    /// [`PhantomError::Image`] only if the picture cannot be addressed in memory.
    pub fn render(&self, index: u32) -> Result<PhantomFrame, PhantomError> {
        let frames = u64::from(self.options.frames);
        let step = u64::from(index) % frames * u64::from(self.cycles) % frames;
        let position = step as f64 / frames as f64;
        let (rgb, mask) = self.scene.render(&self.options, index, position);
        let mask = Mask::new(self.options.width, self.options.height, mask)?;
        let present = mask.area() > 0;
        let frame = Frame::new(self.options.width, self.options.height, rgb)?;
        Ok(PhantomFrame { frame, mask, present })
    }
}

impl std::fmt::Debug for Phantom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phantom").field("options", &self.options).finish_non_exhaustive()
    }
}
