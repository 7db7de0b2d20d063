#!/usr/bin/env python3
"""Lane L2: whole servers on a veth pair between two network namespaces, beside each other.

Contestants are pharos-dataplane on AF_PACKET, AF_XDP and TAP, testpmd 5tswap on the same ports (the floor), and NSD,
Knot by sockets and by XDP, BIND, gdnsd and PowerDNS, all with the same zone of 10,000 names, one server core each;
the generator has the other core. All are started once, each behind a veth pair of its own, and sleep while they are not
asked. Short windows go around among them, in an order that rotates; a row is made of ratios within one round:

  kxdpgun   the rate that loses 0.1 % in half of the windows, of queries that bypass the client's kernel: large steps up, then up and down
            by 2 %, one window a round
  dnsperf   answers a second to 100 queries in flight, which is loss-free by itself
  CPU       what an answer costs at one fixed rate: the run time of the server's threads, of the kernel's for packets, and
            of the generator, less that of the generator with the same load on an interface where nobody listens; and of
            the server's threads alone
  latency   p50, p99 and p99.9 of pharos-open-loop, at half of each one's own rate by dnsperf, and at one rate for all

The AF_PACKET driver counts what it could not send as sent, so all counting is done at the generator.

  perf/run l2             about eight minutes
  perf/run l2 --quick     under one: AF_PACKET and AF_XDP, a floor and NSD, latency at one rate
"""
import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import harness  # noqa: E402
import l1_pcap  # noqa: E402
import l2_contestants  # noqa: E402
import l2_guns  # noqa: E402
import peers  # noqa: E402
import veth  # noqa: E402
from l2_contestants import DEVICES  # noqa: E402

NAMES = 10_000
LOSS = 0.001
FLOOD = 800_000  # queries a second: more than a generator on one core sends
LATENCY_WINDOW_S, WARM_UP_S = 0.1, 0.04  # most windows fall between what the machine itself does for milliseconds
SOCKET_SERVERS = ("NSD", "Knot", "BIND", "gdnsd", "PowerDNS")
MEASURES = {"kxdpgun": "answers/s", "dnsperf": "answers/s", "cpu": "us", "cpu_server": "us", "p50": "us", "p99": "us",
            "p999": "us", "equal_p50": "us", "equal_p99": "us", "equal_p999": "us"}
QUICK = ("AF_PACKET", "AF_XDP", "5tswap AF_PACKET", "NSD")
CLOSE = ("AF_PACKET", "AF_XDP", "5tswap AF_PACKET", "5tswap AF_XDP")  # their ratios are near 1: more rounds of search


@dataclass
class Rounds:
    """Of each measure, in one turn; the first turn has `begin` rounds of search more, which find the neighbourhood."""

    begin: int = 5
    search: int = 3
    close: int = 4
    dnsperf: int = 2
    cpu: int = 5
    equal: int = 28
    half: int = 5


QUICK_ROUNDS = Rounds(begin=4, search=2, close=0, dnsperf=1, cpu=2, equal=12, half=0)


class Lane:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.rounds = QUICK_ROUNDS if options.quick else Rounds()
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", "--names", str(NAMES)], check=True, stdout=subprocess.DEVNULL)
        (work / "zones").mkdir()
        os.chmod(work, 0o755)
        with open(work / "zones/bench.zone", "w") as zone:
            zone.write("$ORIGIN bench.\n$TTL 300\n@ SOA ns1 hostmaster 1 2h 30m 2w 60\n@ NS ns1\nns1 A 10.0.0.0\n")
            for n in range(NAMES):
                zone.write(f"n{n:08x} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n")
        self.contestants = self.those_here()
        self.nobody = l2_contestants.Nobody(self, len(self.contestants))
        self.searches = {c: l2_guns.Search(FLOOD) for c in self.contestants}
        self.figures = {c.name: {measure: [] for measure in MEASURES} for c in self.contestants}
        self.costs = {c: [] for c in (*self.contestants, self.nobody)}
        self.turned = 0

    def those_here(self):
        makers = [(name, l2_contestants.Ours, name) for name in DEVICES]
        makers += [(f"5tswap {name}", l2_contestants.Floor, name) for name in DEVICES]
        for kind in peers.ALL:
            if kind.missing():
                harness.say(f"{kind.name} is not installed, and left out")
            else:
                makers.append((kind.name, l2_contestants.Theirs, kind))
        only = self.options.only
        makers = [(make, what) for name, make, what in makers if not only or name in only]
        return [make(what, self, number) for number, (make, what) in enumerate(makers)]

    # ---- all stand ready ----

    @contextlib.contextmanager
    def ready(self):
        """Every contestant answers, and sleeps."""
        with contextlib.ExitStack() as stack:
            for contestant in (*self.contestants, self.nobody):
                stack.enter_context(contestant.network)
                contestant.network.neighbour(contestant.mac)
                contestant.start()
                stack.callback(contestant.stop)
                if contestant is not self.nobody:
                    self.awake(contestant)
                contestant.sleep()
            yield

    def awake(self, contestant):
        """Until it answers (a floor: until it reflects)."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if contestant.mac == veth.TAP_MAC:
                contestant.network.tell_tap_apart()
            if contestant.answers:
                told = subprocess.run(["ip", "netns", "exec", contestant.network.client, "kdig", f"@{veth.SERVER}",
                                       "+timeout=1", "+retry=0", "+short", f"n{NAMES - 1:08x}.bench.", "A"],
                                      capture_output=True, text=True).stdout
                if told.startswith("10."):
                    return
            else:
                sent, received = l2_guns.volley(self, {contestant: 1000})[contestant]
                contestant.wake()
                if received > 0.9 * sent:
                    return
            time.sleep(0.05)
        sys.exit(f"{contestant.name} does not answer")

    def in_turn(self, contestants):
        """The same ones, beginning with another one each time."""
        self.turned += 1
        at = self.turned % max(len(contestants), 1)
        return [*contestants[at:], *contestants[:at]]

    # ---- generators ----

    def client(self, contestant, *command, limit_s=60):
        """While the contestant is awake."""
        contestant.wake()
        done = subprocess.run(["ip", "netns", "exec", contestant.network.client, *veth.PRIORITY, "taskset", "-c",
                               str(self.options.control_core), *map(str, command)], capture_output=True, text=True,
                              timeout=limit_s)
        contestant.sleep()
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    # ---- one round of each measure ----

    def search(self, contestants):
        rates = {c: self.searches[c].rate for c in self.in_turn(contestants)}
        for contestant, (sent, received) in l2_guns.volley(self, rates).items():
            self.searches[contestant].learn(sent, received, LOSS)

    def cpu(self, contestants):
        spent = {}

        def fired(gun, fire):
            server, pid = gun.contestant, gun.process.pid

            def times():
                return server.run_time_ns(), l2_contestants.kernel_run_time_ns(), l2_contestants.run_time_ns(pid)

            before = times()
            fire()
            spent[server] = [after - first for first, after in zip(before, times())]

        rates = {c: self.options.rate for c in self.in_turn([*contestants, self.nobody])}
        for contestant, (sent, received) in l2_guns.volley(self, rates, fired).items():
            self.costs[contestant].append((*spent[contestant], sent, received))

    def dnsperf(self, contestants):
        for contestant in self.in_turn(contestants):
            told = self.client(contestant, "dnsperf", "-s", veth.SERVER, "-d", self.work / "queries", "-l",
                               self.options.seconds, "-q", "100", "-c", "20", "-t", "1", "-e")
            self.figures[contestant.name]["dnsperf"].append(
                float(re.search(r"Queries per second:\s+([\d.]+)", told)[1]))

    def latency(self, contestants, prefix, rate_of):
        for contestant in self.in_turn(contestants):
            told = json.loads(self.client(
                contestant, self.options.build / "perf/pharos-open-loop", "--server", veth.SERVER, "--queries",
                self.work / "queries", "--rate", int(rate_of(contestant)), "--seconds", LATENCY_WINDOW_S, "--warm-up",
                WARM_UP_S, "--seed", self.turned))
            for name in ("p50", "p99", "p999"):
                there = told["received"] >= 0.99 * told["sent"]
                self.figures[contestant.name][prefix + name].append(told[name] if there else None)

    # ---- all rounds ----

    def turn(self, number):
        rounds = self.rounds
        answering = [c for c in self.contestants if c.answers]
        for _ in range(rounds.search + (0 if number else rounds.begin)):
            self.search(self.contestants)
        fast = [c for c in answering if self.searches[c].rate >= self.options.rate]  # TAP is not
        for _ in range(rounds.cpu):
            self.cpu(fast)
        for _ in range(rounds.dnsperf):
            self.dnsperf(answering)
        for _ in range(rounds.equal):
            self.latency(answering, "equal_", lambda _: self.options.load)
        for _ in range(rounds.half):
            self.latency(answering, "", lambda c: median_of(self.figures[c.name]["dnsperf"]) / 2)

    def measure(self):
        """Contestant -> measure -> a figure a round; None where there was none."""
        with self.ready():
            harness.say(f"  {len(self.contestants)} contestants stand ready")
            for number in range(self.options.turns):
                begin = time.monotonic()
                self.turn(number)
                harness.say(f"  turn {number + 1}/{self.options.turns} ({time.monotonic() - begin:.0f} s)")
            close = [c for c in self.contestants if c.name in CLOSE]
            for _ in range(self.rounds.close * self.options.turns):
                self.search(close)
        self.tell_costs()
        for contestant, search in self.searches.items():
            self.figures[contestant.name]["kxdpgun"] = search.figures
        return self.figures

    def generator_notes(self, *names):
        """Of whom the search met the end of the generator first."""
        for contestant, search in self.searches.items():
            if contestant.name in names and search.generator_limits > len(search.windows) / 3:
                yield f"{contestant.name} answers all that the generator sends"

    def tell_costs(self):
        """Microseconds by answer; the generator's share is what it takes above sending to nobody."""
        alone_ns = statistics.median(kernel + gun for _, kernel, gun, _, _ in self.costs[self.nobody] or [(0,) * 5])
        for contestant, windows in self.costs.items():
            if contestant is self.nobody:
                continue
            figures = self.figures[contestant.name]
            for server, kernel, gun, _, received in windows:
                answers = received * l2_guns.SECONDS
                figures["cpu"].append((server + kernel + gun - alone_ns) / answers / 1e3)
                figures["cpu_server"].append(server / answers / 1e3)


def median_of(values):
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def best_of(figures, names, measure):
    """Of several contestants the one whose median is the best."""
    there = {name: figures[name][measure] for name in names if name in figures and median_of(figures[name][measure])}
    if not there:
        return None
    pick = max if MEASURES[measure] == "answers/s" else min
    return pick(there, key=lambda name: median_of(there[name]))


def rows_of(lane, figures, options):
    """What the bars are about, as ratios; the figures of every contestant stand in the matrix and in the JSON."""
    rows = []

    def add(ours, measure, title, names, label=None):
        best = best_of(figures, names, measure)
        if best is None or ours not in figures:
            return
        pairs = [(mine, theirs) for mine, theirs in zip(figures[ours][measure], figures[best][measure])
                 if mine is not None and theirs is not None]
        if not pairs:
            return
        peer, note = (best, "") if len(names) == 1 else (f"best {label}", f"the best {label} is {best}")
        if measure == "kxdpgun":
            note = "; ".join(filter(None, [note, *lane.generator_notes(ours, best)]))
        mine, theirs = zip(*pairs)
        rows.append(harness.Row(f"{ours}: {title}", MEASURES[measure], list(mine), peer, list(theirs), note))

    for ours in DEVICES:
        add(ours, "kxdpgun", "loss-free, kxdpgun", [f"5tswap {ours}"])
        for peer in ("NSD", "Knot XDP"):
            add(ours, "kxdpgun", "loss-free, kxdpgun", [peer])
        add(ours, "kxdpgun", "loss-free, kxdpgun", SOCKET_SERVERS, "by sockets")
        add(ours, "dnsperf", "loss-free, dnsperf", [*SOCKET_SERVERS, "Knot XDP"], "peer")
        at = f"{options.rate // 1000} k/s"
        add(ours, "cpu", f"CPU by answer at {at}", ["NSD", "Knot XDP"], "of two")
        add(ours, "cpu_server", f"CPU of the server alone by answer at {at}", ["NSD", "Knot XDP"], "of two")
        for measure in ("p50", "p99", "p999"):
            add(ours, "equal_" + measure, f"{measure} at {options.load // 1000} k/s", SOCKET_SERVERS, "by sockets")
    for ours in figures:
        for measure, unit in MEASURES.items():
            values = [value for value in figures[ours][measure] if value is not None]
            if values:
                rows.append(harness.Row(f"{ours}: {measure}", unit, values, details={"plain": True}))
    return rows


def matrix(figures, options):
    at = f"at {options.rate // 1000} k/s"
    heads = ("", "kxdpgun", "dnsperf", f"CPU {at}", "server's", "p50 of half", "p99", "p99.9",
             f"p50 at {options.load // 1000} k/s", "p99", "p99.9")
    lines = [heads]
    for name, measures in figures.items():
        cells = [name]
        for measure, unit in MEASURES.items():
            value = median_of(measures[measure])
            cells.append("-" if value is None else harness.text_of(value) + ("/s" if unit == "answers/s" else " us"))
        lines.append(cells)
    return harness.columns(lines, left=(0,))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=1, turns=2)
    # Knot pins its threads, from core 0 upwards, to whatever cores it was started on.
    cores = os.sched_getaffinity(0)
    parser.set_defaults(core=min(cores), control_core=max(cores))
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer contestants, one turn")
    parser.add_argument("--rate", type=int, default=100_000, help="of the CPU figures (default %(default)s)")
    parser.add_argument("--load", type=int, default=50_000, help="of latency at equal load (default %(default)s)")
    parser.add_argument("--only", type=lambda text: text.split(","), help="contestants, separated by commas")
    parser.add_argument("--rounds", default="", help="of single measures, in each turn: search=0,cpu=20")
    parser.add_argument("--dataplane", default="", help="more lines for the configuration's section 'dataplane'")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.only = 1, options.only or QUICK
    options.dataplane = options.dataplane.replace("\\n", "\n") + "\n" if options.dataplane else ""
    options.build = options.build.resolve()
    l1_pcap.require("dpdk-testpmd", "kxdpgun", "kdig", "dnsperf", "ethtool", "taskset")
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-l2-") as work:
        lane = Lane(options, Path(work))
        for each in filter(None, options.rounds.split(",")):
            name, _, count = each.partition("=")
            setattr(lane.rounds, name, int(count))
        figures = lane.measure()
    harness.finish("l2", rows_of(lane, figures, options), options, matrix(figures, options))


if __name__ == "__main__":
    main()
