//! The fixtures of `tests/fixtures/sam` and the published weights, as tests find them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;

use crate::image::{Frame, Mask};
use crate::sam::{Device, DeviceChoice, Sam};

/// A file of the fixtures' folder.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sam").join(name)
}

/// A JSON file of the fixtures.
pub fn json<T: DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(file(name)).expect("the fixture is there");
    serde_json::from_str(&text).expect("the fixture is JSON of that form")
}

/// A picture of the fixtures.
pub fn picture(name: &str) -> Frame {
    Frame::open(&file(&format!("{name}.png"))).expect("the picture is there")
}

/// A mask of its row-major run lengths, the first run background. `size` is height and width.
pub fn mask_of_runs(size: [u32; 2], runs: &[usize]) -> Mask {
    let data = runs.iter().enumerate().flat_map(|(i, &run)| std::iter::repeat_n(i % 2 == 1, run));
    Mask::new(size[1], size[0], data.collect()).expect("the runs fill the picture")
}

/// A file of the weights' folder, if it is there.
pub fn weights(name: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(name)).filter(|p| p.exists())
}

/// MobileSAM's published weights. Only who says so may test without them.
pub fn mobile_weights() -> Option<PathBuf> {
    let path = weights("mobile_sam.pt");
    if path.is_none() {
        let allowed = std::env::var_os("P2SAM_WITHOUT_WEIGHTS").is_some();
        assert!(
            allowed,
            "weights/mobile_sam.pt is missing: `make test` fetches it; P2SAM_WITHOUT_WEIGHTS=1 \
             leaves out what needs it"
        );
        println!("skipped: weights/mobile_sam.pt is missing");
    }
    path
}

/// The CPU.
pub fn cpu() -> Device {
    Device::open(DeviceChoice::Cpu).expect("a CPU always works")
}

/// MobileSAM on the CPU, read once for all tests.
pub fn mobile_sam() -> Option<Arc<Sam>> {
    static MODEL: OnceLock<Option<Arc<Sam>>> = OnceLock::new();
    let read = || {
        let path = mobile_weights()?;
        Some(Arc::new(Sam::load(&path, None, &cpu()).expect("the published weights load")))
    };
    MODEL.get_or_init(read).clone()
}
