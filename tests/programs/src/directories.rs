//! Directories: make, fill, list, walk, remove while listing.

use std::fs;
use std::path::Path;

fn walk(dir: &Path, depth: usize) -> std::io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let file_type = entry.file_type()?;
        let kind = if file_type.is_dir() { "dir" } else { "file" };
        println!("{:width$}{kind} {}", "", entry.file_name().to_string_lossy(), width = 2 * depth);
        if file_type.is_dir() {
            walk(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    walk(Path::new("/"), 0)?;
    fs::create_dir_all("/work/a/b/c")?;
    for count in 0..300 {
        fs::write(format!("/work/a/b/{count:03}"), vec![b'x'; count])?;
    }
    println!("{} entries", fs::read_dir("/work/a/b")?.count());
    // Each entry is seen once although the directory shrinks.
    let mut removed = 0;
    for entry in fs::read_dir("/work/a/b")? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    println!("{removed} removed");
    println!("not empty: {}", fs::remove_dir("/work/a").is_err());
    fs::remove_dir_all("/work")?;
    walk(Path::new("/"), 0)
}
