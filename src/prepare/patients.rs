use std::path::Path;

use super::private::Told;
use super::{Download, Place, PrepareError, PrepareOptions, Prepared};
use crate::image::Foreground;
use crate::series::{Archive, ArchivedImages, ArchivedPatient, Volume, VolumeOptions, open_masks};

/// The patients of a tree of DICOM files.
#[derive(Debug)]
pub(super) struct Patients {
    download: Download,
    options: PrepareOptions,
    archive: Archive,
    told: Told,
}

/// A series of images, and the object that a file marks on it.
struct Marked<'a> {
    images: &'a ArchivedImages,
    file: &'a Path,
    roi: String,
}

impl Patients {
    pub fn find(
        download: Download,
        folder: &Path,
        options: &PrepareOptions,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Self>, PrepareError> {
        if !folder.is_dir() {
            let reason = "no such folder".to_owned();
            return Err(PrepareError::Layout { path: folder.to_path_buf(), reason });
        }
        let Some(archive) = Archive::open(folder, go_on)? else { return Ok(None) };
        let studies = || archive.patients.iter().flat_map(|patient| &patient.studies);
        let images = || studies().flat_map(|study| &study.images);
        if images().all(|images| images.marks.is_empty()) {
            let reason = format!(
                "expected DICOM as it is downloaded, series of images and the structure sets or \
                 segmentations that mark them; found {} images in {} series, {} structure sets and \
                 segmentations of other images, {} unreadable DICOM files and {} other files",
                images().map(|images| images.files.len()).sum::<usize>(),
                images().count(),
                archive.patients.iter().map(|patient| patient.strays.len()).sum::<usize>(),
                archive.unreadable.len()
                    + archive.patients.iter().map(|p| p.unreadable.len()).sum::<usize>(),
                archive.others
            );
            return Err(PrepareError::Layout { path: folder.to_path_buf(), reason });
        }
        let told = Told::new(&archive, options.keep_identifiers);
        Ok(Some(Self { download, options: options.clone(), archive, told }))
    }

    pub fn count(&self) -> usize {
        self.archive.patients.len()
    }

    /// What decides which number is whose.
    pub fn names(&self, take: &mut dyn FnMut(&str)) {
        for patient in &self.archive.patients {
            take(&patient.id);
            patient.studies.iter().for_each(|study| take(&study.uid));
        }
    }

    pub fn problems(&self) -> Vec<String> {
        let files = self.archive.unreadable.iter();
        files.map(|file| format!("{}: {UNREADABLE}", self.told.file(file))).collect()
    }

    pub fn prepare(&self, unit: usize, out: &Path) -> Result<Prepared, PrepareError> {
        let patient = &self.archive.patients[unit];
        let name = self.name(unit);
        let mut result = self.visits(patient, &name, out);
        if let Ok(done) = &mut result {
            for warning in &mut done.warnings {
                *warning = format!("patient {name}: {}", self.told.text(warning, patient));
            }
        }
        result.map_err(|error| match error {
            Failed::Unit(reason) => {
                // Half a patient would be scored as a whole one.
                clear(out, &name);
                let reason = self.told.text(&reason, patient);
                PrepareError::Unit { unit: format!("patient {name}"), reason }
            }
            Failed::Write(error) => error,
        })
    }

    /// How a patient is called: by the place among all, or as in the files.
    fn name(&self, unit: usize) -> String {
        let patients = &self.archive.patients;
        if !self.options.keep_identifiers {
            let width = patients.len().to_string().len().max(3);
            return format!("{:0width$}", unit + 1);
        }
        let own = clean(&patients[unit].id);
        let before = patients[..unit].iter().filter(|other| clean(&other.id) == own).count();
        if before > 0 { format!("{own}-{}", before + 1) } else { own }
    }

    fn visits(
        &self,
        patient: &ArchivedPatient,
        name: &str,
        out: &Path,
    ) -> Result<Prepared, Failed> {
        if let Some(file) = patient.unreadable.first() {
            let more = match patient.unreadable.len() - 1 {
                0 => String::new(),
                more => format!("; {more} more files"),
            };
            return Err(Failed::Unit(format!("{}: {UNREADABLE}{more}", file.display())));
        }
        let mut done = Prepared::default();
        let mut dates: Vec<&str> = Vec::new();
        let lung = self.download == Download::FourDLung;
        let visits: Vec<(&str, Vec<&ArchivedImages>)> = match lung {
            true => {
                let studies = patient.studies.iter();
                studies.map(|study| (study.date.as_str(), study.images.iter().collect())).collect()
            }
            false => vec![("", patient.studies.iter().flat_map(|study| &study.images).collect())],
        };
        // Of the visits with something marked the numbers stay as they are.
        let mut marked = Vec::new();
        let count = visits.len();
        for (number, (date, images)) in (1..).zip(visits) {
            match self.marked(&images).map_err(|reason| in_visit(number, count, &reason))? {
                Some(visit) => marked.push((number, date, visit)),
                None => done.unmarked += 1,
            }
        }
        if marked.is_empty() {
            let reason = "no structure set and no segmentation marks its images";
            return Err(Failed::Unit(match patient.strays.first() {
                Some(stray) => format!("{reason}; {} marks others", stray.display()),
                None => reason.to_owned(),
            }));
        }
        for (number, date, visit) in &marked {
            let folder = if !lung {
                None
            } else if self.options.keep_identifiers && !date.is_empty() {
                let before = dates.iter().filter(|other| *other == date).count();
                let own = clean(date);
                Some(if before > 0 { format!("{own}-{}", before + 1) } else { own })
            } else {
                Some(number.to_string())
            };
            dates.push(date);
            let place = |slice: &str| match &folder {
                Some(folder) => Place::new(out, &Path::new(name).join(folder).join(slice), "png"),
                None => Place::new(out, Path::new(&format!("{name}_{slice}")), "png"),
            };
            let warnings = self.visit(visit, &place, &mut done).map_err(|error| match error {
                Failed::Unit(reason) => in_visit(*number, count, &reason),
                Failed::Write(_) => error,
            })?;
            done.warnings.extend(warnings.iter().map(|warning| of_visit(*number, count, warning)));
        }
        Ok(done)
    }

    /// Writes the slices of a visit on which the object is marked. What is returned is worth knowing of
    /// them.
    fn visit(
        &self,
        visit: &Marked<'_>,
        place: &dyn Fn(&str) -> Place,
        done: &mut Prepared,
    ) -> Result<Vec<String>, Failed> {
        let unit = |error: &dyn std::fmt::Display| Failed::Unit(error.to_string());
        let options = VolumeOptions { window: self.options.window, ..VolumeOptions::default() };
        let volume = Volume::of_files(&visit.images.files, &options).map_err(|e| unit(&e))?;
        let marks = open_masks(visit.file, &volume, Some(&visit.roi), Foreground::AboveZero)
            .map_err(|e| unit(&e))?;
        for (slice, mask) in marks.masks.iter().enumerate() {
            let Some(mask) = mask else { continue };
            let place = place(&format!("{slice:03}"));
            if place.is_there() {
                done.there += 1;
                continue;
            }
            let frame = volume.frame(slice).map_err(|e| unit(&e))?;
            place.make_folders().map_err(Failed::Write)?;
            let written = frame.save_png(&place.image).and_then(|()| mask.save_png(&place.mask));
            written.map_err(|error| Failed::Write(PrepareError::image("", error)))?;
            done.written += 1;
        }
        done.visits += 1;
        Ok(volume.warnings().iter().chain(&marks.warnings).cloned().collect())
    }

    /// The one series of a visit that is wanted and marked; `None` if nothing is marked.
    fn marked<'a>(&self, images: &[&'a ArchivedImages]) -> Result<Option<Marked<'a>>, String> {
        let marked: Vec<&ArchivedImages> =
            images.iter().copied().filter(|images| !images.marks.is_empty()).collect();
        let phase = &self.options.phase;
        // Where there is only one series its name does not matter.
        let called: Vec<&ArchivedImages> = match images.len() {
            1 => marked.clone(),
            _ => marked.iter().copied().filter(|i| phase.matches(&i.description)).collect(),
        };
        if marked.is_empty() {
            return Ok(None);
        }
        let list = |series: &[&ArchivedImages]| match self.options.keep_identifiers {
            true => {
                let names: Vec<&str> = series.iter().map(|i| i.description.as_str()).collect();
                format!(": '{}'", names.join("', '"))
            }
            false => " (--keep-identifiers tells what they are called)".to_owned(),
        };
        if called.is_empty() {
            let list = list(&marked);
            return Err(format!(
                "{} series of a visit are marked, and none is called like --phase '{phase}'{list}",
                marked.len()
            ));
        }
        let mut found = Vec::new();
        for images in &called {
            found.extend(self.object(images)?);
        }
        match (found.len(), found.pop()) {
            (1, found) => Ok(found),
            (0, _) => {
                let objects: Vec<String> = called.iter().map(|images| objects(images)).collect();
                let roi: Vec<String> = self.options.roi.iter().map(|p| p.to_string()).collect();
                let roi = roi.join("', '");
                Err(format!(
                    "{}: marks nothing that is called '{roi}'; choose with --roi: {}",
                    called[0].marks[0].file.display(),
                    objects.join("; ")
                ))
            }
            (count, _) => {
                let list = list(&called);
                Err(format!(
                    "the object is marked on {count} series of a visit that are called like --phase \
                     '{phase}'; choose one{list}"
                ))
            }
        }
    }

    /// The wanted object on a series: of structure sets before segmentations, by the first name that
    /// there is.
    fn object<'a>(&self, images: &'a ArchivedImages) -> Result<Option<Marked<'a>>, String> {
        for contours in [true, false] {
            for pattern in &self.options.roi {
                let marks = images.marks.iter().filter(|marks| marks.contours == contours);
                let mut called = marks.flat_map(|marks| {
                    let objects = marks.objects.iter();
                    objects.filter(|(_, name)| pattern.matches(name)).map(move |o| (marks, o))
                });
                let Some((marks, (number, name))) = called.next() else { continue };
                let file = marks.file.as_path();
                if let Some((other, (_, second))) = called.next() {
                    let place = match other.file == marks.file {
                        true => String::new(),
                        false => format!(" in {}", other.file.display()),
                    };
                    return Err(format!(
                        "{}: '{pattern}' is {name} and {second}{place}; choose with --roi: {}",
                        file.display(),
                        objects(images)
                    ));
                }
                let same = marks.objects.iter().filter(|(_, other)| other == name).count();
                let roi = if same == 1 { name.clone() } else { number.to_string() };
                return Ok(Some(Marked { images, file, roi }));
            }
        }
        Ok(None)
    }
}

const UNREADABLE: &str =
    "not readable as DICOM: it is cut off, damaged, or something else; fetch it again";

/// Why a patient is not prepared.
enum Failed {
    /// With the names of files as they are.
    Unit(String),
    Write(PrepareError),
}

/// A reason that is about one of several visits, counted from 1 in the order of their dates.
fn in_visit(number: usize, count: usize, reason: &str) -> Failed {
    Failed::Unit(of_visit(number, count, reason))
}

fn of_visit(number: usize, count: usize, words: &str) -> String {
    match count {
        1 => words.to_owned(),
        _ => format!("visit {number} of {count}: {words}"),
    }
}

/// Numbers and names of what is marked on a series.
fn objects(images: &ArchivedImages) -> String {
    let all = images.marks.iter().flat_map(|marks| &marks.objects);
    let names: Vec<String> = all.map(|(number, name)| format!("{number} ({name})")).collect();
    names.join(", ")
}

/// A name as a file's name. `_` stands between a patient and a slice.
fn clean(name: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || c == '.' { c } else { '-' };
    name.chars().map(keep).collect::<String>().trim_start_matches('.').to_owned()
}

/// Removes what there is of a patient.
fn clear(out: &Path, name: &str) {
    let start = format!("{name}_");
    for kind in ["images", "masks"] {
        let Ok(entries) = out.join(kind).read_dir() else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let own = path.file_name().unwrap_or_default().to_string_lossy();
            let _ = match path.is_dir() {
                true if own == name => std::fs::remove_dir_all(&path),
                false if own.starts_with(&start) => std::fs::remove_file(&path),
                _ => Ok(()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_hold_no_folders_and_no_underscore() {
        assert_eq!(clean("../LUNG1_001 a/b"), "-LUNG1-001-a-b");
    }
}
