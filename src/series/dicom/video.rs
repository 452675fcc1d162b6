//! Videos in DICOM files: one stream of MPEG-2, H.264 or HEVC, bare or in a container, in one fragment
//! or several.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use dicom_object::DicomCollectorOptions;

use crate::quiet::quietly;
use crate::series::SeriesError;
use crate::stream::{Enclosed, Source, SourceOptions, VideoReader};

use super::scan::check_memory;

/// Opens the video of a file that tells `rate` and `frames`.
pub fn open(
    path: &Path,
    rate: Option<(u32, u32)>,
    frames: Option<u64>,
    options: &SourceOptions,
) -> Result<Source, SeriesError> {
    // A fragment is in memory while it is copied, and there may be one only.
    check_memory(path)?;
    let (file, cut) = quietly(|| extract(path))
        .unwrap_or_else(|| Err(SeriesError::file(path, "its video is damaged")))?;
    let enclosed = Enclosed { file, rate, frames, cut };
    let reader = VideoReader::open_enclosed(path, &enclosed, options)?;
    Ok(Source::Video(Box::new(reader)))
}

/// The video in a file of its own without a name, which is gone with this process at the latest, and
/// whether its end is missing.
fn extract(path: &Path) -> Result<(File, bool), SeriesError> {
    let damaged = || SeriesError::file(path, "its video cannot be read: it is cut off or damaged");
    let unwritable = |error: std::io::Error| {
        let folder = std::env::temp_dir();
        let reason = format!(
            "its video cannot be unpacked into {}: {error}; set TMPDIR to a folder with room",
            folder.display()
        );
        SeriesError::file(path, reason)
    };
    let mut file = tempfile::tempfile().map_err(unwritable)?;
    let mut dicom = DicomCollectorOptions::new().open_file(path).map_err(|_| damaged())?;
    // Where frames begin, which the stream itself tells better.
    dicom.read_basic_offset_table(&mut Vec::new()).map_err(|_| damaged())?;
    let (mut bytes, mut cut) = (0, false);
    while !cut {
        let mut fragment = Vec::new();
        let length = match dicom.read_next_fragment(&mut fragment) {
            Ok(None) => break,
            Ok(Some(length)) => Some(length as usize),
            Err(_) => None,
        };
        cut = length != Some(fragment.len());
        file.write_all(&fragment).map_err(unwritable)?;
        bytes += fragment.len();
    }
    if bytes == 0 {
        return Err(damaged());
    }
    file.rewind().map_err(unwritable)?;
    Ok((file, cut))
}
