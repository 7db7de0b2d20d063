#!/usr/bin/env python3
"""Lane L2: whole servers on a veth pair between two network namespaces, beside each other.

Contestants are pharos-dataplane on AF_PACKET, AF_XDP and TAP, testpmd 5tswap on the same ports (the floor), and NSD,
Knot by sockets and by XDP, BIND, gdnsd and PowerDNS, all with the same zone of 10,000 names, one server core each;
the generator has the other core. In every turn each contestant is started once and measured in short windows:

  kxdpgun   the highest rate that loses less than 0.1 %, of queries that bypass the client's kernel; the search goes
            on from turn to turn
  dnsperf   answers a second to 100 queries in flight, which is loss-free by itself
  CPU       what an answer costs at one fixed rate: the run time of the server's threads, of the kernel's for packets, and
            of the generator, less that of the generator with the same load on an interface where nobody listens
  latency   p50, p99 and p99.9 of pharos-open-loop, at half of each one's own rate by dnsperf, and at one rate for all;
            medians of seven short windows

The AF_PACKET driver counts what it could not send as sent, so all counting is done at the generator.

  perf/run l2             about six minutes
  perf/run l2 --quick     under one: AF_PACKET and AF_XDP, a floor and NSD, one turn, latency at one rate
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import harness  # noqa: E402
import l1_pcap  # noqa: E402
import peers  # noqa: E402
import programs  # noqa: E402
import veth  # noqa: E402

NAMES = 10_000
LOSS = 0.001
RESCUES = 3  # windows of the search, where none was free of loss
FLOOD = 450_000  # queries a second, to learn what a contestant answers at most
DEVICES = {"AF_PACKET": "net_af_packet0,iface=s0,qdisc_bypass=1,blocksz=1048576,framesz=2048,framecnt=8192",
           "AF_XDP": "net_af_xdp0,iface=s0", "TAP": f"net_tap0,iface={veth.TAP},mac={veth.TAP_MAC}"}
CPU_SECONDS = 1
LATENCY_WINDOWS, LATENCY_WINDOW_S = 7, 0.25
NOBODY_WINDOWS = 3
KXDPGUN_PAUSE_S = 0.3  # the kernel still takes down the XDP socket of the last window
SOCKET_SERVERS = ("NSD", "Knot", "BIND", "gdnsd", "PowerDNS")
MEASURES = {"kxdpgun": "answers/s", "dnsperf": "answers/s", "cpu": "us", "p50": "us", "p99": "us", "p999": "us",
            "equal_p50": "us", "equal_p99": "us", "equal_p999": "us"}
QUICK = ("AF_PACKET", "AF_XDP", "5tswap AF_PACKET", "NSD")


class Ours:
    """pharos-dataplane on one kind of port; idle: adaptive, as on a shared core."""

    answers = True

    def __init__(self, title, lane):
        self.name, self.lane, self.port = title, lane, title
        self.mac = veth.TAP_MAC if title == "TAP" else veth.SERVER_MAC
        self.dataplane = programs.Dataplane(
            lane.options, lane.work / title, lane.work / "state", DEVICES[title], descriptors=2048, memory_mib=256,
            extra=lane.options.dataplane, idle="adaptive", address=veth.SERVER, namespace=lane.network.server,
            prefix=veth.PRIORITY)

    def start(self):
        self.lane.network.serve_by(self.port)
        self.dataplane.start()
        if self.port == "TAP":
            self.lane.network.attach_tap()

    def stop(self):
        self.dataplane.stop()


class Theirs:
    answers = True
    mac = veth.SERVER_MAC

    def __init__(self, kind, lane):
        self.name, self.lane = kind.name, lane
        self.peer = kind(lane.work / kind.name.replace(" ", "-"), lane.work / "zones", ["bench"], veth.SERVER,
                         namespace=lane.network.server, interface="s0",
                         prefix=[*veth.PRIORITY, "taskset", "-c", lane.options.core])

    def start(self):
        self.lane.network.serve_by("sockets")
        self.peer.start()

    def stop(self):
        self.peer.stop()


class Floor:
    """testpmd that swaps addresses and sends back what came; it answers nothing, so only kxdpgun may ask it."""

    answers = False

    def __init__(self, port, lane):
        self.name, self.port, self.lane = f"5tswap {port}", port, lane
        self.mac = veth.TAP_MAC if port == "TAP" else veth.SERVER_MAC

    def start(self):
        network, options = self.lane.network, self.lane.options
        network.serve_by(self.port)
        self.process = peers.started(
            [*veth.PRIORITY, "dpdk-testpmd", "--lcores", f"0@{options.control_core},1@{options.core}", "-m", "256",
             "--no-huge", "--no-shconf", "--file-prefix", f"pharos-l2-{os.getpid()}", "--no-pci", "--vdev",
             DEVICES[self.port], "--", "--forward-mode=5tswap", "--burst=64", "--nb-cores=1", "--rxd=2048",
             "--txd=2048", "--no-flush-rx", "--total-num-mbufs=16383", "--stats-period=60"],
            self.lane.work / "testpmd.log", network.server)
        if self.port == "TAP":
            network.attach_tap()

    def stop(self):
        programs.stop(self.process)


class Lane:
    def __init__(self, options, work, network):
        self.options, self.work, self.network = options, work, network
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", "--names", str(NAMES)], check=True, stdout=subprocess.DEVNULL)
        (work / "zones").mkdir()
        os.chmod(work, 0o755)
        with open(work / "zones/bench.zone", "w") as zone:
            zone.write("$ORIGIN bench.\n$TTL 300\n@ SOA ns1 hostmaster 1 2h 30m 2w 60\n@ NS ns1\nns1 A 10.0.0.0\n")
            for n in range(NAMES):
                zone.write(f"n{n:08x} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n")
        self.contestants = [*(Ours(port, self) for port in DEVICES), *(Floor(port, self) for port in DEVICES)]
        for kind in peers.ALL:
            if kind.missing():
                harness.say(f"{kind.name} is not installed, and left out")
            else:
                self.contestants.append(Theirs(kind, self))
        if options.only:
            self.contestants = [c for c in self.contestants if c.name in options.only]
        self.rates = {}
        self.nobody_s = 0.0

    # ---- generators ----

    def client(self, *command, limit_s=60):
        done = subprocess.run(["ip", "netns", "exec", self.network.client, *veth.PRIORITY, "taskset", "-c",
                               str(self.options.control_core), *map(str, command)], capture_output=True, text=True,
                              timeout=limit_s)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def run_time_s(self):
        """Of the server's threads and the kernel's for packets, exact to the scheduler's clock; and of what was waited for.
        A veth pair's packets are carried by whoever sends them, in its own time."""
        network = os.stat(f"/run/netns/{self.network.server}").st_ino
        total_ns = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                theirs = (process / "ns/net").stat().st_ino == network
                if theirs or (process / "comm").read_text().startswith("ksoftirqd/"):
                    total_ns += sum(int(each.read_text().split()[0]) for each in process.glob("task/*/schedstat"))
            except OSError:  # it has ended
                continue
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return total_ns / 1e9 + children.ru_utime + children.ru_stime

    def gun(self, mac, rate, seconds=1):
        """Sent and received a second."""
        deadline = time.monotonic() + 20
        while True:
            time.sleep(KXDPGUN_PAUSE_S)
            told = self.client("kxdpgun", "-i", self.work / "queries", "-I", "c0", "-l", veth.CLIENT, "-L",
                               veth.CLIENT_MAC, "-R", mac, "-Q", int(rate), "-b", "10", "-t", seconds, "-F",
                               self.options.control_core, veth.SERVER)
            if "resource is busy" not in told or time.monotonic() > deadline:
                break
        sent = re.search(r"total queries:\s+(\d+)", told)
        received = re.search(r"total replies:\s+(\d+)", told)
        if sent is None or received is None:
            sys.exit(f"kxdpgun said nothing that is known here: {told}")
        return int(sent[1]) / seconds, int(received[1]) / seconds

    def open_loop(self, rate):
        """Medians of the percentiles of short windows: what the machine itself does on a core now and then, for
        milliseconds that nobody can interrupt, falls into some windows and not into others."""
        windows = []
        for _ in range(LATENCY_WINDOWS):
            told = json.loads(self.client(
                self.options.build / "perf/pharos-open-loop", "--server", veth.SERVER, "--queries", self.work / "queries",
                "--rate", int(rate), "--seconds", LATENCY_WINDOW_S * self.options.seconds, "--warm-up", "0.1"))
            if told["received"] >= 0.99 * told["sent"]:
                windows.append(told)
        if len(windows) <= LATENCY_WINDOWS / 2:
            return None
        return {name: statistics.median(window[name] for window in windows) for name in ("p50", "p99", "p999")}

    def awake(self, contestant):
        """Until it answers (a floor: until it reflects)."""
        self.network.neighbour(contestant.mac)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if contestant.mac == veth.TAP_MAC:
                self.network.tell_tap_apart()
            if contestant.answers:
                told = subprocess.run(["ip", "netns", "exec", self.network.client, "kdig", f"@{veth.SERVER}", "+timeout=1",
                                       "+retry=0", "+short", f"n{NAMES - 1:08x}.bench.", "A"], capture_output=True,
                                      text=True).stdout
                if told.startswith("10."):
                    return
            else:
                sent, received = self.gun(contestant.mac, 1000)
                if received > 0.9 * sent:
                    return
            time.sleep(0.05)
        sys.exit(f"{contestant.name} does not answer")

    # ---- what is measured ----

    def loss_free(self, contestant):
        """Answers a second at the highest rate that lost nothing to speak of; 0 where every window lost some."""
        known = self.rates.get(contestant.name)
        below, above = known or 0.0, None
        rate = known * 1.03 if known else 0.93 * self.gun(contestant.mac, FLOOD)[1]
        good = 0.0
        for _ in range(self.options.steps):
            sent, received = self.gun(contestant.mac, rate)
            if received >= sent * (1 - LOSS):
                good, below = max(good, received), rate
            else:
                above = rate
            rate = rate * 1.06 if above is None else (max(below, 0.8 * above) + above) / 2 if good else 0.88 * above
        for _ in range(RESCUES):
            if not good:
                rate *= 0.6
                sent, received = self.gun(contestant.mac, rate)
                good = received if received >= sent * (1 - LOSS) else 0.0
        self.rates[contestant.name] = good or None
        return good

    def dnsperf(self, _):
        told = self.client("dnsperf", "-s", veth.SERVER, "-d", self.work / "queries", "-l", self.options.seconds, "-q",
                           "100", "-c", "20", "-t", "1", "-e")
        return float(re.search(r"Queries per second:\s+([\d.]+)", told)[1])

    def cpu(self, contestant):
        """Microseconds by answer at the fixed rate."""
        before = self.run_time_s()
        _, received = self.gun(contestant.mac, self.options.rate, CPU_SECONDS)
        spent = self.run_time_s() - before - self.nobody_s
        return spent / (received * CPU_SECONDS) * 1e6

    def measure_nobody(self):
        self.network.serve_by(None)
        self.network.neighbour(veth.SERVER_MAC)
        spent = []
        for _ in range(NOBODY_WINDOWS):
            before = self.run_time_s()
            self.gun(veth.SERVER_MAC, self.options.rate, CPU_SECONDS)
            spent.append(self.run_time_s() - before)
        self.nobody_s = statistics.median(spent)

    def one(self, contestant):
        """All figures of one start."""
        contestant.start()
        try:
            self.awake(contestant)
            found = {"kxdpgun": self.loss_free(contestant)}
            if not contestant.answers:
                return found
            found["dnsperf"] = self.dnsperf(contestant)
            if found["kxdpgun"] >= self.options.rate:
                found["cpu"] = self.cpu(contestant)
            halves = [] if self.options.quick else [("", found["dnsperf"] / 2)]
            for prefix, rate in (*halves, ("equal_", self.options.load)):
                if told := self.open_loop(rate):
                    found |= {prefix + name: value for name, value in told.items()}
            return found
        finally:
            contestant.stop()

    def turns(self):
        """Contestant -> measure -> a figure a turn; None where there was none."""
        figures = {c.name: {measure: [] for measure in MEASURES} for c in self.contestants}
        for turn in range(self.options.turns):
            self.measure_nobody()
            at = turn * len(self.contestants) // max(self.options.turns, 1)
            for contestant in self.contestants[at:] + self.contestants[:at]:
                begin = time.monotonic()
                found = self.one(contestant)
                for measure in MEASURES:
                    figures[contestant.name][measure].append(found.get(measure))
                harness.say(f"  turn {turn + 1}/{self.options.turns}, {contestant.name}: " + ", ".join(
                    f"{name} {harness.text_of(value)}" for name, value in found.items())
                    + f"  ({time.monotonic() - begin:.0f} s)")
        return figures



def median_of(values):
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def best_of(figures, names, measure):
    """The best of several contestants in each turn, and which one that was in the median."""
    there = {name: figures[name][measure] for name in names
             if name in figures and None not in figures[name][measure]}
    if not there:
        return None, ""
    pick = max if MEASURES[measure] == "answers/s" else min
    name = pick(there, key=lambda n: statistics.median(there[n]))
    return [pick(turn) for turn in zip(*there.values())], name


def rows_of(figures, options):
    """What the bars are about, as ratios; the figures of every contestant stand in the matrix and in the JSON."""
    rows = []

    def add(ours, measure, title, names, label=None):
        best, name = best_of(figures, names, measure)
        mine = figures.get(ours, {}).get(measure, [None])
        if best is None or None in mine:
            return
        peer, note = (name, "") if len(names) == 1 else (f"best {label}", f"the best {label} is {name}")
        rows.append(harness.Row(f"{ours}: {title}", MEASURES[measure], mine, peer, best, note))

    for ours in DEVICES:
        add(ours, "kxdpgun", "loss-free, kxdpgun", [f"5tswap {ours}"])
        for peer in ("NSD", "Knot XDP"):
            add(ours, "kxdpgun", "loss-free, kxdpgun", [peer])
        add(ours, "kxdpgun", "loss-free, kxdpgun", SOCKET_SERVERS, "by sockets")
        add(ours, "dnsperf", "loss-free, dnsperf", [*SOCKET_SERVERS, "Knot XDP"], "peer")
        add(ours, "cpu", f"CPU by answer at {options.rate // 1000} k/s", ["NSD", "Knot XDP"], "of two")
        for measure in ("p50", "p99", "p999"):
            add(ours, "equal_" + measure, f"{measure} at {options.load // 1000} k/s", SOCKET_SERVERS, "by sockets")
    for ours in figures:
        for measure, unit in MEASURES.items():
            values = [value for value in figures[ours][measure] if value is not None]
            if values:
                rows.append(harness.Row(f"{ours}: {measure}", unit, values, details={"plain": True}))
    return rows


def matrix(figures, options):
    heads = ("", "kxdpgun", "dnsperf", f"CPU at {options.rate // 1000} k/s", "p50 of half", "p99", "p99.9",
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
    parser.add_argument("--steps", type=int, default=2, help="windows of a search (default %(default)s)")
    parser.add_argument("--only", type=lambda text: text.split(","), help="contestants, separated by commas")
    parser.add_argument("--dataplane", default="", help="more lines for the configuration's section 'dataplane'")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.steps, options.only = 1, 1, options.only or QUICK
    options.dataplane = options.dataplane.replace("\\n", "\n") + "\n" if options.dataplane else ""
    options.build = options.build.resolve()
    l1_pcap.require("dpdk-testpmd", "kxdpgun", "kdig", "dnsperf", "ethtool", "taskset")
    harness.machine_of_run()
    with veth.Network() as network, tempfile.TemporaryDirectory(prefix="pharos-l2-") as work:
        figures = Lane(options, Path(work), network).turns()
    harness.finish("l2", rows_of(figures, options), options, matrix(figures, options))


if __name__ == "__main__":
    main()
