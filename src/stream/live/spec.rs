//! Sources and sinks as a user names them.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use gstreamer as gst;

use super::LaunchFile;
use crate::image::Yuv420;
use crate::stream::{ImageSeries, StreamError};

/// What a source may begin with, for messages.
const SOURCES: &str = "a video file, v4l2:/dev/videoN, rtsp://..., srt://..., file:PATH, file:PATH?loop, test:, \
                       test:ball?width=1920&height=1080&fps=50, decklink:N or \
                       launch:FILE.launch?slot=value";

/// Makes the picture of a number, counted from 0; `None` ends the source.
pub type FrameFn = dyn Fn(u64) -> Option<Yuv420> + Send + Sync;

/// Where live pictures come from. `FromStr` reads what a user writes.
#[derive(Clone)]
#[non_exhaustive]
pub enum SourceSpec {
    /// A camera of this machine.
    V4l2 {
        /// Such as `/dev/video0`.
        device: PathBuf,
        /// What it is asked for; the camera's choice where empty.
        mode: Mode,
    },
    /// A network stream, `rtsp://` or `srt://`.
    Uri(String),
    /// A video file, paced as live.
    File {
        /// The file.
        path: PathBuf,
        /// Whether it starts again at its end.
        looped: bool,
    },
    /// Pictures in files: a folder, pattern, list or a single one, paced as live.
    Pictures {
        /// As [`ImageSeries::open`] takes it.
        path: PathBuf,
        /// Pictures a second as a fraction.
        rate: (u32, u32),
        /// Whether they start again at the end.
        looped: bool,
    },
    /// GStreamer's test picture.
    Test {
        /// `videotestsrc`'s pattern, such as `smpte` or `ball`.
        pattern: String,
        /// Size and rate; 1280x720 at 25 where empty.
        mode: Mode,
    },
    /// A Blackmagic DeckLink card.
    Decklink {
        /// Its number, from 0.
        device: u32,
    },
    /// A launch file with its slots filled.
    Launch(LaunchFile),
    /// Pictures that the program makes, paced as live.
    Frames {
        /// Makes a picture.
        make: Arc<FrameFn>,
        /// Pictures a second as a fraction.
        rate: (u32, u32),
    },
}

/// Size and rate, as far as they are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Frames a second as a fraction.
    pub rate: Option<(u32, u32)>,
}

impl SourceSpec {
    /// Its kind in a word that may stand in a log: no path, address or password.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::V4l2 { .. } => "v4l2",
            Self::Uri(uri) if uri.starts_with("srt") => "srt",
            Self::Uri(_) => "rtsp",
            Self::File { .. } => "file",
            Self::Pictures { .. } => "pictures",
            Self::Test { .. } => "test",
            Self::Decklink { .. } => "decklink",
            Self::Launch(_) => "launch",
            Self::Frames { .. } => "frames",
        }
    }

    /// Whether the source's own end is the end of the run.
    pub(super) fn is_finite(&self) -> bool {
        match self {
            Self::File { looped, .. } | Self::Pictures { looped, .. } => !looped,
            Self::Frames { .. } => true,
            _ => false,
        }
    }

    /// Whether a failure is the end of the run: to start anew would show again what was shown. A pipe
    /// shows what comes next.
    pub(super) fn ends_on_failure(&self) -> bool {
        let again = match self {
            Self::Frames { .. } => true,
            Self::File { path, .. } => is_pipe(path),
            _ => false,
        };
        self.is_finite() && !again
    }

    /// `text` without names and addresses that belong in no log.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut secrets: Vec<String> = match self {
            Self::File { path, .. } | Self::Pictures { path, .. } => names_of(path),
            Self::Uri(uri) => address_parts(uri),
            Self::Launch(file) => file.slots().iter().flat_map(|(_, v)| address_parts(v)).collect(),
            _ => Vec::new(),
        };
        // The longest first: one may hold another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "the source"))
    }
}

/// Whether a path names a pipe (FIFO).
pub(super) fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo())
}

/// Every way in which a message may name a file: as it was given, in full, as an address, and its
/// last part alone.
fn names_of(path: &Path) -> Vec<String> {
    let mut names = vec![path.display().to_string()];
    let full = std::path::absolute(path).into_iter().chain(path.canonicalize());
    for full in full {
        names.push(full.display().to_string());
        names.extend(gst::glib::filename_to_uri(&full, None).map(String::from));
    }
    names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    names.retain(|name| name.len() > 2);
    names
}

/// An address as a whole, without its password, and what tells who may see it; nothing of what is no
/// address or path.
fn address_parts(text: &str) -> Vec<String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return if text.contains('/') { names_of(Path::new(text)) } else { Vec::new() };
    };
    let mut parts = vec![text.to_owned()];
    let (place, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if let Some((user, host)) = place.rsplit_once('@') {
        parts.push(format!("{scheme}://{host}{path}"));
        parts.push(user.to_owned());
        parts.extend(user.split(':').map(str::to_owned));
    }
    // Keys and passphrases: srt://...?passphrase=...&streamid=...
    let options = path.split_once('?').map_or("", |(_, options)| options);
    parts.extend(options.split('&').filter_map(|o| Some(o.split_once('=')?.1.to_owned())));
    parts.retain(|part| part.len() > 3);
    parts
}

impl fmt::Debug for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceSpec").field(&self.kind()).finish()
    }
}

impl FromStr for SourceSpec {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        let wrong = |reason: String| StreamError::Source { kind: kind_of(text), reason };
        let Some((kind, rest)) = text.split_once(':') else {
            let reason = format!("there is no such file, nor is it a kind; use one of {SOURCES}");
            return without_kind(text).unwrap_or(Err(reason)).map_err(wrong);
        };
        match kind {
            "v4l2" => {
                let (device, options) = split_options(rest);
                if device.is_empty() {
                    return Err(wrong("name the device, such as v4l2:/dev/video0".into()));
                }
                Ok(Self::V4l2 { device: device.into(), mode: mode(options).map_err(wrong)? })
            }
            "rtsp" | "rtsps" | "srt" => {
                let host = rest.strip_prefix("//").filter(|host| !host.is_empty());
                host.ok_or_else(|| wrong(format!("write it as {kind}://HOST:PORT/...")))?;
                Ok(Self::Uri(text.to_owned()))
            }
            "file" => file(rest).map_err(wrong),
            "test" => {
                let (pattern, options) = split_options(rest);
                let pattern = if pattern.is_empty() { "smpte" } else { pattern };
                let mode = mode(options).map_err(wrong)?;
                Ok(Self::Test { pattern: pattern.to_owned(), mode })
            }
            "decklink" => {
                let device = if rest.is_empty() { Ok(0) } else { rest.parse() };
                let device = device.map_err(|_| wrong("number the card: decklink:0".into()))?;
                Ok(Self::Decklink { device })
            }
            "launch" => {
                let (path, options) = split_options(rest);
                let mut launch = LaunchFile::open(Path::new(path))?;
                for (name, value) in pairs(options) {
                    launch = launch.with(name, value)?;
                }
                Ok(Self::Launch(launch))
            }
            _ => {
                let reason = format!("this kind is unknown; use one of {SOURCES}");
                without_kind(text).unwrap_or(Err(reason)).map_err(wrong)
            }
        }
    }
}

/// A source that is named without its kind: a camera by its number or device, or a file, folder or pattern
/// that is there.
fn without_kind(text: &str) -> Option<Result<SourceSpec, String>> {
    let camera = |device: String, options| {
        mode(options).map(|mode| SourceSpec::V4l2 { device: device.into(), mode })
    };
    let (name, options) = split_options(text);
    if !name.is_empty() && name.len() < 4 && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(camera(format!("/dev/video{name}"), options));
    }
    if name.starts_with("/dev/video") {
        return Some(camera(name.to_owned(), options));
    }
    let is_there = |text: &str| Path::new(text).exists() || ImageSeries::is_series(Path::new(text));
    (is_there(text) || is_there(name)).then(|| file(text))
}

/// Where drawn pictures go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkSpec {
    /// A window on this machine's screen.
    Display,
    /// Nowhere.
    None,
    /// H.264 in MPEG-TS over SRT; without a host it listens.
    Srt(String),
    /// H.264 in MPEG-TS to every TCP client that connects.
    Tcp {
        /// Address to listen at.
        host: String,
        /// Port to listen at.
        port: u16,
    },
}

impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Display => "display",
            Self::None => "none",
            Self::Srt(_) => "srt",
            Self::Tcp { .. } => "tcp",
        })
    }
}

impl FromStr for SinkSpec {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        let wrong = |reason: &str| StreamError::Sink {
            kind: kind_of(text),
            reason: format!(
                "{reason}; use one of display, none, srt://:PORT, srt://HOST:PORT, tcp://HOST:PORT"
            ),
        };
        if let Some(address) = text.strip_prefix("tcp://") {
            let (host, port) =
                address.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
            let port = port.parse().map_err(|_| wrong("the port is no number up to 65535"))?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            return Ok(Self::Tcp { host: host.to_owned(), port });
        }
        if let Some(address) = text.strip_prefix("srt://") {
            let place = address.split(['?', '/']).next().unwrap_or_default();
            let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            port.ok_or_else(|| wrong("the port is missing or no number up to 65535"))?;
            return Ok(Self::Srt(text.to_owned()));
        }
        match text {
            "display" => Ok(Self::Display),
            "none" => Ok(Self::None),
            _ => Err(wrong("this sink is unknown")),
        }
    }
}

/// The kind that `text` begins with, fit for a message: the rest may hold names and passwords.
fn kind_of(text: &str) -> String {
    text.split([':', '/']).next().unwrap_or_default().chars().take(20).collect()
}

/// What stands before and behind the last `?`.
fn split_options(text: &str) -> (&str, &str) {
    text.rsplit_once('?').unwrap_or((text, ""))
}

/// `a=1&b=2` in parts; a name alone has an empty value.
fn pairs(options: &str) -> impl Iterator<Item = (&str, &str)> {
    options.split('&').filter(|pair| !pair.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
}

fn file(rest: &str) -> Result<SourceSpec, String> {
    // A file's name may hold a `?` itself, and so does a pattern.
    let (path, options) = match rest.rsplit_once('?') {
        Some((path, options))
            if pairs(options).all(|(name, _)| ["loop", "fps"].contains(&name)) =>
        {
            (path, options)
        }
        _ => (rest, ""),
    };
    if path.is_empty() {
        return Err("name the file: file:PATH".into());
    }
    let (mut looped, mut rate) = (false, (25, 1));
    for (name, value) in pairs(options) {
        match name {
            "loop" => looped = !["0", "false", "no"].contains(&value),
            _ => rate = parse_rate(value)?,
        }
    }
    let path = PathBuf::from(path);
    if ImageSeries::is_series(&path) {
        return Ok(SourceSpec::Pictures { path, rate, looped });
    }
    Ok(SourceSpec::File { path, looped })
}

fn mode(options: &str) -> Result<Mode, String> {
    let mut mode = Mode::default();
    for (name, value) in pairs(options) {
        let side = || match value.parse() {
            Ok(side @ 16..=8192) => Ok(Some(side)),
            _ => Err(format!("{name} must be 16 to 8192 pixels")),
        };
        match name {
            "width" => mode.width = side()?,
            "height" => mode.height = side()?,
            "fps" => mode.rate = Some(parse_rate(value)?),
            _ => return Err(format!("option `{name}` is unknown; use width, height and fps")),
        }
    }
    Ok(mode)
}

/// `50` or `30000/1001`.
fn parse_rate(text: &str) -> Result<(u32, u32), String> {
    let (num, den) = text.split_once('/').unwrap_or((text, "1"));
    match (num.parse::<u32>(), den.parse::<u32>()) {
        (Ok(n), Ok(d)) if d > 0 && d <= 100_000 && n >= d && n / d <= 240 => Ok((n, d)),
        _ => Err("fps must be 1 to 240, or a fraction such as 30000/1001".into()),
    }
}
