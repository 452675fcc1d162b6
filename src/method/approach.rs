//! The methods of the published tables, behind one face: P2SAM, its rivals, a floor and a ceiling.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::candidates::Candidate;
use super::reference::check_annotation;
use super::scales::fit_scales;
use super::{MethodConfig, MethodError, PresenceModel, Reference, Track, Tracker, Variant, View};
use crate::image::{Annotation, Frame, Mask};
use crate::sam::Sam;

/// How an object is found in a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Approach {
    /// The method of this crate, with any settings.
    #[default]
    P2sam,
    /// The model's mask without any prompt ("direct transfer"): what it was fine-tuned for.
    Direct,
    /// PerSAM (Zhang et al., "Personalize Segment Anything Model with One Shot"): one part, its
    /// guidance, the mask of best predicted IoU.
    Persam,
    /// PerSAM-F: PerSAM's points, and two learnt weights that mix the masks of three scales.
    PersamF,
    /// The reference mask on every picture: the floor.
    FirstMask,
    /// The mask of the box around the truth: what the decoder could do if it were told the place.
    OracleBox,
}

impl Approach {
    /// Every approach.
    pub const ALL: [Self; 6] =
        [Self::P2sam, Self::Direct, Self::Persam, Self::PersamF, Self::FirstMask, Self::OracleBox];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::P2sam => "p2sam",
            Self::Direct => "direct",
            Self::Persam => "persam",
            Self::PersamF => "persam-f",
            Self::FirstMask => "first-mask",
            Self::OracleBox => "oracle-box",
        }
    }

    /// All names, for messages.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The settings with those that belong to the approach.
    fn settings(self, config: &MethodConfig) -> MethodConfig {
        match self {
            Self::Persam | Self::PersamF => MethodConfig {
                n: 1..=1,
                m: 1..=1,
                variant: Variant::PerSeg,
                seed: config.seed,
                ..MethodConfig::default()
            },
            _ => config.clone(),
        }
    }
}

impl fmt::Display for Approach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Approach {
    type Err = MethodError;

    fn from_str(name: &str) -> Result<Self, MethodError> {
        let known = Self::ALL.into_iter().find(|approach| approach.name() == name);
        known.ok_or_else(|| MethodError::UnknownApproach { name: name.to_owned() })
    }
}

/// Follows one object through one sequence by any [`Approach`].
#[derive(Debug)]
pub struct Follower {
    sam: Arc<Sam>,
    approach: Approach,
    tracker: Tracker,
    /// PerSAM-F's weights of the three scales.
    scales: [f32; 3],
    /// The first reference's mask.
    first: Option<Mask>,
}

impl Follower {
    /// Takes the annotated frames of an object.
    /// [`Approach::Direct`] and [`Approach::OracleBox`] work without any; they then know no distance.
    ///
    /// # Errors
    /// As [`Reference::new`] and [`Tracker::new`]; [`MethodError::NoReference`].
    pub fn new(
        sam: &Arc<Sam>,
        approach: Approach,
        references: &[(Frame, Annotation)],
        config: &MethodConfig,
    ) -> Result<Self, MethodError> {
        let config = approach.settings(config);
        let optional = matches!(approach, Approach::Direct | Approach::OracleBox);
        let mut scales = [1.0, 0.0, 0.0];
        let reference = if approach == Approach::FirstMask || (references.is_empty() && optional) {
            Reference::none()
        } else {
            let mut views = Vec::with_capacity(references.len());
            for (frame, annotation) in references {
                check_annotation(frame, annotation)?;
                views.push(View::new(sam, frame)?);
            }
            let pictures: Vec<_> =
                views.iter().map(View::embedding).zip(references.iter().map(|r| &r.1)).collect();
            match Reference::from_several(sam, &pictures, &config) {
                // Where it serves the distance alone, an object too small to have any is no hindrance.
                Err(
                    MethodError::MaskVanishes { .. }
                    | MethodError::MaskFills { .. }
                    | MethodError::TooFewPatches { .. },
                ) if optional => Reference::none(),
                reference => {
                    let reference = reference?;
                    if let (Approach::PersamF, [(_, annotation), ..], [view, ..]) =
                        (approach, references, views.as_slice())
                    {
                        scales = fit_scales(sam, view, &reference, &annotation.mask(), &config)?;
                    }
                    reference
                }
            }
        };
        let first = references.first().map(|(_, annotation)| annotation.mask());
        if approach == Approach::FirstMask && first.is_none() {
            return Err(MethodError::NoReference);
        }
        let tracker = Tracker::new(Arc::clone(sam), reference, config)?;
        Ok(Self { sam: Arc::clone(sam), approach, tracker, scales, first })
    }

    /// The same follower, which decides whether the object is in view and empties the masks where it is
    /// not, except those of [`Approach::FirstMask`].
    pub fn with_presence(self, model: PresenceModel) -> Self {
        Self { tracker: self.tracker.with_presence(model), ..self }
    }

    /// Finds the object in a picture of any size. `truth` is for [`Approach::OracleBox`] alone.
    ///
    /// # Errors
    /// [`MethodError::NoTruth`], [`MethodError::MaskSize`] if the truth has another size than the
    /// picture, or the model's.
    pub fn step(&mut self, frame: &Frame, truth: Option<&Mask>) -> Result<Track, MethodError> {
        match (self.approach, &self.first) {
            (Approach::FirstMask, Some(first)) => {
                Ok(Track::of_mask(first.resized(frame.width(), frame.height())?))
            }
            _ => {
                let view = View::new(&self.sam, frame)?;
                self.step_in(frame, &view, truth)
            }
        }
    }

    /// [`Follower::step`] in a picture that was encoded already, perhaps for several approaches.
    ///
    /// # Errors
    /// The same.
    pub fn step_in(
        &mut self,
        frame: &Frame,
        view: &View,
        truth: Option<&Mask>,
    ) -> Result<Track, MethodError> {
        let candidates = match (self.approach, &self.first) {
            (Approach::FirstMask, Some(first)) => {
                return Ok(Track::of_mask(first.resized(frame.width(), frame.height())?));
            }
            (Approach::P2sam | Approach::Persam | Approach::FirstMask, _) => {
                return self.tracker.step_seen(frame, view);
            }
            (Approach::Direct, _) => vec![Candidate::direct()],
            (Approach::PersamF, _) => self
                .tracker
                .candidates(view, None)
                .into_iter()
                .map(|candidate| candidate.mixed(self.scales))
                .collect(),
            (Approach::OracleBox, _) => {
                let truth = truth.ok_or(MethodError::NoTruth)?;
                let [width, height] = view.size();
                let (mask_width, mask_height) = (truth.width(), truth.height());
                if [mask_width, mask_height] != [width, height] {
                    return Err(MethodError::MaskSize { mask_width, mask_height, width, height });
                }
                match truth.bounding_box() {
                    Some(corners) => vec![Candidate::of_box(corners)],
                    None => return Ok(Track::of_mask(truth.clone())),
                }
            }
        };
        let found = self.tracker.compete(view, candidates, None)?;
        self.tracker.judge(view, found)
    }
}
