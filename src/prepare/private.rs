use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::series::{Archive, ArchivedPatient};

/// How files and reasons are told without telling whose they are.
#[derive(Debug)]
pub(super) struct Told {
    keep: bool,
    /// Of all patients, in lower case.
    identifiers: BTreeSet<String>,
}

/// Identifiers of fewer letters are looked for as whole words only.
const SHORT: usize = 4;

impl Told {
    pub fn new(archive: &Archive, keep: bool) -> Self {
        let all = archive.patients.iter().flat_map(|patient| &patient.identifiers);
        Self { keep, identifiers: if keep { BTreeSet::new() } else { all.cloned().collect() } }
    }

    /// A file's name without its folders, which are called after patients and dates; or its place in
    /// its folder if the name tells of somebody, too.
    pub fn file(&self, file: &Path) -> String {
        if self.keep {
            return file.display().to_string();
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !self.tells(&name) {
            return format!("…/{name}");
        }
        let entries = file.parent().and_then(|folder| folder.read_dir().ok());
        let mut names: Vec<PathBuf> =
            entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
        names.sort_by(|a, b| alphanumeric_sort::compare_path(a, b));
        let place = names.iter().position(|other| other == file).map_or(0, |place| place + 1);
        format!("…/(file {place} of {} in its folder)", names.len())
    }

    /// A reason with a patient's files as they are.
    pub fn text(&self, text: &str, patient: &ArchivedPatient) -> String {
        if self.keep {
            return text.to_owned();
        }
        let mut files: Vec<(String, &Path)> =
            patient.files().map(|file| (file.display().to_string(), file)).collect();
        // No file's name is the beginning of another one that is still to come.
        files.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut text = text.to_owned();
        for (name, file) in files {
            if text.contains(&name) {
                text = text.replace(&name, &self.file(file));
            }
        }
        // What is left may come from a header, such as the name of an object.
        let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
        let hide = |word: &str| match self.known(word) {
            true => format!("…{}", &word[word.trim_end().len()..]),
            false => word.to_owned(),
        };
        words.into_iter().map(hide).collect()
    }

    /// Whether a text holds what is known of a patient, or what looks like an identifier or a date.
    fn tells(&self, name: &str) -> bool {
        let digits = name.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() >= 8);
        let numbers = name.split(|c: char| !c.is_ascii_digit() && c != '.');
        let uid = numbers.into_iter().any(|run| run.matches('.').count() >= 3);
        digits || uid || self.known(name)
    }

    fn known(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
        self.identifiers.iter().any(|identifier| match identifier.chars().count() < SHORT {
            true => words.contains(identifier.as_str()),
            false => text.contains(identifier.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let identifiers = ["anna", "anna^berg", "berg", "7", "19990909"];
        Told { keep: false, identifiers: identifiers.map(str::to_owned).into() }
    }

    #[test]
    fn names_of_files_are_told_unless_they_tell_of_somebody() {
        let file = |name: &str| told().file(&Path::new("/nowhere/Berg^Anna").join(name));
        for name in ["1-07.dcm", "IM000017", "CT.17.dcm", "slice_1207.dcm"] {
            assert_eq!(file(name), format!("…/{name}"));
        }
        for name in ["Anna.dcm", "1-7.dcm", "ct20030702.dcm", "1.2.840.10.dcm", "CT.1.2.3.4"] {
            assert!(file(name).starts_with("…/(file "), "{name}: {}", file(name));
        }
        let keeping = Told { keep: true, ..told() };
        assert_eq!(keeping.file(Path::new("Berg/1-7.dcm")), "Berg/1-7.dcm");
    }

    #[test]
    fn reasons_lose_folders_and_names() {
        let file = PathBuf::from("/nowhere/Anna/1999/1-02.dcm");
        let patient = ArchivedPatient { unreadable: vec![file.clone()], ..Default::default() };
        let text = format!("{}: cut off; 4 (GTV Anna), 5 (Lung)", file.display());
        assert_eq!(told().text(&text, &patient), "…/1-02.dcm: cut off; 4 (GTV … 5 (Lung)");
    }
}
