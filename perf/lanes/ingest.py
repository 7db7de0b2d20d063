#!/usr/bin/env python3
"""Beacons and probes on one core: how many authenticated beacons a second from the data plane's rings and from a kernel socket,
beside the MAC alone and beside a bare drain loop at the same kind of socket; and how many targets a core probes each second.

Every beacon is accepted: signed, new, decoded, and in the engine's queue. CPU time of one thread; repetitions of ours and of the
floors are mixed at random (Google Benchmark), and ratios are taken repetition by repetition.

  perf/run ingest [--turns N] [--check]
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import harness

SIZES = {0: "112 B", 4: "176 B", 16: "368 B", 62: "1104 B"}
BEACONS_MIN = 1e6  # a second, on one core, whatever the beacon holds
SOCKET_RATIO_MIN = 0.7
TARGETS_MIN = 10_000


def run(program, *arguments):
    done = subprocess.run([program, "--benchmark_format=json", *arguments], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{program}: {done.stderr}")
    figures = {}
    for one in json.loads(done.stdout)["benchmarks"]:
        if one.get("error_occurred"):
            sys.exit(f"{one['name']}: {one['error_message']}")
        if one.get("run_type") == "iteration":
            name = one["run_name"].removesuffix("/manual_time").split("/iterations")[0]
            figures.setdefault(name, []).append(one)
    return figures


def rates(figures, name):
    return [one["items_per_second"] for one in figures[name]]


def measure(options):
    harness.say("  beacons")
    ingest = run(options.build / "perf/micro/ingest_bench", f"--benchmark_repetitions={options.turns}",
                 "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.2",
                 "--benchmark_filter=mac_alone|ring_to_queue|socket_")
    rows = [harness.Row(f"rings to the engine's queue, {size}", "beacons/s", rates(ingest, f"ring_to_queue/{endpoints}"),
                        "MAC alone", rates(ingest, f"mac_alone/{endpoints}")) for endpoints, size in SIZES.items()]
    rows.append(harness.Row("kernel socket to the engine's queue, 176 B", "beacons/s", rates(ingest, "socket_through_ingest"),
                            "bare drain", rates(ingest, "socket_bare_drain")))
    harness.say("  probes")
    probes = run(options.build / "perf/micro/probe_bench")
    for name, runs in probes.items():
        kind, targets = name.split("/")[1:3]
        lost = int(targets) - runs[0]["up"]
        rows.append(harness.Row(f"{kind} probes by core, {int(targets):,} targets", "looks/s", rates(probes, name),
                                note=f"{lost:.0f} of the targets were not up" if lost else ""))
    return rows


def missed(rows):
    for row in rows:
        median = statistics.median(row.ours)
        if row.unit == "beacons/s" and median < BEACONS_MIN:
            yield f"{row.name}: {median / 1e6:.2f} M/s, the bar is 1 M/s"
        if row.peer == "bare drain" and row.ratio < SOCKET_RATIO_MIN:
            yield f"{row.name}: {row.ratio:.2f} of a bare drain, the bar is {SOCKET_RATIO_MIN}"
        if row.unit == "looks/s" and (median < TARGETS_MIN or row.note):
            yield f"{row.name}: {median:.0f} a second, the bar is {TARGETS_MIN}; {row.note}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="repetitions (default %(default)s)")
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    parser.add_argument("--json", type=Path, help="where the figures go (default perf/results/ingest.local.json)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    harness.machine_of_run()
    rows = measure(options)
    harness.finish("ingest", rows, options)
    below = list(missed(rows))
    print("\n".join(below) if below else "all bars are met")
    if below and options.check:
        sys.exit(1)


if __name__ == "__main__":
    main()
