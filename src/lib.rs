//! Part-aware, one-shot segmentation that follows one annotated object through video.
//!
//! `p2sam` implements P2SAM (Zhao & Shen, "Part-aware Personalized Segment Anything Model for
//! Patient-Specific Segmentation", arXiv 2403.05433) on promptable models of the SAM family that run
//! in Burn, on a CPU or an NVIDIA GPU. One annotated picture is the reference; every further picture
//! gets a mask of the same object.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use p2sam::{
//!     Annotation, Device, DeviceChoice, Foreground, Frame, MethodConfig, Reference, Sam, Tracker,
//!     find_weights,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::open(DeviceChoice::Auto)?;
//! let sam = Arc::new(Sam::load(&find_weights("mobile-sam")?, None, &device)?);
//!
//! let picture = Frame::open(Path::new("reference.png"))?;
//! let annotation = Annotation::open(Path::new("mask.png"), Foreground::default())?;
//! let config = MethodConfig::default();
//! let reference = Reference::new(&sam, &picture, &annotation, &config)?;
//!
//! let mut tracker = Tracker::new(sam, reference, config)?;
//! let track = tracker.step(&Frame::open(Path::new("next.png"))?)?;
//! println!("{} pixels, predicted IoU {:.3}", track.mask.area(), track.predicted_iou);
//! track.mask.save_png(Path::new("next-mask.png"))?;
//! # Ok(())
//! # }
//! ```
//!
//! Masks, frames and scores work without a model:
//!
//! ```
//! use p2sam::{CocoRle, Mask, dice};
//!
//! let a = Mask::new(4, 1, vec![false, true, true, false])?;
//! let b = Mask::new(4, 1, vec![false, false, true, true])?;
//! assert_eq!(dice(&a, &b), Some(0.5));
//! assert_eq!(CocoRle::new(&a).counts, "121");
//! # Ok::<(), p2sam::ImageError>(())
//! ```
//!
//! Research use only. Not a medical device.

// What the fuzz targets run is tested here, too, and names this crate as they do.
#[cfg(test)]
extern crate self as p2sam;

mod atomic;
mod augment;
pub mod bench;
mod dataset;
pub mod eval;
mod finetune;
#[cfg(all(test, feature = "gstreamer"))]
mod fuzzing;
mod image;
pub mod live;
mod memory;
mod method;
mod metrics;
mod motion;
mod phantom;
mod prepare;
#[cfg(test)]
mod properties;
mod quiet;
mod report;
mod sam;
mod series;
mod simd;
pub mod stream;
#[cfg(feature = "gstreamer")]
pub mod web;
mod weights;

pub use atomic::{can_write, write as write_whole};
pub use augment::Augmentation;
pub use dataset::{Dataset, DatasetError, Sample, Sequence, Target, check as check_dataset, pairs};
pub use finetune::{
    DataSet, FinetuneError, FinetuneOptions, Finetuned, MetricsLine, PresenceScores, Recipe,
    RecipeData, SetScores, Split, Start, StepLosses, TrainedPart, TrainingData, TrainingImage,
    Validation, ValidationScores, finetune, validate,
};
pub use image::{
    Annotation, Canvas, CocoRle, Color, ColorMatrix, ColorRange, Coverage, Foreground, Frame,
    ImageError, Label, LabelKind, Letterbox, Levels, Mask, MaskPatch, OverlayStyle, PixelBox,
    PlaneLayout, Planes, PlanesInfo, PlanesMut, Restore, Yuv420, describe_labels, draw_box,
    draw_mask, draw_patch, draw_point, find_labels,
};
pub use memory::{free_memory, peak_memory};
pub use method::{
    Approach, Evidence, Follower, KMeans, KMeansError, MethodConfig, MethodError, Nearest,
    PRESENCE, Presence, PresenceFilter, PresenceModel, PresenceWeights, Profile, Reference,
    Retrieval, StageTimes, State, Track, Tracker, Variant, View, check_annotation, emd, emd_below,
    emd_lower_bound, kmeans, kmeans_best_of, nearest, stability,
};
pub use metrics::{
    Overlap, Share, bootstrap, boundary_f, dice, iou, mean, quantile, separation, spearman,
};
pub use motion::{Affine, GreyPicture, Motion, estimate, warp};
pub use phantom::{Difficulty, Phantom, PhantomError, PhantomFrame, PhantomOptions};
pub use prepare::{Download, NamePattern, Preparation, PrepareError, PrepareOptions, Prepared};
pub use quiet::is_panic_caught;
pub use report::{
    Accuracy, CocoWriter, FrameRecord, JsonLines, Latencies, Milliseconds, Percentiles, Scores,
    Summary, VolumeSummary, bench_page, contact_sheet, draw_points, eval_page, volume_page,
};
pub use sam::{
    AdapterInfo, Architecture, Base, Copies, Device, DeviceChoice, EMBEDDING_DIM, EMBEDDING_SIDE,
    Embedding, Input, LOGITS_SIDE, LoadOptions, Logits, LoraConfig, MaskOutput, Metadata,
    Normalisation, Pixels, PointPrompt, Prediction, Prompt, Sam, SamError, TargetGuidance,
    WeightsFormat, WeightsInfo, adapter_info, convert, inspect,
};
pub use series::{
    Axis, Marks, Pairing, References, SegmentationOptions, SeriesError, Volume, VolumeOptions,
    Window, marked_voxels, open_masks, open_recording, pair, write_nifti, write_segmentation,
};
pub use stream::{
    EndReport, ImageSeries, Interlacing, Picture, Source, SourceInfo, SourceOptions, StreamError,
    Worker, WriterOptions, open_source,
};
#[cfg(feature = "gstreamer")]
pub use stream::{P2samOverlay, VideoReader, VideoWriter, WriteReport};
pub use weights::{
    CatalogEntry, DEFAULT_WEIGHTS, FolderKind, LARGEST_SHIPPED, WeightsError, WeightsFolder,
    catalog, catalog_entry, fetch, find_base, find_weights, find_weights_and_base, sha256,
    weights_folder, weights_folders,
};
