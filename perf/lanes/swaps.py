#!/usr/bin/env python3
"""Lane swaps: what publishing costs those who answer: 10 full sets of tables and 1,000 deltas a second, against none.

Tables hold 10,000 names; 1,000 of them are services, ranked for 16 locales. pharos-publish stands in for the control
plane on the core that does not serve; a full publish carries catalog, locale map and ranking base.

  throughput  answers a second on net_pcap, replayed for ever (as lane l1_pcap), in turns with and without publishing
  latency     p99.9 of pharos-open-loop over a veth pair and AF_XDP, at a moderate rate, sleeping between queries so that
              the publisher gets the core that it shares with the generator; a machine with three cores gives each one

Whether the rates were reached stands in the notes of the rows: the builders of a small machine may not keep up.
"""
import argparse
import ipaddress
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import frames
import harness
import l1_pcap
import l2_contestants
import programs
import veth

WORLD = ["--names", "10000", "--services", "1000", "--locales", "16", "--addresses", "4"]
CLIENTS = "10.0.0.0/12"
FRAMES = 1 << 15
DESCRIPTORS = 1 << 14
FULL, DELTA = 10, 1000
LOADS = {"none": (0, 0), f"{FULL} full a second": (FULL, 0), f"{DELTA:,} deltas a second": (0, DELTA),
         "both": (FULL, DELTA)}


class Publisher:
    """Publishes to a data plane from the core `core`, until it has been at it for `seconds`."""

    def __init__(self, options, socket, load, seconds):
        full, delta = LOADS[load]
        self.process = subprocess.Popen(
            ["taskset", "-c", str(options.control_core), options.build / "perf/pharos-publish", "--socket", socket,
             "--full", str(full), "--delta", str(delta), "--seconds", str(seconds), *WORLD], stdout=subprocess.PIPE,
            text=True)
        if self.process.stdout.readline() != "ready\n":
            sys.exit("pharos-publish published nothing")

    def report(self):
        told = self.process.communicate(timeout=60)[0]
        if self.process.returncode != 0:
            sys.exit("pharos-publish failed")
        return json.loads(told)


class Lane:
    def __init__(self, options, work):
        self.options, self.work = options, work
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", *WORLD], check=True, stdout=subprocess.DEVNULL)
        frames.write_pcap(work / "queries.pcap", frames.make(
            frames.read_queries(work / "queries"), FRAMES, bytes.fromhex(programs.MAC.replace(":", "")),
            ipaddress.ip_address(programs.ADDRESS), ipaddress.ip_network(CLIENTS), 1.0, options.seed))
        self.reports = {load: [] for load in LOADS}

    def throughput(self, load):
        dataplane = programs.Dataplane(self.options, self.work / "pcap", self.work / "state",
                                       f"net_pcap0,rx_pcap={self.work}/queries.pcap,infinite_rx=1", DESCRIPTORS)
        dataplane.start()
        try:
            publisher = Publisher(self.options, self.work / "pcap/run/tables.sock", load, self.options.seconds + 0.5)
            answered = dataplane.moved(self.options.seconds)["answered"]
            self.reports[load].append(publisher.report())
        finally:
            dataplane.stop()
        return answered

    def latency(self, load, network):
        """p99.9 in microseconds."""
        network.serve_by("AF_XDP")
        dataplane = programs.Dataplane(self.options, self.work / "veth", self.work / "state", l2_contestants.DEVICES["AF_XDP"], 2048,
                                       256, address=veth.SERVER, namespace=network.server, prefix=veth.PRIORITY)
        dataplane.start()
        try:
            publisher = Publisher(self.options, self.work / "veth/run/tables.sock", load, self.options.seconds + 0.8)
            told = subprocess.run(
                ["ip", "netns", "exec", network.client, *veth.PRIORITY, "taskset", "-c", str(self.options.control_core),
                 self.options.build / "perf/pharos-open-loop", "--server", veth.SERVER, "--queries",
                 self.work / "queries", "--rate", str(self.options.rate), "--seconds", str(self.options.seconds), "--sleep"],
                check=True, capture_output=True, text=True).stdout
            publisher.report()
        finally:
            dataplane.stop()
        return json.loads(told)["p999"]

    def note(self, load):
        rates = [(report["full"]["rate"], report["delta"]["rate"]) for report in self.reports[load]]
        full, delta = (statistics.median(each) for each in zip(*rates))
        wanted = LOADS[load]
        short = "" if full >= 0.95 * wanted[0] and delta >= 0.95 * wanted[1] else ": fewer than wanted"
        return f"{full:.0f} full and {delta:.0f} deltas a second were adopted{short}"


def measure(options, work):
    harness.machine_of_run()
    lane = Lane(options, work)
    harness.say("throughput")
    rates = harness.take_turns({load: lambda load=load: lane.throughput(load) for load in LOADS}, options.turns)
    rows = [harness.Row(f"throughput, {load}", "answers/s", rates[load], "none", rates["none"], lane.note(load))
            for load in LOADS if load != "none"]
    if options.quick:
        return rows
    harness.say(f"latency at {options.rate:,} queries a second")
    with veth.Network() as network:
        p999 = harness.take_turns({load: lambda load=load: lane.latency(load, network) for load in ("none", "both")},
                                  options.turns)
    return [*rows, harness.Row("p99.9, both", "us", p999["both"], "none", p999["none"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=2, turns=3)
    parser.add_argument("--quick", action="store_true", help="throughput alone")
    parser.add_argument("--rate", type=int, default=20_000, help="of the latency windows (default %(default)s)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    with tempfile.TemporaryDirectory(prefix="pharos-swaps-") as work:
        rows = measure(options, Path(work))
    harness.finish("swaps", rows, options)


if __name__ == "__main__":
    main()
