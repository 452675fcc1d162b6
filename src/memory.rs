//! How much memory there is.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes of memory that this process may still take: what the machine has free, or less where a control
/// group (a container, a Slurm job) allows less. `None` where the system does not tell.
pub fn free_memory() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups.lines().flat_map(|line| left_in(Path::new("/sys/fs/cgroup"), line));
    of_machine().into_iter().chain(groups).min()
}

/// Most bytes that this process has held in memory at a time, where the system tells.
pub fn peak_memory() -> Option<u64> {
    kibibytes(&read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

fn of_machine() -> Option<u64> {
    kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What a control group and those around it leave, of a line of /proc/self/cgroup: `0::/path` of
/// version 2, `4:memory:/path` of version 1. Within a container the path may be the one outside it,
/// and the container's own group is the root.
fn left_in(root: &Path, line: &str) -> Vec<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(kind), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, [limit, used]) = match kind {
        "" => (root.to_path_buf(), ["memory.max", "memory.current"]),
        kind if kind.split(',').any(|kind| kind == "memory") => {
            (root.join("memory"), ["memory.limit_in_bytes", "memory.usage_in_bytes"])
        }
        _ => return Vec::new(),
    };
    let folder = root.join(group.trim_start_matches('/'));
    let folders = folder.ancestors().take_while(|folder| folder.starts_with(&root));
    let left = |folder: &Path| {
        let number = |file: PathBuf| read_to_string(file).ok()?.trim().parse::<u64>().ok();
        // `max` is no number.
        let limit = number(folder.join(limit))?;
        // Pages of files are given back when memory is needed.
        let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cache = ["total_inactive_file ", "inactive_file "]
            .iter()
            .find_map(|name| stat.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()));
        let used = number(folder.join(used))?.saturating_sub(cache.unwrap_or(0));
        Some(limit.saturating_sub(used))
    };
    folders.filter_map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("job/memory.max", "1000\n");
        write("job/memory.current", "400\n");
        write("job/memory.stat", "anon 1\ninactive_file 100\n");
        write("job/step/memory.max", "max\n");
        write("job/step/memory.current", "300\n");
        assert_eq!(left_in(root.path(), "0::/job/step"), [700]);
        write("memory/a/memory.limit_in_bytes", "5000");
        write("memory/a/memory.usage_in_bytes", "5001");
        write("memory/memory.limit_in_bytes", "9000");
        write("memory/memory.usage_in_bytes", "1000");
        assert_eq!(left_in(root.path(), "4:cpu,memory:/a"), [0, 8000]);
        // Where there is no such group, as within a container, its own is the root.
        assert_eq!(left_in(root.path(), "4:memory:/outside"), [8000]);
        assert!(left_in(root.path(), "3:cpuset:/a").is_empty());
        assert!(left_in(root.path(), "nonsense").is_empty());
    }

    #[test]
    fn this_machine_tells() {
        let (free, peak) = (free_memory().unwrap(), peak_memory().unwrap());
        assert!(free > 1 << 20 && peak > 1 << 20, "{free} {peak}");
    }
}
