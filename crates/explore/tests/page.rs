//! Pages: that they are the same each time, hold together, and take nothing from a module as markup.

#![forbid(unsafe_code)]

use serde_json::Value;
use std::collections::BTreeSet;
use wardian::{Config, Engine, OptLevel, Strategy, TargetCpu};
use wardian_explore::page;

const MODULE: &str = r#"(module
  (import "env" "print" (func $print (param i32)))
  (memory 1)
  (func $leaf (param i32) (result i32) local.get 0 i32.const 5 i32.mul i32.const 1 i32.add)
  (func $sum (export "sum") (param $n i32) (result i32) (local $s i32)
    (loop $l
      (local.set $s (i32.add (local.get $s) (i32.load offset=8 (local.get $n))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 4)))))
    (call $print (local.get $s))
    (call $leaf (i32.div_s (local.get $s) (local.get $n))))
  (func $switch (param i32) (result i32)
    (block (block (block (br_table 0 1 2 0 1 (local.get 0))) (return (i32.const 10)))
      (i32.store (i32.const 16) (memory.grow (i32.const 1))))
    (i32.const 42))
  (func $constant (param v128) (result v128)
    (i8x16.add (local.get 0) (v128.const i32x4 1 2 3 4))))"#;

fn config(strategy: Strategy) -> Config {
    let mut config = Config::new();
    config.target_cpu(TargetCpu::Baseline).strategy(strategy);
    config.cranelift_opt_level(OptLevel::Speed);
    config
}

fn engine() -> Engine {
    Engine::new(&config(Strategy::Tiered)).unwrap()
}

/// The data in a page.
fn data(page: &str) -> Value {
    let start = page.find(r#" id="data">"#).expect("the page has data") + 11;
    let end = start + page[start..].find("</script>").expect("data ends");
    serde_json::from_str(&page[start..end]).expect("data is JSON")
}

fn lines<'a>(function: &'a Value, path: &str) -> &'a Vec<Value> {
    function.pointer(path).and_then(Value::as_array).expect("the column is there")
}

/// The lines of a column with the tie of the line of text that contains `wasm`, `field` being their text.
fn tied<'a>(function: &'a Value, wasm: &str, path: &str, tie: usize, text: usize) -> Vec<&'a str> {
    let text_lines = lines(function, "/wasm");
    let found = text_lines.iter().find(|line| line[2].as_str().unwrap().contains(wasm)).unwrap();
    let tied = lines(function, path).iter().filter(|line| line[tie] == found[1]);
    tied.map(|line| line[text].as_str().unwrap()).collect()
}

#[test]
fn lines_are_tied_through_all_columns() {
    let data = data(&page(&engine(), MODULE.as_bytes(), "demo.wat", &[]).unwrap());
    assert_eq!(data["note"], "4 functions");
    let sum = &data["functions"][1];
    assert_eq!(
        (&sum["index"], &sum["name"], &sum["exports"][0]),
        (&2.into(), &"sum".into(), &"sum".into())
    );
    let load = |path, tie, text| tied(sum, "i32.load offset=8", path, tie, text);
    assert_eq!(
        load("/operations", 0, 1).iter().map(|line| line.trim()).collect::<Vec<_>>(),
        [
            "v2 = zero_extend v1",
            "v3 = memory_addr 0 v2 + 0x8",
            "v4 = load 0 Full(I32) v3 may fault"
        ]
    );
    for tier in ["/tiers/0/lines", "/tiers/1/lines"] {
        let code = load(tier, 1, 2);
        assert!(
            code.iter().any(|line| line.starts_with("mov ") && line.contains("+ 8]")),
            "{code:?}"
        );
        let notes = load(tier, 1, 3);
        assert!(notes.contains(&"may trap: out of bounds memory access"), "{notes:?}");
    }
    assert!(tied(sum, "call $leaf", "/tiers/0/lines", 1, 2).contains(&"call qword ptr [func 1]"));
    assert!(tied(sum, "call $leaf", "/tiers/1/lines", 1, 3).contains(&"inlined from func 1"));
}

#[test]
fn every_tie_leads_to_a_line_of_text_and_offsets_grow() {
    for strategy in [Strategy::Tiered, Strategy::Optimizing] {
        let engine = Engine::new(&config(strategy)).unwrap();
        let data = data(&page(&engine, MODULE.as_bytes(), "demo.wat", &[]).unwrap());
        for function in data["functions"].as_array().unwrap() {
            let known: BTreeSet<i64> =
                lines(function, "/wasm").iter().map(|line| line[1].as_i64().unwrap()).collect();
            let is_known = |tie: &Value| tie == -1 || known.contains(&tie.as_i64().unwrap());
            assert!(lines(function, "/operations").iter().all(|line| is_known(&line[0])));
            for tier in ["/tiers/0/lines", "/tiers/1/lines"] {
                let code = lines(function, tier);
                assert!(code.iter().all(|line| is_known(&line[1])));
                assert!(code.iter().filter(|line| line[1] != -1).count() > 0);
                assert!(code.is_sorted_by_key(|line| line[0].as_u64().unwrap()));
            }
        }
    }
}

#[test]
fn tables_and_constants_are_not_taken_for_code() {
    let data = data(&page(&engine(), MODULE.as_bytes(), "demo.wat", &[]).unwrap());
    for tier in ["/tiers/0/lines", "/tiers/1/lines"] {
        let texts = |function: usize| -> Vec<&str> {
            let lines = lines(&data["functions"][function], tier).iter();
            lines.map(|line| line[2].as_str().unwrap()).collect()
        };
        let switch = texts(2);
        let cases: Vec<_> = switch.iter().filter(|line| line.starts_with("case → 0x")).collect();
        assert_eq!(cases.len(), 5, "{switch:?}");
        // Labels may differ while they lead to one place.
        assert!(cases.iter().collect::<BTreeSet<_>>().len() >= 3, "{switch:?}");
        let constant = texts(3);
        let data = "data 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00";
        assert!(constant.contains(&data), "{constant:?}");
    }
}

#[test]
fn where_exceptions_go_is_code() {
    let text = r#"(module
      (import "" "" (func $throws (param i32)))
      (tag $tag (param i32))
      (func (param i32) (result i32)
        (block $caught (result i32)
          (try_table (catch $tag $caught) (call $throws (local.get 0)))
          (return (i32.const 1)))
        (return (i32.add (local.get 0)))))"#;
    let engine = Engine::new(config(Strategy::Tiered).wasm_exceptions(true)).unwrap();
    let data = data(&page(&engine, text.as_bytes(), "demo.wat", &[]).unwrap());
    let function = &data["functions"][0];
    let count = |path: &str, text: &str| {
        let lines = lines(function, path).iter();
        lines.filter(|line| line[2].as_str().unwrap().starts_with(text)).count()
    };
    for path in ["/tiers/0/lines", "/tiers/1/lines"] {
        assert_eq!(count(path, "not reached"), 0, "{path}");
        assert!(count(path, "add") > 0, "{path}: what comes after the handler");
    }
}

#[test]
fn a_page_is_the_same_each_time_and_loads_nothing() {
    let make = || page(&engine(), MODULE.as_bytes(), "demo.wat", &[]).unwrap();
    let first = make();
    assert_eq!(first, make());
    for foreign in ["http:", "https:", "src=", "url(", "@import", "href="] {
        assert!(!first.contains(foreign), "{foreign}");
    }
}

#[test]
fn names_are_data_and_never_markup() {
    let wat = r#"(module
        (import "a" "<script>alert(1)</script>" (func))
        (func $"</script><img src=x onerror=alert(1)>" (export "<b>\22'&\u{202e}") call 0))"#;
    let page = page(&engine(), wat.as_bytes(), "</title><script>'\"&", &[]).unwrap();
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<img") && !page.contains("<b>") && !page.contains('\u{202e}'));
    assert!(page.contains("<title>&lt;/title&gt;&lt;script&gt;&#39;&quot;&amp;</title>"));
    let function = &data(&page)["functions"][0];
    assert_eq!(function["name"], "</script><img src=x onerror=alert(1)>");
    assert_eq!(function["exports"][0], "<b>\"'&\\u{202e}");
}

#[test]
fn what_is_not_shown_is_said() {
    let data = |functions: &[&str]| {
        let functions: Vec<String> = functions.iter().map(|name| name.to_string()).collect();
        data(&page(&engine(), MODULE.as_bytes(), "demo.wat", &functions).unwrap())
    };
    let named = data(&["sum", "1"]);
    assert_eq!(named["note"], "2 of 4 functions");
    assert_eq!(named["hint"], "--function NAME shows others");
    assert_eq!(named["functions"].as_array().unwrap().len(), 2);
    let many = format!("(module {})", "(func)".repeat(300));
    let page = page(&engine(), many.as_bytes(), "many.wat", &[]).unwrap();
    assert!(page.contains("the first 200 of 300 functions"));
}

#[test]
fn what_cannot_be_shown_is_an_error() {
    let check = |wat: &str, functions: &[String], expected: &str| {
        let error = page(&engine(), wat.as_bytes(), "x", functions).unwrap_err();
        assert!(format!("{error:?}").contains(expected), "{error:?}");
    };
    check("(module (func $parse))", &["pasre".into()], "with names such as `parse`");
    check("(module (func (result i32)))", &[], "type mismatch");
    check("(module", &[], "expected `)`");
}
