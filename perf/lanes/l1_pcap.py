#!/usr/bin/env python3
"""Lane L1: the whole packet path on a port without a kernel (net_pcap, replayed for ever, nothing sent).

Each row replays queries of one kind at pharos-dataplane, and the very same frames at testpmd in 5tswap mode, which
swaps addresses and does no DNS: the floor. Rows of one set of tables take turns with each other, so that rows may
also be compared among themselves: a flood of random names beside hits.

A query that is dropped is not counted as an answer, and each row checks that the RCODE is the one it is about.
"""
import argparse
import ipaddress
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import frames
import harness
import programs

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "country-cidr"


@dataclass
class Kind:
    """One kind of query at one set of tables."""

    name: str
    rcode: str = "noerror"
    edns: float = 1.0
    subnets: float = 0.0
    zipf: bool = False
    clients: str = "198.18.0.0/16"
    queries: object = None  # from the tables' own (name, type) and a random source to those asked

    def asked(self, known, draw):
        return self.queries(known, draw) if self.queries else known


@dataclass
class Tables:
    title: str
    arguments: list
    kinds: list
    frames: int = 16384
    beside: list = field(default_factory=list)  # (kind, kind it is compared with)


def of_type(number):
    return lambda known, draw: [(name, number) for name, _ in known]


def absent(known, draw):
    """Names that are not there, beside those that are."""
    return [(bytes([name[0] + 1]) + b"x" + name[1:], kind) for name, kind in known]


def flood(known, draw):
    """A random label of 8 to 16 letters each time, as an attack on resolvers has it."""
    zone = b"\x05bench\0"
    made = []
    for _ in range(1 << 16):
        label = bytes(draw.choice(b"abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(8, 16)))
        made.append((bytes([len(label)]) + label + zone, 1))
    return made


def table_sets(names):
    """What is measured; `names`: a single number of names asked for on the command line, or nothing."""
    if names:
        return [Tables(f"{names:,} names", ["--names", str(names)], [Kind("A")],
                       frames=min(max(16384, 1 << (names - 1).bit_length()), 1 << 18))]
    small = ["--names", "10000"]
    sets = [
        Tables("10,000 names", [*small, "--ipv6"],
               [Kind("A"), Kind("A, no EDNS", edns=0), Kind("AAAA", queries=of_type(28)),
                Kind("NODATA", queries=of_type(16)), Kind("NXDOMAIN", "nxdomain", queries=absent),
                Kind("random labels", "nxdomain", queries=flood)], frames=1 << 16,
               beside=[("NODATA", "A"), ("NXDOMAIN", "A"), ("random labels", "A")]),
        Tables("10,000 names of 4", [*small, "--addresses", "4"], [Kind("A")]),
        Tables("10,000 names of 8", [*small, "--addresses", "8"], [Kind("A")]),
        Tables("1,000,000 names", ["--names", "1000000"], [Kind("A"), Kind("A, Zipf", zipf=True)], frames=1 << 18),
    ]
    ranked = ["--names", "1000", "--services", "--addresses", "4"]
    if SHARED_DATA.is_dir():
        ranked += ["--countries", str(SHARED_DATA)]
    else:
        ranked += ["--locales", "200"]
    sets.append(Tables("1,000 services by country" if SHARED_DATA.is_dir() else "1,000 services in 200 locales", ranked,
                       [Kind("A, random sources", clients="128.0.0.0/2"),
                        Kind("A, a tenth with ECS", clients="128.0.0.0/2", subnets=0.1)], frames=1 << 16))
    return sets


class Lane:
    def __init__(self, options, tables, work):
        self.options, self.tables, self.work = options, tables, work
        work.mkdir()
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", *tables.arguments], check=True, stdout=subprocess.DEVNULL)
        os.chmod(work / "state", 0o750)
        self.known = frames.read_queries(work / "queries")
        # net_pcap keeps the whole file in mbufs of the queue's pool; the pool grows with the descriptors.
        self.descriptors = 1024
        while 2 * self.descriptors < tables.frames:
            self.descriptors *= 2
        self.memory_mib = 256 + tables.frames * 3 // 1024
        self.details = {}

    def device(self, kind):
        """A replay of `kind`, written when it is first asked for."""
        pcap = self.work / f"{kind.name.replace(' ', '_')}.pcap"
        if not pcap.exists():
            asked = kind.asked(self.known, random.Random(self.options.seed))
            frames.write_pcap(pcap, frames.make(
                asked, self.tables.frames, bytes.fromhex(programs.MAC.replace(":", "")),
                ipaddress.ip_address(programs.ADDRESS), ipaddress.ip_network(kind.clients), kind.edns,
                self.options.seed, kind.subnets, kind.zipf))
        return f"net_pcap0,rx_pcap={pcap},infinite_rx=1"

    def ours(self, kind):
        work = self.work / kind.name.replace(" ", "_")
        extra = self.options.dataplane.replace("\\n", "\n") + "\n" if self.options.dataplane else ""
        dataplane = programs.Dataplane(self.options, work, self.work / "state", self.device(kind), self.descriptors,
                                       self.memory_mib, extra)
        moved = dataplane.window(self.options.seconds)
        answered = moved.get("answered", 0.0)
        if moved.get(f"rcode_{kind.rcode}", 0.0) < 0.99 * answered or answered == 0:
            sys.exit(f"{self.tables.title}, {kind.name}: not the answers that this row is about: {moved}")
        self.details[kind.name] = moved
        return answered

    def floor(self, kind):
        return programs.Testpmd(self.options, self.device(kind), descriptors=self.descriptors,
                                memory_mib=self.memory_mib).window(self.options.seconds)

    def rows(self):
        harness.say(f"{self.tables.title}: {len(self.known):,} names, replay of {self.tables.frames:,} frames")
        contestants = {}
        for kind in self.tables.kinds:
            contestants[kind.name] = lambda kind=kind: self.ours(kind)
            contestants[kind.name + " floor"] = lambda kind=kind: self.floor(kind)
        figures = harness.take_turns(contestants, self.options.turns)
        rows = [harness.Row(f"{self.tables.title}: {kind.name}", "answers/s", figures[kind.name], "5tswap",
                            figures[kind.name + " floor"], details=self.details[kind.name])
                for kind in self.tables.kinds]
        for kind, other in self.tables.beside:
            rows.append(harness.Row(f"{self.tables.title}: {kind}", "answers/s", figures[kind], other, figures[other]))
        return rows


def measure(options):
    harness.machine_of_run()
    rows = []
    for number, tables in enumerate(table_sets(options.names)):
        with tempfile.TemporaryDirectory(prefix="pharos-l1-") as work:
            rows += Lane(options, tables, Path(work) / str(number)).rows()
    return rows


def add_options(parser, seconds, turns):
    cores = os.sched_getaffinity(0)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="of each window (default %(default)s)")
    parser.add_argument("--turns", type=int, default=turns, help="windows of each contestant (default %(default)s)")
    parser.add_argument("--core", type=int, default=max(cores), help="measured core (the last)")
    parser.add_argument("--control-core", type=int, default=min(cores), help="the other (the first)")
    parser.add_argument("--huge", action="store_true", help="huge pages for all programs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the figures go (default perf/results/LANE.local.json)")


def require(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (scripts/setup perf installs what lanes need)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="?", type=int, help="only A queries, for this many names")
    parser.add_argument("--dataplane", default="", help="more lines for the configuration's section 'dataplane'")
    add_options(parser, seconds=2.0, turns=5)
    options = parser.parse_args()
    options.build = options.build.resolve()
    require("dpdk-testpmd")
    harness.finish("l1_pcap", measure(options), options)


if __name__ == "__main__":
    main()
