//! Compiling a module ahead of time: wall time, and the most memory that the process had by then. Each is
//! a process of its own, since memory that was freed is used again.

use super::*;
use crate::status;
use std::time::Instant;

pub fn run(file: &str, parallel: bool) -> Result<()> {
    let bytes = std::fs::read(file)?;
    let engine = ahead_of_time(parallel)?;
    let start = Instant::now();
    let module = Module::new(&engine, &bytes)?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = status("VmHWM") / 1024.0;
    println!("compile s\t{seconds:.3}\t{seconds:.3}");
    println!("compile peak MiB\t{peak:.1}\t{peak:.1}");
    drop(module);
    Ok(())
}

/// Loads what was compiled, from bytes and from a file, beside a copy of as many bytes.
pub fn artifact(file: &str) -> Result<()> {
    let engine = ahead_of_time(true)?;
    let artifact = Module::new(&engine, std::fs::read(file)?)?.serialize()?;
    println!("artifact MB\t{0:.3}\t{0:.3}", artifact.len() as f64 / 1e6);
    let least = |work: &mut dyn FnMut()| {
        let mut times = [(); 9].map(|()| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / 1e3
        });
        times.sort_by(f64::total_cmp);
        (times[0], times[4])
    };
    let (min, median) = least(&mut || drop(deserialize(&engine, &artifact).unwrap()));
    println!("deserialize us\t{min:.1}\t{median:.1}");
    let path = std::env::temp_dir().join(format!("peers-{}.artifact", std::process::id()));
    std::fs::write(&path, &artifact)?;
    let (min, median) = least(&mut || drop(deserialize_file(&engine, &path).unwrap()));
    println!("deserialize_file us\t{min:.1}\t{median:.1}");
    std::fs::remove_file(&path)?;
    let (min, median) = least(&mut || drop(std::hint::black_box(artifact.clone())));
    println!("copy of it us\t{min:.1}\t{median:.1}");
    Ok(())
}
