//! Where weights may lie: with the program, in the user's data folder, where the user says. Never in the
//! current folder, which may be anybody's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A folder that is searched for weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsFolder {
    /// The folder, which need not be there.
    pub path: PathBuf,
    /// Whose it is.
    pub kind: FolderKind,
}

/// Why a folder is searched for weights, in the order in which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderKind {
    /// `../share/p2sam/weights` from the program's folder.
    Installed,
    /// `weights` of the source tree in whose `target` the program lies.
    SourceTree,
    /// `p2sam/weights` in the user's data folder.
    UserData,
    /// What `P2SAM_WEIGHTS` names.
    Variable,
}

impl FolderKind {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Installed => "installed with the program",
            Self::SourceTree => "of the source tree",
            Self::UserData => "user's data folder",
            Self::Variable => "P2SAM_WEIGHTS",
        }
    }
}

/// A variable of the environment that is set and not empty, as a path.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folders that are searched for weights, in this order.
pub fn weights_folders() -> Vec<WeightsFolder> {
    let program = std::env::current_exe().ok();
    folders(program.as_deref(), |name| std::env::var_os(name))
}

/// The folder that fetched weights are put into: `P2SAM_WEIGHTS` if it is set, in a source tree its
/// `weights`, and else the user's data folder.
pub fn weights_folder() -> PathBuf {
    destination(weights_folders())
}

fn destination(folders: Vec<WeightsFolder>) -> PathBuf {
    let of = |kind| folders.iter().find(|folder| folder.kind == kind);
    of(FolderKind::Variable)
        .or_else(|| of(FolderKind::SourceTree))
        .or_else(|| of(FolderKind::UserData))
        .or_else(|| of(FolderKind::Installed))
        .map_or_else(|| PathBuf::from("weights"), |folder| folder.path.clone())
}

fn folders(
    program: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<WeightsFolder> {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut all = Vec::new();
    let mut add = |kind, path| all.push(WeightsFolder { path, kind });
    if let Some(prefix) = program.and_then(Path::parent).and_then(Path::parent) {
        add(FolderKind::Installed, prefix.join("share/p2sam/weights"));
    }
    // A development build: TREE/target/release/p2sam, TREE/target/debug/deps/p2sam-0123456789abcdef.
    let mut above = program.map(Path::ancestors).into_iter().flatten();
    let target = above.find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    if let Some(weights) = target.and_then(Path::parent).map(|tree| tree.join("weights"))
        && weights.join("catalog.toml").is_file()
    {
        add(FolderKind::SourceTree, weights);
    }
    let data = set("XDG_DATA_HOME").filter(|folder| folder.is_absolute());
    if let Some(data) = data.or_else(|| set("HOME").map(|home| home.join(".local/share"))) {
        add(FolderKind::UserData, data.join("p2sam/weights"));
    }
    if let Some(folder) = set("P2SAM_WEIGHTS") {
        add(FolderKind::Variable, folder);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(program: &str, set: &[(&str, &str)]) -> Vec<(FolderKind, String)> {
        let variable = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let folders = folders(Some(Path::new(program)), variable);
        folders.into_iter().map(|f| (f.kind, f.path.display().to_string())).collect()
    }

    #[test]
    fn an_installed_program_looks_beside_itself_first() {
        let set = [("HOME", "/home/a"), ("P2SAM_WEIGHTS", "mine")];
        let expected = [
            (FolderKind::Installed, "/opt/p2sam/share/p2sam/weights"),
            (FolderKind::UserData, "/home/a/.local/share/p2sam/weights"),
            (FolderKind::Variable, "mine"),
        ]
        .map(|(kind, path)| (kind, path.to_owned()));
        assert_eq!(found("/opt/p2sam/bin/p2sam", &set), expected);
        // The specification of such variables has relative ones ignored.
        let set = [("XDG_DATA_HOME", "data"), ("HOME", "/home/a"), ("P2SAM_WEIGHTS", "")];
        assert_eq!(found("/opt/p2sam/bin/p2sam", &set), expected[..2]);
    }

    #[test]
    fn a_development_build_looks_into_its_own_tree() {
        let tree = tempfile::tempdir().expect("a temporary folder");
        let weights = tree.path().join("weights");
        std::fs::create_dir(&weights).expect("writable");
        let kinds = |program: &str| {
            let program = tree.path().join(program);
            let all = found(program.to_str().expect("text"), &[("HOME", "/home/a")]);
            all.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
        };
        let programs = ["target/release/p2sam", "target/debug/deps/p2sam-0123"];
        for program in programs {
            assert!(!kinds(program).contains(&FolderKind::SourceTree), "no catalog is there");
        }
        std::fs::write(weights.join("catalog.toml"), "").expect("writable");
        for program in programs {
            assert_eq!(kinds(program)[1], FolderKind::SourceTree, "{program}");
        }
        assert!(!kinds("bin/p2sam").contains(&FolderKind::SourceTree));
    }

    #[test]
    fn fetched_weights_go_where_the_user_says_and_else_never_beside_an_installed_program() {
        let folder = |kind, path: &str| WeightsFolder { path: path.into(), kind };
        let installed = folder(FolderKind::Installed, "/usr/share/p2sam/weights");
        let data = folder(FolderKind::UserData, "/home/a/.local/share/p2sam/weights");
        let own = folder(FolderKind::Variable, "/data/weights");
        let all = vec![installed.clone(), data.clone(), own.clone()];
        assert_eq!(destination(all), own.path);
        assert_eq!(destination(vec![installed, data.clone()]), data.path);
    }

    /// The test itself is a development build.
    #[test]
    fn nothing_is_searched_in_the_current_folder() {
        let folders = weights_folders();
        assert!(folders.iter().any(|folder| folder.kind == FolderKind::SourceTree), "{folders:?}");
        let named = variable("P2SAM_WEIGHTS");
        let relative = folders.iter().find(|folder| folder.path.is_relative());
        assert!(relative.is_none_or(|folder| Some(&folder.path) == named.as_ref()), "{folders:?}");
    }
}
