#!/usr/bin/env python3
"""Pauses of the collector, from the events on standard input:

  WARDIAN_LOG=wardian::gc=debug wardian run gc_tree.wasm 2>&1 | benches/pauses.py
"""
import re, sys

pauses = {}
for line in sys.stdin:
    found = re.search(r"which=(\w+) micros=(\d+)", line)
    if found:
        pauses.setdefault(found[1], []).append(int(found[2]))
for which, micros in sorted(pauses.items()):
    micros.sort()
    at = lambda part: micros[min(len(micros) - 1, int(len(micros) * part))]
    below = sum(1 for one in micros if one < 1000) / len(micros)
    print(f"{which}: {len(micros)}, {sum(micros) / 1e3:.0f} ms in all; median {at(0.5)} us, "
          f"99 % {at(0.99)} us, longest {micros[-1]} us; {below:.1%} below 1 ms")
