use crate::image::ImageError;
use crate::sam::SamError;

/// What can go wrong with the method.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// A range of numbers of parts that cannot be used.
    #[error("{name} from {from} to {to} parts is no usable range; it must lie within 1 to {most}")]
    Parts {
        /// `n` or `m`.
        name: &'static str,
        /// Start of the range.
        from: usize,
        /// End of the range.
        to: usize,
        /// Largest allowed.
        most: usize,
    },
    /// The reference mask is not of the reference picture's size.
    #[error(
        "the mask is {mask_width} x {mask_height} pixels and the picture {width} x {height}; \
         give a mask of the picture's size, or let it be resized (--resize-mask)"
    )]
    MaskSize {
        /// The mask's width.
        mask_width: u32,
        /// The mask's height.
        mask_height: u32,
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// No annotated picture was given where the approach needs one.
    #[error("there is no annotated picture: give at least one reference")]
    NoReference,
    /// The true mask is missing where the approach is told it.
    #[error("the approach oracle-box needs the true mask of every picture, and this one has none")]
    NoTruth,
    /// Not one of the names in [`Approach::ALL`](super::Approach::ALL).
    #[error("unknown approach '{name}'; known are {}", super::Approach::names())]
    UnknownApproach {
        /// What was given.
        name: String,
    },
    /// The presence constants in the metadata of weights cannot be used.
    #[error(
        "the presence constants of these weights cannot be used ({reason}); fit them again with \
         `p2sam weights presence`, or follow with --presence off"
    )]
    PresenceModel {
        /// What is wrong with them.
        reason: String,
    },
    /// The reference mask marks nothing.
    #[error("the reference mask is empty: no pixel is marked as the object")]
    EmptyMask,
    /// The reference mask marks everything.
    #[error(
        "the reference mask covers the whole picture: there is no background to tell the object \
         from; is the mask inverted, or stored with another foreground value (--foreground)?"
    )]
    FullMask,
    /// The object is too small for the model's features.
    #[error(
        "the reference mask vanishes at the model's {} x {} patches: its {area} pixels in a picture \
         of {width} x {height} fall between their centres; annotate a frame where the object is \
         larger, or crop the video around it",
        grid[0],
        grid[1]
    )]
    MaskVanishes {
        /// Columns and rows of patches.
        grid: [usize; 2],
        /// Object pixels in the mask.
        area: usize,
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// The object leaves no background to the model's features.
    #[error(
        "the reference mask fills the frame: of the model's {} x {} patches none is background, \
         although {left} pixels of {width} x {height} are not marked; annotate a frame that shows more \
         around the object",
        grid[0],
        grid[1]
    )]
    MaskFills {
        /// Columns and rows of patches.
        grid: [usize; 2],
        /// Pixels that are not the object.
        left: usize,
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// The reference has fewer patches than the smallest number of parts.
    #[error(
        "the reference has {foreground} object and {background} background patches, too few for \
         {n} positive and {m} negative parts; allow fewer parts"
    )]
    TooFewPatches {
        /// Object patches.
        foreground: usize,
        /// Background patches.
        background: usize,
        /// Smallest number of positive parts allowed.
        n: usize,
        /// Smallest number of negative parts allowed.
        m: usize,
    },
    /// Not one of the names in [`Profile::ALL`](super::Profile::ALL).
    #[error("unknown profile '{0}'; known are paper, fast, accurate, video and live")]
    UnknownProfile(String),
    /// Not one of the names in [`Retrieval::ALL`](super::Retrieval::ALL).
    #[error(
        "unknown retrieval '{0}'; known are emd, sinkhorn, centroid, predicted-iou and weighed"
    )]
    UnknownRetrieval(String),
    /// A number of decoder passes that cannot be used.
    #[error("{0} decoder passes: a candidate takes 1 to 3")]
    Passes(usize),
    /// A search of all candidates never.
    #[error("a search of all candidates every 0 steps is none; give 1 or more")]
    SearchEvery,
    /// It was asked to stop.
    #[error("stopped before it was done")]
    Stopped,
    /// The model failed.
    #[error(transparent)]
    Model(#[from] SamError),
    /// A picture or a mask could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
}
