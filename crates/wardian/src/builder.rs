//! [`CodeBuilder`]: a module or an artifact from bytes or a file, step by step.
//!
//! Invariant: it does what `Module::new`, `Module::from_file` and `Engine::precompile_module` do, and
//! nothing else.

use crate::engine::Engine;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::module::Module;
use crate::text::binary_form;
use std::borrow::Cow;
use std::path::Path;

/// Compiles what it was given once.
///
/// ```
/// use wardian::{CodeBuilder, CodeHint, Engine};
///
/// let engine = Engine::default();
/// let mut builder = CodeBuilder::new(&engine);
/// builder.wasm_binary_or_text(b"(module $m)", None)?;
/// assert_eq!(builder.hint(), Some(CodeHint::Module));
/// assert_eq!(builder.compile_module()?.name(), Some("m"));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct CodeBuilder<'a> {
    engine: &'a Engine,
    wasm: Option<Cow<'a, [u8]>>,
    /// For messages.
    path: Option<&'a Path>,
    /// Custom sections of a DWARF package, to be added to the module.
    dwarf: Option<Vec<u8>>,
}

/// What some bytes seem to hold.
///
/// ```
/// use wardian::{CodeBuilder, CodeHint, Engine};
///
/// let engine = Engine::default();
/// let mut builder = CodeBuilder::new(&engine);
/// builder.wasm_binary(&b"\0asm\x0d\0\x01\0"[..], None)?;
/// assert_eq!(builder.hint(), Some(CodeHint::Component));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CodeHint {
    /// A module.
    Module,
    /// A component, which this version cannot compile.
    Component,
}

impl<'a> CodeBuilder<'a> {
    /// With nothing to compile yet.
    pub fn new(engine: &'a Engine) -> CodeBuilder<'a> {
        CodeBuilder { engine, wasm: None, path: None, dwarf: None }
    }

    /// Takes a module in binary form. `path` says in messages where it is from; it is not read.
    ///
    /// # Errors
    ///
    /// When there is a module already.
    pub fn wasm_binary(
        &mut self,
        wasm: impl Into<Cow<'a, [u8]>>,
        path: Option<&'a Path>,
    ) -> Result<&mut CodeBuilder<'a>> {
        if self.wasm.is_some() {
            let text = "a code builder takes one module, and has one already";
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        (self.wasm, self.path) = (Some(wasm.into()), path);
        Ok(self)
    }

    /// Takes a module in binary or text form.
    ///
    /// # Errors
    ///
    /// When there is a module already, and when the text is none.
    pub fn wasm_binary_or_text(
        &mut self,
        wasm: &'a [u8],
        path: Option<&'a Path>,
    ) -> Result<&mut CodeBuilder<'a>> {
        self.wasm_binary(binary_form(wasm, path)?, path)
    }

    /// Reads a module in binary form from a file; and a [DWARF package](CodeBuilder::dwarf_package) from the one
    /// with the extension `dwp` beside it, if there is one.
    ///
    /// # Errors
    ///
    /// When there is a module already, and when a file cannot be read.
    pub fn wasm_binary_file(&mut self, file: &'a Path) -> Result<&mut CodeBuilder<'a>> {
        self.wasm_binary(read(file)?, Some(file))?;
        self.dwarf_package_beside(file)
    }

    /// Reads a module in binary or text form from a file.
    ///
    /// # Errors
    ///
    /// When there is a module already, when the file cannot be read, and when it is text that is no
    /// module.
    pub fn wasm_binary_or_text_file(&mut self, file: &'a Path) -> Result<&mut CodeBuilder<'a>> {
        let wasm = binary_form(&read(file)?, Some(file))?.into_owned();
        self.wasm_binary(wasm, Some(file))?;
        self.dwarf_package_beside(file)
    }

    /// Takes a DWARF package: debugging information that a compiler split off from the module, in the form of a
    /// module with nothing but custom sections. They become custom sections of the compiled module, which
    /// shows lines in backtraces with them, also when it comes from an artifact.
    ///
    /// ```
    /// use wardian::{CodeBuilder, Engine};
    ///
    /// let engine = Engine::default();
    /// let mut builder = CodeBuilder::new(&engine);
    /// assert!(builder.dwarf_package(b"something else").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// When there is a package already, and when it is none.
    pub fn dwarf_package(&mut self, package: &[u8]) -> Result<&mut CodeBuilder<'a>> {
        if self.dwarf.is_some() {
            let text = "a code builder takes one DWARF package, and has one already";
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        self.dwarf = Some(sections_of_package(package)?);
        Ok(self)
    }

    /// Reads a [DWARF package](CodeBuilder::dwarf_package) from a file.
    ///
    /// # Errors
    ///
    /// As there, and when the file cannot be read.
    pub fn dwarf_package_file(&mut self, file: &Path) -> Result<&mut CodeBuilder<'a>> {
        let taken = self.dwarf_package(&read(file)?);
        taken.with_context(|| format!("failed to take `{}`", file.display()))
    }

    fn dwarf_package_beside(&mut self, file: &Path) -> Result<&mut CodeBuilder<'a>> {
        let package = file.with_extension("dwp");
        if package.is_file() { self.dwarf_package_file(&package) } else { Ok(self) }
    }

    /// What the bytes begin as; `None` when they are neither or there are none.
    pub fn hint(&self) -> Option<CodeHint> {
        // spec 5.5.16: version 1. Components have a layer where a module's version has zeros.
        match self.wasm.as_deref()?.get(..8)? {
            b"\0asm\x01\0\0\0" => Some(CodeHint::Module),
            [0, b'a', b's', b'm', _, _, 1, 0] => Some(CodeHint::Component),
            _ => None,
        }
    }

    /// The module, with the sections of the package behind its own.
    fn wasm(&self) -> Result<Cow<'_, [u8]>> {
        let text = "a code builder without a module";
        let wasm = self.wasm.as_deref();
        let wasm = wasm.ok_or_else(|| Error::tagged(ErrorKind::Misuse, text))?;
        Ok(match &self.dwarf {
            Some(sections) => [wasm, sections].concat().into(),
            None => wasm.into(),
        })
    }

    /// The compiled module.
    ///
    /// # Errors
    ///
    /// When there is no module; as [`Module::new`].
    pub fn compile_module(&self) -> Result<Module> {
        self.named(Module::from_binary(self.engine, &self.wasm()?))
    }

    /// The compiled module as an artifact.
    ///
    /// # Errors
    ///
    /// When there is no module; as [`Engine::precompile_module`].
    pub fn compile_module_serialized(&self) -> Result<Vec<u8>> {
        self.named(self.engine.precompile_module(&self.wasm()?))
    }

    fn named<R>(&self, result: Result<R>) -> Result<R> {
        match self.path {
            Some(path) => result.with_context(|| format!("failed to compile `{}`", path.display())),
            None => result,
        }
    }
}

/// The custom sections of a DWARF package, one behind the other.
fn sections_of_package(package: &[u8]) -> Result<Vec<u8>> {
    let mut sections = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(package) {
        let payload = payload.context("not a DWARF package")?;
        if let wasmparser::Payload::CustomSection(section) = payload
            && section.name().starts_with(".debug_")
        {
            let (name, data) = (section.name().into(), section.data().into());
            wasm_encoder::Section::append_to(
                &wasm_encoder::CustomSection { name, data },
                &mut sections,
            );
        }
    }
    Ok(sections)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))
}
