//! Rows of `micro` as Criterion's benchmarks, in a group that is named after the engine: what Criterion compares is
//! an engine with itself, before and after. `cargo xtask compare` compares the two.

use criterion::{Criterion, Throughput};
use peers::Rows;

pub struct Benchmarks {
    criterion: Criterion,
}

impl Benchmarks {
    /// As the command line wants them.
    pub fn from_arguments() -> Benchmarks {
        Benchmarks { criterion: Criterion::default().configure_from_args() }
    }
}

impl Rows for Benchmarks {
    fn row(&mut self, name: &str, _batch: u32, times: u32, mut operation: impl FnMut()) {
        let mut group = self.criterion.benchmark_group(env!("CARGO_CRATE_NAME"));
        if times > 1 {
            // Criterion shows the time of the whole, and with it how many a second that is.
            group.throughput(Throughput::Elements(times.into()));
        }
        group.bench_function(name, |bencher| bencher.iter(&mut operation));
        group.finish();
    }
}
