#!/usr/bin/env python3
"""Instructions an answer, counted by valgrind --tool=callgrind: the same on a noisy machine as on a quiet one.

Runs perf/micro/serve_once under callgrind, which answers a fixed number of prepared queries of each kind in memory,
and divides the instructions inside the measured loop by the answers. The figures are held against those in
perf/BUDGET.md: more than 5 % above is a failure, unless that file says the new figure.

  perf/lanes/budget.py --build build            # compares
  perf/lanes/budget.py --build build --write    # puts the figures of now into perf/BUDGET.md
"""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

BUDGET = Path(__file__).resolve().parents[1] / "BUDGET.md"
ALLOWED_GROWTH = 0.05
BEGIN, END = "<!-- instructions -->\n", "<!-- end of instructions -->\n"


def count(build, kind, answers):
    """Instructions of the whole run; two lengths of run tell what one answer takes."""
    with tempfile.TemporaryDirectory(prefix="pharos-budget-") as work:
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={work}/out", "--",
                               build / "perf/micro/serve_once", kind, str(answers)],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"serve_once {kind}: {done.stdout}{done.stderr}")
        for line in (Path(work) / "out").read_text().splitlines():
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    sys.exit("callgrind told no total")


def kinds_of(build):
    return subprocess.run([build / "perf/micro/serve_once"], capture_output=True, text=True, check=True).stdout.split()


def measure(build, answers=4096):
    found = {}
    for kind in kinds_of(build):
        few, many = count(build, kind, answers), count(build, kind, 3 * answers)
        found[kind] = (many - few) / (2 * answers)
        harness.say(f"  {kind}: {found[kind]:.0f} instructions an answer")
    return found


def budget():
    text = BUDGET.read_text()
    block = text[text.index(BEGIN) + len(BEGIN):text.index(END)]
    return {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+) \|$", block, re.MULTILINE)}


def write(found):
    text = BUDGET.read_text()
    rows = "".join(f"| `{kind}` | {value:.0f} |\n" for kind, value in found.items())
    head = "| kind of query | instructions an answer |\n|---|---|\n"
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    BUDGET.write_text(text[:start] + head + rows + text[end:])


def judge(found, allowed):
    """One line a kind; the kinds that grew too much."""
    grown = []
    for kind, value in found.items():
        if kind not in allowed:
            grown.append(kind)
            print(f"{kind:16} {value:8.0f}  not in {BUDGET.name}")
            continue
        change = value / allowed[kind] - 1
        print(f"{kind:16} {value:8.0f}  budget {allowed[kind]:6.0f}  {change:+6.1%}")
        if change > ALLOWED_GROWTH:
            grown.append(kind)
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {BUDGET.name}")
    options = parser.parse_args()
    found = measure(options.build.resolve())
    if options.write:
        return write(found)
    grown = judge(found, budget())
    if grown:
        print(f"more instructions an answer than {BUDGET.name} says, by over {ALLOWED_GROWTH:.0%}: {', '.join(grown)}. "
              "Where that is meant: perf/lanes/budget.py --write, and say why in the commit.")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
