use std::io::{BufWriter, Result, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::image::PixelBox;
use crate::method::{State, Track};
use crate::sam::PointPrompt;

/// One frame's result, a line of the JSON lines file.
#[derive(Clone, Debug, Serialize)]
pub struct FrameRecord {
    /// Place in the input, from 0.
    pub index: u64,
    /// Presentation time in seconds from the input's start.
    pub time: f64,
    /// The picture file, if the input is a series of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Object pixels.
    pub area: usize,
    /// Box around the object; `null` if there is none.
    pub bounding_box: Option<PixelBox>,
    /// Number of positive parts of the chosen candidate.
    pub n: usize,
    /// Number of negative parts of the chosen candidate.
    pub m: usize,
    /// The chosen candidate's points.
    pub points: Vec<PointPrompt>,
    /// Earth mover's distance to the reference; `null` if the mask covers no patch of the model.
    pub distance: Option<f64>,
    /// The model's own estimate of the mask's IoU.
    pub predicted_iou: f32,
    /// Over 0 where the model finds the object in the image; left out of weights without such a score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_score: Option<f32>,
    /// IoU of the mask's logits cut a little above and a little below 0.
    pub stability: f32,
    /// Whether the object is in view, if that is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Probability that it is and that the mask is on it, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// Dice against the truth, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice: Option<f64>,
    /// Wall time by stage.
    pub milliseconds: Milliseconds,
}

/// Wall time of a frame's stages in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Milliseconds {
    /// Waiting for the decoder and converting its picture.
    pub read: f64,
    /// Scaling and normalising the picture.
    pub preprocess: f64,
    /// Image encoder, with the picture's way to the device.
    pub encode: f64,
    /// Similarity maps and points.
    pub prompts: f64,
    /// Decoder passes.
    pub decode: f64,
    /// Earth mover's distances.
    pub retrieval: f64,
    /// The chosen mask at the picture's size.
    pub restore: f64,
    /// All of the tracker's stages.
    pub total: f64,
}

/// A duration in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    // To the microsecond: more digits are noise.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl FrameRecord {
    /// Of a step of the tracker.
    pub fn new(index: u64, time: Duration, file: Option<&Path>, track: &Track) -> Self {
        let times = &track.times;
        Self {
            index,
            time: time.as_secs_f64(),
            file: file.map(|f| f.display().to_string()),
            area: track.mask.area(),
            bounding_box: track.mask.bounding_box(),
            n: track.n,
            m: track.m,
            points: track.points.clone(),
            distance: track.distance,
            predicted_iou: track.predicted_iou,
            object_score: track.object_score,
            stability: track.stability,
            state: track.state(),
            probability: track.presence.map(|presence| presence.probability),
            dice: None,
            milliseconds: Milliseconds {
                read: 0.0,
                preprocess: milliseconds(times.preprocess),
                encode: milliseconds(times.upload + times.encode),
                prompts: milliseconds(times.prompts),
                decode: milliseconds(times.decode()),
                retrieval: milliseconds(times.retrieval),
                restore: milliseconds(times.restore),
                total: milliseconds(times.total()),
            },
        }
    }
}

/// A JSON lines file that appears once it is finished.
#[derive(Debug)]
pub struct JsonLines {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl JsonLines {
    /// # Errors
    /// If the folder cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let writer = BufWriter::new(crate::atomic::temporary_beside(path)?);
        Ok(Self { writer, path: path.to_path_buf() })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn write(&mut self, record: &FrameRecord) -> Result<()> {
        serde_json::to_writer(&mut self.writer, record)?;
        self.writer.write_all(b"\n")
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the disk is full or the name cannot be taken.
    pub fn finish(self) -> Result<()> {
        let temporary = self.writer.into_inner().map_err(|e| e.into_error())?;
        crate::atomic::publish(temporary, &self.path)
    }
}
