//! A digest of the sources that decide what generated code looks like, for the compatibility key: while
//! a version is being developed, code of one build is not to be run by another. Where the sources of the
//! other crates are not at hand, because all come from a registry, the version says it.

#![forbid(unsafe_code)]

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

/// What code depends on. The lock file names the versions of what others wrote.
const SOURCES: [&str; 7] = [
    "src",
    "../module/src",
    "../lower/src",
    "../baseline/src",
    "../cranelift/src",
    "../vm/src",
    "../../Cargo.lock",
];

fn main() {
    let mut files = Vec::new();
    for path in SOURCES.map(Path::new) {
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(path, &mut files);
        }
    }
    files.sort();
    // Not against intent: who can change the sources can change this too.
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(file.to_string_lossy().as_bytes());
        hasher.write(&fs::read(&file).expect("it was just listed"));
    }
    println!("cargo::rustc-env=WARDIAN_SOURCES={:016x}", hasher.finish());
}

/// Adds a file, or all files below a folder.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.into()),
    }
}
