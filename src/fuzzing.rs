//! The corpora of the fuzz targets in the ordinary tests: each file, and altered copies of it, is read
//! within bounds of memory and of processor time.

use std::path::{Path, PathBuf};
use std::process::Command;

use rand_mt::Mt64;
use rustix::process::{Resource, Rlimit, setrlimit};

#[path = "../fuzz/src/targets.rs"]
mod targets;

/// Names the target that the inner test runs.
const TARGET: &str = "P2SAM_TEST_FUZZ_TARGET";

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 8] = [
    ("pickle", targets::pickle),
    ("safetensors", targets::safetensors),
    ("nifti", targets::nifti),
    ("dicom", targets::dicom),
    ("launch", targets::launch),
    ("http", targets::http),
    ("jobs", targets::jobs),
    ("coco", targets::coco),
];

/// Address space of a target's process: what threads reserve, and a gigabyte.
const MEMORY: u64 = 4 << 30;

/// Seconds of processor time of a target's process.
const SECONDS: u64 = 120;

/// Altered copies of each file.
const COPIES: usize = 60;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("a corpus");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

/// Bytes changed, cut off, put in or repeated.
fn altered(whole: &[u8], random: &mut Mt64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let mut below = |most: usize| (random.next_u64() % most.max(1) as u64) as usize;
    for _ in 0..1 + below(3) {
        let at = below(bytes.len());
        match below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, below(256) as u8),
            2 => {
                let part: Vec<u8> = bytes.iter().skip(at).take(below(40)).copied().collect();
                let to = below(bytes.len());
                bytes.splice(to..to, part);
            }
            3 => {
                // A length or a count that is anything.
                let number = [0, 1, u32::MAX, 1 << 31, below(1 << 24) as u32][below(5)];
                let end = bytes.len().min(at + 4);
                bytes.splice(at..end, number.to_le_bytes());
            }
            4 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << below(8)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = below(256) as u8),
        }
    }
    bytes
}

/// The inner test: runs in a process of its own, whose bounds end it. Without a target it has nothing to
/// do.
#[test]
fn reads_a_corpus() {
    let Some(name) = std::env::var_os(TARGET) else { return };
    let bound = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::As, bound(MEMORY)).expect("a bound of memory");
    setrlimit(Resource::Cpu, bound(SECONDS)).expect("a bound of time");
    let (name, run) = TARGETS.into_iter().find(|(target, _)| name == *target).expect("a target");
    let mut random = Mt64::new(17);
    for path in corpus(name) {
        let whole = std::fs::read(&path).expect("readable");
        println!("{}", path.display());
        run(&whole);
        for _ in 0..COPIES {
            run(&altered(&whole, &mut random));
        }
    }
}

#[test]
fn corpora_are_read_within_bounds() {
    let module = module_path!().split_once("::").map_or("", |(_, path)| path);
    for (name, _) in TARGETS {
        assert!((5..=20).contains(&corpus(name).len()), "{name}: a small corpus");
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args([&format!("{module}::reads_a_corpus"), "--exact", "--nocapture"])
            .env(TARGET, name)
            .output()
            .expect("this program runs");
        let [said, noise] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{name}: {}: {said}{noise}", output.status);
        assert!(!noise.contains("panicked"), "{name}: {noise}");
        let files = said.lines().filter(|line| line.contains("fuzz/corpus/")).count();
        assert_eq!(files, corpus(name).len(), "{name}: {said}");
    }
}
