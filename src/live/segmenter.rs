use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::worker::guarded;
use super::{
    LivePicture, LiveResult, MAX_OBJECTS, ObjectId, ObjectResult, Segmenter, SegmenterError,
};
use crate::image::{Annotation, Frame, Mask};
use crate::method::{
    MethodConfig, MethodError, PresenceModel, Profile, Reference, StageTimes, State, Tracker, View,
    check_annotation,
};
use crate::metrics::iou;
use crate::sam::{Device, DeviceChoice, Sam, SamError};
use crate::weights::find_weights_and_base;

/// What a live run needs to know to open its model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSettings {
    /// Weights: a name from the catalog, or a file.
    pub weights: String,
    /// Where the model runs: auto, cpu, cuda or cuda:N.
    pub device: String,
    /// The method's profile.
    pub profile: String,
    /// Side of the model's input in pixels, if not the profile's.
    pub input_side: Option<u32>,
    /// Whether it is decided in every frame if an object is in view, and nothing drawn where it is not.
    pub presence: bool,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            weights: crate::weights::DEFAULT_WEIGHTS.to_owned(),
            device: "auto".to_owned(),
            profile: Profile::Live.name().to_owned(),
            input_side: None,
            presence: true,
        }
    }
}

/// P2SAM on a promptable model: one image embedding for all objects.
pub struct SamSegmenter {
    sam: Arc<Sam>,
    config: MethodConfig,
    presence: Option<PresenceModel>,
    objects: BTreeMap<ObjectId, Tracker>,
    go_on: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl SamSegmenter {
    /// A segmenter without objects.
    pub fn new(sam: Arc<Sam>, config: MethodConfig, presence: Option<PresenceModel>) -> Self {
        Self { sam, config, presence, objects: BTreeMap::new(), go_on: Arc::new(|| true) }
    }

    /// The same segmenter, which gives up adding an object once `go_on` says no.
    pub fn while_wanted(self, go_on: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { go_on: Arc::new(go_on), ..self }
    }

    /// Opens the model that the settings name. After `faults` failures of a GPU, `auto` takes the CPU.
    ///
    /// # Errors
    /// In words: unknown names, missing weights, a device that does not work.
    pub fn open(settings: &ModelSettings, faults: u32) -> Result<Self, String> {
        /// Failures of a device that may be chance.
        const PATIENCE: u32 = 2;
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let profile: Profile = settings.profile.parse().map_err(|e: MethodError| words(&e))?;
        let choice: DeviceChoice = settings.device.parse().map_err(|e: SamError| words(&e))?;
        let choice = match choice {
            DeviceChoice::Auto if faults >= PATIENCE => DeviceChoice::Cpu,
            choice => choice,
        };
        let device = Device::open(choice).map_err(|e| words(&e))?;
        let (path, base) = find_weights_and_base(&settings.weights).map_err(|e| words(&e))?;
        let sam = match base {
            Some(base) => Sam::load_adapted(&base, &path, &device),
            None => Sam::load(&path, None, &device),
        };
        let sam = sam.map_err(|e| words(&e))?;
        let sam = profile.fit(sam, settings.input_side).map_err(|e| words(&e))?;
        let presence = match settings.presence {
            true => Some(PresenceModel::of(&sam).map_err(|e| words(&e))?),
            false => None,
        };
        Ok(Self::new(Arc::new(sam), profile.config(), presence))
    }

    /// The model, to segment a frozen picture with.
    pub fn sam(&self) -> &Arc<Sam> {
        &self.sam
    }

    fn tracker(&self, picture: &Frame, annotation: &Annotation) -> Result<Tracker, MethodError> {
        if !(self.go_on)() {
            return Err(MethodError::Stopped);
        }
        check_annotation(picture, annotation)?;
        let reference = Reference::new(&self.sam, picture, annotation, &self.config)?;
        let tracker = Tracker::new(Arc::clone(&self.sam), reference, self.config.clone())?;
        Ok(match self.presence {
            Some(model) => tracker.with_presence(model),
            None => tracker,
        })
    }
}

impl Segmenter for SamSegmenter {
    fn step(
        &mut self,
        picture: &LivePicture,
        prior: &dyn Fn(ObjectId) -> Option<Mask>,
    ) -> Result<LiveResult, SegmenterError> {
        let failed = |object| {
            move |reason: &dyn fmt::Display| {
                let reason = reason.to_string();
                SegmenterError::Failed { object, reason }
            }
        };
        let mut result = LiveResult {
            number: picture.number,
            pts: picture.pts,
            objects: Vec::with_capacity(self.objects.len()),
            times: Default::default(),
        };
        if self.objects.is_empty() {
            return Ok(result);
        }
        let view = View::new(&self.sam, &picture.frame).map_err(|e| failed(None)(&e))?;
        let view = view.at(Some(picture.pts));
        for (&object, tracker) in &mut self.objects {
            let prior = prior(object);
            // Whatever goes wrong here is the object's own, as far as anyone can tell.
            let track = guarded(|| tracker.step_in(&view, prior.as_ref()))
                .map_err(|panic| failed(Some(object))(&panic))?
                .map_err(|e| failed(Some(object))(&e))?;
            let visible = track.mask.area() > 0;
            // Where that is not decided, every mask counts as the object.
            let state = track.state().unwrap_or(match visible {
                true => State::Tracking,
                false => State::Lost,
            });
            let shown = state == State::Tracking && visible;
            result.objects.push(ObjectResult {
                object,
                state,
                distance: track.distance,
                probability: track.presence.map(|presence| presence.probability),
                object_score: track.object_score,
                predicted_iou: track.predicted_iou,
                stability: track.stability,
                mask: shown.then(|| Arc::new(track.mask)),
            });
            result.times = result.times.plus(track.times);
        }
        keep_apart(&mut result.objects);
        // Every object's times hold those of the view, which was made once.
        let StageTimes { preprocess, upload, encode, .. } = view.times();
        result.times = StageTimes { preprocess, upload, encode, ..result.times };
        Ok(result)
    }

    fn add(
        &mut self,
        object: ObjectId,
        picture: &Frame,
        annotation: &Annotation,
    ) -> Result<(), SegmenterError> {
        if object == 0 || usize::from(object) > MAX_OBJECTS {
            let reason = format!("objects are numbered 1 to {MAX_OBJECTS}, not {object}");
            return Err(SegmenterError::Unusable(reason));
        }
        let tracker = self.tracker(picture, annotation).map_err(|error| match error {
            MethodError::Stopped => SegmenterError::Stopped,
            MethodError::Model(e) => {
                SegmenterError::Failed { object: Some(object), reason: e.to_string() }
            }
            error => SegmenterError::Unusable(error.to_string()),
        })?;
        self.objects.insert(object, tracker);
        Ok(())
    }

    fn remove(&mut self, object: ObjectId) {
        self.objects.remove(&object);
    }
}

impl fmt::Debug for SamSegmenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamSegmenter").field("sam", &self.sam).finish_non_exhaustive()
    }
}

/// IoU from which on two masks claim the same place.
const SAME_PLACE: f64 = 0.5;

/// Two objects never claim the same place: the more probable one keeps it, and of the other it is not
/// sure where it is.
fn keep_apart(objects: &mut [ObjectResult]) {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    // Where it is not decided whether objects are in view, the first one keeps the place.
    let probability = |o: &ObjectResult| o.probability.unwrap_or(1.0);
    order.sort_by(|a, b| probability(&objects[*b]).total_cmp(&probability(&objects[*a])));
    for (place, &keeper) in order.iter().enumerate() {
        let Some(kept) = objects[keeper].mask.clone() else { continue };
        for &other in &order[place + 1..] {
            let claims = objects[other].mask.as_ref().and_then(|mask| iou(&kept, mask));
            if claims.is_some_and(|iou| iou >= SAME_PLACE) {
                objects[other].mask = None;
                objects[other].state = State::Uncertain;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(object: ObjectId, columns: std::ops::Range<usize>, probability: f32) -> ObjectResult {
        let on = (0..40).map(|place| columns.contains(&(place % 10))).collect();
        ObjectResult {
            object,
            state: State::Tracking,
            mask: Some(Arc::new(Mask::new(10, 4, on).expect("sizes agree"))),
            distance: Some(0.1),
            probability: Some(probability),
            object_score: None,
            predicted_iou: 0.9,
            stability: 0.9,
        }
    }

    #[test]
    fn the_more_probable_object_keeps_the_place() {
        let mut objects = vec![object(1, 0..5, 0.8), object(2, 0..6, 0.95), object(3, 5..10, 0.6)];
        keep_apart(&mut objects);
        let shown: Vec<bool> = objects.iter().map(|o| o.mask.is_some()).collect();
        assert_eq!(shown, [false, true, true]);
        assert_eq!(objects[0].state, State::Uncertain);
        assert_eq!(objects[2].state, State::Tracking);
    }
}
