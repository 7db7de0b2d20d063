#!/usr/bin/env python3
"""Lane reaction: from a cause to the first answer that is other on the wire, beside gdnsd.

10 thousand services of 8 endpoints at 100 sites, 64 locales; control plane and data plane as in production, the data
plane on AF_PACKET at one end of a veth pair. At the other end `pharos-reaction-probe` sends the beacons of all sites
every 200 ms and asks one question after another:

  endpoint   a beacon says that an endpoint is down: until an answer without it (64 cells are ranked anew)
  site       a beacon says that a site is hot: until it does not lead any more (all cells of 800 services)
  death      a site's beacons stop: from the last of them to the last answer with its address

gdnsd reads the states of its addresses from a file (extfile, direct mode: its fastest way), which says that one is
down. A full rebuild of all 640 thousand cells is that of `perf/micro/engine_bench`, in memory.

With --check the lane fails where a bar is missed: endpoint p99 5 ms, death 1 s, rebuild 250 ms.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import dnsclient  # noqa: E402
import harness  # noqa: E402
import l2_contestants  # noqa: E402
import peers  # noqa: E402
import programs  # noqa: E402
import veth  # noqa: E402
import world  # noqa: E402
from harness import say  # noqa: E402

SERVICES, ENDPOINTS, SITES, LOCALES = 10_000, 8, 100, 64
INTERVAL_MS = 200
BARS_MS = {"changed beacon to changed answer, p99": 5, "death of a site to the last wrong answer, longest": 1000,
           "full rebuild of 640 thousand cells": 250}
GDNSD_LIMIT_S = 10


class Made:
    """The world: its configuration, and what the probe has to know of it."""

    def __init__(self, work, services):
        self.work, self.services = work, services
        self.draw = random.Random(1)
        self.keys = [self.draw.randbytes(32).hex() for _ in range(SITES)]
        self.first = [(self.draw.randrange(SITES), self.draw.randrange(1, SITES // ENDPOINTS)) for _ in range(services)]

    def site_of(self, service, endpoint):
        first, stride = self.first[service]
        return (first + endpoint * stride) % SITES

    @staticmethod
    def address_of(service, endpoint):
        number = service * ENDPOINTS + endpoint
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def location(self):
        return f"[{self.draw.uniform(-60, 60):.2f}, {self.draw.uniform(-180, 180):.2f}]"

    def write(self, device):
        w = self.work
        sites, locales, services = [], [], []
        for s, key in enumerate(self.keys):
            (w / f"s{s}.key").write_text(key + "\n")
            (w / f"s{s}.key").chmod(0o600)
            sites.append(f"  - {{id: s{s}, location: {self.location()}, beacon_interval: {INTERVAL_MS}ms, "
                         f"keys: [{{id: 1, file: {w}/s{s}.key}}]}}\n")
        for n in range(1, LOCALES):
            prefix = "198.18.0.0/15" if n == 1 else f"100.64.{n}.0/24"
            locales.append(f"  - {{id: l{n}, location: {self.location()}, prefixes: [{prefix}]}}\n")
        for n in range(self.services):
            endpoints = ", ".join(f"{{id: e{e}, site: s{self.site_of(n, e)}, addresses: [{self.address_of(n, e)}]}}"
                                  for e in range(ENDPOINTS))
            services.append(f"  - {{id: w{n}, names: [w{n}.bench], policy: ranked, endpoints: [{endpoints}]}}\n")
        (w / "bench.zone").write_text("$ORIGIN bench.\n$TTL 300\n@ SOA ns1 hostmaster 1 2h 30m 2w 60\n@ NS ns1\n"
                                      f"ns1 A {veth.SERVER}\n")
        (w / "pharos.yaml").write_text(
            f"run_directory: {w}/run\nstate_directory: {w}/state\nlog_level: warning\n"
            f"dataplane:\n  huge_pages: never\n  memory: 256MiB\n"
            f"  ports:\n    - {{id: lane, device: \"{device}\", addresses: [{veth.SERVER}], idle: adaptive}}\n"
            f"sites:\n{''.join(sites)}locales:\n{''.join(locales)}"
            f"zones:\n  - {{id: bench, file: {w}/bench.zone}}\nservices:\n{''.join(services)}")

    def write_probe(self, kind, most):
        """The world file of the probe, with targets that fit its kind: of different services, or of different sites."""
        lines = [f"server {veth.SERVER} 53 {world.BEACON_PORT} {INTERVAL_MS}"]
        lines += [f"site s{s} {key}" for s, key in enumerate(self.keys)]
        seen = set()
        for n in range(self.services):
            for e in range(ENDPOINTS):
                if kind != "site":
                    if e > 0 or (kind == "death" and self.site_of(n, e) in seen):
                        continue
                    seen.add(self.site_of(n, e))
                lines.append(f"target {self.site_of(n, e)} w{n} e{e} {self.address_of(n, e)} w{n}.bench.")
            if n > most * 40 or (kind == "death" and len(seen) >= most * 2):
                break
        path = self.work / f"probe-{kind}"
        path.write_text("\n".join(lines) + "\n")
        return path


def probe(options, network, made, kind, count):
    """Milliseconds of each time, and the median round trip of a question."""
    done = subprocess.run(["ip", "netns", "exec", network.client, options.build / "perf/pharos-reaction-probe",
                           made.write_probe(kind, count), kind, str(count)], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"{kind}: {done.stderr}")
    *times, rtt = done.stdout.splitlines()
    times = [float(time_us) / 1000 for time_us in times]
    if len(times) < min(count, 5):
        sys.exit(f"{kind}: {len(times)} times of {count}: the world has too few targets")
    say(f"  {kind}: {len(times)} times, median {statistics.median(times):.2f} ms, longest {max(times):.2f} ms, "
        f"round trip of a question {float(rtt.split()[1]) / 1000:.2f} ms")
    return times, float(rtt.split()[1]) / 1000


def quantile(times, share):
    return sorted(times)[min(int(len(times) * share), len(times) - 1)]


class GdnsdExtfile(peers.Gdnsd):
    """gdnsd with one name of two addresses, whose states it reads from a file."""

    def configure(self):
        super().configure()
        self.state("UP")
        config = self.work / "etc/config"
        config.write_text(
            config.read_text() + f"service_types => {{ ext => {{ plugin => extfile, file => \"{self.work}/states\", "
            "direct => true, interval => 2 } }\nplugins => { multifo => { web => { service_types => ext, "
            "a => 192.0.2.1, b => 192.0.2.2 } } }\n")
        (self.work / "etc/zones/bench").write_text(
            f"@ SOA ns1 hostmaster 1 7200 1800 1209600 60\n@ NS ns1\nns1 A {self.address}\nwww 1 DYNA multifo!web\n")

    def state(self, first):
        aside = self.work / "states.new"
        aside.write_text(f"192.0.2.1 => {first}\n192.0.2.2 => UP\n")
        os.replace(aside, self.work / "states")


def gdnsd_times(work, count):
    """Milliseconds from the changed file to the first answer without the address."""
    zones = work / "gdnsd-zones"
    zones.mkdir()
    (zones / "bench.zone").write_text("")
    server = GdnsdExtfile(work / "gdnsd", zones, ["bench"], "127.0.0.1", port_of_own())
    server.start()
    client = dnsclient.Client("127.0.0.1", "127.0.0.1", server.port)
    times = []
    try:
        def answer():
            reply = client.ask("www.bench", "A", timeout_s=0.05)
            return reply.addresses if reply is not None else None

        def until(wanted):
            deadline = time.monotonic() + GDNSD_LIMIT_S
            while time.monotonic() < deadline:
                try:
                    if answer() == wanted:
                        return time.monotonic()
                except OSError:
                    time.sleep(0.01)
            sys.exit(f"gdnsd: not {wanted} within {GDNSD_LIMIT_S} s: {server.log.read_text()[-2000:]}")

        both, one = ["192.0.2.1", "192.0.2.2"], ["192.0.2.2"]
        until(both)
        for turn in range(count):
            wanted = both if turn % 2 else one
            time.sleep(0.1)
            began = time.monotonic()
            server.state("UP" if turn % 2 else "DOWN")
            times.append((until(wanted) - began) * 1000)
    finally:
        client.close()
        server.stop()
    say(f"  gdnsd: {len(times)} times, median {statistics.median(times):.0f} ms")
    return times


def port_of_own():
    with dnsclient.socket.socket(dnsclient.socket.AF_INET, dnsclient.socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return udp.getsockname()[1]


def rebuild_times(options):
    """Milliseconds of the rebuild of all cells, and of a round in which all, half and none of the sites flap."""
    done = subprocess.run([options.build / "perf/micro/engine_bench", "--benchmark_format=json",
                           "--benchmark_filter=ranked/(first|flapping)"], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"engine_bench: {done.stderr}")
    return {run["name"].removesuffix("/manual_time").split("/iterations")[0]: run["real_time"]
            for run in json.loads(done.stdout)["benchmarks"]}


def measure(options, work, network):
    made = Made(work, options.services)
    network.serve_by("AF_PACKET")
    made.write(l2_contestants.DEVICES["AF_PACKET"])
    processes = []
    try:
        began = time.monotonic()
        processes.append(peers.started([options.build / "controlplane/pharos-controlplane", "--config",
                                        work / "pharos.yaml"], work / "control.log"))
        processes.append(peers.started([options.build / "dataplane/pharos-dataplane", "--config", work / "pharos.yaml"],
                                       work / "data.log", network.server))
        with world.namespace(network.client):
            client = dnsclient.Client(veth.CLIENT, veth.SERVER)
        peers.wait_for_answer(client, f"w{options.services - 1}.bench", what="Pharos")
        client.close()
        say(f"  configuration of {options.services:,} services to the first answer: {time.monotonic() - began:.1f} s")
        endpoint, rtt = probe(options, network, made, "endpoint", options.count)
        site, _ = probe(options, network, made, "site", options.count // 10)
        death, _ = probe(options, network, made, "death", options.deaths)
    except BaseException:
        for log in ("control.log", "data.log"):
            if (work / log).exists():
                say((work / log).read_text(errors="replace")[-2000:])
        raise
    finally:
        for process in reversed(processes):
            programs.stop(process)
    gdnsd = [] if GdnsdExtfile.missing() else gdnsd_times(work, options.deaths)
    rebuild = rebuild_times(options)
    beside = ("gdnsd extfile", [statistics.median(gdnsd)] if gdnsd else [])

    def row(name, figure, peer=("", [])):
        return harness.Row(name, "ms", [figure], *peer)

    return [row("changed beacon to changed answer, p50", statistics.median(endpoint), beside),
            row("changed beacon to changed answer, p99", quantile(endpoint, 0.99), beside),
            row("hot site to changed answer, p50", statistics.median(site)),
            row("hot site to changed answer, p99", quantile(site, 0.99)),
            row("death of a site to the last wrong answer, median", statistics.median(death)),
            row("death of a site to the last wrong answer, longest", max(death)),
            row("round trip of a question", rtt),
            row("full rebuild of 640 thousand cells", rebuild["ranked/first"]),
            *(row(f"round in which {share} % of the sites flap", rebuild[f"ranked/flapping/{share}"])
              for share in (0, 50, 100))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--services", type=int, default=SERVICES, help="default %(default)s")
    parser.add_argument("--count", type=int, default=400, help="changed beacons (default %(default)s)")
    parser.add_argument("--deaths", type=int, default=8, help="of sites (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="100 changed beacons and 3 deaths")
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    parser.add_argument("--json", type=Path, help="where the figures go (default perf/results/reaction.local.json)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.quick:
        options.count, options.deaths = 100, 3
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-reaction-") as work, veth.Network() as network:
        os.chmod(work, 0o755)
        rows = measure(options, Path(work), network)
    harness.finish("reaction", rows, options)
    missed = [f"{row.name}: {row.ours[0]:.2f} ms, the bar is {BARS_MS[row.name]} ms"
              for row in rows if row.name in BARS_MS and row.ours[0] > BARS_MS[row.name]]
    print("\n".join(missed) if missed else "all bars are met")
    if missed and options.check:
        sys.exit(1)


if __name__ == "__main__":
    main()
