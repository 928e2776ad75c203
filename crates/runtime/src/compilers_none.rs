//! Stands in for `compilers.rs` in a build that only loads artifacts: compilers that refuse, and, since no
//! compiler knows the processor, the check whether code was made for one like it.
//!
//! Invariant: [`can_run`] accepts a list of features only if it knows each that code may use, and the
//! processor has it.

use wardian_lower::{CompileError, Shape};
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Body, DefinedFuncIndex, Module, Settings};

/// Whether this build has compilers.
pub const HAS_COMPILER: bool = false;

fn refused<R>() -> Result<R, CompileError> {
    Err(CompileError::Internal("this build has no compiler".into()))
}

/// Features by the compiler's names, and whether this processor has them.
fn features() -> Vec<(&'static str, bool)> {
    macro_rules! list {
        ($($name:literal $feature:tt,)*) => {{
            #[cfg(target_arch = "x86_64")]
            let list = vec![$(($name, std::arch::is_x86_feature_detected!($feature)),)*];
            #[cfg(not(target_arch = "x86_64"))]
            let list = vec![$(($name, false),)*];
            list
        }};
    }
    list! {
        "has_sse3" "sse3",
        "has_ssse3" "ssse3",
        "has_cmpxchg16b" "cmpxchg16b",
        "has_sse41" "sse4.1",
        "has_sse42" "sse4.2",
        "has_popcnt" "popcnt",
        "has_avx" "avx",
        "has_avx2" "avx2",
        "has_fma" "fma",
        "has_bmi1" "bmi1",
        "has_bmi2" "bmi2",
        "has_lzcnt" "lzcnt",
        "has_avx512bitalg" "avx512bitalg",
        "has_avx512dq" "avx512dq",
        "has_avx512f" "avx512f",
        "has_avx512vbmi" "avx512vbmi",
        "has_avx512vl" "avx512vl",
        "has_avx512vnni" "avx512vnni",
        "has_avx_vnni" "avxvnni",
    }
}

/// Whether code that was made for these features can run here. All else that it depends on stands in other
/// lines of an artifact's key.
pub(crate) fn can_run(cpu: &str) -> bool {
    let known = features();
    let triple = |word: &str| {
        let mut parts = word.split('-');
        parts.next() == Some(std::env::consts::ARCH)
            && parts.any(|part| part == std::env::consts::OS)
    };
    cpu.split_whitespace().next() == Some("cranelift")
        && cpu.split_whitespace().any(triple)
        && cpu
            .split_whitespace()
            .filter_map(|word| word.strip_suffix("=1"))
            .all(|name| !name.starts_with("has_") || known.contains(&(name, true)))
}

pub(crate) mod optimizing {
    use super::*;

    pub use wardian_lower::CompileError;

    #[derive(Default)]
    pub struct Scratch;

    impl Scratch {
        pub fn new() -> Scratch {
            Scratch
        }

        pub fn shape(&self) -> Shape {
            Shape::default()
        }
    }

    pub struct Compiler {
        settings: Settings,
    }

    impl Compiler {
        pub fn with_cpu(settings: &Settings, _: &str) -> Result<Compiler, String> {
            Ok(Compiler { settings: settings.clone() })
        }

        pub fn settings(&self) -> &Settings {
            &self.settings
        }

        /// What artifacts are compared with that [`can_run`] refuses, for the message.
        pub fn isa_key(&self) -> String {
            let has = features().into_iter().filter(|(_, has)| *has);
            has.fold("cranelift".into(), |key, (name, _)| key + " " + name + "=1")
        }

        pub fn has(&self, _: &str) -> bool {
            false
        }

        pub fn compile(
            &self,
            _: &Module,
            _: &VmLayout,
            _: Body,
            _: Linkage,
            _: &mut Scratch,
        ) -> Result<FunctionCode, CompileError> {
            refused()
        }

        pub fn compile_beside(
            &self,
            _: &Module,
            _: &VmLayout,
            _: Body,
            _: &dyn Fn(DefinedFuncIndex) -> bool,
            _: &mut Scratch,
        ) -> Result<FunctionCode, CompileError> {
            refused()
        }

        pub fn compile_replacement(
            &self,
            _: &Module,
            _: &VmLayout,
            _: Body,
            _: u32,
            _: &dyn Fn(DefinedFuncIndex) -> bool,
            _: &mut Scratch,
        ) -> Result<(FunctionCode, u32), CompileError> {
            refused()
        }
    }
}

pub(crate) mod baseline {
    use super::*;

    #[expect(dead_code, reason = "there is no compiler to tell them")]
    pub struct Features {
        pub sse3: bool,
        pub ssse3: bool,
        pub sse41: bool,
        pub sse42: bool,
        pub popcnt: bool,
        pub lzcnt: bool,
        pub bmi1: bool,
        pub bmi2: bool,
        pub avx: bool,
        pub fma: bool,
    }

    #[derive(Default)]
    pub struct Scratch {
        pub every_location: bool,
    }

    impl Scratch {
        pub fn new() -> Scratch {
            Scratch::default()
        }

        pub fn shape(&self) -> Shape {
            Shape::default()
        }
    }

    pub struct Compiler;

    impl Compiler {
        pub fn new(_: &Settings, _: Features) -> Compiler {
            Compiler
        }

        pub fn without_counting(&mut self) {}

        pub fn compile(
            &self,
            _: &Module,
            _: &VmLayout,
            _: Body,
            _: Linkage,
            _: &mut Scratch,
        ) -> Result<FunctionCode, CompileError> {
            refused()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_for_more_than_the_processor_has_is_refused() {
        let triple = format!("{}-unknown-{}-gnu", std::env::consts::ARCH, std::env::consts::OS);
        let has: Vec<_> = features().into_iter().filter(|(_, has)| *has).collect();
        let all = has.iter().fold(String::new(), |all, (name, _)| all + name + "=1 ");
        assert!(can_run(&format!("cranelift 1.2.3 {all} has_unknown=0 opt_level=speed {triple}")));
        assert!(!can_run(&format!("cranelift 1.2.3 has_unknown=1 {triple}")));
        assert!(!can_run("cranelift 1.2.3 riscv64-unknown-none-elf"));
        assert!(!can_run(&format!("other 1.2.3 {triple}")));
        assert!(!can_run(""));
        for (name, _) in features().into_iter().filter(|(_, has)| !has) {
            assert!(!can_run(&format!("cranelift 1.2.3 {name}=1 {triple}")), "{name}");
        }
    }
}
