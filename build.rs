//! Tells the released program which commit it was built from, where it is built in its repository.

use std::path::Path;
use std::process::Command;

fn main() {
    // Without this line any file's change would be one.
    println!("cargo:rerun-if-changed=build.rs");
    // The commit's name compiles everything anew: a development build does without.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        name_the_commit();
    }
}

fn name_the_commit() {
    println!("cargo:rerun-if-changed=src");
    // A file that is missing would be a change always.
    if Path::new(".git/logs/HEAD").is_file() {
        println!("cargo:rerun-if-changed=.git/logs/HEAD");
    }
    let describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let Ok(output) = Command::new("git").args(describe).output() else { return };
    let commit = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && !commit.trim().is_empty() {
        println!("cargo:rustc-env=P2SAM_COMMIT={}", commit.trim());
    }
}
