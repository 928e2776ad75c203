//! Wardian under the names that the work uses.

pub use wardian::*;

/// A module from what [`Module::serialize`] gave.
pub fn deserialize(engine: &Engine, artifact: &[u8]) -> Result<Module> {
    Module::deserialize(engine, artifact)
}

/// A module from a file of that kind.
pub fn deserialize_file(engine: &Engine, path: &std::path::Path) -> Result<Module> {
    Module::deserialize_file(engine, path)
}

/// An engine that compiles all of a module with optimizations before anything runs, as the peer does.
pub fn ahead_of_time(parallel: bool) -> Result<Engine> {
    let mut config = Config::new();
    config.strategy(Strategy::Optimizing).parallel_compilation(parallel);
    Engine::new(&config)
}

#[path = "compile.rs"]
pub mod compile;
#[path = "instances.rs"]
pub mod instances;
#[path = "micro.rs"]
pub mod micro;
