//! `wardian inspect`: what is in a module, without compiling it.
//!
//! The module is read with every proposal of the validator on, so that modules can be looked at that
//! this version cannot run. Everything printed comes from one [`Report`]; text and JSON are two views.

use crate::text::binary_form;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use wardian::error::Context as _;
use wardian::{Engine, Result, bail};
use wasmparser::{
    ElementKind, Encoding, ExternalKind, Name, NameSectionReader, Parser, Payload, TypeRef,
    Validator, WasmFeatures,
};

/// What a module contains.
#[derive(Debug, Default)]
struct Report {
    size: u64,
    sections: Vec<Section>,
    /// Module, name, type.
    imports: Vec<(String, String, String)>,
    /// Name, type.
    exports: Vec<(String, String)>,
    tables: Vec<String>,
    memories: Vec<String>,
    globals: u32,
    tags: u32,
    imported_funcs: u32,
    /// Size of each body in bytes.
    bodies: Vec<u64>,
    /// Active, passive.
    data: [u32; 2],
    data_bytes: u64,
    /// Active, passive, declared.
    elements: [u32; 3],
    name: Option<String>,
    start: Option<u32>,
}

#[derive(Debug)]
struct Section {
    name: String,
    custom: bool,
    /// Of its content, in the file.
    offset: u64,
    size: u64,
    count: Option<u32>,
}

/// Reads a file and describes it.
///
/// # Errors
///
/// When it cannot be read, is broken, or is no core module; a component or an artifact is named.
pub fn inspect(path: &Path, as_json: bool) -> Result<String> {
    let bytes =
        std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    if Engine::detect_precompiled(&bytes).is_some() {
        bail!(
            "`{}` is an artifact of `wardian compile` ({} bytes); inspect the module it was made \
             from",
            path.display(),
            bytes.len()
        );
    }
    let bytes = binary_form(path, &bytes)?;
    let report = read(&bytes).with_context(|| format!("failed to inspect `{}`", path.display()))?;
    let file = path.display().to_string();
    Ok(if as_json { format!("{:#}\n", report.to_json(&file)) } else { report.to_text(&file) })
}

fn read(wasm: &[u8]) -> Result<Report> {
    if Parser::is_component(wasm) {
        bail!(
            "this is a component, not a core module; components are not supported by this version"
        );
    }
    let mut report = Report { size: wasm.len() as u64, ..Report::default() };
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut kinds = Kinds::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        validator.payload(&payload)?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            bail!("this is a component, not a core module");
        }
        report.section(&payload);
        report.payload(payload, &validator, &mut kinds)?;
    }
    Ok(report)
}

/// Types of everything that can be exported, by index, as text.
#[derive(Default)]
struct Kinds {
    funcs: Vec<u32>,
    tables: Vec<String>,
    memories: Vec<String>,
    globals: Vec<String>,
}

impl Kinds {
    fn describe(
        &self,
        types: Option<&wasmparser::types::TypesRef<'_>>,
        ty: ExternalKind,
        index: u32,
    ) -> String {
        let at = |list: &[String]| list.get(index as usize).cloned().unwrap_or_default();
        match ty {
            ExternalKind::Func | ExternalKind::FuncExact => {
                func_type(types, self.funcs.get(index as usize).copied())
            }
            ExternalKind::Table => at(&self.tables),
            ExternalKind::Memory => at(&self.memories),
            ExternalKind::Global => at(&self.globals),
            ExternalKind::Tag => "(tag)".into(),
        }
    }
}

impl Report {
    fn section(&mut self, payload: &Payload<'_>) {
        let count = match payload {
            Payload::TypeSection(s) => Some(s.count()),
            Payload::ImportSection(s) => Some(s.count()),
            Payload::FunctionSection(s) => Some(s.count()),
            Payload::TableSection(s) => Some(s.count()),
            Payload::MemorySection(s) => Some(s.count()),
            Payload::TagSection(s) => Some(s.count()),
            Payload::GlobalSection(s) => Some(s.count()),
            Payload::ExportSection(s) => Some(s.count()),
            Payload::ElementSection(s) => Some(s.count()),
            Payload::DataSection(s) => Some(s.count()),
            Payload::CodeSectionStart { count, .. } => Some(*count),
            _ => None,
        };
        let Some((id, range)) = payload.as_section() else { return };
        let (name, custom) = match payload {
            Payload::CustomSection(section) => (section.name().to_string(), true),
            _ => (section_name(id).to_string(), false),
        };
        let size = range.end - range.start;
        self.sections.push(Section { name, custom, offset: range.start, size, count });
    }

    fn payload(
        &mut self,
        payload: Payload<'_>,
        validator: &Validator,
        kinds: &mut Kinds,
    ) -> Result<()> {
        let types = validator.types(0);
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let ty = match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            self.imported_funcs += 1;
                            kinds.funcs.push(ty);
                            func_type(types.as_ref(), Some(ty))
                        }
                        TypeRef::Table(ty) => push(&mut kinds.tables, table_type(&ty)),
                        TypeRef::Memory(ty) => push(&mut kinds.memories, memory_type(&ty)),
                        TypeRef::Global(ty) => push(&mut kinds.globals, global_type(&ty)),
                        TypeRef::Tag(_) => "(tag)".into(),
                    };
                    self.imports.push((import.module.into(), import.name.into(), ty));
                }
                self.tables.clone_from(&kinds.tables);
                self.memories.clone_from(&kinds.memories);
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    kinds.funcs.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(push(&mut kinds.tables, table_type(&table?.ty)));
                }
            }
            Payload::MemorySection(section) => {
                for ty in section {
                    self.memories.push(push(&mut kinds.memories, memory_type(&ty?)));
                }
            }
            Payload::TagSection(section) => self.tags += section.count(),
            Payload::GlobalSection(section) => {
                self.globals += section.count();
                for global in section {
                    kinds.globals.push(global_type(&global?.ty));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let ty = kinds.describe(types.as_ref(), export.kind, export.index);
                    self.exports.push((export.name.into(), ty));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    let kind = match element?.kind {
                        ElementKind::Active { .. } => 0,
                        ElementKind::Passive => 1,
                        ElementKind::Declared => 2,
                    };
                    self.elements[kind] += 1;
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let passive = matches!(data.kind, wasmparser::DataKind::Passive);
                    self.data[usize::from(passive)] += 1;
                    self.data_bytes += data.data.len() as u64;
                }
            }
            Payload::CodeSectionEntry(body) => {
                self.bodies.push(body.range().end - body.range().start);
            }
            Payload::CustomSection(section) if section.name() == "name" => {
                let reader = wasmparser::BinaryReader::new(section.data(), section.data_offset());
                let names = NameSectionReader::new(reader).map_while(std::result::Result::ok);
                for name in names {
                    if let Name::Module { name, .. } = name {
                        self.name = Some(name.into());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn to_text(&self, file: &str) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        let name = self.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        line(format!("{file}: core module{name}, {} bytes", self.size));
        let largest = self.bodies.iter().max().copied().unwrap_or(0);
        line(format!(
            "functions: {} imported, {} defined ({} bytes, the largest {largest})",
            self.imported_funcs,
            self.bodies.len(),
            self.bodies.iter().sum::<u64>()
        ));
        line(format!("globals: {}", self.globals));
        line(format!(
            "data: {} active, {} passive ({} bytes)",
            self.data[0], self.data[1], self.data_bytes
        ));
        let [active, passive, declared] = self.elements;
        line(format!("elements: {active} active, {passive} passive, {declared} declared"));
        if let Some(start) = self.start {
            line(format!("start: function {start}"));
        }
        for (title, items) in [("memories", &self.memories), ("tables", &self.tables)] {
            if !items.is_empty() {
                line(format!("{title}:"));
                items.iter().for_each(|item| line(format!("  {item}")));
            }
        }
        if !self.imports.is_empty() {
            line("imports:".into());
            for (module, name, ty) in &self.imports {
                line(format!("  {} {}  {ty}", quote(module), quote(name)));
            }
        }
        if !self.exports.is_empty() {
            line("exports:".into());
            self.exports.iter().for_each(|(name, ty)| line(format!("  {}  {ty}", quote(name))));
        }
        line("sections:                   offset       size      count".into());
        for section in &self.sections {
            let name = if section.custom { quote(&section.name) } else { section.name.clone() };
            let count = section.count.map(|count| count.to_string()).unwrap_or_default();
            line(
                format!("  {name:22} {:#10x} {:10} {count:>10}", section.offset, section.size)
                    .trim_end()
                    .into(),
            );
        }
        text
    }

    fn to_json(&self, file: &str) -> Value {
        let import = |(module, name, ty): &(String, String, String)| json!({ "module": module, "name": name, "type": ty });
        let section = |s: &Section| {
            json!({
                "name": s.name,
                "custom": s.custom,
                "offset": s.offset,
                "size": s.size,
                "count": s.count,
            })
        };
        let export = |(name, ty): &(String, String)| json!({ "name": name, "type": ty });
        json!({
            "file": file,
            "kind": "module",
            "name": self.name,
            "size": self.size,
            "start": self.start,
            "imports": self.imports.iter().map(import).collect::<Vec<_>>(),
            "exports": self.exports.iter().map(export).collect::<Vec<_>>(),
            "memories": self.memories,
            "tables": self.tables,
            "globals": self.globals,
            "tags": self.tags,
            "functions": {
                "imported": self.imported_funcs,
                "defined": self.bodies.len(),
                "size": self.bodies.iter().sum::<u64>(),
                "largest": self.bodies.iter().max(),
            },
            "data": {
                "active": self.data[0],
                "passive": self.data[1],
                "size": self.data_bytes,
            },
            "elements": {
                "active": self.elements[0],
                "passive": self.elements[1],
                "declared": self.elements[2],
            },
            "sections": self.sections.iter().map(section).collect::<Vec<_>>(),
        })
    }
}

/// Names are guest data: control characters in them never reach the terminal.
fn quote(name: &str) -> String {
    format!("{name:?}")
}

fn push(list: &mut Vec<String>, ty: String) -> String {
    list.push(ty.clone());
    ty
}

fn func_type(types: Option<&wasmparser::types::TypesRef<'_>>, index: Option<u32>) -> String {
    let found = index.zip(types).map(|(index, types)| &types[types.core_type_at_in_module(index)]);
    match found.map(|ty| &ty.composite_type.inner) {
        Some(wasmparser::CompositeInnerType::Func(ty)) => {
            let mut text = String::from("(func");
            for (word, types) in [("param", ty.params()), ("result", ty.results())] {
                if !types.is_empty() {
                    write!(text, " ({word}").expect("strings take all");
                    types.iter().for_each(|ty| write!(text, " {ty}").expect("strings take all"));
                    text.push(')');
                }
            }
            text + ")"
        }
        _ => "(func)".into(),
    }
}

fn limits(min: u64, max: Option<u64>, index64: bool) -> String {
    let index = if index64 { "i64 " } else { "" };
    match max {
        Some(max) => format!("{index}{min} {max}"),
        None => format!("{index}{min}"),
    }
}

fn memory_type(ty: &wasmparser::MemoryType) -> String {
    let shared = if ty.shared { " shared" } else { "" };
    let page = ty.page_size_log2.map(|l| format!(" (pagesize {})", 1u64 << l)).unwrap_or_default();
    format!("(memory {}{shared}{page})", limits(ty.initial, ty.maximum, ty.memory64))
}

fn table_type(ty: &wasmparser::TableType) -> String {
    format!("(table {} {})", limits(ty.initial, ty.maximum, ty.table64), ty.element_type)
}

fn global_type(ty: &wasmparser::GlobalType) -> String {
    if ty.mutable {
        format!("(global (mut {}))", ty.content_type)
    } else {
        format!("(global {})", ty.content_type)
    }
}

fn section_name(id: u8) -> &'static str {
    const NAMES: [&str; 14] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
        "tag",
    ];
    NAMES.get(usize::from(id)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module $demo
        (import "env" "print" (func (param i32) (result i64)))
        (import "env" "base" (global i32))
        (memory (export "memory") 1 16)
        (table 3 funcref)
        (global (mut f64) (f64.const 0))
        (func (export "run") (param i32 f32))
        (func $start)
        (start $start)
        (data (i32.const 0) "hello")
        (elem declare func $start))"#;

    #[test]
    fn text() {
        let report = read(&wat::parse_str(MODULE).unwrap()).unwrap();
        let text = report.to_text("demo.wat");
        for expected in [
            "demo.wat: core module `demo`, ",
            "functions: 1 imported, 2 defined (4 bytes, the largest 2)\n",
            "  \"env\" \"print\"  (func (param i32) (result i64))\n",
            "  \"env\" \"base\"  (global i32)\n",
            "  \"run\"  (func (param i32 f32))\n",
            "  \"memory\"  (memory 1 16)\n",
            "  (table 3 funcref)\n",
            "start: function 2\n",
            "data: 1 active, 0 passive (5 bytes)\n",
            "elements: 0 active, 0 passive, 1 declared\n",
            "\n  \"name\" ",
        ] {
            assert!(text.contains(expected), "no {expected:?} in:\n{text}");
        }
    }

    #[test]
    fn json() {
        let report = read(&wat::parse_str(MODULE).unwrap()).unwrap();
        let value = report.to_json("demo.wat");
        assert_eq!(value["imports"][0]["type"], "(func (param i32) (result i64))");
        assert_eq!(value["functions"]["defined"], 2);
        assert_eq!(value["start"], 2);
        let sizes = value["sections"].as_array().unwrap().iter();
        assert!(sizes.map(|s| s["size"].as_u64().unwrap()).sum::<u64>() < report.size);
    }

    #[test]
    fn other_things_are_named() {
        let component = b"\0asm\x0d\0\x01\0";
        assert!(read(component).unwrap_err().to_string().contains("is a component"));
        assert!(read(b"\0asm\x01\0\0\0\x01").is_err());
    }
}
