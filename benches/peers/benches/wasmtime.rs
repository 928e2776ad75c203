//! Wasmtime's rows of `micro`, by Criterion: `cargo bench --bench wasmtime [ROW]`.

mod common;

fn main() {
    peers::theirs::micro::run(&mut common::Benchmarks::from_arguments())
        .expect("Wasmtime does the work");
}
