//! A bar that shows how far a compilation has come: on a terminal only, and only of what takes a while.

use std::io::{IsTerminal as _, Stderr, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wardian::CompileProgress;

/// Bytes of function bodies below which no bar is worth while: less than half a second of work.
const LARGE: usize = 512 << 10;
/// Time between two pictures.
const PAUSE: Duration = Duration::from_millis(100);
const CELLS: usize = 30;

/// Draws a bar in one line, and takes it away when it is dropped.
pub struct Bar<W: Write> {
    state: Mutex<State<W>>,
}

struct State<W> {
    out: W,
    /// When it was drawn last.
    drawn: Option<Instant>,
}

impl Bar<Stderr> {
    /// A bar on standard error; `None` if nobody watches it there.
    pub fn on_terminal() -> Option<Bar<Stderr>> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (!dumb && std::io::stderr().is_terminal()).then(|| Bar::new(std::io::stderr()))
    }
}

impl<W: Write> Bar<W> {
    fn new(out: W) -> Bar<W> {
        Bar { state: Mutex::new(State { out, drawn: None }) }
    }

    /// Shows this, unless another thread is drawing or has drawn just now.
    pub fn show(&self, progress: CompileProgress) {
        if progress.total_bytes < LARGE {
            return;
        }
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            state.drawn = Some(Instant::now());
            // A terminal that cannot be written to shows no bar.
            let line = line(progress);
            let _ = write!(state.out, "\r{line}").and_then(|()| state.out.flush());
        }
    }
}

impl<W: Write> Drop for Bar<W> {
    fn drop(&mut self) {
        if let Ok(state) = self.state.get_mut()
            && state.drawn.is_some()
        {
            // To the start of the line, and clear it.
            let _ = state.out.write_all(b"\r\x1b[K").and_then(|()| state.out.flush());
        }
    }
}

/// Bytes tell how much work is left, functions are what people count.
fn line(progress: CompileProgress) -> String {
    let CompileProgress { functions, bytes, total_functions, total_bytes, .. } = progress;
    let part = |whole: usize| whole * bytes.min(total_bytes) / total_bytes.max(1);
    let (done, percent) = (part(CELLS), part(100));
    let (done, left) = ("#".repeat(done), "·".repeat(CELLS - done));
    // Always as long, so that nothing of an earlier line is left.
    let width = total_functions.to_string().len();
    format!(
        "compiling [{done}{left}] {percent:3} %  {functions:width$} of {total_functions} functions"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian::{Config, Engine};

    /// What a bar writes while a module with so many instructions is compiled.
    fn written(instructions: usize) -> String {
        let engine = Engine::new(Config::new().parallel_compilation(false)).unwrap();
        let module = format!("(module (func) (func {}))", "nop ".repeat(instructions));
        let mut out = Vec::new();
        let bar = Bar::new(&mut out);
        engine
            .precompile_module_with_progress(module.as_bytes(), |progress| bar.show(progress))
            .unwrap();
        drop(bar);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bar_is_drawn_and_taken_away() {
        let text = written(LARGE);
        assert!(text.starts_with("\rcompiling [") && text.ends_with("\r\x1b[K"), "{text:?}");
        assert!(text.contains("  0 %  1 of 2 functions"), "{text:?}");
        let lines: Vec<_> = text.split('\r').collect();
        assert!(lines.iter().all(|line| line.chars().count() < 80), "{text:?}");
    }

    #[test]
    fn small_modules_get_none() {
        assert_eq!(written(100), "");
    }
}
