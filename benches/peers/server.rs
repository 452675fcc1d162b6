//! Our side of `make peers`: a process that stays warm and does one timed thing for each line of JSON
//! on its input. `benches/peers/peers.py` drives it, in turns with the other side.
//!
//! Every reply is one line, with `milliseconds` for the timed part alone: pictures are read, and
//! encoded where the command is not about that, before the clock starts, once a picture. `save` names
//! a file for the result: numbers as little-endian 32-bit floats, masks as PNG.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use p2sam::{
    Annotation, Device, DeviceChoice, EMBEDDING_DIM, Foreground, Frame, Input, MaskOutput,
    MethodConfig, PointPrompt, Prompt, Reference, Sam, Tracker, View, nearest,
};
use serde::Deserialize;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    /// The image encoder on a picture that lies scaled and normalised; saves `[patches][256]`.
    Encode { picture: PathBuf, save: Option<PathBuf> },
    /// One decoder pass with points; saves the logits.
    Pass { picture: PathBuf, points: Vec<PointPrompt>, save: Option<PathBuf> },
    /// The annotated picture for the two below, whose settings are the published ones.
    Reference { picture: PathBuf, mask: PathBuf },
    /// All candidates' decoder passes on a picture that is encoded.
    Passes { picture: PathBuf },
    /// A whole frame, from its pixels to the mask at its size; saves that.
    Frame { picture: PathBuf, save: Option<PathBuf> },
    /// The nearest of some sets of the pool's vectors (by number) to the reference's vectors.
    Retrieval { reference: PathBuf, pool: PathBuf, candidates: Vec<Vec<u32>> },
}

/// A picture, with all that commands may ask to be there when the clock starts.
struct Seen {
    frame: Frame,
    input: Input,
    view: View,
}

struct Server {
    sam: Arc<Sam>,
    tracker: Option<Tracker>,
    seen: HashMap<PathBuf, Seen>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let weights = arguments.next().ok_or("usage: peers WEIGHTS [DEVICE]")?;
    let choice = arguments.next().map_or(Ok(DeviceChoice::Cpu), |name| name.parse())?;
    let device = Device::open(choice)?;
    let sam = Arc::new(Sam::load(Path::new(&weights), None, &device)?);
    let mut server = Server { sam, tracker: None, seen: HashMap::new() };
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let reply = match server.answer(&line?) {
            Ok(reply) => reply,
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(output, "{reply}")?;
        output.flush()?;
    }
    Ok(())
}

impl Server {
    fn answer(&mut self, line: &str) -> Result<Value, Failure> {
        match serde_json::from_str(line)? {
            Command::Encode { picture, save } => {
                let (sam, seen) = (self.sam.clone(), self.see(picture)?);
                let input = seen.input.clone();
                let start = Instant::now();
                let features = sam.encode_input(input)?.patches()?;
                let took = milliseconds(start);
                save_numbers(save, &features)?;
                Ok(json!({ "milliseconds": took }))
            }
            Command::Pass { picture, points, save } => {
                let (sam, seen) = (self.sam.clone(), self.see(picture)?);
                let prompt = Prompt { points: &points, ..Prompt::default() };
                let start = Instant::now();
                let masks = sam.predict(seen.view.embedding(), &prompt, MaskOutput::Single)?;
                let took = milliseconds(start);
                save_numbers(save, masks.first().ok_or("no mask")?.logits.values())?;
                Ok(json!({ "milliseconds": took }))
            }
            Command::Reference { picture, mask } => {
                let config = MethodConfig::default();
                let annotation = Annotation::open(&mask, Foreground::default())?;
                let start = Instant::now();
                let frame = Frame::open(&picture)?;
                let reference = Reference::new(&self.sam, &frame, &annotation, &config)?;
                let (took, patches) = (milliseconds(start), reference.patch_count());
                self.tracker = Some(Tracker::new(self.sam.clone(), reference, config)?);
                Ok(json!({ "milliseconds": took, "patches": patches }))
            }
            Command::Passes { picture } => {
                self.see(picture.clone())?;
                let view = &self.seen[&picture].view;
                let tracker = self.tracker.as_mut().ok_or("no reference yet")?;
                let track = tracker.step_in(view, None)?;
                // The tracker's own clock: its other stages are not of this comparison.
                let took = track.times.decode().as_secs_f64() * 1e3;
                Ok(json!({
                    "milliseconds": took,
                    "candidates": track.candidates,
                    "n": track.n,
                    "points": track.points,
                    "distance": track.distance,
                }))
            }
            Command::Frame { picture, save } => {
                self.see(picture.clone())?;
                let frame = &self.seen[&picture].frame;
                let tracker = self.tracker.as_mut().ok_or("no reference yet")?;
                let start = Instant::now();
                let track = tracker.step(frame)?;
                let took = milliseconds(start);
                if let Some(path) = save {
                    track.mask.save_png(&path)?;
                }
                Ok(json!({ "milliseconds": took, "n": track.n, "distance": track.distance }))
            }
            Command::Retrieval { reference, pool, candidates } => {
                let (reference, pool) = (numbers(&reference)?, numbers(&pool)?);
                let start = Instant::now();
                let found = nearest(&reference, &pool, EMBEDDING_DIM, &candidates);
                let took = milliseconds(start);
                let found = found.ok_or("nothing to choose from")?;
                Ok(json!({
                    "milliseconds": took,
                    "index": found.index,
                    "distance": found.distance,
                }))
            }
        }
    }

    fn see(&mut self, picture: PathBuf) -> Result<&Seen, Failure> {
        if !self.seen.contains_key(&picture) {
            let frame = Frame::open(&picture)?;
            let input = self.sam.upload(self.sam.preprocess(&frame))?;
            let view = View::new(&self.sam, &frame)?;
            self.seen.insert(picture.clone(), Seen { frame, input, view });
        }
        Ok(&self.seen[&picture])
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn numbers(path: &Path) -> Result<Vec<f32>, Failure> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

fn save_numbers(path: Option<PathBuf>, values: &[f32]) -> Result<(), Failure> {
    if let Some(path) = path {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
