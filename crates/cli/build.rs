//! How the command is linked on Linux: functions that run in every start, or whenever it compiles, lie together, the
//! list of addresses to adjust is short, and the C library is inside. Otherwise a start touches half of the pages of code
//! there are, each of which counts as memory and takes time, and loading libraries takes a tenth of the time of a
//! small program.
//!
//! `start.ld` names the functions; `cargo xtask start-order` writes it. It is only an order: of functions
//! that it does not know, or that are gone, nothing worse comes than a page more. It is used where the
//! linker is known to be the one that comes with the compiler, or the system's; elsewhere, and in builds
//! without optimizations, the command is linked as usual.

#![forbid(unsafe_code)]

use std::env;
use std::path::Path;
use std::process::Command;

const ORDER: &str = "start.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    if !is_plain_linux() {
        return;
    }
    // There, and not where the package is, cargo finds it again when a target folder is moved.
    let out = env::var("OUT_DIR").expect("cargo sets it");
    if std::fs::copy(ORDER, Path::new(&out).join(ORDER)).is_ok() {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{out}/{ORDER}");
    }
    if has_packed_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if has_static_libraries() && put_static_libraries(Path::new(&out)).is_ok() {
        println!("cargo::rustc-link-search=native={out}");
        println!("cargo::rustc-link-arg-bins=-static-pie");
    }
}

/// Libraries that Rust's own asks for, and what holds the same for a program without shared libraries. Rust has
/// a switch for that (`crt-static`), which a package cannot set for itself alone.
const LIBRARIES: [(&str, &str); 3] = [("gcc_s", "libgcc_eh.a"), ("c", "libc.a"), ("m", "libm.a")];

/// Whether the system's compiler has all of them, and what a program without shared libraries starts with.
fn has_static_libraries() -> bool {
    let has = |file: &str| {
        let asked = Command::new("cc").arg(format!("-print-file-name={file}")).output();
        // It repeats the name of what it does not find.
        asked.is_ok_and(|asked| String::from_utf8_lossy(&asked.stdout).trim() != file)
    };
    has("rcrt1.o") && LIBRARIES.iter().all(|(_, file)| has(file))
}

/// Scripts by which the linker takes one library for another.
fn put_static_libraries(folder: &Path) -> std::io::Result<()> {
    LIBRARIES.iter().try_for_each(|(name, file)| {
        std::fs::write(folder.join(format!("lib{name}.so")), format!("INPUT(-l:{file})\n"))
    })
}

/// Whether the command is built with optimizations for the Linux that builds it, by a linker that nobody
/// chose.
fn is_plain_linux() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Among the flags would be another linker.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("PROFILE", "release")
        && env::var("HOST") == env::var("TARGET")
        && env::var_os("RUSTC_LINKER").is_none()
        && !flags.contains("link")
}

/// Whether this system's loader knows them (glibc 2.36). A program that has them runs on no older one.
fn has_packed_relocations() -> bool {
    let Ok(asked) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let text = String::from_utf8_lossy(&asked.stdout);
    let version = text.trim().strip_prefix("glibc ").and_then(|text| text.split_once('.'));
    version.is_some_and(|(major, minor)| {
        major == "2" && minor.parse().is_ok_and(|minor: u32| minor >= 36)
    })
}
