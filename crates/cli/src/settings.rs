//! `wardian settings`: every choice of an engine with its value, given the options on the line.

use crate::args::SettingsArgs;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use wardian::{Config, Proposal};

/// The listing, as text or JSON.
pub fn listing(args: &SettingsArgs, config: &Config) -> String {
    if args.json { as_json(config) } else { as_text(config) }
}

fn as_text(config: &Config) -> String {
    let mut text = format!("{}-{}\n", std::env::consts::ARCH, std::env::consts::OS);
    let entries = config.entries();
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in entries {
        let note = if later(&name) { "  (not in this version)" } else { "" };
        writeln!(text, "{name:width$}  {value}{note}").expect("strings take all");
    }
    text
}

fn as_json(config: &Config) -> String {
    let value = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    let settings: Map<String, Value> =
        config.entries().into_iter().map(|(name, text)| (name, value(text))).collect();
    let value = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "settings": settings,
    });
    format!("{value:#}\n")
}

/// Whether an entry is the switch of a proposal that this version cannot run.
fn later(name: &str) -> bool {
    let flag = name.strip_prefix("wasm_").map(|name| name.replace('_', "-"));
    Proposal::ALL.iter().any(|p| !p.built() && Some(p.flag()) == flag.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_show_every_entry() {
        let config = Config::new();
        let (text, json) = (as_text(&config), as_json(&config));
        let value: Value = serde_json::from_str(&json).unwrap();
        for (name, _) in config.entries() {
            assert!(text.contains(&name) && value["settings"].get(&name).is_some(), "{name}");
        }
        assert_eq!(value["settings"]["wasm_simd"], true);
        assert_eq!(value["settings"]["memory_reservation"], 4u64 << 30);
        assert!(
            text.contains("wasm_stack_switching") && text.contains("false  (not in this version)")
        );
    }
}
