#!/usr/bin/env python3
"""Lane L1: the whole packet path on a port without a kernel (net_pcap, replayed for ever, nothing sent).

Each row replays queries of one kind at pharos-dataplane. The floor is testpmd in 5tswap mode, which swaps addresses
and does no DNS, with the same port arguments and the frames of the first row of the same tables. All rows take turns
with each other, so that rows may also be compared among themselves: a flood of random names beside hits, a million
names beside ten thousand, ten thousand patterns beside none.

A query that is dropped is not counted as an answer, and each row checks that the RCODE is the one it is about.

  perf/run l1_pcap             all rows
  perf/run l1_pcap --quick     the three that the bars are about, and the two of floods
  perf/run l1_pcap 50000       A queries for that many names alone
"""
import argparse
import ipaddress
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import frames
import harness
import programs

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "country-cidr"
RANDOM_CLIENTS = "128.0.0.0/2"  # half of the unicast space, without the special blocks of its lower half
ALL_ON = ("  rate_limit: {responses_per_second: 1M, nxdomains_per_second: 1M, nodata_per_second: 1M,\n"
          "    errors_per_second: 1M, all_per_second: 1M}\n")  # each query is accounted, none is held back
NO_SAMPLES = "  name_samples: 0\n  demand_samples: false\n"  # elsewhere both are as by default
SERVICES = "services by country" if SHARED_DATA.is_dir() else "services in 200 locales"


@dataclass
class Kind:
    """One kind of query at one set of tables."""

    name: str
    rcode: str = "noerror"
    edns: float = 1.0
    subnets: float = 0.0
    cookies: float = 0.0
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
    dataplane: str = ""  # more lines of the configuration


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


def flood_kind():
    return Kind("random labels", "nxdomain", queries=flood)


def quick_sets():
    return [Tables("10,000 names", ["--names", "10000"], [Kind("A"), flood_kind()], frames=1 << 16),
            Tables("1,000,000 names", ["--names", "1000000"], [Kind("A"), flood_kind()], frames=1 << 18)]


def all_sets():
    small = ["--names", "10000"]
    ranked = ["--names", "1000", "--services", "1000", "--addresses", "4",
              *(["--countries", str(SHARED_DATA)] if SHARED_DATA.is_dir() else ["--locales", "200"])]
    return [
        Tables("10,000 names", [*small, "--ipv6"],
               [Kind("A"), Kind("A, Zipf", zipf=True), Kind("A, no EDNS", edns=0), Kind("A, a tenth with ECS", subnets=0.1),
                Kind("AAAA", queries=of_type(28)), Kind("NODATA", queries=of_type(16)),
                Kind("NXDOMAIN", "nxdomain", queries=absent), flood_kind()], frames=1 << 16),
        Tables("10,000 names of 4", [*small, "--addresses", "4"], [Kind("A")], frames=1 << 16),
        Tables("10,000 names of 8", [*small, "--addresses", "8"], [Kind("A")], frames=1 << 16),
        Tables("10,000 patterns", [*small, "--patterns", "10000"], [Kind("A"), flood_kind()], frames=1 << 16),
        Tables("all on", [*small, "--patterns", "10000", "--sample"],
               [Kind("A, a tenth with cookies", cookies=0.1), flood_kind()], frames=1 << 16, dataplane=ALL_ON),
        Tables("1,000,000 names", ["--names", "1000000"], [Kind("A"), Kind("A, Zipf", zipf=True), flood_kind()],
               frames=1 << 18),
        Tables(SERVICES, ranked,
               [Kind("A, random sources", clients=RANDOM_CLIENTS),
                Kind("A, a tenth with ECS", clients=RANDOM_CLIENTS, subnets=0.1)], frames=1 << 16),
        Tables(f"{SERVICES}, no samples", ranked, [Kind("A, random sources", clients=RANDOM_CLIENTS)], frames=1 << 16,
               dataplane=NO_SAMPLES),
    ]


# What samples of names and of demand cost: a pair that is near 1 and has a bar, and so has more turns.
CLOSE = (f"{SERVICES}: A, random sources", f"{SERVICES}, no samples: A, random sources")
CLOSE_TURNS = 9

# Rows of two of our own figures; those whose tables are not measured are left out.
BESIDE = (("10,000 names: NODATA", "10,000 names: A"), ("10,000 names: NXDOMAIN", "10,000 names: A"),
          ("10,000 names: random labels", "10,000 names: A"),
          ("1,000,000 names: random labels", "1,000,000 names: A"), ("1,000,000 names: A", "10,000 names: A"),
          ("10,000 patterns: A", "10,000 names: A"), ("10,000 patterns: random labels", "10,000 names: random labels"),
          ("all on: A, a tenth with cookies", "10,000 names: A"), ("all on: random labels", "10,000 names: random labels"),
          CLOSE)


class Replay:
    """Frames in files of at most 65,536, one a queue: net_pcap keeps a whole file in mbufs of the queue's pool, which grows
    with the descriptors, of which there may be 32,768."""

    PER_QUEUE = 1 << 16
    MBUF_BYTES = 4096  # one a page: without huge pages an mbuf lies in no two

    def __init__(self, stem, count):
        self.stem, self.count = stem, count
        self.queues = -(-count // self.PER_QUEUE)
        self.descriptors = 1024
        while 2 * self.descriptors < count // self.queues:
            self.descriptors *= 2
        pool = 2 * max(2 * self.descriptors, 8192)  # mbufs_for_queue() of dataplane/io/port.cc takes no more
        self.memory_mib = 128 + self.queues * pool * self.MBUF_BYTES // (1 << 20)

    def write(self, made):
        made = list(made)
        for queue in range(self.queues):
            frames.write_pcap(f"{self.stem}{queue}.pcap", made[queue::self.queues])

    @property
    def device(self):
        files = ",".join(f"rx_pcap={self.stem}{queue}.pcap" for queue in range(self.queues))
        return f"net_pcap0,{files},infinite_rx=1"

    @property
    def floor_arguments(self):
        return {"descriptors": min(self.descriptors, 4096), "memory_mib": self.memory_mib, "queues": self.queues,
                "mbufs": self.count + self.count // 4 + 24575}


class Set:
    """Tables on disk, and what is measured with them."""

    def __init__(self, options, tables, work):
        self.options, self.tables, self.work = options, tables, work
        work.mkdir()
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", *tables.arguments], check=True, stdout=subprocess.DEVNULL)
        os.chmod(work / "state", 0o750)
        self.details = {}
        known = frames.read_queries(work / "queries")
        self.replays = {}
        for number, kind in enumerate(tables.kinds):  # no names in paths: a comma would end the device's argument
            self.replays[kind.name] = Replay(work / f"kind{number}_", tables.frames)
            self.replays[kind.name].write(frames.make(
                kind.asked(known, random.Random(options.seed)), tables.frames,
                bytes.fromhex(programs.MAC.replace(":", "")), ipaddress.ip_address(programs.ADDRESS),
                ipaddress.ip_network(kind.clients), kind.edns, options.seed, kind.subnets, kind.zipf, kind.cookies))
        harness.say(f"{tables.title}: {len(known):,} names, replay of {tables.frames:,} frames")

    def title(self, kind):
        return f"{self.tables.title}: {kind.name}"

    def ours(self, kind):
        extra = self.tables.dataplane
        if self.options.dataplane:
            extra += self.options.dataplane.replace("\\n", "\n") + "\n"
        replay = self.replays[kind.name]
        dataplane = programs.Dataplane(self.options, replay.stem.with_suffix(".run"), self.work / "state", replay.device,
                                       replay.descriptors, replay.memory_mib, extra, queues=replay.queues)
        moved = dataplane.window(self.options.seconds)
        answered = moved.get("answered", 0.0)
        if moved.get(f"rcode_{kind.rcode}", 0.0) < 0.99 * answered or answered == 0:
            sys.exit(f"{self.title(kind)}: not the answers that this row is about: {moved}")
        self.details[kind.name] = moved
        return answered

    def floor(self):
        replay = self.replays[self.tables.kinds[0].name]
        return programs.Testpmd(self.options, replay.device, **replay.floor_arguments).window(self.options.seconds)


def sets_of(options):
    if options.names:
        count = min(max(16384, 1 << (options.names - 1).bit_length()), 1 << 18)
        return [Tables(f"{options.names:,} names", ["--names", str(options.names)], [Kind("A")], frames=count)]
    sets = quick_sets() if options.quick else all_sets()
    return [tables for tables in sets if tables.title.startswith(options.only)]


def contestants_of(sets):
    """Name -> function that measures one window: the floor of each set, and ours for each kind of query."""
    contestants = {}
    for each in sets:
        contestants[f"{each.tables.title}: 5tswap"] = each.floor
        for kind in each.tables.kinds:
            contestants[each.title(kind)] = lambda each=each, kind=kind: each.ours(kind)
    return contestants


def rows_of(sets, figures):
    """Each kind of query beside the floor of its set."""
    return [harness.Row(each.title(kind), "answers/s", figures[each.title(kind)], "5tswap",
                        figures[f"{each.tables.title}: 5tswap"], details=each.details[kind.name])
            for each in sets for kind in each.tables.kinds]


def measure(options):
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-l1-") as work:
        sets = [Set(options, tables, Path(work) / str(number)) for number, tables in enumerate(sets_of(options))]
        contestants = contestants_of(sets)
        figures = harness.take_turns(contestants, options.turns)
        close = {name: contestants[name] for name in CLOSE if name in contestants}
        for name, more in harness.take_turns(close, CLOSE_TURNS if close else 0).items():
            figures[name] += more
    rows = rows_of(sets, figures)
    rows += [harness.Row(name, "answers/s", figures[name], other, figures[other]) for name, other in BESIDE
             if name in figures and other in figures]
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
    parser.add_argument("--quick", action="store_true", help="few rows")
    parser.add_argument("--dataplane", default="", help="more lines for the configuration's section 'dataplane'")
    parser.add_argument("--only", default="", help="tables whose titles begin so")
    add_options(parser, seconds=1.0, turns=3)
    options = parser.parse_args()
    options.build = options.build.resolve()
    require("dpdk-testpmd")
    harness.finish("l1_pcap", measure(options), options)


if __name__ == "__main__":
    main()
