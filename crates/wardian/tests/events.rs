//! What the engine says of its work by `tracing`, on any thread. A single test: its subscriber is that of
//! the whole process.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};
use wardian::*;

/// Keeps events and spans as lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, " {value:?}").unwrap();
        } else if !matches!(field.name(), "micros" | "code_bytes" | "name") {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }
}

impl Log {
    fn line(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(metadata.target().to_string());
        record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    /// What came since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Whether these came, in this order, among others.
    #[track_caller]
    fn expect(&self, expected: &[&str]) {
        let found = self.take();
        let mut left = found.iter();
        for line in expected {
            assert!(left.any(|found| found == line), "no {line:?} (in this place) in {found:#?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wardian")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.line(attributes.metadata(), |line| {
            write!(line.0, " span {}", attributes.metadata().name()).unwrap();
            attributes.record(line);
        });
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

const LOOP: &str = r#"(module
    (import "" "" (func))
    (func (export "run") (param i32) (result i32) (local i32)
      (loop (local.set 1 (i32.add (local.get 1) (local.get 0)))
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      (local.get 1))
    (func (export "trap") unreachable))"#;

#[test]
fn everything_that_matters_is_told() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();

    let mut config = Config::new();
    // 8 for the entry, and three turns.
    config.strategy(Strategy::Tiered).tier_up(TierUp::Synchronous(11));
    config.artifact_key([7; 32]);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, LOOP).unwrap();
    let size = wat::parse_str(LOOP).unwrap().len();
    log.expect(&[
        &format!("wardian::module span load bytes={size}"),
        "wardian::module loaded functions=2",
    ]);

    let mut store = Store::new(&engine, ());
    let import = Func::wrap(&mut store, || {});
    let instance = Instance::new(&mut store, &module, &[import.into()]).unwrap();
    log.expect(&["wardian::instance instantiated instance=0 imports=1 start=false"]);

    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, 10).unwrap(), 55);
    log.expect(&[
        "wardian::compile compiled tier=\"baseline\" func=1 bytes=25",
        "wardian::tiers tier-up requested func=1 head=0",
        "wardian::compile compiled tier=\"replacement\" func=1 head=0",
        "wardian::tiers loop replacement published func=1 head=0",
        "wardian::compile compiled tier=\"optimized\" func=1 bytes=25",
        "wardian::tiers tier-up published func=1",
        "wardian::tiers frame replaced func=1 head=0",
    ]);

    let trap = instance.get_typed_func::<(), ()>(&mut store, "trap").unwrap();
    trap.call(&mut store, ()).unwrap_err();
    let found = log.take();
    let line = found.iter().find(|line| line.starts_with("wardian::trap trapped")).unwrap();
    assert!(line.starts_with("wardian::trap trapped trap=unreachable func=2 offset="), "{line}");
    assert!(line.ends_with(" frames=1"), "{line}");

    Module::new(&engine, "(module (func (result i32)))").unwrap_err();
    let found = log.take();
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("wardian::module not loaded error=func 0, offset")),
        "{found:?}"
    );

    let artifact = module.serialize().unwrap();
    log.take();
    Module::deserialize(&engine, &artifact).unwrap();
    log.expect(&[&format!("wardian::module artifact accepted bytes={size}")]);
    let mut changed = artifact;
    *changed.last_mut().unwrap() ^= 1;
    Module::deserialize(&engine, &changed).unwrap_err();
    let found = log.take();
    assert!(
        found.iter().any(|line| line.starts_with("wardian::module artifact refused error=")),
        "{found:?}"
    );

    cache(&log, &config);
}

fn cache(log: &Log, config: &Config) {
    let folder = tempfile::tempdir().unwrap();
    let mut choice = CacheConfig::new();
    choice.with_directory(folder.path());
    let mut config = config.clone();
    config.strategy(Strategy::Optimizing).cache(Some(Cache::new(&choice).unwrap()));
    let load = || {
        let engine = Engine::new(&config).unwrap();
        Module::new(&engine, LOOP).unwrap();
        engine.wait_for_cache();
    };
    load();
    let found = log.take();
    assert!(found.iter().any(|line| line == "wardian::cache not in the cache"), "{found:#?}");
    assert!(
        found.iter().any(|line| line.starts_with("wardian::cache code is kept bytes=")),
        "{found:#?}"
    );
    load();
    log.expect(&["wardian::cache found in the cache functions=2"]);
    let entry = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&entry).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&entry, bytes).unwrap();
    load();
    let found = log.take();
    let refused =
        found.iter().find(|line| line.starts_with("wardian::cache a cache entry is refused"));
    assert!(refused.is_some_and(|line| line.contains("error=")), "{found:?}");
}
