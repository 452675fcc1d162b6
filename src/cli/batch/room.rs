//! How many jobs the memory holds at a time.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use super::list::Job;

/// What the model works with for one job at an input of 1024 x 1024, in bytes; less for smaller inputs.
const WORK: u64 = 300 << 20;
/// What a job takes in any case.
const LEAST: u64 = 60 << 20;
/// Of the memory that is free, what jobs may take.
const SHARE: f64 = 0.85;
/// Folders within folders that are looked into.
const DEPTH: usize = 4;

/// What one job takes besides its input, at an input side of so many pixels.
pub fn work(side: u32) -> u64 {
    LEAST + WORK * u64::from(side).pow(2) / (1024 * 1024)
}

/// About how much memory a job's input and references take while it runs: a volume with its masks, a
/// recording whose frames lie in one DICOM file. A video is read piece by piece.
pub fn held(job: &Job) -> u64 {
    let named = [Some(&job.input), job.reference.as_ref(), job.reference_image.as_ref()];
    named.into_iter().flatten().map(|path| held_of(path, DEPTH)).sum()
}

fn held_of(path: &Path, depth: usize) -> u64 {
    let Ok(data) = std::fs::symlink_metadata(path) else { return 0 };
    if data.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        // Slices are read one by one, their masks are kept.
        return match depth {
            0 => 0,
            _ => entries.map(|entry| held_of(&entry.path(), depth - 1)).sum(),
        };
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let times = match name.rsplit('.').next() {
        // Packed to a third, then 16 bits and a number of 32 a voxel, and the masks.
        Some("gz") => 14,
        Some("nii") => 5,
        Some("mp4" | "mkv" | "mov" | "avi" | "mpg" | "mpeg" | "ts" | "webm" | "m4v") => 0,
        _ => 2,
    };
    data.len() * times
}

/// Memory that jobs share.
pub struct Room {
    whole: u64,
    left: Mutex<u64>,
    given_back: Condvar,
}

impl Room {
    /// Of the bytes that are free; without bounds where nobody knows.
    pub fn new(free: Option<u64>) -> Self {
        let whole = free.map_or(u64::MAX, |free| (free as f64 * SHARE) as u64);
        Self { whole, left: Mutex::new(whole), given_back: Condvar::new() }
    }

    /// How many jobs of so many bytes fit, at least one.
    pub fn fits(&self, each: u64) -> usize {
        usize::try_from(self.whole / each.max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Runs a job once there is room for it, or alone if there never is.
    pub fn run<T>(&self, needed: u64, job: impl FnOnce() -> T) -> T {
        let needed = needed.min(self.whole);
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.given_back.wait_while(left, |left| *left < needed);
        *left.unwrap_or_else(PoisonError::into_inner) -= needed;
        let result = job();
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) += needed;
        self.given_back.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_together_never_need_more_than_there_is() {
        let room = Room::new(Some(1000));
        assert_eq!((room.fits(400), room.fits(5000), room.fits(0)), (2, 1, 850));
        assert_eq!(Room::new(None).fits(1 << 30), (1 << 34) - 1);
        let (taken, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for needed in [400, 300, 500, 2000, 100, 800, 400] {
                let (room, taken, most) = (&room, &taken, &most);
                scope.spawn(move || {
                    room.run(needed, || {
                        // What is too large for all of it goes alone.
                        let needed = needed.min(850);
                        let now = taken.fetch_add(needed, Ordering::SeqCst) + needed;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(20));
                        taken.fetch_sub(needed, Ordering::SeqCst);
                    });
                });
            }
        });
        let most = most.into_inner();
        assert!((800..=850).contains(&most), "{most}");
    }

    #[test]
    fn inputs_count_by_what_is_kept_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, vec![0; bytes]).unwrap();
            path
        };
        write("series/a/1.dcm", 100);
        write("series/2.dcm", 50);
        let job = Job {
            input: folder.path().join("series"),
            output: "out".into(),
            reference: Some(write("mask.nii.gz", 10)),
            reference_image: Some(write("clip.mp4", 9000)),
            ..Job::default()
        };
        assert_eq!(held(&job), 300 + 140);
        assert_eq!(held(&Job { input: "missing".into(), ..Job::default() }), 0);
        assert!(work(512) < work(1024) && work(512) > LEAST);
    }
}
