//! Readers of annotated pictures. They know nothing of models.

mod files;
mod kind;
mod layout;
mod sequence;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::image::{Annotation, Foreground, Frame, ImageError};

pub use files::images_of;
pub use kind::{Dataset, from_the_middle, pairs};
pub use layout::has_layout;
pub use sequence::{Sequence, Target, check};

/// A picture and the mask of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The picture's name within its data set.
    pub name: String,
    /// The picture file.
    pub image: PathBuf,
    /// The mask file.
    pub mask: PathBuf,
    /// Which of the mask's pixels are the object.
    pub foreground: Foreground,
}

/// What is wrong with a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A folder cannot be listed.
    #[error("cannot list {}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The folder is laid out in another way.
    #[error("{}: {reason}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What was expected and what to do.
        reason: String,
    },
    /// Everything that is wrong with single pictures, all at once.
    #[error("{}: {}", path.display(), listed(problems))]
    Samples {
        /// The data set's folder.
        path: PathBuf,
        /// One line a picture.
        problems: Vec<String>,
    },
    /// Not one of the names in [`Dataset::ALL`].
    #[error("unknown data set '{name}'; known are {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// What can be given.
        known: String,
    },
    /// A picture or a mask cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Sample {
    /// Reads the picture and its mask.
    ///
    /// # Errors
    /// [`DatasetError::Image`] with the file's name; [`DatasetError::Samples`] if their sizes differ.
    pub fn read(&self) -> Result<(Frame, Annotation), DatasetError> {
        let frame = Frame::open(&self.image)?;
        let mask = Annotation::open(&self.mask, self.foreground)?;
        let (picture, annotated) = ((frame.width(), frame.height()), (mask.width(), mask.height()));
        if picture == annotated {
            return Ok((frame, mask));
        }
        let problem = format!(
            "the mask is {} x {} pixels and the picture {} x {}",
            annotated.0, annotated.1, picture.0, picture.1
        );
        Err(DatasetError::Samples { path: self.mask.clone(), problems: vec![problem] })
    }
}

/// How many lines of a list of problems an error message holds.
const MOST_LISTED: usize = 50;

fn listed(problems: &[String]) -> String {
    if let [only] = problems {
        return only.clone();
    }
    let mut text = format!("{} problems", problems.len());
    for problem in problems.iter().take(MOST_LISTED) {
        let _ = write!(text, "\n  {problem}");
    }
    if problems.len() > MOST_LISTED {
        let _ = write!(text, "\n  and {} more", problems.len() - MOST_LISTED);
    }
    text
}
