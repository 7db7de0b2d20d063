#!/usr/bin/env python3
"""Lane micro (L0): the packet path in memory, whole and stage by stage, beside the floor of memory; Google Benchmark.

The floor (`floor_of_memory` of perf/micro/serve_bench.cc) is what no responder can leave out: the query's bytes copied
in, one random line of a table as large, asked for ahead of time, and as many answer bytes copied out. It is measured
with as many names and as large a burst as its row. In every turn the programs of the packet path run whole, so that a
row and its floor are seconds apart; those of the control plane run once, and have no floor.

  perf/run micro                        about a minute
  perf/run micro --filter nxdomain      of the benchmarks, those that this regular expression finds
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import harness
import l1_pcap

EACH_TURN = ("serve_bench", "stage_bench")
ONCE = ("locale_bench", "locale_layout_bench", "ingest_bench", "engine_bench", "catalog_bench")
SECONDS_ONCE = 0.1
BURST = 32  # of rows that have one burst size
FLOOR = "floor_of_memory"
UNIT_NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
KINDS = {"a": "A without EDNS", "a_edns": "A", "nodata": "NODATA", "nxdomain": "NXDOMAIN", "wildcard": "wildcard",
         "ranked": "service", "ranked_subnet": "service, client subnet", "cookie": "A, cookie",
         "a_edns_10_patterns": "A, 10 patterns", "a_edns_10k_patterns": "A, 10,000 patterns",
         "nxdomain_10_patterns": "NXDOMAIN, 10 patterns", "nxdomain_10k_patterns": "NXDOMAIN, 10,000 patterns",
         "software_checksums": "A, checksums in software", "port_checksums": "A, checksums by the port"}
# Ours, and what it stands beside, of two of our own.
BESIDE = (("serve_queries/a_edns/1000000/32", "serve_queries/a_edns/1000/32"),
          ("serve_queries/nxdomain/1000000/32", "serve_queries/a_edns/1000000/32"),
          ("serve_queries/a_edns_10k_patterns/10000/32", "serve_queries/a_edns/10000/32"),
          ("serve_queries/nxdomain_10k_patterns/10000/32", "serve_queries/nxdomain/10000/32"))


def run(options, bench, seconds):
    """Benchmark -> ns an item: a query where it counts them, else a pass."""
    done = subprocess.run(
        ["taskset", "-c", str(options.core), options.build / "perf/micro" / bench, "--benchmark_format=json",
         f"--benchmark_min_time={seconds}", *([f"--benchmark_filter={options.filter}"] if options.filter else [])],
        capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{bench}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    if not done.stdout.strip():  # the filter finds nothing in this one
        return {}
    failed = [each for each in json.loads(done.stdout)["benchmarks"] if each.get("error_occurred")]
    if failed:
        sys.exit(f"{bench}: {failed[0]['name']}: {failed[0]['error_message']}")
    return {each["name"]: 1e9 / each["items_per_second"] if "items_per_second" in each
            else each["cpu_time"] * UNIT_NS[each["time_unit"]] for each in json.loads(done.stdout)["benchmarks"]}


def title_of(name):
    """For people: 'serve_queries/a_edns/1000/32' is 'pipeline, 1,000 names, burst 32: A'."""
    found = re.fullmatch(r"(serve_queries|turn)/(\w+)/(\d+)/(\d+)", name)
    if not found:
        return name.replace("_", " ")
    what = "pipeline" if found[1] == "serve_queries" else "frame to frame"
    return f"{what}, {int(found[3]):,} names, burst {found[4]}: {KINDS.get(found[2], found[2])}"


def floor_of(name):
    """The floor with as many names and as large a burst; stages that have none stand beside that of 10,000 and 32."""
    numbers = [int(part) for part in name.split("/") if part.isdigit()]
    if name.startswith(("serve_queries/", "turn/")):
        return f"{FLOOR}/{numbers[0]}/{numbers[1]}"
    return f"{FLOOR}/{numbers[0] if name.startswith('name_lookup/') else 10_000}/{BURST}"


def rows_of(figures, once):
    rows = []
    for name, ours in figures.items():
        if not name.startswith(FLOOR):
            floor = floor_of(name)
            peer = ("memory floor", figures[floor]) if floor in figures else ("", [])
            rows.append(harness.Row(title_of(name), "ns", ours, *peer))
    for name, other in BESIDE:
        if name in figures and other in figures:
            rows.append(harness.Row(title_of(name), "ns", figures[name], title_of(other), figures[other]))
    return rows + [harness.Row(name.replace("_", " "), "ns", [ns]) for name, ns in once.items()]


def measure(options):
    harness.machine_of_run()
    figures = {}
    for turn in range(options.turns):
        for bench in EACH_TURN[turn % 2:] + EACH_TURN[:turn % 2]:
            harness.progress(f"  turn {turn + 1}/{options.turns}: {bench}")
            for name, ns in run(options, bench, options.seconds).items():
                figures.setdefault(name, []).append(ns)
        harness.progress("")
        at = "1000000/32"
        told = [f"{name} {harness.text_of(figures[name][-1])} ns"
                for name in (f"{FLOOR}/{at}", f"serve_queries/a_edns/{at}") if name in figures]
        harness.say(f"  turn {turn + 1}/{options.turns}: " + ", ".join(told))
    once = {}
    for bench in ONCE:
        harness.progress(f"  {bench}")
        once |= run(options, bench, SECONDS_ONCE)
    harness.progress("")
    return rows_of(figures, once)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=0.03, turns=3)
    parser.add_argument("--filter", default="", help="a regular expression, as the benchmarks take it")
    options = parser.parse_args()
    options.build = options.build.resolve()
    l1_pcap.require("taskset")
    harness.finish("micro", measure(options), options)


if __name__ == "__main__":
    main()
