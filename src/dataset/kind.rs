use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::layout::{Leaf, leaves, roots};
use super::{DatasetError, Sample, Sequence, Target};
use crate::image::{Foreground, Mask};

/// The data sets that can be read, each with the reference and the scored pictures of the published
/// tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// CVC-ClinicDB: 612 frames in one folder, cut into 29 sequences, or a folder a video. The
    /// reference is a sequence's third frame, the later ones are scored.
    CvcClinicDb,
    /// PerSeg: one folder an object, or names `OBJECT_NN`. The first picture is the reference.
    PerSeg,
    /// 4D-Lung: PATIENT/VISIT/slices. References are the first visit's slices.
    FourDLung,
    /// Kvasir-SEG, and any other folder of pictures of different objects with masks. The first one is
    /// the reference of all others.
    Kvasir,
    /// DAVIS 2016: a folder a video, one object. The first frame is the reference; the last is not
    /// scored.
    Davis2016,
    /// DAVIS 2017: the same with several objects, one colour each.
    Davis2017,
    /// Clips cut from PolypGen's videos: frames of all clips in one folder, and index.csv says which
    /// clip and which frame of the video, at 25 a second, each is. The first frame with the object is
    /// its clip's reference; the others are scored, also those before it and those without the object.
    PolypGenClips,
    /// One sequence of pictures with masks, or a folder a video. The first picture is the reference.
    Sequence,
}

/// CVC-ClinicDB: the last frame of each of its sequences, counted from 1.
const CVC_LAST: [usize; 29] = [
    25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428,
    447, 466, 478, 503, 528, 546, 571, 591, 612,
];
/// CVC-ClinicDB: index of the reference in a sequence.
const CVC_REFERENCE: usize = 2;

impl Dataset {
    /// Every data set.
    pub const ALL: [Self; 8] = [
        Self::CvcClinicDb,
        Self::PerSeg,
        Self::FourDLung,
        Self::Kvasir,
        Self::Davis2016,
        Self::Davis2017,
        Self::PolypGenClips,
        Self::Sequence,
    ];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::CvcClinicDb => "cvc-clinicdb",
            Self::PerSeg => "perseg",
            Self::FourDLung => "4d-lung",
            Self::Kvasir => "kvasir-seg",
            Self::Davis2016 => "davis2016",
            Self::Davis2017 => "davis2017",
            Self::PolypGenClips => "polypgen-clips",
            Self::Sequence => "sequence",
        }
    }

    /// Whether the pictures of a sequence follow each other in time.
    pub fn is_video(self) -> bool {
        matches!(
            self,
            Self::CvcClinicDb
                | Self::Davis2016
                | Self::Davis2017
                | Self::PolypGenClips
                | Self::Sequence
        )
    }

    /// Finds the pictures and masks of all sequences. Nothing but folders and, where the layout needs
    /// it, masks are read; [`check`](super::check) reads the rest.
    ///
    /// # Errors
    /// [`DatasetError`] with all that is missing.
    pub fn read(self, dir: &Path) -> Result<Vec<Sequence>, DatasetError> {
        let above_zero = Foreground::AboveZero;
        let sequences = match self {
            Self::CvcClinicDb => cvc(dir)?,
            Self::PerSeg => {
                let leaves = leaves(dir, above_zero, &[0, 1])?;
                leaves.into_iter().flat_map(objects).collect()
            }
            Self::FourDLung => lung(dir, leaves(dir, above_zero, &[2])?)?,
            Self::Kvasir => {
                let leaves = leaves(dir, Foreground::AboveMiddle, &[0])?;
                leaves.into_iter().map(|leaf| Sequence::after("all", leaf.samples, 0)).collect()
            }
            Self::Davis2016 => {
                let videos = listed(dir, "2016", leaves(dir, above_zero, &[1])?)?;
                videos.into_iter().map(|leaf| davis(leaf.name(), leaf.samples)).collect()
            }
            Self::Davis2017 => {
                davis_objects(dir, listed(dir, "2017", leaves(dir, above_zero, &[1])?)?)?
            }
            Self::PolypGenClips => clips(dir)?,
            Self::Sequence => {
                let leaves = leaves(dir, above_zero, &[0, 1])?;
                leaves
                    .into_iter()
                    .map(|leaf| Sequence::after(leaf.name(), leaf.samples, 0))
                    .collect()
            }
        };
        let usable: Vec<Sequence> =
            sequences.into_iter().filter(|sequence| !sequence.targets.is_empty()).collect();
        if usable.is_empty() {
            let reason = "no sequence in it has a picture besides its reference".to_owned();
            return Err(DatasetError::Layout { path: dir.to_path_buf(), reason });
        }
        Ok(usable)
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dataset {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self, DatasetError> {
        let known = Self::ALL.into_iter().find(|dataset| dataset.name() == name);
        known.ok_or_else(|| DatasetError::Unknown {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

impl Leaf {
    /// The folder's path below the root; `all` at the root itself.
    fn name(&self) -> String {
        if self.path.is_empty() { "all".to_owned() } else { self.path.join("/") }
    }
}

/// Frames in one folder are cut by their numbers. Whole sequences may be missing, single frames not.
fn cvc(dir: &Path) -> Result<Vec<Sequence>, DatasetError> {
    let mut sequences = Vec::new();
    let mut problems = Vec::new();
    for leaf in leaves(dir, Foreground::AboveZero, &[0, 1])? {
        if !leaf.path.is_empty() {
            sequences.push(Sequence::after(leaf.name(), leaf.samples, CVC_REFERENCE));
            continue;
        }
        let mut cut: Vec<Vec<Sample>> = vec![Vec::new(); CVC_LAST.len()];
        for sample in leaf.samples {
            let number = sample.name.parse::<usize>().ok().filter(|number| *number > 0);
            let place = number.map(|number| CVC_LAST.partition_point(|last| *last < number));
            match place.and_then(|place| cut.get_mut(place)) {
                Some(frames) => frames.push(sample),
                None => problems.push(format!(
                    "{} is no frame number from 1 to 612, by which the sequences are cut",
                    sample.name
                )),
            }
        }
        let starts = std::iter::once(0).chain(CVC_LAST);
        for ((index, frames), (start, end)) in (1..).zip(cut).zip(starts.zip(CVC_LAST)) {
            let there: Vec<usize> = frames.iter().filter_map(|s| s.name.parse().ok()).collect();
            let missing: Vec<String> = (start + 1..=end)
                .filter(|number| !there.contains(number))
                .map(|number| number.to_string())
                .collect();
            if !there.is_empty() && !missing.is_empty() {
                problems.push(format!("sequence {index} lacks the frames {}", missing.join(" ")));
            }
            if !frames.is_empty() {
                sequences.push(Sequence::after(index.to_string(), frames, CVC_REFERENCE));
            }
        }
    }
    unless_any(problems, dir, sequences)
}

/// A folder is an object; at the root the objects are told by what stands before the last `_`.
fn objects(leaf: Leaf) -> Vec<Sequence> {
    if !leaf.path.is_empty() {
        return vec![Sequence::after(leaf.name(), leaf.samples, 0)];
    }
    let mut objects: Vec<(String, Vec<Sample>)> = Vec::new();
    for sample in leaf.samples {
        let object = sample.name.rsplit_once('_').map_or(sample.name.as_str(), |(name, _)| name);
        match objects.iter_mut().find(|(name, _)| name == object) {
            Some((_, samples)) => samples.push(sample),
            None => objects.push((object.to_owned(), vec![sample])),
        }
    }
    objects.into_iter().map(|(name, samples)| Sequence::after(name, samples, 0)).collect()
}

/// Which of `references` slices goes with the slice at this place of `count`: the middles of both are
/// a pair, and so are those as far from them; what is left over takes the outermost. 0 if there is no
/// reference.
pub fn from_the_middle(slice: usize, count: usize, references: usize) -> usize {
    (slice + references / 2).saturating_sub(count / 2).min(references.saturating_sub(1))
}

/// Each later visit of a patient is a sequence: its slices with the object, each with the slice of
/// the first visit that is as far from the middle, or else the outermost on that side.
fn lung(dir: &Path, leaves: Vec<Leaf>) -> Result<Vec<Sequence>, DatasetError> {
    let mut sequences = Vec::new();
    let mut problems = Vec::new();
    let mut first: Option<(String, Vec<Sample>)> = None;
    for leaf in leaves {
        let name = leaf.name();
        let patient = leaf.path.first().cloned().unwrap_or_default();
        let mut slices = Vec::new();
        for sample in leaf.samples {
            match Mask::open(&sample.mask, sample.foreground) {
                Ok(mask) if mask.area() > 0 => slices.push(sample),
                Ok(_) => {}
                Err(error) => problems.push(error.to_string()),
            }
        }
        let Some((_, references)) = first.as_ref().filter(|(of, _)| *of == patient) else {
            first = Some((patient, slices));
            continue;
        };
        let (here, there) = (slices.len(), references.len());
        let targets = (0..here)
            .filter(|_| there > 0)
            .map(|slice| Target {
                sample: there + slice,
                reference: from_the_middle(slice, here, there),
                scored: true,
            })
            .collect();
        let samples = references.iter().cloned().chain(slices).collect();
        sequences.push(Sequence { name, group: patient, samples, targets, times: Vec::new() });
    }
    unless_any(problems, dir, sequences)
}

/// The sequences, if nothing is wrong with their masks.
fn unless_any(
    problems: Vec<String>,
    dir: &Path,
    sequences: Vec<Sequence>,
) -> Result<Vec<Sequence>, DatasetError> {
    if problems.is_empty() {
        return Ok(sequences);
    }
    Err(DatasetError::Samples { path: dir.to_path_buf(), problems })
}

/// The videos of the published validation list, if the data set comes with one.
fn listed(dir: &Path, year: &str, leaves: Vec<Leaf>) -> Result<Vec<Leaf>, DatasetError> {
    let files = [format!("ImageSets/{year}/val.txt"), "ImageSets/480p/val.txt".to_owned()];
    let Some(path) = files.iter().map(|file| dir.join(file)).find(|path| path.is_file()) else {
        return Ok(leaves);
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|e| DatasetError::Folder { path: path.clone(), reason: e.to_string() })?;
    // A line is a video's name or, in the first edition, a picture and its mask.
    let wanted: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.rsplit('/').nth(1).unwrap_or(name))
        .collect();
    let kept: Vec<Leaf> =
        leaves.into_iter().filter(|leaf| wanted.contains(&leaf.name().as_str())).collect();
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !kept.iter().any(|leaf| leaf.name() == **name))
        .map(|name| format!("the video {name} of {} is missing", path.display()))
        .collect();
    if missing.is_empty() {
        return Ok(kept);
    }
    let mut problems = missing;
    problems.dedup();
    Err(DatasetError::Samples { path: dir.to_path_buf(), problems })
}

/// Frames a second of the videos that the clips were cut from.
const CLIP_RATE: f64 = 25.0;

/// A line of the clips' index.csv.
#[derive(serde::Deserialize)]
struct ClipFrame {
    clip: String,
    frame: u64,
    file: String,
    polyp: u8,
}

/// A clip is a sequence; those that never show the object have no reference and are left out.
fn clips(dir: &Path) -> Result<Vec<Sequence>, DatasetError> {
    let index = dir.join("index.csv");
    let fail = |reason: String| DatasetError::Folder { path: index.clone(), reason };
    let samples: Vec<Sample> = pairs(dir, Foreground::AboveMiddle)?;
    let mut reader = csv::Reader::from_path(&index).map_err(|e| fail(e.to_string()))?;
    let mut clips: Vec<(String, Vec<(Sample, ClipFrame)>)> = Vec::new();
    let mut problems = Vec::new();
    for line in reader.deserialize() {
        let line: ClipFrame = line.map_err(|e: csv::Error| fail(e.to_string()))?;
        let Some(sample) = samples.iter().find(|sample| sample.name == line.file) else {
            problems.push(format!("index.csv names {}, and there is no such image", line.file));
            continue;
        };
        match clips.last_mut() {
            Some((clip, frames)) if *clip == line.clip => frames.push((sample.clone(), line)),
            _ => clips.push((line.clip.clone(), vec![(sample.clone(), line)])),
        }
    }
    let sequences = clips.into_iter().filter_map(|(clip, frames)| {
        let reference = frames.iter().position(|(_, line)| line.polyp != 0)?;
        let times = frames.iter().map(|(_, line)| line.frame as f64 / CLIP_RATE).collect();
        let samples = frames.into_iter().map(|(sample, _)| sample).collect();
        Some(Sequence::around(clip, samples, reference, times))
    });
    let sequences = sequences.collect();
    unless_any(problems, dir, sequences)
}

fn davis(name: String, samples: Vec<Sample>) -> Sequence {
    let mut sequence = Sequence::after(name, samples, 0);
    if let Some(last) = sequence.targets.last_mut() {
        last.scored = false;
    }
    sequence
}

/// A sequence for each object that the first frame of a video shows.
fn davis_objects(dir: &Path, videos: Vec<Leaf>) -> Result<Vec<Sequence>, DatasetError> {
    let mut sequences = Vec::new();
    let mut problems = Vec::new();
    for leaf in videos {
        let Some(first) = leaf.samples.first() else { continue };
        let colors = Mask::colors(&first.mask).unwrap_or_else(|error| {
            problems.push(error.to_string());
            Vec::new()
        });
        for (number, color) in (1..).zip(colors) {
            let foreground = Foreground::Color(color);
            let samples = leaf.samples.iter().map(|s| Sample { foreground, ..s.clone() }).collect();
            let mut sequence = davis(format!("{}/{number}", leaf.name()), samples);
            sequence.group = leaf.name();
            sequences.push(sequence);
        }
    }
    unless_any(problems, dir, sequences)
}

/// Every picture of a folder in one of the known layouts with its mask of the same stem, in natural
/// order (`img2` before `img10`): `images` and `masks` as in Kvasir-SEG and most sets for
/// segmentation, or `image` and `label`.
///
/// # Errors
/// [`DatasetError::Folder`], [`DatasetError::Layout`] if a folder is missing or empty,
/// [`DatasetError::Samples`] with every picture that has no mask, every mask that has no picture and
/// every stem that is there twice.
pub fn pairs(dir: &Path, foreground: Foreground) -> Result<Vec<Sample>, DatasetError> {
    roots(dir)?;
    Ok(leaves(dir, foreground, &[0])?.into_iter().flat_map(|leaf| leaf.samples).collect())
}
