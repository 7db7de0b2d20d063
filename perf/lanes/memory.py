#!/usr/bin/env python3
"""Lane memory: bytes of tables by name, and by (pool, locale): what a world needs is their sum.

Each row is the difference of two worlds by what the larger one has more, so that nothing fixed counts. Figures are
those of the images, which the data plane maps and nothing else: resident memory of the process beside NSD's and Knot's
is in lane `start`. A cell of the ranking that says what another one says is stored once; the dear case is that all
differ, and the row beside it has the cheap one, where all locales of a pool get the same.
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import harness


def image_bytes(options, work, *world):
    state = work / "-".join(map(str, world)).replace("--", "")
    subprocess.run([options.build / "perf/pharos-make-tables", "--state", state, *map(str, world)], check=True,
                   stdout=subprocess.DEVNULL)
    return {path.name.split("-")[0]: path.stat().st_size for path in (state / "tables").glob("*.image")}


def measure(options, work):
    rows = []
    few, many = options.names // 10, options.names
    for addresses in (1, 4, 8):
        small, large = (image_bytes(options, work, "--names", n, "--addresses", addresses)["catalog"] for n in (few, many))
        rows.append(harness.Row(f"a name of {addresses} addresses", "bytes", [(large - small) / (many - few)]))
    pools, locales = options.pools, options.locales
    services = ["--names", pools, "--services", pools, "--addresses", 4]
    one = image_bytes(options, work, *services, "--locales", 1)
    per_pool = image_bytes(options, work, "--names", 2 * pools, "--services", 2 * pools, "--addresses", 4, "--locales", 1)
    all_differ = image_bytes(options, work, *services, "--locales", 4)
    shared = image_bytes(options, work, *services, "--locales", locales)
    rows.append(harness.Row("a pool: name and row", "bytes", [(sum(per_pool.values()) - sum(one.values())) / pools]))
    rows.append(harness.Row("a (pool, locale), all answers differ", "bytes",
                            [(all_differ["ranking"] - one["ranking"]) / (3 * pools)]))
    rows.append(harness.Row("a (pool, locale), of 4 different answers", "bytes",
                            [(shared["ranking"] - all_differ["ranking"]) / ((locales - 4) * pools)]))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--names", type=int, default=1_000_000, help="of the larger world (default %(default)s)")
    parser.add_argument("--pools", type=int, default=10_000, help="(default %(default)s)")
    parser.add_argument("--locales", type=int, default=200, help="(default %(default)s)")
    parser.add_argument("--json", type=Path, help="where the figures go (default perf/results/memory.local.json)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.locales < 5:
        sys.exit("--locales: 5 or more")
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-memory-") as work:
        rows = measure(options, Path(work))
    harness.finish("memory", rows, options)


if __name__ == "__main__":
    main()
