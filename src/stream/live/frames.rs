//! Sources without a pipeline: pictures that a closure makes, and series of picture files.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::attempt::sleep_until;
use super::feed::{Feed, Signal};
use super::spec::FrameFn;
use super::timeline::Pacer;
use crate::image::{Color, Yuv420};
use crate::stream::convert::colorimetry;
use crate::stream::{ImageSeries, SourceOptions, StreamError, periods};

/// Bytes of decoded pictures that are kept, so that a series keeps its rate: 160 of 1080p.
const CACHE: usize = 512 << 20;

/// A picture as a buffer, with its caps.
#[derive(Clone)]
struct Ready {
    buffer: gst::Buffer,
    caps: gst::Caps,
}

pub(super) fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name("live-frames".into()).spawn(run)
}

/// Shows what `make` makes until it returns `None`.
pub(super) fn made(make: &FrameFn, rate: (u32, u32), attempt: u64, feed: &Feed, stop: &AtomicBool) {
    let mut formats = Formats::default();
    let mut pacer = Pacer::default();
    for number in 0.. {
        let picture = match catch_unwind(AssertUnwindSafe(|| make(number))) {
            Ok(Some(picture)) => formats.ready(picture, rate),
            Ok(None) => return feed.signal(attempt, Signal::Eos),
            Err(_) => Err("making a picture panicked".into()),
        };
        match picture {
            Ok(picture) => show(picture, number, rate, attempt, feed, &mut pacer, stop),
            Err(reason) => return feed.signal(attempt, Signal::Failed(reason)),
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Shows a series of picture files. They are decoded before the first is shown if they fit into
/// memory, else as they are shown.
pub(super) fn pictures(
    path: &Path,
    rate: (u32, u32),
    looped: bool,
    attempt: u64,
    feed: &Feed,
    stop: &AtomicBool,
) {
    let failed = |e: StreamError| feed.signal(attempt, Signal::Failed(e.to_string()));
    let options = SourceOptions { image_rate: rate, ..SourceOptions::default() };
    let mut series = match ImageSeries::open(path, &options) {
        Ok(series) => series,
        Err(e) => return failed(e),
    };
    let mut formats = Formats::default();
    let mut cache: Vec<Ready> = Vec::new();
    let mut bytes = 0;
    let mut next = |series: &mut ImageSeries| loop {
        feed.touch();
        match series.next_picture() {
            Ok(Some(picture)) => match formats.ready(Yuv420::from_frame(&picture.frame), rate) {
                Ok(ready) => return Some(ready),
                Err(reason) => feed.signal(attempt, Signal::Warning(reason)),
            },
            Ok(None) => return None,
            // The series goes on behind an unreadable picture. Its path stays out of the log.
            Err(_) => feed.signal(attempt, Signal::Warning("a picture cannot be read".into())),
        }
    };
    let mut whole = false;
    while bytes < CACHE && !whole && !stop.load(Ordering::Relaxed) {
        match next(&mut series) {
            Some(ready) => {
                bytes += ready.buffer.size();
                cache.push(ready);
            }
            None => whole = true,
        }
    }
    if cache.is_empty() {
        return feed.signal(attempt, Signal::Failed("no picture can be read".into()));
    }
    if !whole {
        let text = "the series does not fit into memory and may not hold its rate";
        feed.signal(attempt, Signal::Warning(text.into()));
    }
    let (mut pacer, mut number) = (Pacer::default(), 0);
    let mut show = |ready: Ready| {
        show(ready, number, rate, attempt, feed, &mut pacer, stop);
        number += 1;
        !stop.load(Ordering::Relaxed)
    };
    loop {
        for ready in &cache {
            if !show(ready.clone()) {
                return;
            }
        }
        if !whole {
            // From here on each is decoded when it is shown.
            let mut some = !std::mem::take(&mut cache).is_empty();
            while let Some(ready) = next(&mut series) {
                some = true;
                if !show(ready) {
                    return;
                }
            }
            if !some {
                let reason = "no picture can be read any more".into();
                return feed.signal(attempt, Signal::Failed(reason));
            }
        }
        if !looped {
            return feed.signal(attempt, Signal::Eos);
        }
        if !whole {
            series = match ImageSeries::open(path, &options) {
                Ok(series) => series,
                Err(e) => return failed(e),
            };
        }
    }
}

fn show(
    picture: Ready,
    number: u64,
    rate: (u32, u32),
    attempt: u64,
    feed: &Feed,
    pacer: &mut Pacer,
    stop: &AtomicBool,
) {
    let pts = periods(number, rate);
    // The feed may write into what it is given; what is cached must stay. Copied before it is due,
    // so that this is no part of the picture's delay.
    let Ok(mut buffer) = picture.buffer.copy_deep() else { return };
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_offset(number);
    }
    sleep_until(pacer.due(pts, Instant::now()), stop);
    let pts = gst::ClockTime::from_nseconds(u64::try_from(pts.as_nanos()).unwrap_or(u64::MAX - 1));
    if !stop.load(Ordering::Relaxed) {
        feed.push(attempt, buffer, &picture.caps, Some(pts));
    }
}

/// Makes buffers; remembers the last format's description.
#[derive(Default)]
struct Formats {
    last: Option<((u32, u32, Color), gst_video::VideoInfo, gst::Caps)>,
}

impl Formats {
    fn ready(&mut self, picture: Yuv420, rate: (u32, u32)) -> Result<Ready, String> {
        let key = (picture.width(), picture.height(), picture.color());
        if self.last.as_ref().is_none_or(|(last, ..)| *last != key) {
            let fraction = gst::Fraction::new(rate.0 as i32, rate.1.max(1) as i32);
            let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, key.0, key.1)
                .fps(fraction)
                .par(gst::Fraction::new(1, 1))
                .colorimetry(&colorimetry(key.2))
                .build();
            let info = info.map_err(|e| e.to_string())?;
            let caps = info.to_caps().map_err(|e| e.to_string())?;
            self.last = Some((key, info, caps));
        }
        let Some((_, info, caps)) = &self.last else { return Err("no format".into()) };
        let buffer = buffer(&picture, info)?;
        Ok(Ready { buffer, caps: caps.clone() })
    }
}

/// The planes in rows as GStreamer expects them.
fn buffer(picture: &Yuv420, info: &gst_video::VideoInfo) -> Result<gst::Buffer, String> {
    let widths = [picture.width(), picture.chroma_width(), picture.chroma_width()];
    let mut data = vec![0u8; info.size()];
    let places = info.offset().iter().zip(info.stride());
    for ((plane, width), (offset, stride)) in picture.planes().into_iter().zip(widths).zip(places) {
        let rows = data.get_mut(*offset..).unwrap_or_default();
        let stride = usize::try_from(*stride).map_err(|e| e.to_string())?;
        for (to, from) in rows.chunks_mut(stride.max(1)).zip(plane.chunks(width.max(1) as usize)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
    Ok(gst::Buffer::from_mut_slice(data))
}
