//! Known failures: data with a reason on each line.
//!
//! ```text
//! # What this list is for.
//! gc/array.wast:*        needs the collector
//! memory64/table.wast:17 #12: text of the trap differs
//! ```
//!
//! `FILE:LINE REASON` lists the directive that starts on a line, `FILE:* REASON` a whole file. A listed
//! directive still runs, and must fail: an entry that matches no failure of a script that ran is
//! *stale* and as wrong as a failure that is not listed.

use crate::report::Report;
use std::collections::BTreeMap;
use std::fmt;

/// A list of known failures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// By file, then by line; no line stands for the whole file. The value is the reason.
    entries: BTreeMap<String, BTreeMap<Option<usize>, String>>,
}

/// What a list says about reports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Directives that passed.
    pub passed: usize,
    /// Directives that failed as listed.
    pub expected: usize,
    /// Failures that are not listed, as text.
    pub unexpected: Vec<String>,
    /// Entries of scripts that ran which match no failure, as text.
    pub stale: Vec<String>,
    /// Files of entries that did not run.
    pub unseen: Vec<String>,
}

impl Expected {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// Names the line that is no entry, gives no reason or repeats another.
    ///
    /// ```
    /// let list = wardian_wast::Expected::parse("a.wast:3 needs threads\n# a comment\n").unwrap();
    /// assert!(wardian_wast::Expected::parse("a.wast:3").is_err());
    /// # let _ = list;
    /// ```
    pub fn parse(text: &str) -> Result<Expected, String> {
        let mut list = Expected::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            list.entry(line).map_err(|message| format!("line {}: {message}", number + 1))?;
        }
        Ok(list)
    }

    fn entry(&mut self, line: &str) -> Result<(), String> {
        let (place, reason) =
            line.split_once(char::is_whitespace).ok_or("expected a reason after the place")?;
        let (file, position) =
            place.rsplit_once(':').ok_or("expected FILE:LINE or FILE:* and a reason")?;
        let position = match position {
            "*" => None,
            number => match number.parse() {
                Ok(number) if number > 0 => Some(number),
                _ => return Err(format!("expected a line number or `*`, found `{number}`")),
            },
        };
        let entries = self.entries.entry(file.into()).or_default();
        match entries.insert(position, reason.trim().into()) {
            None => Ok(()),
            Some(_) => Err(format!("`{place}` is listed twice")),
        }
    }

    /// Compares reports with the list.
    pub fn judge<'a>(&self, reports: impl IntoIterator<Item = &'a Report>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut seen = Vec::new();
        for report in reports {
            seen.push(report.file.as_str());
            verdict.passed += report.passed;
            let entries = self.entries.get(&report.file);
            let listed = |line| entries.is_some_and(|entries| entries.contains_key(&line));
            for failure in &report.failures {
                if listed(Some(failure.line)) || listed(None) {
                    verdict.expected += 1;
                } else {
                    verdict.unexpected.push(format!(
                        "{}:{}: {}: {}",
                        report.file, failure.line, failure.directive, failure.message
                    ));
                }
            }
            for (line, reason) in entries.into_iter().flatten() {
                let matched =
                    report.failures.iter().any(|failure| line.is_none_or(|l| l == failure.line));
                if !matched {
                    let line = line.map_or("*".into(), |line| line.to_string());
                    verdict.stale.push(format!("{}:{line} {reason}", report.file));
                }
            }
        }
        let unseen = self.entries.keys().filter(|file| !seen.contains(&file.as_str()));
        verdict.unseen.extend(unseen.cloned());
        verdict
    }
}

impl Verdict {
    /// Whether every failure is listed and every entry of a script that ran failed.
    pub fn holds(&self) -> bool {
        self.unexpected.is_empty() && self.stale.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unexpected.iter().try_for_each(|failure| writeln!(f, "{failure}"))?;
        self.stale.iter().try_for_each(|entry| writeln!(f, "listed, but passes: {entry}"))?;
        if self.expected > 0 {
            writeln!(f, "{} failed as listed", self.expected)?;
        }
        writeln!(f, "{} passed, {} failed", self.passed, self.unexpected.len() + self.stale.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(file: &str, passed: usize, failed: &[usize]) -> Report {
        let mut report = Report::new(file);
        (0..passed).for_each(|_| report.record(1, "module", Ok(())));
        failed.iter().for_each(|&line| report.record(line, "assert_return", Err("x".into())));
        report
    }

    #[test]
    fn listed_failures_are_expected_and_nothing_else() {
        let list = Expected::parse("# c\n\na.wast:3 r\nb.wast:* needs x\nc.wast:1 r\n").unwrap();
        let good = list.judge(&[report("a.wast", 2, &[3]), report("b.wast", 0, &[4, 5])]);
        assert!(good.holds());
        assert_eq!((good.passed, good.expected, good.unseen), (2, 3, vec!["c.wast".into()]));
        let worse = list.judge(&[report("a.wast", 1, &[3, 4])]);
        assert_eq!(worse.unexpected, ["a.wast:4: assert_return: x"]);
        assert!(!worse.holds());
    }

    #[test]
    fn an_entry_that_passes_is_wrong() {
        let list = Expected::parse("a.wast:3 r\nb.wast:* needs x").unwrap();
        let verdict = list.judge(&[report("a.wast", 2, &[]), report("b.wast", 1, &[])]);
        assert_eq!(verdict.stale, ["a.wast:3 r", "b.wast:* needs x"]);
        assert!(!verdict.holds());
        assert!(verdict.to_string().ends_with("3 passed, 2 failed\n"));
    }

    #[test]
    fn mistakes_in_a_list_are_named() {
        let check = |text: &str, expected: &str| {
            let found = Expected::parse(text).unwrap_err();
            assert!(found.contains(expected), "{found}");
        };
        check("a.wast:3", "line 1: expected a reason");
        check("\na.wast r", "line 2: expected FILE:LINE");
        check("a.wast:0 r", "expected a line number or `*`, found `0`");
        check("a.wast:1 r\na.wast:1 s", "listed twice");
    }
}
