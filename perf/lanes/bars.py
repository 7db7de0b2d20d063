#!/usr/bin/env python3
"""The bars of speed beside the last figures of each lane, as they lie in perf/results/.

A bar is met where the median is; `unsure` where the bar lies within the row's bootstrap interval or the row was noisy.
Figures of several runs, and of several days, may stand here beside each other: the column `when` tells.

  perf/run bars
"""
import argparse
import json
import time
from pathlib import Path

import harness
import l1_pcap

# Lane, start of the row's name, start of the peer's name, whether more is better, bar, aim.
BARS = (
    ("l1_pcap", "10,000 names: A", "5tswap", True, 0.30, 0.50),
    ("l1_pcap", "1,000,000 names: A", "5tswap", True, 0.20, 0.35),
    ("l1_virtio", "10,000 names: A", "5tswap", True, 0.75, 0.90),
    ("l1_virtio", "busy cycles by answer, 10,000 names: A", "5tswap", False, 4, 2.5),
    ("l1_pcap", "10,000 names: random labels", "10,000 names: A", True, 0.8, 1.0),
    ("l1_pcap", "1,000,000 names: random labels", "1,000,000 names: A", True, 0.8, 1.0),
    ("l1_pcap", "1,000,000 names: A", "10,000 names: A", True, 1 / 1.8, 1 / 1.25),
    ("l1_pcap", "10,000 patterns: A", "10,000 names: A", True, 1 / 1.05, 1 / 1.02),
    ("l1_pcap", "10,000 patterns: random labels", "10,000 names: random labels", True, 1 / 1.5, 1 / 1.3),
    ("l1_pcap", *l1_pcap.CLOSE, True, 0.97, 0.99),
    ("micro", "pipeline, 1,000,000 names, burst 64: A", "memory floor", False, 5, 3),  # what workers ask ports for
    ("micro", "pipeline, 1,000,000 names, burst 32: A", "pipeline, 1,000 names", False, 1.8, 1.25),
    ("l2", "AF_XDP: loss-free, kxdpgun", "5tswap", True, 0.95, 1.0),
    ("l2", "AF_XDP: loss-free, kxdpgun", "Knot XDP", True, 1.0, 1.2),
    ("l2", "AF_XDP: loss-free, kxdpgun", "best by sockets", True, 1.7, 4),
    ("l2", "AF_PACKET: loss-free, kxdpgun", "5tswap", True, 0.95, 1.0),
    ("l2", "AF_PACKET: loss-free, kxdpgun", "NSD", True, 1.3, 2),
    ("l2", "AF_XDP: CPU by answer", "best of two", False, 1 / 1.2, 1 / 3),
    ("l2", "AF_XDP: p99 at", "best by sockets", False, 0.8, 0.4),
    ("swaps", "throughput, 10 full", "none", True, 0.97, 0.995),
    ("ingest", "kernel socket to the engine's queue", "bare drain", True, 0.7, 0.95),
    ("start", "memory by name", "NSD", False, 1.0, 0.33),
    ("start", "1,000,000 names: tables to first answer", "NSD", False, 0.1, 0.01),
)


def row_of(run, name, peer):
    exact = [row for row in run["rows"] if row["name"] == name and row["peer"].startswith(peer)]
    close = [row for row in run["rows"] if row["name"].startswith(name) and row["peer"].startswith(peer)]
    return next(iter(exact or close), None)


def verdict(row, more, bar, aim):
    def reached(limit):
        return row["ratio"] >= limit if more else row["ratio"] <= limit

    word = "aim" if reached(aim) else "bar" if reached(bar) else "MISSED"
    return word + ("  unsure" if row["noisy"] or row["low"] < bar < row["high"] else "")


def lines_of(results):
    lines = [("lane", "row", "beside", "measured", "bar", "aim", "reached", "when")]
    for lane, name, peer, more, bar, aim in BARS:
        path = results / f"{lane}.local.json"
        run = json.loads(path.read_text()) if path.exists() else {"rows": []}
        row = row_of(run, name, peer)
        limits = (f"{'at least' if more else 'at most'} {bar:.2f}", f"{aim:.2f}")
        if row is None or row["ratio"] is None:
            lines.append((lane, name, peer, "-", *limits, "not measured", ""))
            continue
        when = time.strftime("%m-%d %H:%M", time.localtime(run["unix_time"]))
        lines.append((lane, row["name"], row["peer"], f"{row['ratio']:.3f}", *limits, verdict(row, more, bar, aim), when))
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("perf/results"), help="(default %(default)s)")
    options = parser.parse_args()
    print(harness.columns(lines_of(options.results), left=(0, 1, 2, 6, 7)))


if __name__ == "__main__":
    main()
