//! Does moving the mask with the picture help, and what does it cost? `P2SAM_DATA=DIR cargo bench
//! --bench motion` plays videos to [`Display`] with a model that returns the true mask of the frame
//! it started on, one period later, and scores what is shown on every frame after the first result.
//! DIR holds `davis2016/{images,masks}/NAME` and `sinus-1080p/images`; what is not there is left
//! out. The synthetic clip is always played.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2sam::live::{Display, DisplaySettings, LiveResult, ObjectResult, Shown, State};
use p2sam::{Foreground, Frame, GreyPicture, Mask, Phantom, PhantomOptions, StageTimes, dice};

type Failure = Box<dyn std::error::Error>;

/// One video: grey pictures and true masks at a rate.
struct Video {
    name: String,
    rate: f64,
    frames: Vec<(GreyPicture, Arc<Mask>)>,
}

fn main() -> Result<(), Failure> {
    let data = std::env::var_os("P2SAM_DATA").map(PathBuf::from);
    let mut videos = Vec::new();
    if let Some(folder) = data.as_ref().map(|data| data.join("davis2016"))
        && folder.is_dir()
    {
        for images in files(&folder.join("images"))? {
            videos.push(davis(&images, &folder.join("masks"))?);
        }
    }
    let everyday = videos.len();
    for seed in [1, 2] {
        videos.push(phantom(seed)?);
    }
    scores(&videos, everyday);
    if let Some(folder) = data.map(|data| data.join("sinus-1080p/images"))
        && folder.is_dir()
    {
        cost(&folder)?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

fn davis(images: &Path, masks: &Path) -> Result<Video, Failure> {
    let name = images.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut frames = Vec::new();
    for image in files(images)? {
        let mask = masks.join(&name).join(image.file_stem().unwrap_or_default());
        let mask = Mask::open(&mask.with_extension("png"), Foreground::default())?;
        frames.push((GreyPicture::of_frame(&Frame::open(&image)?), Arc::new(mask)));
    }
    Ok(Video { name, rate: 24.0, frames })
}

fn phantom(seed: u64) -> Result<Video, Failure> {
    let options = PhantomOptions { seed, frames: 300, ..PhantomOptions::default() };
    let rate = options.frames_per_second;
    let clip = Phantom::new(options)?;
    let mut frames = Vec::new();
    for index in 0..300 {
        let made = clip.render(index)?;
        frames.push((GreyPicture::of_frame(&made.frame), Arc::new(made.mask)));
    }
    Ok(Video { name: format!("phantom-{seed}"), rate, frames })
}

/// Mean Dice and share of frames with a mask, of the frames after the first result.
fn play(video: &Video, period: usize, settings: DisplaySettings) -> [f64; 2] {
    let display = Display::new(settings);
    let pts = |number: usize| Duration::from_secs_f64(number as f64 / video.rate);
    let mut started = 0;
    let (mut sum, mut shown_in, mut counted) = (0.0, 0.0, 0.0);
    for (number, (grey, truth)) in video.frames.iter().enumerate() {
        if number == started + period
            && let Some((_, mask)) = video.frames.get(started)
        {
            let found = mask.area() > 0;
            let object = ObjectResult {
                object: 1,
                state: if found { State::Tracking } else { State::Lost },
                mask: found.then(|| mask.clone()),
                distance: Some(0.0),
                probability: None,
                object_score: None,
                predicted_iou: 1.0,
                stability: 1.0,
            };
            display.result(&LiveResult {
                number: started as u64,
                pts: pts(started),
                objects: vec![object],
                times: StageTimes::default(),
            });
            started = number;
        }
        let shown = display.frame(number as u64, pts(number), grey.clone());
        if number < period {
            continue;
        }
        counted += 1.0;
        let patch = shown.first().and_then(|shown: &Shown| shown.patch.clone());
        shown_in += f64::from(u8::from(patch.is_some()));
        let drawn = patch.and_then(|patch| patch.to_mask(truth.width(), truth.height()));
        sum += match drawn {
            Some(mask) => dice(&mask, truth).unwrap_or(0.0),
            None if truth.area() == 0 => 1.0,
            None => 0.0,
        };
    }
    [sum / counted, shown_in / counted]
}

fn scores(videos: &[Video], everyday: usize) {
    let forever = Duration::MAX;
    let ways = [
        ("held", DisplaySettings { warp: false, age_limit: forever, confirm_limit: forever }),
        ("moved", DisplaySettings { warp: true, age_limit: forever, confirm_limit: forever }),
        ("held, limits", DisplaySettings { warp: false, ..DisplaySettings::default() }),
        ("moved, limits", DisplaySettings::default()),
    ];
    println!("Mean Dice of what is shown (share of frames with a mask)");
    println!(
        "{:22} {:>6}  {:>14} {:>14} {:>14} {:>14}",
        "video", "period", ways[0].0, ways[1].0, ways[2].0, ways[3].0
    );
    for period_ms in [40, 120, 400] {
        let mut rows: Vec<[[f64; 2]; 4]> = Vec::new();
        for video in videos {
            let period = (f64::from(period_ms) * video.rate / 1000.0).round().max(1.0) as usize;
            let row = ways.map(|(_, settings)| play(video, period, settings));
            print(&video.name, period_ms, &row);
            rows.push(row);
        }
        let mean = |name: &str, chosen: Vec<&[[f64; 2]; 4]>| {
            if chosen.is_empty() {
                return;
            }
            let mut sums = [[0.0; 2]; 4];
            for row in &chosen {
                for (sum, value) in sums.as_flattened_mut().iter_mut().zip(row.as_flattened()) {
                    *sum += value / chosen.len() as f64;
                }
            }
            print(name, period_ms, &sums);
        };
        // The limits of trust were chosen on every second video.
        mean("= tuned on", rows.iter().take(everyday).step_by(2).collect());
        mean("= held out", rows.iter().take(everyday).skip(1).step_by(2).collect());
        mean("= phantom", rows.iter().skip(everyday).collect());
    }
}

fn print(name: &str, period: u32, row: &[[f64; 2]; 4]) {
    let cells: Vec<String> =
        row.iter().map(|[dice, shown]| format!("{dice:.3} ({:3.0} %)", shown * 100.0)).collect();
    println!(
        "{name:22} {period:>6}  {:>14} {:>14} {:>14} {:>14}",
        cells[0], cells[1], cells[2], cells[3]
    );
}

/// Time of a frame at 1920 x 1080 in the streaming thread: the grey picture, the motion, the masks.
fn cost(folder: &Path) -> Result<(), Failure> {
    let mut planes = Vec::new();
    for file in files(folder)? {
        let frame = Frame::open(&file)?;
        let luma: Vec<u8> = frame.rgb().chunks_exact(3).map(|p| p[1]).collect();
        planes.push((luma, frame.width(), frame.height()));
    }
    println!("Time a frame, microseconds{:>12} {:>8} {:>8}", "p50", "p99", "shown");
    for (objects, radius) in [(0u8, 0.0), (1, 300.0), (8, 150.0), (8, 300.0)] {
        let (width, height) = planes.first().map_or((0, 0), |(_, width, height)| (*width, *height));
        let found: Vec<ObjectResult> =
            (1..=objects).map(|object| round(object, radius, width, height)).collect();
        let mut times = Vec::new();
        let mut kept = 0;
        for _ in 0..10 {
            let display = Display::new(DisplaySettings::default());
            for (number, (luma, width, height)) in planes.iter().enumerate() {
                let pts = Duration::from_secs_f64(number as f64 / 60.0);
                let start = Instant::now();
                let grey = GreyPicture::of_luma(luma, *width as usize, *width, *height);
                let shown = display.frame(number as u64, pts, grey);
                times.push(start.elapsed().as_secs_f64() * 1e6);
                kept += shown.iter().filter(|shown| shown.patch.is_some()).count();
                if number % 6 == 0 {
                    display.result(&LiveResult {
                        number: number as u64,
                        pts,
                        objects: found.clone(),
                        times: StageTimes::default(),
                    });
                }
            }
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let share = kept as f64 / times.len() as f64;
        println!(
            "{objects} objects of {:3.0} px {:15.0} {:8.0} {share:8.2}",
            radius * 2.0,
            at(0.5),
            at(0.99)
        );
    }
    Ok(())
}

/// A disc of an object.
fn round(object: u8, radius: f64, width: u32, height: u32) -> ObjectResult {
    let (column, row) = (f64::from((object - 1) % 4), f64::from((object - 1) / 4));
    let centre =
        [f64::from(width) * (0.32 + column * 0.12), f64::from(height) * (0.35 + row * 0.3)];
    let on = |x: u32, y: u32| (f64::from(x) - centre[0]).hypot(f64::from(y) - centre[1]) < radius;
    let data = (0..height).flat_map(|y| (0..width).map(move |x| on(x, y))).collect();
    ObjectResult {
        object,
        state: State::Tracking,
        mask: Mask::new(width, height, data).ok().map(Arc::new),
        distance: Some(0.0),
        probability: None,
        object_score: None,
        predicted_iou: 1.0,
        stability: 1.0,
    }
}
