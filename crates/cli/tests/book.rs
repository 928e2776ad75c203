//! The first chapter of the book, done as a reader does it: files are saved, command lines are typed in, and
//! what they print is what the chapter shows.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// The name of the file that a block is to be saved as, from the text before it: `` as `NAME`: ``
fn file_name(before: &str) -> Option<&str> {
    let sentence = before.trim_end().strip_suffix("`:")?;
    let (_, name) = sentence.rsplit_once('`')?;
    Some(name)
}

fn run(folder: &Path, line: &str) -> String {
    let (program, arguments) = line.split_once(' ').expect("a command and its arguments");
    assert_eq!(program, "wardian", "{line}");
    // A key and a cache of its own.
    let output = Command::new(env!("CARGO_BIN_EXE_wardian"))
        .args(arguments.split(' '))
        .current_dir(folder)
        .env_remove("WARDIAN_LOG")
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CACHE_HOME", folder)
        .output()
        .expect("the command was built with this test");
    String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
}

#[test]
fn the_five_minute_start_works() {
    let text = std::fs::read_to_string(format!("{BOOK}/start.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pieces: Vec<&str> = text.split("```").collect();
    let (mut files, mut commands) = (0, 0);
    for pair in pieces.chunks_exact(2) {
        let (language, block) = pair[1].split_once('\n').unwrap();
        match language {
            "wat" => {
                let name = file_name(pair[0]).unwrap_or_else(|| panic!("a name before {block}"));
                std::fs::write(folder.path().join(name), block).unwrap();
                files += 1;
            }
            "console" => {
                let mut expected = String::new();
                let mut found = String::new();
                for line in block.lines() {
                    expected += &format!("{line}\n");
                    if let Some(command) = line.strip_prefix("$ ") {
                        found += &format!("{line}\n{}", run(folder.path(), command));
                        commands += 1;
                    }
                }
                assert_eq!(found, expected);
            }
            _ => {}
        }
    }
    assert!(files >= 3 && commands >= 5, "{files} files, {commands} commands");
}
