//! The repository as the commands see it: its root, its files, and what cargo says of its packages.
//!
//! Files are those that git tracks or would track (ignored ones are left out); without git, all
//! files outside `target` and hidden folders other than those of ours. Paths are relative to the
//! root and use `/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Folders that hold sources of guest programs: compiled to wasm, never linked into the engine.
const GUEST_SOURCES: &str = "tests/programs/";

/// Programs that run the engine beside another one, in a package of their own: no crate of ours depends on
/// them, and what the other engine declares `unsafe` they call so.
const PEERS: &str = "benches/peers/";

/// Hidden entries of the root that belong to the repository.
const HIDDEN_BUT_OURS: &[&str] = &[".cargo", ".ci", ".gitignore", ".github"];

pub struct Repo {
    pub root: PathBuf,
}

/// A text file of the repository.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

/// A root file that cargo compiles: a library, program, test, example, bench or build script.
pub struct Target {
    pub package: String,
    pub name: String,
    /// As cargo spells it: `lib`, `bin`, `test`, `example`, `bench`, `custom-build`.
    pub kind: String,
    /// Relative to the root, with `/`.
    pub path: String,
}

impl Repo {
    pub fn open() -> Result<Self, String> {
        // Asked when we run, not when we are compiled: a target folder that was copied to another
        // checkout would otherwise make us look at the first one.
        let here = std::env::var_os("CARGO_MANIFEST_DIR");
        let here = here.ok_or("start this by `cargo xtask`, which says where the repository is")?;
        let root = Path::new(&here).parent().expect("xtask lies one level below the root");
        Ok(Self { root: root.to_owned() })
    }

    /// All files, sorted.
    pub fn files(&self) -> Result<Vec<String>, String> {
        let mut files = match self.files_by_git() {
            Some(files) => files,
            None => self.files_by_walk()?,
        };
        // Git lists a tracked file that was deleted and not yet staged.
        files.retain(|path| self.root.join(path).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// All files that are text.
    pub fn sources(&self) -> Result<Vec<Source>, String> {
        let mut sources = Vec::new();
        for path in self.files()? {
            let bytes = std::fs::read(self.root.join(&path))
                .map_err(|error| format!("cannot read {path}: {error}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                sources.push(Source { path, text });
            }
        }
        Ok(sources)
    }

    /// Every target of every package in the repository, those outside the workspace included.
    pub fn targets(&self) -> Result<Vec<Target>, String> {
        let mut targets = Vec::new();
        let mut seen = Vec::new();
        for manifest in self.files()? {
            if manifest != "Cargo.toml" && !manifest.ends_with("/Cargo.toml") {
                continue;
            }
            if seen.contains(&manifest) {
                continue;
            }
            let manifest_path = self.root.join(&manifest);
            let metadata = self.metadata(&[
                "--no-deps",
                "--offline",
                "--manifest-path",
                &manifest_path.to_string_lossy(),
            ])?;
            for package in list(&metadata["packages"]) {
                let manifest = self.relative(text(&package["manifest_path"]))?;
                if seen.contains(&manifest) {
                    continue;
                }
                seen.push(manifest);
                for target in list(&package["targets"]) {
                    targets.push(Target {
                        package: text(&package["name"]).to_owned(),
                        name: text(&target["name"]).to_owned(),
                        kind: text(&target["kind"][0]).to_owned(),
                        path: self.relative(text(&target["src_path"]))?,
                    });
                }
            }
        }
        Ok(targets)
    }

    /// Packages of the workspace that are not for publication.
    pub fn unpublished(&self) -> Result<Vec<String>, String> {
        let metadata = self.metadata(&["--no-deps", "--offline"])?;
        // The registries that a package may go to; without a list, all.
        let nowhere = |package: &&Value| package["publish"].as_array().is_some_and(Vec::is_empty);
        let packages = list(&metadata["packages"]).iter().filter(nowhere);
        Ok(packages.map(|package| text(&package["name"]).to_owned()).collect())
    }

    /// `cargo metadata` with these arguments.
    pub fn metadata(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self
            .cargo()
            .args(["metadata", "--format-version", "1"])
            .args(arguments)
            .output()
            .map_err(|error| format!("cannot start cargo: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cargo metadata printed no JSON: {error}"))
    }

    /// The cargo that runs us, started at the root.
    pub fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        command
    }

    fn relative(&self, path: &str) -> Result<String, String> {
        let relative = Path::new(path)
            .strip_prefix(&self.root)
            .map_err(|_| format!("{path} lies outside the repository"))?;
        Ok(slashes(relative))
    }

    fn files_by_git(&self) -> Option<Vec<String>> {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .ok()?;
        if !output.status.success() {
            return None;
        }
        let names = String::from_utf8(output.stdout).ok()?;
        let names = names.split('\0').filter(|name| !name.is_empty());
        Some(names.map(str::to_owned).collect())
    }

    fn files_by_walk(&self) -> Result<Vec<String>, String> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let error = |error| format!("cannot list {}: {error}", folder.display());
            for entry in std::fs::read_dir(&folder).map_err(error)? {
                let entry = entry.map_err(error)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name.as_str());
                if hidden || name == "target" {
                    continue;
                }
                if entry.file_type().map_err(error)?.is_dir() {
                    folders.push(entry.path());
                } else {
                    let path = entry.path();
                    let relative = path.strip_prefix(&self.root);
                    files.push(slashes(relative.expect("the walk started at the root")));
                }
            }
        }
        Ok(files)
    }
}

/// Whether this belongs to the programs that compare engines.
pub fn is_of_peers(path: &str) -> bool {
    path.starts_with(PEERS)
}

/// Whether this file is the source of a guest program: it runs inside the sandbox only.
pub fn is_guest_source(path: &str) -> bool {
    path.starts_with(GUEST_SOURCES) || path.contains(&format!("/{GUEST_SOURCES}"))
}

fn slashes(path: &Path) -> String {
    let parts = path.components().map(|part| part.as_os_str());
    let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// The elements of a JSON array; none for anything else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a JSON string; empty for anything else.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_walk_agree_on_our_own_sources() {
        let repo = Repo::open().unwrap();
        let walked = repo.files_by_walk().unwrap();
        for path in repo.files().unwrap() {
            if path.starts_with("xtask/") {
                assert!(walked.contains(&path), "{path}");
            }
        }
        assert!(walked.contains(&"xtask/src/repo.rs".to_owned()));
        assert!(!walked.iter().any(|path| path.starts_with("target/")));
    }

    #[test]
    fn targets_name_this_program() {
        let targets = Repo::open().unwrap().targets().unwrap();
        let ours = targets.iter().find(|target| target.package == "xtask");
        let ours = ours.expect("this package is in the workspace");
        assert_eq!(ours.path, "xtask/src/main.rs");
        assert_eq!(ours.kind, "bin");
        assert_eq!(ours.name, "xtask");
    }

    #[test]
    fn this_program_is_not_published() {
        let unpublished = Repo::open().unwrap().unpublished().unwrap();
        assert!(unpublished.contains(&"xtask".to_owned()), "{unpublished:?}");
        assert!(!unpublished.contains(&"wardian".to_owned()), "{unpublished:?}");
    }

    #[test]
    fn guest_sources_are_told_apart() {
        assert!(is_guest_source("tests/programs/wc.rs"));
        assert!(is_guest_source("crates/wasi/tests/programs/fd.rs"));
        assert!(!is_guest_source("crates/wasi/tests/programs.rs"));
        assert!(!is_guest_source("crates/vm/src/programs/mod.rs"));
    }
}
