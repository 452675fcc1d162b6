use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{EvalError, FrameResult, SequenceResult};
use crate::dataset::{Sample, Sequence};
use crate::image::{Frame, Mask};
use crate::method::{
    Approach, Follower, MethodConfig, MethodError, PresenceModel, View, check_annotation,
};
use crate::sam::Sam;

/// What is run on every sequence.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The model.
    pub sam: &'a Arc<Sam>,
    /// How it is decided whether the object is in view, for P2SAM's results.
    pub presence: Option<PresenceModel>,
    /// The methods. They share each picture's embedding.
    pub entries: &'a [Entry],
}

/// A method with its settings, and its name in tables and files.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name; no two of a run have the same.
    pub name: String,
    /// The method.
    pub approach: Approach,
    /// Its settings.
    pub config: MethodConfig,
}

/// Runs every method over a sequence: one result for each, in the order given. `None` if `go_on`
/// said no, which is asked before each picture; `done` is told of each picture.
///
/// # Errors
/// [`EvalError::Dataset`] if a file cannot be read, [`EvalError::Method`] if the model fails. A
/// reference that cannot be used is no error but a problem of the result.
pub fn evaluate(
    plan: &Plan<'_>,
    sequence: &Sequence,
    data: &str,
    go_on: &dyn Fn() -> bool,
    done: &dyn Fn(),
) -> Result<Option<Vec<SequenceResult>>, EvalError> {
    let mut results: Vec<SequenceResult> = plan
        .entries
        .iter()
        .map(|entry| SequenceResult {
            method: entry.name.clone(),
            sequence: sequence.name.clone(),
            group: sequence.group.clone(),
            data: data.to_owned(),
            frames: Vec::new(),
            problems: Vec::new(),
        })
        .collect();
    let mut followers: HashMap<(&str, usize), Option<Follower>> = HashMap::new();
    let mut seen: Option<(usize, Seen)> = None;
    for target in &sequence.targets {
        if !go_on() {
            return Ok(None);
        }
        let (Some(sample), Some(reference)) =
            (sequence.samples.get(target.sample), sequence.samples.get(target.reference))
        else {
            continue;
        };
        let place = |sample: &Sample| format!("{}, {}", sequence.name, sample.name);
        let mut picture = match seen.take() {
            Some((index, picture)) if index == target.sample => picture,
            _ => Seen::open(sample)?,
        };
        let time = sequence.times.get(target.sample).copied();
        picture.time = time.and_then(|time| Duration::try_from_secs_f64(time).ok());
        for (entry, result) in plan.entries.iter().zip(&mut results) {
            let key = (entry.name.as_str(), target.reference);
            if let std::collections::hash_map::Entry::Vacant(place_of) = followers.entry(key) {
                let follower = match follow(plan, entry, reference)? {
                    Ok(follower) => Some(follower),
                    Err(error) if is_of_reference(&error) => {
                        result.problems.push(format!("{}: {error}", place(reference)));
                        None
                    }
                    Err(source) => {
                        let source = Box::new(source);
                        return Err(EvalError::Method { frame: place(reference), source });
                    }
                };
                place_of.insert(follower);
            }
            let Some(Some(follower)) = followers.get_mut(&key) else { continue };
            let track = picture
                .step(plan.sam, entry.approach, follower)
                .map_err(Box::new)
                .map_err(|source| EvalError::Method { frame: place(sample), source })?;
            result.frames.extend(FrameResult::new(
                &sample.name,
                &reference.name,
                target.scored,
                time,
                &track,
                &picture.truth,
            ));
        }
        seen = Some((target.sample, picture));
        done();
    }
    Ok(Some(results))
}

/// A picture that several methods look at.
struct Seen {
    frame: Frame,
    truth: Mask,
    view: Option<View>,
    time: Option<Duration>,
}

impl Seen {
    fn open(sample: &Sample) -> Result<Self, EvalError> {
        let (frame, annotation) = sample.read()?;
        Ok(Self { frame, truth: annotation.mask(), view: None, time: None })
    }

    fn step(
        &mut self,
        sam: &Sam,
        approach: Approach,
        follower: &mut Follower,
    ) -> Result<crate::method::Track, MethodError> {
        if approach == Approach::FirstMask {
            return follower.step(&self.frame, None);
        }
        let view = match self.view.take() {
            Some(view) => view,
            None => View::new(sam, &self.frame)?.at(self.time),
        };
        let track = follower.step_in(&self.frame, &view, Some(&self.truth));
        self.view = Some(view);
        track
    }
}

/// A follower of the object in a reference picture. The outer error is the data's.
fn follow(
    plan: &Plan<'_>,
    entry: &Entry,
    reference: &Sample,
) -> Result<Result<Follower, MethodError>, EvalError> {
    let (frame, annotation) = reference.read()?;
    let make = || {
        check_annotation(&frame, &annotation)?;
        let pictures = [(frame.clone(), annotation.clone())];
        let follower = Follower::new(plan.sam, entry.approach, &pictures, &entry.config)?;
        Ok(match plan.presence {
            Some(model) if entry.approach == Approach::P2sam => follower.with_presence(model),
            _ => follower,
        })
    };
    Ok(make())
}

/// Whether a reference is at fault, and not the settings or the device.
fn is_of_reference(error: &MethodError) -> bool {
    matches!(
        error,
        MethodError::EmptyMask
            | MethodError::FullMask
            | MethodError::MaskVanishes { .. }
            | MethodError::MaskFills { .. }
            | MethodError::TooFewPatches { .. }
    )
}
