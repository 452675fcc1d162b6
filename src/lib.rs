//! Part-aware, one-shot segmentation that follows one annotated object through video.

mod atomic;
mod image;
mod sam;

pub use image::{Foreground, Frame, ImageError, Letterbox, Mask, PixelBox, Restore};
pub use sam::{
    Architecture, Device, DeviceChoice, Embedding, Logits, MaskOutput, Normalisation,
    PointPrompt, Prediction, Prompt, Sam, SamError, TargetGuidance, WeightsFormat, WeightsInfo,
    convert, inspect,
};
