//! What the parts of a live run tell each other. Times are presentation times of the source,
//! counted from the run's start; frames are numbered from 0 as they pass the overlay.

use std::sync::Arc;
use std::time::Duration;

use crate::image::{Annotation, Frame, Mask};
use crate::method::{StageTimes, State};

/// Most objects that are followed at once.
pub const MAX_OBJECTS: usize = 8;

/// Names an object: 1 to [`MAX_OBJECTS`]. Its number also chooses its colour.
pub type ObjectId = u8;

/// A picture on its way to the model.
#[derive(Clone, Debug)]
pub struct LivePicture {
    /// Its number.
    pub number: u64,
    /// Its presentation time.
    pub pts: Duration,
    /// Its pixels as RGB.
    pub frame: Frame,
}

/// What the model found of one object in one picture.
#[derive(Clone, Debug)]
pub struct ObjectResult {
    /// Which object.
    pub object: ObjectId,
    /// Whether it is in view.
    pub state: State,
    /// The object at the picture's size, if it is in view.
    pub mask: Option<Arc<Mask>>,
    /// Retrieval distance of the chosen candidate, if its mask covers any patch.
    pub distance: Option<f64>,
    /// Probability that it is in view and the mask is on it, 0 to 1; `None` where that is not decided.
    pub probability: Option<f32>,
    /// Over 0 where the model finds the object in the image, of weights with such a score.
    pub object_score: Option<f32>,
    /// What the model thinks of the mask.
    pub predicted_iou: f32,
    /// IoU of the mask's logits cut a little above and a little below 0.
    pub stability: f32,
}

/// What the model found in one picture.
#[derive(Clone, Debug)]
pub struct LiveResult {
    /// Number of the picture it was computed from.
    pub number: u64,
    /// That picture's presentation time.
    pub pts: Duration,
    /// Every object that was looked for.
    pub objects: Vec<ObjectResult>,
    /// Where the time went.
    pub times: StageTimes,
}

/// Why a segmenter does not do as it is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmenterError {
    /// The object's annotation is of no use with the model's settings, in words.
    #[error("{0}")]
    Unusable(String),
    /// It gave up because other settings are wanted, or the end.
    #[error("stopped before it was done")]
    Stopped,
    /// The model or its device failed.
    #[error("{reason}")]
    Failed {
        /// The object that alone was worked on.
        object: Option<ObjectId>,
        /// Why, in words.
        reason: String,
    },
}

/// Follows objects from picture to picture. The model's implementation is
/// [`SamSegmenter`](super::SamSegmenter); tests bring their own.
pub trait Segmenter: Send {
    /// Finds every object in a picture. `prior` tells where an object's last mask has moved to in
    /// this picture, as far as that is known.
    ///
    /// # Errors
    /// [`SegmenterError::Failed`]; the segmenter is then made anew.
    fn step(
        &mut self,
        picture: &LivePicture,
        prior: &dyn Fn(ObjectId) -> Option<Mask>,
    ) -> Result<LiveResult, SegmenterError>;

    /// Adds an object or replaces the one of that number.
    ///
    /// # Errors
    /// Any. The objects are as before, but for [`SegmenterError::Failed`].
    fn add(
        &mut self,
        object: ObjectId,
        picture: &Frame,
        annotation: &Annotation,
    ) -> Result<(), SegmenterError>;

    /// Removes an object; one that is not there is no error.
    fn remove(&mut self, object: ObjectId);
}
