#!/usr/bin/env python3
"""Lane L2: whole servers on a veth pair between two network namespaces, beside each other.

Contestants are pharos-dataplane on AF_PACKET, AF_XDP and TAP, testpmd 5tswap on the same ports (the floor), and NSD,
Knot by sockets and by XDP, BIND, gdnsd and PowerDNS, all with the same zone of 10,000 names, one server core each;
the generator has the other core. Three measurements, each in turns:

  rate      the highest rate of kxdpgun that loses less than 0.1 %, found by doubling and halving in short windows
  cpu       CPU time of the machine, less that of the generator, by answer, at one fixed rate
  latency   p50, p99 and p99.9 of dnsperf at half of each one's own rate, sent on schedule whatever comes back

The AF_PACKET driver counts what it could not send as sent, so all counting is done at the generator.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import dnsclient  # noqa: E402
import harness  # noqa: E402
import l1_pcap  # noqa: E402
import peers  # noqa: E402
import programs  # noqa: E402
import world  # noqa: E402

NAMES = 10_000
SERVER, CLIENT = "198.18.0.53", "198.18.1.1"
SERVER_MAC, CLIENT_MAC = "02:00:5e:00:53:35", "02:00:5e:00:53:36"
LOSS = 0.001
AF_PACKET = "net_af_packet0,iface=s0,qdisc_bypass=1,blocksz=1048576,framesz=2048,framecnt=8192"
AF_XDP = "net_af_xdp0,iface=s0"
TAP = "net_tap0,iface=pharos-l2"


class Network:
    """Two namespaces and the veth pair between them; TAP ports hang on a bridge in the server's."""

    def __init__(self):
        self.server, self.client = f"pharos-l2s-{os.getpid()}", f"pharos-l2c-{os.getpid()}"

    def __enter__(self):
        for name in (self.server, self.client):
            world.run("ip", "netns", "add", name)
            world.run("ip", "-n", name, "link", "set", "lo", "up")
            world.run("ip", "netns", "exec", name, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1",
                      "net.ipv6.conf.default.disable_ipv6=1")
        world.run("ip", "link", "add", "s0", "netns", self.server, "address", SERVER_MAC, "type", "veth", "peer", "name",
                  "c0", "address", CLIENT_MAC, "netns", self.client)
        for name, link in ((self.server, "s0"), (self.client, "c0")):
            world.run("ip", "netns", "exec", name, "ethtool", "-K", link, "tx", "off")
            world.run("ip", "-n", name, "link", "set", link, "up")
        world.run("ip", "-n", self.client, "address", "add", f"{CLIENT}/15", "dev", "c0")
        world.run("ip", "-n", self.client, "neighbour", "replace", SERVER, "lladdr", SERVER_MAC, "dev", "c0")
        return self

    def __exit__(self, *_):
        for name in (self.server, self.client):
            world.run("ip", "netns", "delete", name, check=False)

    def address(self, there):
        """Puts the server's address on its interface, for servers that use the kernel's sockets, or takes it away."""
        world.run("ip", "-n", self.server, "address", "flush", "dev", "s0")
        world.run("ip", "-n", self.server, "link", "set", "s0", "xdp", "off", check=False)
        if there:
            world.run("ip", "-n", self.server, "address", "add", f"{SERVER}/15", "dev", "s0")
            world.run("ip", "-n", self.server, "neighbour", "replace", CLIENT, "lladdr", CLIENT_MAC, "dev", "s0")


def pin(process, core):
    """All threads of a process and its children, those of later too, on one core."""
    subprocess.run(["taskset", "-a", "-c", "-p", str(core), str(process.pid)], stdout=subprocess.DEVNULL)


class Ours:
    """pharos-dataplane on one kind of port; idle: adaptive, as on a shared core."""

    def __init__(self, title, device, lane):
        self.name, self.lane = title, lane
        self.work = lane.work / title.replace(" ", "-")
        self.work.mkdir()
        shutil.copytree(lane.work / "state", self.work / "state")
        os.chmod(self.work / "state", 0o750)
        (self.work / "pharos.yaml").write_text(
            f"run_directory: {self.work}/run\nstate_directory: {self.work}/state\nlog_level: warning\n"
            f"dataplane:\n  huge_pages: never\n  memory: 256MiB\n  control_core: {lane.options.control_core}\n"
            f"  worker_cores: [{lane.options.core}]\n  beacon_port: 0\n"
            f"  ports:\n    - {{id: lane, device: \"{device}\", addresses: [{SERVER}], idle: adaptive,\n"
            f"       receive_descriptors: 2048, transmit_descriptors: 2048}}\n")

    def start(self):
        self.lane.network.address(False)
        self.process = peers.started([self.lane.options.build / "dataplane/pharos-dataplane", "--config",
                                      self.work / "pharos.yaml"], self.work / "log", self.lane.network.server)

    def stop(self):
        programs.stop(self.process)


class Theirs:
    def __init__(self, kind, lane):
        self.name, self.lane = kind.name, lane
        self.peer = kind(lane.work / kind.name.replace(" ", "-"), lane.work / "zones", ["bench"], SERVER,
                         namespace=lane.network.server, interface="s0")

    def start(self):
        self.lane.network.address(True)
        self.peer.start()
        time.sleep(0.3)
        for process in self.peer.processes:
            pin(process, self.lane.options.core)

    def stop(self):
        self.peer.stop()


class Floor:
    """testpmd that swaps addresses and sends back what came; it answers nothing, so only kxdpgun may ask it."""

    def __init__(self, title, device, lane):
        self.name, self.device, self.lane = title, device, lane

    def start(self):
        self.lane.network.address(False)
        options = self.lane.options
        self.process = peers.started(
            ["dpdk-testpmd", "--lcores", f"0@{options.control_core},1@{options.core}", "-m", "256", "--no-huge",
             "--no-shconf", "--file-prefix", f"pharos-l2-{os.getpid()}", "--no-pci", "--vdev", self.device, "--",
             "--forward-mode=5tswap", "--burst=64", "--nb-cores=1", "--rxd=2048", "--txd=2048", "--no-flush-rx",
             "--total-num-mbufs=16383", "--stats-period=60"], self.lane.work / "testpmd.log",
            self.lane.network.server)
        time.sleep(3)

    def stop(self):
        programs.stop(self.process)


class Lane:
    def __init__(self, options, work, network):
        self.options, self.work, self.network = options, work, network
        world.run(options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries", work / "queries",
                  "--names", str(NAMES))
        (work / "zones").mkdir()
        os.chmod(work, 0o755)
        with open(work / "zones/bench.zone", "w") as zone:
            zone.write("$ORIGIN bench.\n$TTL 300\n@ SOA ns1 hostmaster 1 2h 30m 2w 60\n@ NS ns1\nns1 A 10.0.0.0\n")
            for n in range(NAMES):
                zone.write(f"n{n:08x} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n")
        self.contestants = [Ours("AF_PACKET", AF_PACKET, self), Ours("AF_XDP", AF_XDP, self),
                            Floor("5tswap AF_PACKET", AF_PACKET, self), Floor("5tswap AF_XDP", AF_XDP, self)]
        for kind in peers.ALL:
            if kind.missing():
                harness.say(f"{kind.name} is not installed, and left out")
            else:
                self.contestants.append(Theirs(kind, self))
        self.rates = {}

    # ---- generators ----

    def client(self, *command, limit_s=60):
        done = subprocess.run(["ip", "netns", "exec", self.network.client, "taskset", "-c",
                               str(self.options.control_core), *map(str, command)], capture_output=True, text=True,
                              timeout=limit_s)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def gun(self, rate, seconds):
        """Sent and received a second."""
        deadline = time.monotonic() + 20
        while True:
            told = self.client("kxdpgun", "-i", self.work / "queries", "-I", "c0", "-l", CLIENT, "-L", CLIENT_MAC,
                               "-R", SERVER_MAC, "-Q", int(rate), "-b", "10", "-t", seconds, "-F",
                               self.options.control_core, SERVER)
            if "resource is busy" not in told or time.monotonic() > deadline:
                break
            time.sleep(0.1)  # the kernel still takes down the XDP socket of the last window
        sent = re.search(r"total queries:\s+(\d+)", told)
        received = re.search(r"total replies:\s+(\d+)", told)
        if sent is None or received is None:
            sys.exit(f"kxdpgun said nothing that is known here: {told}")
        return int(sent[1]) / seconds, int(received[1]) / seconds

    def awake(self, contestant):
        """Until it answers (a floor: until it reflects)."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            sent, received = self.gun(1000, 1)
            if received > 0.9 * sent:
                return
            time.sleep(0.2)
        sys.exit(f"{contestant.name} does not answer")

    # ---- what is measured ----

    def loss_free(self, contestant):
        contestant.start()
        try:
            self.awake(contestant)
            low, high = 0.0, None
            rate = max(self.rates.get(contestant.name, 50_000) * 0.8, 10_000)
            for _ in range(self.options.steps):
                sent, received = self.gun(rate, self.options.seconds)
                if received >= sent * (1 - LOSS) and sent > 0.95 * rate:
                    low = max(low, received)
                else:
                    high = min(rate, high or rate)
                rate = rate * 1.5 if high is None else (max(low, high * 0.3) + high) / 2
            self.rates[contestant.name] = low
            return low
        finally:
            contestant.stop()

    def cpu(self, contestant):
        """Microseconds of CPU by answer at the fixed rate: all that the machine did, less the generator."""
        contestant.start()
        try:
            self.awake(contestant)
            busy, own = busy_s(), os.times()
            _, received = self.gun(self.options.rate, self.options.seconds)
            after = os.times()
            generator = (after.children_user + after.children_system) - (own.children_user + own.children_system)
            return (busy_s() - busy - generator) / (received * self.options.seconds) * 1e6
        finally:
            contestant.stop()

    def latency(self, contestant):
        rate = int(max(self.rates[contestant.name] / 2, 1000))
        contestant.start()
        try:
            self.awake(contestant)
            told = self.client("dnsperf", "-s", SERVER, "-d", self.work / "queries", "-l", self.options.seconds, "-Q",
                               rate, "-q", "5000", "-c", "20", "-v")
        finally:
            contestant.stop()
        times = sorted(float(line.split()[-1]) * 1e6 for line in told.splitlines() if line.startswith("> NOERROR"))
        if not times:
            sys.exit(f"dnsperf got no answer of {contestant.name}: {told[-500:]}")
        return [times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99, 0.999)]


def busy_s():
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def beside(figures, ours, pairs, what, unit):
    return [harness.Row(f"{ours}: {what}", unit, figures[ours], peer, figures[peer]) for peer in pairs
            if peer in figures]


def measure(options, lane):
    harness.machine_of_run()
    rows = []
    servers = [c for c in lane.contestants if not isinstance(c, Floor)]
    names = [c.name for c in lane.contestants if not isinstance(c, Ours)]
    harness.say("loss-free rate")
    figures = harness.take_turns({c.name: lambda c=c: lane.loss_free(c) for c in lane.contestants}, options.turns)
    for ours in ("AF_PACKET", "AF_XDP"):
        rows += beside(figures, ours, [n for n in names if not n.startswith("5tswap") or n.endswith(" " + ours)],
                       "answers without loss", "answers/s")
    harness.say(f"CPU by answer at {options.rate:,} queries a second")
    able = [c for c in servers if lane.rates[c.name] >= options.rate]
    figures = harness.take_turns({c.name: lambda c=c: lane.cpu(c) for c in able}, options.turns)
    for ours in ("AF_PACKET", "AF_XDP"):
        if ours in figures:
            rows += beside(figures, ours, names, f"CPU by answer at {options.rate // 1000} thousand/s", "us")
    harness.say("latency at half of each one's rate")
    figures = harness.take_turns({c.name: lambda c=c: lane.latency(c)[1] for c in servers}, options.turns)
    for ours in ("AF_PACKET", "AF_XDP"):
        rows += beside(figures, ours, names, "p99 at half of its rate", "us")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=2, turns=3)
    parser.add_argument("--rate", type=int, default=50_000, help="of the CPU figures (default %(default)s)")
    parser.add_argument("--steps", type=int, default=9, help="windows of one search (default %(default)s)")
    options = parser.parse_args()
    options.build, options.seconds = options.build.resolve(), max(int(options.seconds), 1)
    l1_pcap.require("dpdk-testpmd", "kxdpgun", "dnsperf", "ethtool", "taskset")
    with Network() as network, tempfile.TemporaryDirectory(prefix="pharos-l2-") as work:
        rows = measure(options, Lane(options, Path(work), network))
    harness.finish("l2", rows, options)


if __name__ == "__main__":
    main()
