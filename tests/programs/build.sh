#!/bin/sh
# Builds the programs of this folder: ./build.sh [NAME…]. The .wasm files are kept in the repository,
# so this is needed only after a change of a source.
#
#   Rust:  rustup target add wasm32-wasip1
#   C:     pip install ziglang==0.17.1         (ZIG='python3 -m ziglang' unless set)
set -eu
cd "$(dirname "$0")"
ZIG=${ZIG:-python3 -m ziglang}
[ $# -gt 0 ] || set -- $(ls src | sed 's/\.[a-z]*$//')
for name in "$@"; do
    if [ -f "src/$name.rs" ]; then
        rustc --edition 2024 --target wasm32-wasip1 -C opt-level=s -C lto=fat -C panic=abort \
            -C codegen-units=1 -C strip=symbols -o "$name.wasm" "src/$name.rs"
    else
        $ZIG cc -target wasm32-wasi -Os -s -Wall -o "$name.wasm" "src/$name.c"
    fi
done
