//! Counts words: of the files given, or of standard input. Prints the commonest.
//!
//!     words [-n COUNT] [FILE]…

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

#[derive(Default)]
struct Tally {
    lines: u64,
    words: u64,
    bytes: u64,
    counts: HashMap<String, u64>,
}

impl Tally {
    fn add(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            self.bytes += line.len() as u64;
            self.lines += u64::from(line.ends_with(b"\n"));
            let text = String::from_utf8_lossy(&line);
            let is_word = |c: char| c.is_alphanumeric() || c == '\'';
            for word in text.split(|c| !is_word(c)).filter(|word| !word.is_empty()) {
                self.words += 1;
                *self.counts.entry(word.to_lowercase()).or_default() += 1;
            }
            line.clear();
        }
        Ok(())
    }

    fn print(&self, top: usize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let Tally { lines, words, bytes, counts } = self;
        writeln!(out, "{lines} lines, {words} words, {bytes} bytes, {} different words", counts.len())?;
        let mut sorted: Vec<_> = counts.iter().collect();
        sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let width = sorted.first().map_or(0, |(_, count)| count.to_string().len());
        for (word, count) in sorted.into_iter().take(top) {
            writeln!(out, "{count:>width$} {word}")?;
        }
        Ok(())
    }
}

fn run() -> Result<(), String> {
    let mut top = 10;
    let mut files = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "-n" {
            let count = args.next().ok_or("-n: expected a count, found nothing")?;
            top = count.parse().map_err(|error| format!("-n {count}: {error}"))?;
        } else {
            files.push(arg);
        }
    }
    let mut tally = Tally::default();
    if files.is_empty() {
        tally.add(io::stdin().lock()).map_err(|error| format!("standard input: {error}"))?;
    }
    for name in files {
        std::fs::File::open(&name)
            .and_then(|file| tally.add(BufReader::new(file)))
            .map_err(|error| format!("{name}: {error}"))?;
    }
    tally.print(top).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("words: {error}");
            ExitCode::FAILURE
        }
    }
}
