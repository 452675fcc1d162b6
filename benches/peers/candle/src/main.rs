//! candle's side of `make peers`: its MobileSAM's image encoder on a picture that is already scaled,
//! once for each line of JSON on its input. A reply is a line with `milliseconds`; `save` names a file
//! for the features, `[patches][256]` as little-endian 32-bit floats.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::segment_anything::sam::Sam;
use serde::Deserialize;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    /// `scaled` holds 8-bit RGB, row by row.
    Encode { scaled: PathBuf, width: usize, height: usize, save: Option<PathBuf> },
}

fn main() -> Result<(), Failure> {
    let weights = std::env::args().nth(1).ok_or("usage: candle-peer WEIGHTS")?;
    let sam = Sam::new_tiny(VarBuilder::from_pth(weights, DType::F32, &Device::Cpu)?)?;
    let mut pictures = HashMap::new();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let reply = answer(&sam, &mut pictures, &line?)
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(output, "{reply}")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(
    sam: &Sam,
    pictures: &mut HashMap<PathBuf, Tensor>,
    line: &str,
) -> Result<Value, Failure> {
    let Command::Encode { scaled, width, height, save } = serde_json::from_str(line)?;
    if !pictures.contains_key(&scaled) {
        let pixels = Tensor::from_vec(std::fs::read(&scaled)?, (height, width, 3), &Device::Cpu)?;
        pictures.insert(scaled.clone(), pixels.permute((2, 0, 1))?.contiguous()?);
    }
    let start = Instant::now();
    let features = sam.embeddings(&pictures[&scaled])?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if let Some(path) = save {
        let features = features.flatten_from(2)?.squeeze(0)?.t()?.contiguous()?;
        let values = features.flatten_all()?.to_vec1::<f32>()?;
        std::fs::write(path, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    Ok(json!({ "milliseconds": took }))
}
