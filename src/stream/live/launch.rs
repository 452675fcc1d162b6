//! Pipelines from text files.

use std::path::{Path, PathBuf};

use gst::prelude::*;
use gstreamer as gst;

use crate::stream::StreamError;
use crate::stream::elements::{init, internal, package_of};

/// Most bytes of a launch file, and of a slot's value.
const MAX_FILE: u64 = 64 * 1024;
const MAX_VALUE: usize = 1024;

/// A source as a GStreamer launch line in a text file:
///
/// ```text
/// # A camera that sends JPEG.
/// # slot device = /dev/video0
/// v4l2src device={device}
///   ! image/jpeg,width=1920,height=1080
///   ! jpegdec
/// ```
///
/// Lines that start with `#` are comments. `# slot NAME = DEFAULT` declares a slot, and `{NAME}` is
/// replaced by its value; `# paced` holds the frames back to their own rate, for sources that are
/// not live. The line's last element gives the video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchFile {
    path: PathBuf,
    /// Lines of the launch line with their numbers, from 1.
    lines: Vec<(usize, String)>,
    slots: Vec<(String, String)>,
    paced: bool,
}

impl LaunchFile {
    /// Reads a file. Elements are looked up only by [`LaunchFile::check`].
    ///
    /// # Errors
    /// [`StreamError::Open`] if it cannot be read, [`StreamError::Launch`] with the line of a slot
    /// that is malformed or not declared, or if there is no launch line.
    pub fn open(path: &Path) -> Result<Self, StreamError> {
        let open = |reason: String| StreamError::Open { path: path.to_path_buf(), reason };
        let file = std::fs::metadata(path).map_err(|e| open(e.to_string()))?;
        // A pipe or a device could block for ever.
        if !file.is_file() {
            return Err(open("this is no ordinary file".into()));
        }
        let size = file.len();
        if size > MAX_FILE {
            return Err(open(format!("a launch file has at most {MAX_FILE} bytes, not {size}")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| open(e.to_string()))?;
        Self::parse(path, &text)
    }

    /// Reads a launch file's text; `path` is for messages.
    ///
    /// # Errors
    /// As [`LaunchFile::open`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, StreamError> {
        let mut file =
            Self { path: path.to_path_buf(), lines: vec![], slots: vec![], paced: false };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            match line.strip_prefix('#').map(str::trim) {
                None if line.is_empty() => {}
                None => file.lines.push((number, line.to_owned())),
                Some("paced") => file.paced = true,
                Some(comment) => {
                    let Some(slot) = comment.strip_prefix("slot ") else { continue };
                    let named = slot.split_once('=').map(|(n, v)| (n.trim(), v.trim()));
                    let (name, value) = named.filter(|(n, _)| is_name(n)).ok_or_else(|| {
                        file.wrong(number, "write a slot as `# slot name = default`".into())
                    })?;
                    file.slots.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        if file.lines.is_empty() {
            return Err(file.wrong(1, "there is no launch line, only comments".into()));
        }
        file.filled()?;
        Ok(file)
    }

    /// The same with another value for a slot.
    ///
    /// # Errors
    /// [`StreamError::Launch`] if there is no such slot or the value cannot stand there.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, StreamError> {
        let Some(slot) = self.slots.iter_mut().find(|(slot, _)| slot == name) else {
            let known: Vec<&str> = self.slots.iter().map(|(name, _)| name.as_str()).collect();
            let reason = format!("there is no slot `{name}`; it has: {}", known.join(", "));
            return Err(self.wrong(1, reason));
        };
        slot.1 = value.to_owned();
        self.filled()?;
        Ok(self)
    }

    /// The slots and their values.
    pub fn slots(&self) -> &[(String, String)] {
        &self.slots
    }

    /// Whether frames are held back to their own rate.
    pub(super) fn is_paced(&self) -> bool {
        self.paced
    }

    /// Checks that every element exists and every link holds, without opening a device.
    ///
    /// # Errors
    /// [`StreamError::Launch`] with the line, what is wrong and which package to install.
    pub fn check(&self) -> Result<(), StreamError> {
        self.build("fakesink").map(|_| ())
    }

    /// The pipeline with `tail`, a launch line itself, behind its last element.
    pub(super) fn build(&self, tail: &str) -> Result<gst::Pipeline, StreamError> {
        init()?;
        let lines = self.filled()?;
        let whole: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let whole = whole.join(" ");
        let built = parse(&format!("{whole} ! {tail}"));
        let built = built.map_err(|reason| self.locate(&lines, &whole, reason))?;
        built.downcast::<gst::Pipeline>().map_err(|_| internal("a launch line gave no pipeline"))
    }

    /// The line from which on the text no longer parses.
    fn locate(&self, lines: &[(usize, String)], whole: &str, reason: String) -> StreamError {
        let last = lines.last().map_or(1, |(number, _)| *number);
        if parse(whole).is_ok() {
            let end = "the launch line must end in an element that gives video";
            return self.wrong(last, format!("{reason}; {end}"));
        }
        let mut text = String::new();
        for (number, line) in lines {
            text = format!("{text} {line}");
            let upto = text.trim_end().trim_end_matches('!');
            if let Err(reason) = parse(&format!("{upto} ! fakesink")) {
                return self.wrong(*number, reason);
            }
        }
        self.wrong(last, reason)
    }

    /// The lines with the slots' values.
    fn filled(&self) -> Result<Vec<(usize, String)>, StreamError> {
        let mut filled: Vec<(usize, String)> = Vec::new();
        for (number, line) in &self.lines {
            let in_caps = filled.last().is_some_and(|(_, before)| before.ends_with(','));
            let line = self.fill(line, in_caps).map_err(|reason| self.wrong(*number, reason))?;
            filled.push((*number, line));
        }
        Ok(filled)
    }

    fn fill(&self, line: &str, in_caps: bool) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), line);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            // Braces also make lists in caps, `format={ I420, NV12 }`.
            let Some((name, behind)) = after.split_once('}').filter(|(name, _)| is_name(name))
            else {
                out.push('{');
                rest = after;
                continue;
            };
            let value = self.slots.iter().find(|(slot, _)| slot == name).map(|(_, v)| v);
            let value = value.ok_or_else(|| {
                format!("slot {{{name}}} is not declared; add a line `# slot {name} = DEFAULT`")
            })?;
            out.push_str(&quoted(name, value, is_property(&out, in_caps))?);
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn wrong(&self, line: usize, reason: String) -> StreamError {
        StreamError::Launch { path: self.path.clone(), line, reason }
    }
}

/// Whether what follows `before` is the whole value of an element's property: only there do quotes
/// hold a value together. `in_caps` tells that the line before ended within caps.
fn is_property(before: &str, in_caps: bool) -> bool {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (rest, token) = before.split_at(start);
    let in_caps = if rest.trim().is_empty() { in_caps } else { rest.trim_end().ends_with(',') };
    let name = token.strip_suffix('=').unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
    !in_caps && !name.is_empty() && name.chars().all(plain)
}

/// A value as it may stand in a launch line, where it stays one value.
fn quoted(name: &str, value: &str, property: bool) -> Result<String, String> {
    if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
        return Err(format!("the value of {name} is too long or holds control characters"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:+@%-".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return Ok(value.to_owned());
    }
    if !property {
        return Err(format!(
            "the value of {name} may hold letters, digits and _./:+@%- only, as it is no \
             property's value"
        ));
    }
    Ok(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn parse(text: &str) -> Result<gst::Element, String> {
    let mut context = gst::ParseContext::new();
    gst::parse::launch_full(text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS).map_err(|e| {
        let missing = e.matches(gst::ParseError::NoSuchElement);
        let missing = context.missing_elements().into_iter().find(|_| missing);
        let Some(element) = missing else {
            return match e.message() {
                "syntax error" => {
                    "syntax error; elements are joined by ` ! `, properties are name=value".into()
                }
                message => message.trim_end_matches('.').to_owned(),
            };
        };
        let advice = match package_of(&element) {
            Some(package) => format!("on Debian and Ubuntu install {package}"),
            None => {
                "check its name, or find its package with `apt-cache search gstreamer1.0`".into()
            }
        };
        format!("GStreamer has no element `{element}`; {advice}")
    })
}
