#!/usr/bin/env python3
"""Runs commands in turn and compares them: wall time, processor time and peak memory of the process.

    benches/compare.py [-n ROUNDS] NAME=COMMAND…

Each command is one argument, split at blanks; the first is what the others are compared with. Every
round runs each command once, so that what disturbs the machine disturbs all. One round more comes
before, to warm files up; it is not counted. Output is thrown away. A command that fails ends the
comparison. Needs a Unix, Python 3.9 or later, and the program `time` for the memory: what the system tells
of a child counts this program's own pages in.
"""

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def run(command):
    """Wall and processor time in seconds."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit code {child.returncode}")
    return wall, usage.ru_utime + usage.ru_stime


def peak(command):
    """Peak resident memory in MiB; the middle of three."""
    def once():
        with tempfile.NamedTemporaryFile("r") as out:
            timed = ["time", "-f", "%M", "-o", out.name, *command]
            subprocess.run(timed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            return int(out.read()) / 1024
    return statistics.median(once() for _ in range(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=9, help="rounds (9)")
    parser.add_argument("commands", nargs="+", metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    commands = []
    for text in arguments.commands:
        name, equals, command = text.partition("=")
        if not equals:
            parser.error(f"`{text}`: expected NAME=COMMAND")
        commands.append((name, shlex.split(command)))
    samples = {name: [] for name, _ in commands}
    for number in range(arguments.n + 1):
        for name, command in commands:
            sample = run(command)
            if number > 0:
                samples[name].append(sample)
    print(f"{'':16}{'wall ms':>10}{'least':>10}{'ratio':>8}{'cpu ms':>10}{'peak MiB':>10}{'ratio':>8}")
    first = None
    for name, command in commands:
        walls, cpus = zip(*samples[name])
        wall, cpu = statistics.median(walls) * 1e3, statistics.median(cpus) * 1e3
        memory = peak(command) if shutil.which("time") else float("nan")
        first = first or (wall, memory)
        print(
            f"{name:16}{wall:10.1f}{min(walls) * 1e3:10.1f}{wall / first[0]:8.2f}"
            f"{cpu:10.1f}{memory:10.1f}{memory / first[1]:8.2f}"
        )


if __name__ == "__main__":
    main()
