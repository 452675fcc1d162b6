//! Recipes: what a run is made of, in a file that can be given to others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DataSet, FinetuneError, FinetuneOptions, Split, Validation};
use crate::dataset::{images_of, pairs};
use crate::image::Foreground;

/// A recipe file (TOML). What its `training` leaves out is as published.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Weights to start from: a name of the catalog or a file, unless the command says otherwise.
    pub weights: Option<String>,
    /// The data sets.
    #[serde(default)]
    pub data: Vec<RecipeData>,
    /// File of the names of images held out, one a line, beside the recipe.
    pub held_out: Option<PathBuf>,
    /// File of lines `name,patient`, beside the recipe.
    pub patients: Option<PathBuf>,
    /// The settings.
    #[serde(default)]
    pub training: FinetuneOptions,
}

/// A data set of a recipe.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeData {
    /// Its folder below the one that holds all data sets.
    pub folder: String,
    /// Whether it holds images alone, none of which shows the object.
    #[serde(default)]
    pub absent: bool,
    /// Names that begin so are left out.
    #[serde(default)]
    pub without: Vec<String>,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// [`FinetuneError::File`] with the line that cannot be read.
    pub fn open(path: &Path) -> Result<Self, FinetuneError> {
        let text = std::fs::read_to_string(path).map_err(|e| FinetuneError::file(path, e))?;
        let mut recipe: Self = toml::from_str(&text).map_err(|e| FinetuneError::file(path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [&mut recipe.held_out, &mut recipe.patients].into_iter().flatten() {
            *file = folder.join(&*file);
        }
        Ok(recipe)
    }

    /// The data sets below a folder.
    ///
    /// # Errors
    /// [`FinetuneError::Data`].
    pub fn data(&self, root: &Path, foreground: Foreground) -> Result<Vec<DataSet>, FinetuneError> {
        self.data.iter().map(|data| data.read(root, foreground)).collect()
    }
}

impl RecipeData {
    fn read(&self, root: &Path, foreground: Foreground) -> Result<DataSet, FinetuneError> {
        let folder = root.join(&self.folder);
        let mut set = if self.absent {
            DataSet::without_object(&folder)?
        } else {
            DataSet::annotated(&folder, foreground)?
        };
        set.name.clone_from(&self.folder);
        set.samples.retain(|sample| !self.without.iter().any(|out| sample.name.starts_with(out)));
        Ok(set)
    }
}

impl DataSet {
    /// The annotated images of a folder, in any of the known layouts.
    ///
    /// # Errors
    /// [`FinetuneError::Data`].
    pub fn annotated(folder: &Path, foreground: Foreground) -> Result<Self, FinetuneError> {
        let samples = pairs(folder, foreground)?;
        Ok(Self { name: name_of(folder), samples, absent: Vec::new() })
    }

    /// A folder of images that do not show the object, or one that has them in `images`.
    ///
    /// # Errors
    /// [`FinetuneError::Data`].
    pub fn without_object(folder: &Path) -> Result<Self, FinetuneError> {
        let below = folder.join("images");
        let absent = images_of(if below.is_dir() { &below } else { folder })?;
        Ok(Self { name: name_of(folder), samples: Vec::new(), absent })
    }
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

impl Split {
    /// Reads which images are held out, one name a line.
    ///
    /// # Errors
    /// [`FinetuneError::File`].
    pub fn named(path: &Path) -> Result<Validation, FinetuneError> {
        let text = std::fs::read_to_string(path).map_err(|e| FinetuneError::file(path, e))?;
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Validation::Names(names.map(str::to_owned).collect()))
    }

    /// Reads patients, a line `name,patient` each.
    ///
    /// # Errors
    /// [`FinetuneError::File`] with a line of another form, or one that names an image again.
    pub fn patients(path: &Path) -> Result<BTreeMap<String, String>, FinetuneError> {
        let text = std::fs::read_to_string(path).map_err(|e| FinetuneError::file(path, e))?;
        let mut patients = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let fail = |what: &str| FinetuneError::file(path, format!("line {number}: {what}"));
            let (name, patient) =
                line.split_once(',').ok_or_else(|| fail("expected `name,patient`"))?;
            let (name, patient) = (name.trim().to_owned(), patient.trim().to_owned());
            if patients.insert(name.clone(), patient).is_some() {
                return Err(fail(&format!("'{name}' is there twice")));
            }
        }
        Ok(patients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<Recipe, FinetuneError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).expect("written");
        Recipe::open(&path)
    }

    #[test]
    fn a_recipe_says_what_differs_from_the_published_one() {
        let recipe = open(
            "weights = \"polyp\"\nheld-out = \"list.txt\"\n[[data]]\nfolder = \"a\"\n\
             [[data]]\nfolder = \"b\"\nabsent = true\n[training]\ninput-side = 512\nabsent-share = 0.2\n\
             augment = \"scopes\"",
        )
        .expect("a recipe");
        assert_eq!(recipe.data.len(), 2);
        assert!(recipe.data[1].absent && recipe.held_out.expect("a list").ends_with("list.txt"));
        let options = recipe.training;
        assert_eq!((options.input_side, options.passes, options.absent_share), (512, 11, 0.2));
    }

    #[test]
    fn what_no_recipe_says_is_refused_by_its_name() {
        let error = open("[training]\nabsent-shares = 0.2").expect_err("unknown").to_string();
        assert!(error.contains("absent-shares") && error.contains("recipe.toml"), "{error}");
        let error = open("[training]\naugment = \"wild\"").expect_err("unknown").to_string();
        assert!(error.contains("wild"), "{error}");
    }

    #[test]
    fn patients_are_read_line_by_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("patients.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            Split::patients(&path)
        };
        assert_eq!(read("a,1\nb,1\n").expect("two").len(), 2);
        let error = read("a,1\nb\n").expect_err("a line without").to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(read("a,1\na,2\n").expect_err("twice").to_string().contains("'a'"));
    }
}
