//! Executes the directives of one script, in one store; those of a `thread` in a store of its own, on a
//! thread of its own.
//!
//! Invariant: every directive of the script is recorded exactly once, in order. What a directive
//! created before it failed stays (a module whose start function traps stays linked into others).

use crate::report::Report;
use crate::{spectest, values};
use std::collections::HashMap;
use std::thread;
use wardian::{
    Engine, Error, ErrorKind, Extern, Instance, Linker, Module, SharedMemory, Store,
    ThrownException, Trap, UpdateDeadline, Val,
};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Id;
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

/// Runs a script. `file` is what the report calls it.
///
/// ```no_run
/// let script = r#"
///     (module (func (export "one") (result i32) i32.const 1))
///     (assert_return (invoke "one") (i32.const 1))
/// "#;
/// let report = wardian_wast::run_script(&wardian::Engine::default(), "one.wast", script);
/// assert_eq!((report.passed, report.failures.len()), (2, 0));
/// ```
pub fn run_script(engine: &Engine, file: &str, text: &str) -> Report {
    let mut report = Report::new(file);
    let lines = Lines::new(text);
    let failed = |report: &mut Report, error: wast::Error| {
        let line = lines.line(error.span().offset());
        report.record(line, "script", Err(error.message()));
    };
    let mut lexer = Lexer::new(text);
    // Names in scripts hold every character there is.
    lexer.allow_confusing_unicode(true);
    let buffer = match ParseBuffer::new_with_lexer(lexer) {
        Ok(buffer) => buffer,
        Err(error) => {
            failed(&mut report, error);
            return report;
        }
    };
    let script = match parser::parse::<Wast<'_>>(&buffer) {
        Ok(script) => script,
        Err(error) => {
            failed(&mut report, error);
            return report;
        }
    };
    let mut context = match Context::new(engine) {
        Ok(context) => context,
        Err(error) => {
            report.record(1, "spectest", Err(format!("{error:#}")));
            return report;
        }
    };
    thread::scope(|scope| {
        let mut threads: HashMap<String, Running<'_>> = HashMap::new();
        for directive in script.directives {
            let line = lines.line(directive.span().offset());
            let keyword = keyword(&directive);
            let result = match directive {
                WastDirective::Thread(thread) => {
                    let name = thread.name.name().to_string();
                    context.shared_memories(thread.shared_module).map(|shared| {
                        let lines = &lines;
                        let run = move || run_thread(engine, shared, thread.directives, lines);
                        if let Some(before) = threads.insert(name, scope.spawn(run)) {
                            end(before, &mut report);
                        }
                    })
                }
                WastDirective::Wait { thread, .. } => match threads.remove(thread.name()) {
                    Some(running) => {
                        end(running, &mut report);
                        Ok(())
                    }
                    None => Err(unknown("thread", Some(thread))),
                },
                directive => context.directive(directive),
            };
            report.record(line, keyword, result);
        }
        threads.into_values().for_each(|running| end(running, &mut report));
    });
    report
}

/// What became of a thread's directives.
type Outcomes = Vec<(usize, &'static str, Result<(), String>)>;

type Running<'scope> = thread::ScopedJoinHandle<'scope, Outcomes>;

/// Waits for a thread and records what it did.
fn end(running: Running<'_>, report: &mut Report) {
    match running.join() {
        Ok(outcomes) => {
            for (line, keyword, result) in outcomes {
                report.record(line, keyword, result);
            }
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn run_thread(
    engine: &Engine,
    shared: Option<(String, SharedMemories)>,
    directives: Vec<WastDirective<'_>>,
    lines: &Lines,
) -> Outcomes {
    let mut context = match Context::new(engine) {
        Ok(context) => context,
        Err(error) => return vec![(1, "spectest", Err(format!("{error:#}")))],
    };
    context.shared.extend(shared);
    let run = |directive: WastDirective<'_>| {
        let line = lines.line(directive.span().offset());
        (line, keyword(&directive), context.directive(directive))
    };
    directives.into_iter().map(run).collect()
}

/// What an instance of another thread exports that this one may use, by name.
type SharedMemories = Vec<(String, SharedMemory)>;

/// Where the lines of a script end. Scripts have thousands of directives, so that finding a line
/// may not read the script again.
struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        Lines { ends: text.match_indices('\n').map(|(offset, _)| offset).collect() }
    }

    /// The line of a byte, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|&end| end < offset) + 1
    }
}

fn keyword(directive: &WastDirective<'_>) -> &'static str {
    match directive {
        WastDirective::Module(_) => "module",
        WastDirective::ModuleDefinition(_) => "module definition",
        WastDirective::ModuleInstance { .. } => "module instance",
        WastDirective::AssertMalformed { .. } => "assert_malformed",
        WastDirective::AssertInvalid { .. } => "assert_invalid",
        WastDirective::AssertMalformedCustom { .. } => "assert_malformed_custom",
        WastDirective::AssertInvalidCustom { .. } => "assert_invalid_custom",
        WastDirective::Register { .. } => "register",
        WastDirective::Invoke(_) => "invoke",
        WastDirective::AssertTrap { .. } => "assert_trap",
        WastDirective::AssertReturn { .. } => "assert_return",
        WastDirective::AssertExhaustion { .. } => "assert_exhaustion",
        WastDirective::AssertUnlinkable { .. } => "assert_unlinkable",
        WastDirective::AssertException { .. } => "assert_exception",
        WastDirective::AssertSuspension { .. } => "assert_suspension",
        WastDirective::Thread(_) => "thread",
        WastDirective::Wait { .. } => "wait",
    }
}

/// State of a script between directives.
struct Context {
    engine: Engine,
    store: Store<()>,
    linker: Linker<()>,
    /// The last instance, which directives without a name mean.
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    /// The last module definition.
    definition: Option<Module>,
    definitions: HashMap<String, Module>,
    /// Of the script that started this thread, by the instance's name.
    shared: HashMap<String, SharedMemories>,
}

impl Context {
    fn new(engine: &Engine) -> wardian::Result<Context> {
        let mut store = Store::new(engine, ());
        // As much as a script wants, where guests are limited.
        let _ = store.set_fuel(u64::MAX);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(u64::MAX)));
        let mut linker = Linker::new(engine);
        // A later `register` of the same name replaces the earlier.
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store)?;
        Ok(Context {
            engine: engine.clone(),
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            definition: None,
            definitions: HashMap::new(),
            shared: HashMap::new(),
        })
    }

    /// What a thread gets of an instance.
    fn shared_memories(
        &mut self,
        name: Option<Id<'_>>,
    ) -> Result<Option<(String, SharedMemories)>, String> {
        let Some(id) = name else { return Ok(None) };
        let instance = self.instance(name)?;
        let exports = instance.exports(&self.store);
        let shared = exports.filter_map(|export| {
            let name = export.name().to_string();
            Some((name, export.into_shared_memory()?))
        });
        Ok(Some((id.name().to_string(), shared.collect())))
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<(), String> {
        match directive {
            WastDirective::Module(mut wat) => {
                let name = wat.name();
                let module = self.compile(&mut wat)?;
                let instance = self.instantiate(&module).map_err(text)?;
                self.keep_instance(name, instance);
                Ok(())
            }
            WastDirective::ModuleDefinition(mut wat) => {
                let module = self.compile(&mut wat)?;
                if let Some(name) = wat.name() {
                    self.definitions.insert(name.name().into(), module.clone());
                }
                self.definition = Some(module);
                Ok(())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let definition = match module {
                    Some(id) => self.definitions.get(id.name()).cloned(),
                    None => self.definition.clone(),
                };
                let definition = definition.ok_or_else(|| unknown("module definition", module))?;
                let made = self.instantiate(&definition).map_err(text)?;
                self.keep_instance(instance, made);
                Ok(())
            }
            WastDirective::AssertMalformed { mut module, message, .. }
            | WastDirective::AssertInvalid { mut module, message, .. }
            | WastDirective::AssertMalformedCustom { mut module, message, .. }
            | WastDirective::AssertInvalidCustom { mut module, message, .. } => {
                // Text that is refused never reaches the engine.
                let Ok(bytes) = encode(&mut module) else { return Ok(()) };
                match Module::new(&self.engine, bytes) {
                    Err(error) if error.kind() == ErrorKind::InvalidModule => Ok(()),
                    Err(error) => {
                        Err(format!("expected an invalid module ({message}), found: {error:#}"))
                    }
                    Ok(_) => Err(format!("expected the module to be refused: {message}")),
                }
            }
            WastDirective::Register { name, module: Some(id), .. }
                if self.shared.contains_key(id.name()) =>
            {
                for (field, memory) in &self.shared[id.name()] {
                    let defined = self.linker.define(&self.store, name, field, memory.clone());
                    defined.map_err(text)?;
                }
                Ok(())
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module)?;
                self.linker.instance(&mut self.store, name, instance).map_err(text)?;
                Ok(())
            }
            WastDirective::Invoke(invoke) => self.invoke(invoke)?.map(drop).map_err(text),
            WastDirective::AssertReturn { exec, results, .. } => {
                let found = self.execute(exec)?.map_err(text)?;
                self.check_results(&found, &results)
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let result = self.execute(exec)?;
                expect_trap(result, message)
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let result = self.invoke(call)?;
                expect_trap(result, message)
            }
            WastDirective::AssertUnlinkable { module, message, .. } => {
                let module = self.compile(&mut QuoteWat::Wat(module))?;
                match self.instantiate(&module) {
                    Err(error) if error.kind() == ErrorKind::Link => Ok(()),
                    Err(error) => {
                        Err(format!("expected a link failure ({message}), found: {error:#}"))
                    }
                    Ok(_) => Err(format!("expected a link failure: {message}")),
                }
            }
            WastDirective::AssertException { exec, .. } => match self.execute(exec)? {
                Err(error) if error.is::<ThrownException>() => Ok(()),
                Err(error) => Err(format!("expected an exception, found: {error:#}")),
                Ok(values) => Err(format!("expected an exception, found {values:?}")),
            },
            WastDirective::Thread(_)
            | WastDirective::Wait { .. }
            | WastDirective::AssertSuspension { .. } => {
                Err("this directive is not supported".into())
            }
        }
    }

    /// A module from text, quoted text or bytes.
    fn compile(&self, wat: &mut QuoteWat<'_>) -> Result<Module, String> {
        Module::new(&self.engine, encode(wat)?).map_err(text)
    }

    fn instantiate(&mut self, module: &Module) -> wardian::Result<Instance> {
        self.linker.instantiate(&mut self.store, module)
    }

    fn keep_instance(&mut self, name: Option<Id<'_>>, instance: Instance) {
        if let Some(name) = name {
            self.instances.insert(name.name().into(), instance);
        }
        self.current = Some(instance);
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance, String> {
        let found = match name {
            Some(id) => self.instances.get(id.name()).copied(),
            None => self.current,
        };
        found.ok_or_else(|| unknown("instance", name))
    }

    /// The outer error is a mistake of the script, the inner one what the engine says.
    fn execute(&mut self, exec: WastExecute<'_>) -> Result<wardian::Result<Vec<Val>>, String> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(wat) => {
                let module = self.compile(&mut QuoteWat::Wat(wat))?;
                Ok(self.instantiate(&module).map(|_| Vec::new()))
            }
            WastExecute::Get { module, global, .. } => {
                match self.instance(module)?.get_export(&mut self.store, global) {
                    Some(Extern::Global(global)) => Ok(Ok(vec![global.get(&mut self.store)])),
                    _ => Err(format!("no global is exported as `{global}`")),
                }
            }
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'_>) -> Result<wardian::Result<Vec<Val>>, String> {
        let instance = self.instance(invoke.module)?;
        let func = instance
            .get_func(&mut self.store, invoke.name)
            .ok_or_else(|| format!("no function is exported as `{}`", invoke.name))?;
        let mut args = Vec::with_capacity(invoke.args.len());
        for arg in &invoke.args {
            match arg {
                WastArg::Core(arg) => args.push(values::argument(&mut self.store, arg)?),
                _ => return Err("values of components are not supported".into()),
            }
        }
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        Ok(func.call(&mut self.store, &args, &mut results).map(|()| results))
    }

    fn check_results(&mut self, found: &[Val], expected: &[WastRet<'_>]) -> Result<(), String> {
        if found.len() != expected.len() {
            return Err(format!("expected {} results, found {found:?}", expected.len()));
        }
        for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
            match expected {
                WastRet::Core(expected) => values::check(&mut self.store, found, expected)
                    .map_err(|message| format!("result {position}: {message}"))?,
                _ => return Err("values of components are not supported".into()),
            }
        }
        Ok(())
    }
}

fn encode(wat: &mut QuoteWat<'_>) -> Result<Vec<u8>, String> {
    if matches!(wat, QuoteWat::QuoteComponent(..) | QuoteWat::Wat(Wat::Component(_))) {
        return Err("components are not supported".into());
    }
    wat.encode().map_err(|error| error.message())
}

fn expect_trap(result: wardian::Result<Vec<Val>>, expected: &str) -> Result<(), String> {
    match result {
        Ok(values) => Err(format!("expected trap `{expected}`, found {values:?}")),
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) if same_trap(&trap.to_string(), expected) => Ok(()),
            Some(trap) => Err(format!("expected trap `{expected}`, found trap `{trap}`")),
            None => Err(format!("expected trap `{expected}`, found: {error:#}")),
        },
    }
}

/// Texts compare by prefix, either way: scripts name an element's number that traps leave out. They
/// also name what a null reference should have been (`null function reference`), which ours do not.
fn same_trap(found: &str, expected: &str) -> bool {
    let null = |text: &str| text.starts_with("null ") && text.ends_with(" reference");
    found.starts_with(expected)
        || expected.starts_with(found)
        || (found == "null reference" && null(expected))
}

fn text(error: Error) -> String {
    format!("{error:#}")
}

fn unknown(what: &str, name: Option<Id<'_>>) -> String {
    match name {
        Some(id) => format!("no {what} is named `{}`", id.name()),
        None => format!("there is no {what} yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, run_script};
    use wardian::Engine;

    #[test]
    fn lines_count_from_one() {
        let lines = Lines::new("a\n\nbc\n");
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 99].map(|offset| lines.line(offset)),
            [1, 1, 2, 3, 3, 3, 4, 4]
        );
    }

    /// Like any other assertion about a module they hold only if it is refused.
    #[test]
    fn assertions_about_custom_sections_can_fail() {
        let script = r#"
            (assert_malformed_custom (module quote "(@custom)") "missing name")
            (assert_malformed_custom (module binary "\00asm" "\01\00\00\00" "\00\02\05a") "length")
            (assert_invalid_custom (module binary "\00asm" "\01\00\00\00" "\00\06\04name\ff") "id")
            (assert_invalid_custom (module) "no such section")
        "#;
        let report = run_script(&Engine::default(), "custom.wast", script);
        let failed: Vec<usize> = report.failures.iter().map(|failure| failure.line).collect();
        assert_eq!((report.passed, failed), (2, vec![4, 5]), "{:?}", report.failures);
    }
}
