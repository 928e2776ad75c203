//! The page: a function's columns as data, and data, style and script as one file.

use crate::choose::{shorten, title};
use crate::code::listing;
use serde_json::{Value, json};
use std::collections::HashMap;
use wardian::{ExploredFunction, Explorer, Result, TierCode};

/// Most characters of a line. A page is for people.
const LINE_CHARS: usize = 400;
/// Most characters of a function's name.
const NAME_CHARS: usize = 120;

/// What the page's script reads of one function (ORDER explored: `page.js`). In every column a line has
/// the number of the tie that holds it to the others, or -1.
pub(crate) fn function(
    explorer: &Explorer,
    function: &ExploredFunction,
    lines: &[(Option<u64>, &str)],
) -> Result<Value> {
    let stages = explorer.explore(function.index)?;
    let mut ties = Ties::default();
    let wasm: Vec<Value> = text_of(function, lines)
        .map(|(offset, text)| {
            // Instructions only: the first line stands for the function as a whole.
            let own = offset.filter(|offset| *offset != function.body.start);
            let tie = own.map_or(-1, |offset| ties.tie(offset));
            json!([offset, tie, shorten(text, LINE_CHARS)])
        })
        .collect();
    let shared = stages.operations.iter().map(|line| indent(&line.text)).min().unwrap_or(0);
    let operations = stages.operations.iter().map(|line| {
        // Columns are narrow, and blocks deep: one space each, as in the text.
        let depth = (indent(&line.text) - shared) / 2;
        let text = format!("{:depth$}{}", "", line.text.trim_start_matches(' '));
        json!([ties.known(line.wasm), shorten(&text, LINE_CHARS)])
    });
    let operations: Vec<Value> = operations.collect();
    let tier = |code: &std::result::Result<TierCode, String>| match code {
        Err(error) => json!({ "error": shorten(error, LINE_CHARS) }),
        Ok(code) => {
            let lines = listing(explorer, code).into_iter();
            let lines = lines.map(|line| {
                let text = shorten(&line.text, LINE_CHARS);
                json!([line.offset, ties.known(line.wasm), text, line.note])
            });
            json!({ "facts": facts(code), "lines": lines.collect::<Vec<_>>() })
        }
    };
    let exports: Vec<String> =
        function.exports.iter().map(|name| shorten(name, NAME_CHARS)).collect();
    Ok(json!({
        "index": function.index,
        "name": shorten(&title(function), NAME_CHARS),
        "exports": exports,
        "bytes": function.body.len(),
        "wasm": wasm,
        "operations": operations,
        "tiers": [tier(&stages.baseline), tier(&stages.optimized)],
    }))
}

/// What stands above a listing.
fn facts(code: &TierCode) -> String {
    let mut text = format!("{} B · frame {}", code.bytes.len(), code.shape.frame_bytes);
    for (count, what) in [(code.shape.spills, "spills"), (code.shape.inlined_calls, "inlined")] {
        if count > 0 {
            text += &format!(" · {count} {what}");
        }
    }
    text
}

/// Numbers of the instructions of a function, by their offset.
#[derive(Default)]
struct Ties(HashMap<usize, i64>);

impl Ties {
    fn tie(&mut self, offset: usize) -> i64 {
        let next = self.0.len() as i64;
        *self.0.entry(offset).or_insert(next)
    }

    fn known(&self, offset: Option<usize>) -> i64 {
        offset.and_then(|offset| self.0.get(&offset)).copied().unwrap_or(-1)
    }
}

fn indent(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// The lines of a module's text that are about a function, without the indentation that all have.
fn text_of<'a>(
    function: &ExploredFunction,
    lines: &'a [(Option<u64>, &'a str)],
) -> impl Iterator<Item = (Option<usize>, &'a str)> {
    let (start, end) = (function.body.start as u64, function.body.end as u64);
    let of = move |line: &(Option<u64>, &str)| line.0.is_some_and(|at| (start..end).contains(&at));
    let first = lines.iter().position(of).unwrap_or(lines.len());
    let last = lines.iter().rposition(of).map_or(first, |last| last + 1);
    let shared = lines.get(first).map_or(0, |(_, text)| indent(text));
    lines[first..last].iter().map(move |(offset, text)| {
        let text = text.trim_end();
        (offset.map(|offset| offset as usize), &text[shared.min(indent(text))..])
    })
}

/// The whole page. `total` is the number of functions that the module defines, `named` whether someone
/// chose those that are shown.
pub(crate) fn page(file: &str, total: usize, named: bool, functions: Vec<Value>) -> String {
    let file = shorten(file, NAME_CHARS);
    let shown = functions.len();
    let note = match (shown == total, named) {
        (true, _) if total == 1 => "1 function".into(),
        (true, _) => format!("{total} functions"),
        (false, true) => format!("{shown} of {total} functions"),
        (false, false) => format!("the first {shown} of {total} functions"),
    };
    let hint = if shown == total { "" } else { "--function NAME shows others" };
    let data = json!({ "file": file, "note": note, "hint": hint, "functions": functions });
    // Data in a script element ends at `</script`, whatever its type.
    let data = data.to_string().replace('<', "\\u003c");
    let title = escape(&file);
    let (style, script) = (include_str!("page.css"), include_str!("page.js"));
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
<script type="application/json" id="data">{data}</script>
<script>
{script}</script>
</body>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
