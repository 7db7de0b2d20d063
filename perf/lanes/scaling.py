#!/usr/bin/env python3
"""Lane scaling: two workers with a queue each, beside one; on net_pcap, replayed for ever, as lane l1_pcap.

The same is done to testpmd 5tswap: what it loses there, the machine takes (caches and memory that cores share, a
hypervisor's neighbours), not the program. Two workers and the control thread take three cores. Where there are two,
the second queue goes to the one worker, and the row of busy cycles by answer says what a further queue costs; what
workers share is then not measured, only read: no worker writes what another one reads, but for counters when asked.
"""
import argparse
import ipaddress
import os
import subprocess
import tempfile
from pathlib import Path

import frames
import harness
import l1_pcap
import programs

FRAMES = 1 << 14  # of each queue


class Lane:
    def __init__(self, options, work):
        self.options, self.work = options, work
        free = sorted(os.sched_getaffinity(0) - {options.control_core, options.core})
        self.cores = [options.core, *free[-1:]]
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", work / "state", "--queries",
                        work / "queries", "--names", str(options.names)], check=True, stdout=subprocess.DEVNULL)
        self.replay = l1_pcap.Replay(work / "queries", FRAMES)
        self.replay.write(frames.make(
            frames.read_queries(work / "queries"), FRAMES, bytes.fromhex(programs.MAC.replace(":", "")),
            ipaddress.ip_address(programs.ADDRESS), ipaddress.ip_network("198.18.0.0/16"), 1.0, options.seed))
        self.cycles = {1: [], 2: []}

    def device(self, queues):
        files = ",".join(f"rx_pcap={self.replay.stem}0.pcap" for _ in range(queues))
        return f"net_pcap0,{files},infinite_rx=1"

    def ours(self, queues):
        dataplane = programs.Dataplane(self.options, self.work / f"run{queues}", self.work / "state", self.device(queues),
                                       self.replay.descriptors, queues * self.replay.memory_mib,
                                       cores=self.cores[:queues], queues=queues)
        moved = dataplane.window(self.options.seconds)
        self.cycles[queues].append(moved["busy_cycles"] / moved["answered"])
        return moved["answered"]

    def floor(self, queues):
        arguments = self.replay.floor_arguments | {"memory_mib": queues * self.replay.memory_mib, "queues": queues,
                                                   "mbufs": queues * FRAMES + 32767}
        return programs.Testpmd(self.options, self.device(queues), cores=self.cores[:queues],
                                **arguments).window(self.options.seconds)

    def rows(self):
        figures = harness.take_turns({"one": lambda: self.ours(1), "two": lambda: self.ours(2),
                                      "5tswap, one": lambda: self.floor(1), "5tswap, two": lambda: self.floor(2)},
                                     self.options.turns)
        two, one = ("two workers", "one worker") if len(self.cores) == 2 else ("two queues", "one queue")
        return [harness.Row(two, "answers/s", figures["two"], one, figures["one"]),
                harness.Row(f"5tswap: {two}", "frames/s", figures["5tswap, two"], one, figures["5tswap, one"]),
                harness.Row(f"busy cycles by answer, {two}", "cycles", self.cycles[2], one, self.cycles[1])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=1.0, turns=3)
    parser.add_argument("--names", type=int, default=10_000)
    options = parser.parse_args()
    options.build = options.build.resolve()
    l1_pcap.require("dpdk-testpmd")
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-scaling-") as work:
        rows = Lane(options, Path(work)).rows()
    harness.finish("scaling", rows, options)


if __name__ == "__main__":
    main()
