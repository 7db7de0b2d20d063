#!/usr/bin/env python3
"""Lane L1 virtio: pharos-dataplane on a net_virtio_user port, against testpmd that replays queries into net_vhost.

Two processes, one core each, no kernel between them. The floor is a second testpmd in 5tswap mode in our place on the
very same port. The generator's core is the limit here, so beside answers a second the lane tells the busy
cycles of our core by answer, beside 5tswap's cycles a packet. Rows are those of lane l1_pcap, fewer of them.

Needs huge pages: the two processes share the memory of the rings and frames.

  perf/run l1_virtio            all rows
  perf/run l1_virtio --quick    the two that the bars are about
  perf/run l1_virtio --only services      those of tables whose title begins so
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import l1_pcap
import programs
from huge_pages import HugePages

DESCRIPTORS = 1024
PAGES = 1024  # for both processes
FRAMES, MANY_FRAMES = 1 << 14, l1_pcap.Replay.PER_QUEUE  # one queue: more than these the replay cannot hold
VIRTIO_EAL = "--single-file-segments"


class Generator:
    """testpmd between the replay and the vhost end: what it reads from the pcap it sends to the virtio port."""

    def __init__(self, options, replay, socket_path):
        self.command = ["dpdk-testpmd", "--lcores", f"0@{options.core},1@{options.control_core}", "--in-memory", "-m",
                        "1024", "--file-prefix", f"pharos-generator-{os.getpid()}", "--no-pci",
                        "--vdev", replay.device,
                        "--vdev", f"net_vhost0,iface={socket_path},queues=1", "--log-level", "error", "--",
                        "--forward-mode=io", "--burst=64", "--nb-cores=1", f"--rxd={2 * DESCRIPTORS}",
                        f"--txd={2 * DESCRIPTORS}", f"--total-num-mbufs={replay.count + (1 << 15) - 1}", "--no-flush-rx",
                        "--stats-period=1", "--auto-start"]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, errors="replace")
        return self

    def __exit__(self, *_):
        programs.stop(self.process)

    def received(self, seconds):
        """Frames a second that came back to the vhost port: the median over the window."""
        rates, port, deadline = [], None, time.monotonic() + seconds + 40
        for line in self.process.stdout:
            if found := re.search(r"NIC statistics for port (\d+)", line):
                port = int(found[1])
            elif port == 1 and (found := re.search(r"Rx-pps:\s+(\d+)", line)) and int(found[1]) > 0:
                rates.append(int(found[1]))
            if len(rates) > seconds + 1:
                break
            if time.monotonic() > deadline:
                sys.exit("no frame came back to the generator")
        return statistics.median(rates[1:])


class VirtioSet(l1_pcap.Set):
    """Tables on disk, asked over virtio."""

    def __init__(self, options, tables, work):
        super().__init__(options, tables, work)
        self.cycles = {kind.name: [] for kind in tables.kinds}
        self.floor_cycles = []
        self.windows = 0

    def socket_path(self):
        self.windows += 1
        return self.work / f"vhost{self.windows}"

    def device(self, path):
        return f"net_virtio_user0,path={path},mac={programs.MAC},queues=1,queue_size={DESCRIPTORS},in_order=1"

    def ours(self, kind):
        path = self.socket_path()
        extra = f"  eal_arguments: [{VIRTIO_EAL}]\n" + self.tables.dataplane
        with Generator(self.options, self.replays[kind.name], path) as generator:
            programs.wait_until(path.exists, "the generator's socket", process=generator.process)
            dataplane = programs.Dataplane(self.options, self.replays[kind.name].stem.with_suffix(".run"),
                                           self.work / "state", self.device(path), DESCRIPTORS, 512, extra)
            dataplane.start()
            try:
                programs.settled(dataplane.counters, "answered")
                first, first_cycles = dataplane.counters(), dataplane.busy_cycles()
                rate = generator.received(self.options.seconds)
                last, last_cycles = dataplane.counters(), dataplane.busy_cycles()
            finally:
                dataplane.stop()
        moved = {name: last[name] - first[name] for name in last if last[name] != first[name]}
        if moved.get(f"rcode_{kind.rcode}", 0) < 0.99 * moved["answered"]:
            sys.exit(f"{self.title(kind)}: not the answers that this row is about: {moved}")
        self.details[kind.name] = moved
        self.cycles[kind.name].append((last_cycles - first_cycles) / moved["answered"])
        return rate

    def floor(self):
        path = self.socket_path()
        with Generator(self.options, self.replays[self.tables.kinds[0].name], path) as generator:
            programs.wait_until(path.exists, "the generator's socket", process=generator.process)
            command = ["dpdk-testpmd", "--lcores", f"0@{self.options.control_core},1@{self.options.core}",
                       "--in-memory", "-m", "512", "--file-prefix", f"pharos-floor-{os.getpid()}", "--no-pci",
                       VIRTIO_EAL, "--vdev", self.device(path), "--log-level", "error", "--",
                       "--forward-mode=5tswap", "--burst=64", "--nb-cores=1", f"--rxd={DESCRIPTORS}",
                       f"--txd={DESCRIPTORS}", "--no-flush-rx", "--record-core-cycles", "--record-burst-stats", "-i"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True, errors="replace")
            try:
                process.stdin.write("start\n")
                process.stdin.flush()
                rate = generator.received(self.options.seconds)
                told, _ = process.communicate("stop\nquit\n", timeout=30)
            finally:
                programs.stop(process)
        found = re.search(r"CPU cycles/packet=([\d.]+)", told)
        if found is None:
            sys.exit("testpmd told no cycles by packet")
        self.floor_cycles.append(float(found[1]))
        return rate


def tables_of(options):
    small = ["--names", "10000", "--ipv6"]
    bars = l1_pcap.Tables("10,000 names", small, [l1_pcap.Kind("A")], frames=FRAMES)
    if options.quick:
        return [bars]
    kinds = ("A", "A, Zipf", "AAAA", "NODATA", "random labels")
    by_title = {tables.title: tables for tables in l1_pcap.all_sets()}
    bars.kinds = [kind for kind in by_title["10,000 names"].kinds if kind.name in kinds]
    chosen = [bars, *(by_title[title] for title in ("10,000 names of 8", "all on", "1,000,000 names", l1_pcap.SERVICES))]
    for tables in chosen[1:]:
        tables.frames = min(tables.frames, MANY_FRAMES)
    return [tables for tables in chosen if tables.title.startswith(options.only)]


def measure(options, work):
    sets = [VirtioSet(options, tables, work / str(number)) for number, tables in enumerate(tables_of(options))]
    figures = harness.take_turns(l1_pcap.contestants_of(sets), options.turns)
    cycles = [harness.Row(f"busy cycles by answer, {each.title(kind)}", "cycles", each.cycles[kind.name],
                          "5tswap, by packet", each.floor_cycles) for each in sets for kind in each.tables.kinds]
    return l1_pcap.rows_of(sets, figures) + cycles


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the rows of the bars alone")
    parser.add_argument("--only", default="", metavar="TITLE", help="the tables whose title begins so")
    l1_pcap.add_options(parser, seconds=1.5, turns=3)
    options = parser.parse_args()
    options.build, options.huge = options.build.resolve(), True
    l1_pcap.require("dpdk-testpmd")
    harness.machine_of_run()
    with HugePages(PAGES), tempfile.TemporaryDirectory(prefix="pharos-virtio-") as work:
        rows = measure(options, Path(work))
    harness.finish("l1_virtio", rows, options)


if __name__ == "__main__":
    main()
