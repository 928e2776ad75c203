//! What came of a script: every directive counted, failures with place and text.

use std::fmt;

/// Outcome of one script.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The script, as the caller named it.
    pub file: String,
    /// How many directives did what they should.
    pub passed: usize,
    /// Those that did not, in order.
    pub failures: Vec<Failure>,
}

/// A directive that did not do what it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Where the directive starts, counted from 1.
    pub line: usize,
    /// Its keyword.
    pub directive: &'static str,
    /// What was expected and found.
    pub message: String,
}

impl Report {
    /// A report of nothing yet.
    pub fn new(file: &str) -> Report {
        Report { file: file.into(), ..Report::default() }
    }

    /// Counts a directive.
    pub fn record(&mut self, line: usize, directive: &'static str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(message) => self.failures.push(Failure { line, directive, message }),
        }
    }
}

impl fmt::Display for Report {
    /// Failures, a line each: `file:line: directive: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failures.iter().try_for_each(|failure| {
            writeln!(
                f,
                "{}:{}: {}: {}",
                self.file, failure.line, failure.directive, failure.message
            )
        })
    }
}
