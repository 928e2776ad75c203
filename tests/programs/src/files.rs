//! Files: create, write, seek, read back, append, cut, overwrite in place.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

fn main() -> std::io::Result<()> {
    let mut file = File::options().create_new(true).read(true).write(true).open("notes.txt")?;
    writeln!(file, "first line")?;
    writeln!(file, "second line")?;
    println!("position {}", file.stream_position()?);
    file.seek(SeekFrom::Start(6))?;
    file.write_all(b"LINE")?;
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    print!("{text}");
    drop(file);

    OpenOptions::new().append(true).open("notes.txt")?.write_all(b"appended\n")?;
    println!("size {}", fs::metadata("notes.txt")?.len());

    let file = OpenOptions::new().write(true).open("notes.txt")?;
    file.set_len(11)?;
    file.sync_all()?;
    print!("{}", fs::read_to_string("notes.txt")?);

    // Holes read as zeros.
    file.set_len(20)?;
    println!("{} zeros", fs::read("notes.txt")?.iter().filter(|byte| **byte == 0).count());

    let again = File::options().create_new(true).write(true).open("notes.txt");
    println!("create_new again: {:?}", again.unwrap_err().kind());
    println!("read only: {:?}", File::open("notes.txt")?.write(b"x").is_err());
    fs::remove_file("notes.txt")?;
    println!("gone: {:?}", File::open("notes.txt").unwrap_err().kind());
    Ok(())
}
