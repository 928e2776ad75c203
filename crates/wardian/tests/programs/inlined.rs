//! A program with an inlined frame and debugging information, for the tests of backtraces.
//!
//! `inlined.wasm` beside it was made from it, in this folder, by
//!
//!     rustc --edition 2024 --target wasm32-wasip1 --crate-type cdylib -g -C opt-level=2 -C panic=abort \
//!         -C link-self-contained=no -C link-arg=--no-entry -C linker=rust-lld \
//!         --remap-path-prefix "$PWD=/src" inlined.rs -o inlined.wasm

#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[inline(always)]
fn divide(a: i32) {
    if a == 3 {
        core::arch::wasm32::unreachable();
    }
}

#[inline(never)]
fn work(a: i32) -> i32 {
    divide(a);
    a * 2
}

#[unsafe(no_mangle)]
pub extern "C" fn run(a: i32) -> i32 {
    work(a + 1) + 1
}
