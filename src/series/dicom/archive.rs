use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use rayon::prelude::*;

use super::elements::{first, items, text};
use super::header::{Kind, kind};
use super::{file, read_segmentation, scan, structure_set};
use crate::series::SeriesError;

/// A tree of DICOM files as archives hand it out, sorted by what the headers say and not by how the
/// folders are called.
#[derive(Debug, Default)]
pub struct Archive {
    /// In the natural order of their numbers.
    pub patients: Vec<ArchivedPatient>,
    /// Files that cannot be read, and of which it is not known whose they are.
    pub unreadable: Vec<PathBuf>,
    /// Files that are no DICOM.
    pub others: usize,
}

/// The files of one patient.
#[derive(Clone, Debug, Default)]
pub struct ArchivedPatient {
    /// The patient's number, or else the name; for outputs that are to keep it only.
    pub id: String,
    /// Visits in the order of their dates.
    pub studies: Vec<ArchivedStudy>,
    /// Files beside the patient's others that cannot be read.
    pub unreadable: Vec<PathBuf>,
    /// Segmentations and structure sets of images that are not there.
    pub strays: Vec<PathBuf>,
    /// In lower case what must be in no message: names, numbers, dates.
    pub identifiers: BTreeSet<String>,
}

/// One study: a visit.
#[derive(Clone, Debug, Default)]
pub struct ArchivedStudy {
    /// Its instance identifier.
    pub uid: String,
    /// Year, month and day without anything between them; empty if it has none.
    pub date: String,
    /// Series of images in the order of their identifiers.
    pub images: Vec<ArchivedImages>,
}

/// One series of images.
#[derive(Clone, Debug, Default)]
pub struct ArchivedImages {
    /// Its files.
    pub files: Vec<PathBuf>,
    /// What its header calls it; may hold anything.
    pub description: String,
    /// What is marked on it.
    pub marks: Vec<ArchivedMarks>,
    uid: String,
    frame_of_reference: Option<String>,
}

/// A segmentation or a structure set.
#[derive(Clone, Debug)]
pub struct ArchivedMarks {
    /// Its file.
    pub file: PathBuf,
    /// Whether it is a structure set.
    pub contours: bool,
    /// Numbers and names of the objects that it marks.
    pub objects: Vec<(i64, String)>,
    /// Series that it says it marks.
    series: Vec<String>,
    frame_of_reference: Option<String>,
}

/// What one file says.
struct Head {
    file: PathBuf,
    patient: String,
    identifiers: Vec<String>,
    study: String,
    /// Date and time of the study.
    when: [String; 2],
    holds: Holds,
}

enum Holds {
    Images { uid: String, description: String, frame_of_reference: Option<String> },
    Marks(ArchivedMarks),
    Other,
}

impl Archive {
    /// Reads the headers of all files below a folder. `None` if `go_on`, which is asked before each
    /// file, said no. A file that cannot be read is no error, but told.
    ///
    /// # Errors
    /// [`SeriesError::Read`] if a folder cannot be listed.
    pub fn open(
        folder: &Path,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Self>, SeriesError> {
        let (mut files, mut unreadable, mut others) = (Vec::new(), Vec::new(), 0);
        scan::walk(folder, scan::DEPTH, &mut |path| {
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let named = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("dcm"));
            match file::is_file(path) {
                _ if hidden => {}
                true => files.push(path.to_path_buf()),
                // A file that was cut off before its first letters.
                false if named => unreadable.push(path.to_path_buf()),
                false => others += 1,
            }
            true
        })?;
        let heads: Vec<Option<Result<Head, PathBuf>>> =
            files.into_par_iter().map(|file| go_on().then(|| read(file))).collect();
        let mut all = Vec::with_capacity(heads.len());
        for head in heads {
            match head {
                None => return Ok(None),
                Some(Ok(head)) => all.push(head),
                Some(Err(file)) => unreadable.push(file),
            }
        }
        unreadable.sort();
        let mut archive = Self { others, ..Self::default() };
        let owners = owners(folder, &all);
        let mut lost: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for file in unreadable {
            match owner(folder, &file, &owners) {
                Some(patient) => lost.entry(patient.to_owned()).or_default().push(file),
                None => archive.unreadable.push(file),
            }
        }
        let mut by_patient: BTreeMap<String, Vec<Head>> = BTreeMap::new();
        for head in all {
            by_patient.entry(head.patient.clone()).or_default().push(head);
        }
        archive.patients = by_patient
            .into_iter()
            .map(|(id, heads)| {
                let unreadable = lost.remove(&id).unwrap_or_default();
                ArchivedPatient { unreadable, ..patient(id, heads) }
            })
            .collect();
        archive.patients.sort_by(|a, b| alphanumeric_sort::compare_str(&a.id, &b.id));
        Ok(Some(archive))
    }
}

impl ArchivedPatient {
    /// All of the patient's files that are known.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let images = self.studies.iter().flat_map(|study| &study.images);
        images
            .flat_map(|images| {
                images.files.iter().chain(images.marks.iter().map(|marks| &marks.file))
            })
            .chain(&self.unreadable)
            .chain(&self.strays)
            .map(PathBuf::as_path)
    }
}

/// Which patients have files below each folder.
fn owners<'a>(root: &Path, heads: &'a [Head]) -> BTreeMap<PathBuf, BTreeSet<&'a str>> {
    let mut owners: BTreeMap<PathBuf, BTreeSet<&str>> = BTreeMap::new();
    for head in heads {
        for folder in head.file.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
            owners.entry(folder.to_path_buf()).or_default().insert(&head.patient);
        }
    }
    owners
}

/// The patient whose files lie around a file. The root around all is nobody's, but for files in it.
fn owner<'a>(
    root: &Path,
    file: &Path,
    owners: &BTreeMap<PathBuf, BTreeSet<&'a str>>,
) -> Option<&'a str> {
    let parent = file.parent()?;
    let folders = file.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    let mut folders = folders.filter(|folder| *folder != root || parent == root);
    let around = folders.find_map(|folder| owners.get(folder))?;
    around.first().copied().filter(|_| around.len() == 1)
}

/// Reads a header; the file itself if it cannot be read.
fn read(file: PathBuf) -> Result<Head, PathBuf> {
    let Ok(object) = file::head(&file) else { return Err(file) };
    let of = |tag| text(&object, tag);
    let study = of(tags::STUDY_INSTANCE_UID).unwrap_or_default();
    let known = [tags::PATIENT_ID, tags::PATIENT_NAME].into_iter().find_map(of);
    let holds = match kind(&object, &file) {
        Kind::Images(header, _) => Holds::Images {
            uid: header.series,
            description: of(tags::SERIES_DESCRIPTION).unwrap_or_default(),
            frame_of_reference: header.frame_of_reference,
        },
        Kind::Marks => Holds::Marks(marks(&object, &file)),
        Kind::Other => Holds::Other,
    };
    Ok(Head {
        patient: known.unwrap_or_else(|| study.clone()),
        identifiers: identifiers(&object),
        when: [tags::STUDY_DATE, tags::STUDY_TIME].map(|tag| of(tag).unwrap_or_default()),
        study,
        holds,
        file,
    })
}

/// What must be in no message. A name's parts are names, too.
fn identifiers(object: &InMemDicomObject) -> Vec<String> {
    const TAGS: [Tag; 8] = [
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::PATIENT_BIRTH_DATE,
        tags::STUDY_DATE,
        tags::SERIES_DATE,
        tags::ACCESSION_NUMBER,
        tags::STUDY_INSTANCE_UID,
        tags::SERIES_INSTANCE_UID,
    ];
    let mut found = Vec::new();
    for value in TAGS.into_iter().filter_map(|tag| text(object, tag)) {
        let value = value.to_lowercase();
        let parts = value.split(['^', ' ', ',', '=']).filter(|part| part.chars().count() > 1);
        found.extend(parts.map(str::to_owned));
        found.push(value);
    }
    found
}

fn marks(object: &InMemDicomObject, file: &Path) -> ArchivedMarks {
    let contours =
        text(object, tags::SOP_CLASS_UID).as_deref() == Some(uids::RT_STRUCTURE_SET_STORAGE);
    let uid = |item: &InMemDicomObject| text(item, tags::SERIES_INSTANCE_UID);
    let frames = items(object, tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE);
    let of_contours = frames
        .iter()
        .flat_map(|item| items(item, tags::RT_REFERENCED_STUDY_SEQUENCE))
        .flat_map(|item| items(item, tags::RT_REFERENCED_SERIES_SEQUENCE));
    let of_segments = items(object, tags::REFERENCED_SERIES_SEQUENCE).iter();
    let rois = items(object, tags::STRUCTURE_SET_ROI_SEQUENCE);
    ArchivedMarks {
        file: file.to_path_buf(),
        contours,
        objects: match contours {
            true => structure_set::objects(object),
            false => read_segmentation::objects(object),
        },
        series: of_contours.chain(of_segments).filter_map(uid).collect(),
        frame_of_reference: text(object, tags::FRAME_OF_REFERENCE_UID)
            .or_else(|| {
                first(object, tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE)
                    .and_then(|item| text(item, tags::FRAME_OF_REFERENCE_UID))
            })
            .or_else(|| {
                rois.first().and_then(|item| text(item, tags::REFERENCED_FRAME_OF_REFERENCE_UID))
            }),
    }
}

/// Sorts a patient's files.
fn patient(id: String, heads: Vec<Head>) -> ArchivedPatient {
    let mut patient = ArchivedPatient { id, ..ArchivedPatient::default() };
    // By date and time; the order of the places stays where there is neither.
    let mut studies: Vec<([String; 2], ArchivedStudy)> = Vec::new();
    let mut marks: Vec<(String, ArchivedMarks)> = Vec::new();
    for head in heads {
        patient.identifiers.extend(head.identifiers);
        match head.holds {
            Holds::Images { uid, description, frame_of_reference } => {
                let place = studies.iter().position(|(_, study)| study.uid == head.study);
                let place = place.unwrap_or_else(|| {
                    let date = head.when[0].clone();
                    let study = ArchivedStudy { uid: head.study, date, images: Vec::new() };
                    studies.push((head.when, study));
                    studies.len() - 1
                });
                let series = &mut studies[place].1.images;
                match series.iter_mut().find(|images| images.uid == uid) {
                    Some(images) => images.files.push(head.file),
                    None => {
                        let (files, marks) = (vec![head.file], Vec::new());
                        let images =
                            ArchivedImages { files, description, marks, uid, frame_of_reference };
                        series.push(images);
                    }
                }
            }
            Holds::Marks(found) => marks.push((head.study, found)),
            Holds::Other => {}
        }
    }
    studies.sort_by(|a, b| a.0.cmp(&b.0));
    patient.studies = studies.into_iter().map(|(_, study)| study).collect();
    for study in &mut patient.studies {
        study.images.sort_by(|a, b| alphanumeric_sort::compare_str(&a.uid, &b.uid));
    }
    for (study, found) in marks {
        let marked = marked(&mut patient.studies, &study, &found);
        if marked.is_empty() {
            patient.strays.push(found.file.clone());
        }
        for images in marked {
            images.marks.push(found.clone());
        }
    }
    patient
}

/// The images that are marked: those that are named; where none are, the study's only ones, or its
/// only ones in the same frame of reference.
fn marked<'a>(
    studies: &'a mut [ArchivedStudy],
    study: &str,
    marks: &ArchivedMarks,
) -> Vec<&'a mut ArchivedImages> {
    if !marks.series.is_empty() {
        let images = studies.iter_mut().flat_map(|study| &mut study.images);
        return images.filter(|images| marks.series.contains(&images.uid)).collect();
    }
    let Some(own) = studies.iter_mut().find(|own| own.uid == study) else { return Vec::new() };
    if own.images.len() == 1 {
        return own.images.iter_mut().collect();
    }
    let same = |images: &&mut ArchivedImages| {
        images.frame_of_reference.is_some() && images.frame_of_reference == marks.frame_of_reference
    };
    let fitting: Vec<_> = own.images.iter_mut().filter(same).collect();
    if fitting.len() == 1 { fitting } else { Vec::new() }
}
