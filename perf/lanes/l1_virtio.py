#!/usr/bin/env python3
"""Lane L1 virtio: pharos-dataplane on a net_virtio_user port, against testpmd that replays queries into net_vhost.

Two processes, one core each, no kernel between them. The floor is a second testpmd in 5tswap mode in our place on the
very same port. The generator's core is the limit here, so beside answers a second the lane tells the busy
cycles of our core by answer, beside 5tswap's cycles a packet.

Needs huge pages: the two processes share the memory of the rings and frames.
"""
import argparse
import ipaddress
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import frames
import harness
import l1_pcap
import programs

FRAMES = 4096
DESCRIPTORS = 1024
PAGES = 1024  # of 2 MiB
VIRTIO_EAL = "--single-file-segments"


class HugePages:
    """Enough huge pages for two processes, while the lane runs."""

    path = Path("/proc/sys/vm/nr_hugepages")

    def __enter__(self):
        self.before = int(self.path.read_text())
        if self.before < PAGES:
            self.path.write_text(str(PAGES))
        if int(self.path.read_text()) < PAGES:
            sys.exit(f"the host gives {self.path.read_text().strip()} huge pages of {PAGES}")

    def __exit__(self, *_):
        self.path.write_text(str(self.before))


class Generator:
    """testpmd between the replay and the vhost end: what it reads from the pcap it sends to the virtio port."""

    def __init__(self, options, work, socket_path):
        self.command = ["dpdk-testpmd", "--lcores", f"0@{options.core},1@{options.control_core}", "--in-memory", "-m",
                        "1024", "--file-prefix", f"pharos-generator-{os.getpid()}", "--no-pci",
                        "--vdev", f"net_pcap0,rx_pcap={work}/queries.pcap,infinite_rx=1",
                        "--vdev", f"net_vhost0,iface={socket_path},queues=1", "--log-level", "error", "--",
                        "--forward-mode=io", "--burst=64", "--nb-cores=1", f"--rxd={2 * DESCRIPTORS}",
                        f"--txd={2 * DESCRIPTORS}", f"--total-num-mbufs={8 * FRAMES - 1}", "--no-flush-rx",
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


class Lane:
    def __init__(self, options, work):
        self.options, self.work = options, work
        options.huge = True
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", "--names", "10000"], check=True, stdout=subprocess.DEVNULL)
        os.chmod(work / "state", 0o750)
        frames.write_pcap(work / "queries.pcap", frames.make(
            frames.read_queries(work / "queries"), FRAMES, bytes.fromhex(programs.MAC.replace(":", "")),
            ipaddress.ip_address(programs.ADDRESS), ipaddress.ip_network("198.18.0.0/16"), 1.0, options.seed))
        self.cycles, self.floor_cycles = [], []
        self.turn = 0

    def socket_path(self):
        self.turn += 1
        return self.work / f"vhost{self.turn}"

    def device(self, path):
        return f"net_virtio_user0,path={path},mac={programs.MAC},queues=1,queue_size={DESCRIPTORS},in_order=1"

    def ours(self):
        path = self.socket_path()
        with Generator(self.options, self.work, path) as generator:
            programs.wait_until(path.exists, "the generator's socket", process=generator.process)
            dataplane = programs.Dataplane(self.options, self.work / "pharos", self.work / "state", self.device(path),
                                           DESCRIPTORS, 512, f"  eal_arguments: [{VIRTIO_EAL}]\n")
            dataplane.start()
            try:
                programs.settled(dataplane.counters, "answered")
                first = programs.control(dataplane.read, "stats")
                rate = generator.received(self.options.seconds)
                last = programs.control(dataplane.read, "stats")
            finally:
                dataplane.stop()
        busy = sum(core.get("busy_cycles", 0) for core in last["cores"]) \
            - sum(core.get("busy_cycles", 0) for core in first["cores"])
        self.cycles.append(busy / (last["counters"]["answered"] - first["counters"]["answered"]))
        return rate

    def floor(self):
        path = self.socket_path()
        with Generator(self.options, self.work, path) as generator:
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
        if found := re.search(r"CPU cycles/packet=([\d.]+)", told):
            self.floor_cycles.append(float(found[1]))
        return rate

    def rows(self):
        figures = harness.take_turns({"ours": self.ours, "floor": self.floor}, self.options.turns)
        rows = [harness.Row("10,000 names: A", "answers/s", figures["ours"], "5tswap", figures["floor"])]
        if len(self.floor_cycles) == len(self.cycles):
            rows.append(harness.Row("busy cycles by answer", "cycles", self.cycles, "5tswap, by packet",
                                    self.floor_cycles))
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=3.0, turns=5)
    options = parser.parse_args()
    options.build = options.build.resolve()
    l1_pcap.require("dpdk-testpmd")
    harness.machine_of_run()
    with HugePages(), tempfile.TemporaryDirectory(prefix="pharos-virtio-") as work:
        rows = Lane(options, Path(work)).rows()
    harness.finish("l1_virtio", rows, options)


if __name__ == "__main__":
    main()
