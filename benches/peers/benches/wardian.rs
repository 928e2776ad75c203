//! Wardian's rows of `micro`, by Criterion: `cargo bench --bench wardian [ROW]`.

mod common;

fn main() {
    peers::ours::micro::run(&mut common::Benchmarks::from_arguments())
        .expect("Wardian does the work");
}
