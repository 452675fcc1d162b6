use crate::dataset::Dataset;
use crate::method::{MethodConfig, Variant};

/// What is reported of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Dice a frame: its mean over frames and sequences.
    Dice,
    /// Dice a slice of a stack: its mean over slices, over a patient's later visits, and over
    /// patients. A sequence is a visit, its group the patient.
    Stacks,
    /// Sums of intersections over sums of unions a sequence ("IoU"), and over the truth ("Acc").
    Sums,
    /// IoU (J) and boundary F1 (F) a frame, means over the sequences.
    Contours,
}

impl Measure {
    /// What a sequence and a picture are called.
    pub fn words(self) -> [&'static str; 2] {
        match self {
            Self::Stacks => ["visit", "slices"],
            _ => ["sequence", "pictures"],
        }
    }
}

/// The settings of the published table of a data set, and what it reports. PerSeg: the variant, n
/// 1 to 5; 4D-Lung: n 1 to 3; all others as CVC-ClinicDB: n 1 to 5, m 1.
pub fn published(dataset: Dataset) -> (MethodConfig, Measure) {
    let config = MethodConfig::default();
    match dataset {
        Dataset::CvcClinicDb | Dataset::Kvasir | Dataset::PolypGenClips | Dataset::Sequence => {
            (config, Measure::Dice)
        }
        Dataset::FourDLung => (MethodConfig { n: 1..=3, ..config }, Measure::Stacks),
        Dataset::PerSeg => (MethodConfig { variant: Variant::PerSeg, ..config }, Measure::Sums),
        Dataset::Davis2016 | Dataset::Davis2017 => (config, Measure::Contours),
    }
}
