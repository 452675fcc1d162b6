use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine that something was measured on, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Those of its instruction sets that numerical code uses.
    pub cpu_flags: Vec<String>,
    /// Processors that this program may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// GPUs: name and driver's version.
    pub gpus: Vec<String>,
    /// The system's name and its kernel's version.
    pub system: String,
    /// Versions of the libraries that matter, as built.
    pub libraries: Vec<String>,
    /// Whether the program was built without optimisation, which makes its times worthless.
    pub unoptimised: bool,
}

/// Flags that numerical code uses.
const FLAGS: [&str; 8] =
    ["sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16"];
/// Libraries that do the work.
const LIBRARIES: [&str; 6] = ["burn", "burn-flex", "cubecl", "gemm", "gstreamer", "rayon"];

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let flags = field(&cpus, "flags").unwrap_or_default();
        let has = |flag: &&&str| flags.split_whitespace().any(|known| known == **flag);
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kilobytes = memory.split_whitespace().next().and_then(|number| number.parse().ok());
        let name = field_of_release(&read("/etc/os-release"));
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            cpu: field(&cpus, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpu_flags: FLAGS.iter().filter(has).map(|flag| (*flag).to_owned()).collect(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kilobytes.unwrap_or(0_u64) * 1024,
            gpus: gpus(),
            system: format!("{name}, kernel {}", kernel.trim()),
            libraries: libraries(include_str!("../../Cargo.lock")),
            unoptimised: cfg!(debug_assertions),
        }
    }
}

fn field_of_release(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}

fn gpus() -> Vec<String> {
    let arguments = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
    let Ok(output) = Command::new("nvidia-smi").args(arguments).output() else { return Vec::new() };
    if !output.status.success() {
        return Vec::new();
    }
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

/// Name and version of each of [`LIBRARIES`] that a lock file holds.
fn libraries(lock: &str) -> Vec<String> {
    let quoted = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?;
        Some(value.to_owned())
    };
    let mut found = Vec::new();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let Some(name) = quoted(line, "name").filter(|name| LIBRARIES.contains(&name.as_str()))
        else {
            continue;
        };
        if let Some(version) = lines.next().and_then(|line| quoted(line, "version")) {
            found.push(format!("{name} {version}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_what_it_is() {
        let machine = Machine::this();
        assert!(!machine.cpu.is_empty() && machine.cores > 0 && machine.memory > 1 << 20);
        let named = |name: &str| machine.libraries.iter().any(|library| library.starts_with(name));
        assert!(named("burn 0.") && named("gemm "), "{:?}", machine.libraries);
    }
}
