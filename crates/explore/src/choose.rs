//! Which functions are shown.

use wardian::{ExploredFunction, Explorer, Result, bail, ensure};

/// Functions that are shown if none is named.
const FIRST_FUNCTIONS: usize = 200;
/// Bytes of their bodies: a page is about a hundred times as large.
const FIRST_BYTES: usize = 32 << 10;
/// Bytes of bodies that can be asked for.
const MOST_BYTES: usize = 1 << 20;
/// Names that an error lists.
const CANDIDATES: usize = 10;
/// Most characters of a name in an error.
const NAME_CHARS: usize = 80;

/// The functions that `wanted` names, in the module's order; if it is empty, the first ones.
pub(crate) fn choose<'a>(
    explorer: &'a Explorer,
    wanted: &[String],
) -> Result<Vec<&'a ExploredFunction>> {
    let functions = explorer.functions();
    ensure!(!functions.is_empty(), "the module defines no functions");
    if wanted.is_empty() {
        return Ok(first(functions));
    }
    let mut chosen: Vec<&ExploredFunction> = Vec::new();
    for name in wanted {
        let before = chosen.len();
        chosen.extend(functions.iter().filter(|function| is_called(function, name)));
        if chosen.len() == before {
            bail!("{}", unknown(functions, name));
        }
    }
    chosen.sort_by_key(|function| function.index);
    chosen.dedup_by_key(|function| function.index);
    let bytes: usize = chosen.iter().map(|function| function.body.len()).sum();
    ensure!(
        bytes <= MOST_BYTES,
        "the bodies of these functions have {bytes} bytes, a page takes {MOST_BYTES}"
    );
    Ok(chosen)
}

fn first(functions: &[ExploredFunction]) -> Vec<&ExploredFunction> {
    let mut bytes = 0;
    let fits = |function: &&ExploredFunction| {
        bytes += function.body.len();
        bytes <= FIRST_BYTES
    };
    let mut chosen: Vec<_> = functions.iter().take(FIRST_FUNCTIONS).take_while(fits).collect();
    if chosen.is_empty() && functions[0].body.len() <= MOST_BYTES {
        chosen.push(&functions[0]);
    }
    chosen
}

fn is_called(function: &ExploredFunction, name: &str) -> bool {
    let text = name.strip_prefix('$').unwrap_or(name);
    name.parse() == Ok(function.index)
        || function.name.as_deref() == Some(text)
        || function.exports.iter().any(|export| export == name)
}

/// What a function is called, for people.
pub(crate) fn title(function: &ExploredFunction) -> String {
    match (&function.name, function.exports.first()) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => format!("func {}", function.index),
    }
}

/// Says that no function has this name, and which come close.
fn unknown(functions: &[ExploredFunction], name: &str) -> String {
    let wanted = name.to_lowercase();
    let names = |function: &ExploredFunction| -> Vec<String> {
        function.name.iter().chain(&function.exports).cloned().collect()
    };
    let close = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // A part of it, or a slip of the fingers.
        candidate.contains(&wanted) || wanted.len() > 2 && distance(&candidate, &wanted) <= 2
    };
    let all: Vec<String> = functions.iter().flat_map(names).collect();
    let mut candidates: Vec<&String> = all.iter().filter(|name| close(name)).collect();
    if candidates.is_empty() {
        candidates = all.iter().collect();
    }
    candidates.sort();
    candidates.dedup();
    let (first, last) = (functions[0].index, functions[functions.len() - 1].index);
    let mut text = format!(
        "the module defines no function `{}`; its functions are {first} to {last}",
        shorten(name, NAME_CHARS)
    );
    let more = candidates.len().saturating_sub(CANDIDATES);
    candidates.truncate(CANDIDATES);
    if !candidates.is_empty() {
        let shown: Vec<String> =
            candidates.iter().map(|name| format!("`{}`", shorten(name, NAME_CHARS))).collect();
        text += &format!(", with names such as {}", shown.join(", "));
    }
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

/// How many letters have to be changed, added or left out; names of more than 64 bytes are far from all.
fn distance(a: &str, b: &str) -> usize {
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Text of a module as it can be shown anywhere: at most so many characters, and none that hides or
/// changes others.
pub(crate) fn shorten(text: &str, chars: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * chars));
    for (position, character) in text.chars().enumerate() {
        if position == chars {
            shown.push('…');
            break;
        }
        let hides = character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
        match hides {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian::Engine;

    fn explorer(wat: &str) -> Explorer {
        Explorer::new(&Engine::default(), wat).unwrap()
    }

    #[test]
    fn functions_are_found_by_name_export_and_index() {
        let explorer = explorer(
            r#"(module (import "" "" (func)) (func $one) (func $two (export "zwei")) (func))"#,
        );
        let check = |wanted: &[&str], expected: &[u32]| {
            let wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
            let chosen = choose(&explorer, &wanted).unwrap();
            let found: Vec<u32> = chosen.iter().map(|function| function.index).collect();
            assert_eq!(found, expected, "{wanted:?}");
        };
        check(&[], &[1, 2, 3]);
        check(&["3", "one"], &[1, 3]);
        check(&["$two"], &[2]);
        check(&["zwei", "2", "two"], &[2]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_candidates() {
        let explorer = explorer(r#"(module (func $parse_line) (func $parse_word) (func $print))"#);
        let check = |wanted: &str, expected: &str| {
            let error = choose(&explorer, &[wanted.to_string()]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            "parse",
            "no function `parse`; its functions are 0 to 2, with names such as `parse_line`, `parse_word`",
        );
        check("pirnt", "such as `print`");
        check("7", "such as `parse_line`, `parse_word`, `print`");
        check("\u{202e}x", "no function `\\u{202e}x`");
    }

    #[test]
    fn large_modules_are_shown_in_part() {
        let mut wat = String::from("(module");
        (0..FIRST_FUNCTIONS + 9).for_each(|_| wat += " (func)");
        assert_eq!(choose(&explorer(&(wat + ")")), &[]).unwrap().len(), FIRST_FUNCTIONS);
        let body = "nop ".repeat(FIRST_BYTES / 3);
        let large =
            explorer(&format!("(module (func {body}) (func {body}) (func {body}) (func {body}))"));
        assert_eq!(choose(&large, &[]).unwrap().len(), 2);
        assert_eq!(choose(&large, &["2".into(), "3".into()]).unwrap().len(), 2);
        let huge = explorer(&format!("(module (func {}) (func))", "nop ".repeat(MOST_BYTES)));
        assert!(choose(&huge, &["0".into()]).unwrap_err().to_string().contains("a page takes"));
        assert!(choose(&explorer("(module)"), &[]).is_err());
    }
}
