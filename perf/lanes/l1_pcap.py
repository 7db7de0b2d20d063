#!/usr/bin/env python3
"""Lane L1: the whole packet path on a port without a kernel (net_pcap, replayed for ever, nothing sent).

Runs pharos-dataplane and, as the floor, testpmd in 5tswap mode on the very same port arguments, in turns; prints
answers per second, the floor and their ratio (medians over the turns), and writes the same as JSON. The
tables come from a state directory as pharos-controlplane leaves it; nothing in it is changed.

  perf/lanes/l1_pcap.py --build build --state /var/lib/pharos --queries queries.txt

A query that is not answered (dropped, refused by the parser) is not counted as an answer; RCODEs are shown, so that
a lane that measures REFUSED does not pass for one that measures answers.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import make_queries

ADDRESS = "192.0.2.53"


def say(text):
    print(text, file=sys.stderr, flush=True)


def control(path, command):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        body = json.dumps({"protocol": 1, "command": command, "arguments": {}}).encode()
        peer.sendall(struct.pack("!I", len(body)) + body)
        reader = peer.makefile("rb")
        response = json.loads(reader.read(struct.unpack("!I", reader.read(4))[0]))
    if not response["ok"]:
        sys.exit(f"{path}: {command}: {response['error']}")
    return response["result"]


class Lane:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.pcap = work / "queries.pcap"
        self.device = f"net_pcap0,rx_pcap={self.pcap},infinite_rx=1"
        self.rings = 1024
        # net_pcap keeps the whole file in mbufs of the queue's pool; the pool grows with the descriptors.
        while 2 * self.rings < options.frames:
            self.rings *= 2
        self.memory_mib = 256 + options.frames * 3 // 1024

    def prepare(self):
        queries = make_queries.read_queries(self.options.queries)
        make_queries.write_pcap(self.pcap, make_queries.make(
            queries, self.options.frames, bytes.fromhex("02005e005335"), make_queries.ipaddress.ip_address(ADDRESS),
            make_queries.ipaddress.ip_network(self.options.clients), self.options.edns, self.options.seed))
        shutil.copytree(self.options.state, self.work / "state")
        os.chmod(self.work / "state", 0o750)
        (self.work / "pharos.yaml").write_text(f"""\
run_directory: {self.work}/run
state_directory: {self.work}/state
log_level: warning
dataplane:
  huge_pages: {"automatic" if self.options.huge else "never"}
  memory: {self.memory_mib}MiB
  control_core: {self.options.control_core}
  worker_cores: [{self.options.core}]
  beacon_port: 0
  ports:
    - id: lane
      device: "{self.device}"
      addresses: [{ADDRESS}]
      receive_descriptors: {self.rings}
      transmit_descriptors: {self.rings}
      promiscuous: true
      idle: poll
""")

    def run_pharos(self):
        """One window. Returns answers per second and the counters that moved."""
        daemon = subprocess.Popen([self.options.build / "dataplane/pharos-dataplane", "--config",
                                   self.work / "pharos.yaml"])
        read = self.work / "run/dataplane.read.sock"
        try:
            self._wait(daemon, lambda: read.exists() and control(read, "status")["state"] == "running")
            time.sleep(self.options.settle)
            first, first_at = control(read, "stats")["counters"], time.monotonic()
            time.sleep(self.options.seconds)
            last, last_at = control(read, "stats")["counters"], time.monotonic()
        finally:
            self._stop(daemon)
        moved = {name: (last[name] - first[name]) / (last_at - first_at) for name in last if last[name] != first[name]}
        return moved.get("answered", 0.0), moved

    def run_floor(self):
        """One window of testpmd. Returns frames per second, from its own statistics of one second."""
        command = ["dpdk-testpmd", "--lcores", f"0@{self.options.control_core},1@{self.options.core}",
                   "-m", str(self.memory_mib), "--file-prefix", f"pharos-lane-{os.getpid()}", "--no-pci",
                   "--vdev", self.device, "--log-level", "error"]
        command += ["--in-memory"] if self.options.huge else ["--no-huge", "--no-shconf"]
        command += ["--", "--forward-mode=5tswap", "--burst=64", "--nb-cores=1", f"--rxd={self.rings}",
                    f"--txd={self.rings}", f"--total-num-mbufs={8 * self.rings - 1}", "--no-flush-rx",
                    "--stats-period=1"]
        # testpmd ends at a line on stdin; it draws its statistics on stdout.
        floor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 text=True, errors="replace")
        rates = []
        deadline = time.monotonic() + self.options.settle + self.options.seconds + 30
        try:
            for line in floor.stdout:
                found = re.search(r"Rx-pps:\s+(\d+)", line)
                if found and int(found[1]) > 0:
                    rates.append(int(found[1]))
                if len(rates) > self.options.seconds + 1 or time.monotonic() > deadline:
                    break
        finally:
            self._stop(floor)
        if len(rates) < 2:
            sys.exit("testpmd said no rates; its command: " + " ".join(command))
        return statistics.median(rates[1:])  # the first one holds the start

    @staticmethod
    def _wait(daemon, condition):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if daemon.poll() is not None:
                sys.exit(f"pharos-dataplane ended with {daemon.returncode}")
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        daemon.kill()
        sys.exit("pharos-dataplane has no tables after 30 s: is the state directory that of a control plane?")

    @staticmethod
    def _stop(process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(lane, options):
    turns = []
    for turn in range(options.turns):
        answers, moved = lane.run_pharos()
        floor = lane.run_floor()
        if answers == 0:
            sys.exit("not one answer; counters a second: " + json.dumps(moved))
        turns.append({"answers_per_s": answers, "floor_per_s": floor, "ratio": answers / floor, "counters": moved})
        say(f"turn {turn + 1}/{options.turns}: {answers / 1e6:.2f} M answers/s, floor {floor / 1e6:.2f} M/s, "
            f"ratio {answers / floor:.3f}")
    median = {key: statistics.median(turn[key] for turn in turns) for key in ("answers_per_s", "floor_per_s", "ratio")}
    rcodes = {name: rate for name, rate in turns[-1]["counters"].items() if name.startswith("rcode_")}
    return {"lane": "l1_pcap", "median": median, "rcodes_per_s": rcodes, "turns": turns,
            "frames": options.frames, "seconds": options.seconds, "core": options.core, "huge_pages": options.huge,
            "edns_share": options.edns, "seed": options.seed, "cpu": cpu_model(), "unix_time": int(time.time())}


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--state", type=Path, required=True, help="state directory with tables/ in it")
    parser.add_argument("--queries", type=Path, required=True, help="'name TYPE' a line, as for dnsperf")
    parser.add_argument("--frames", type=int, default=4096, help="different queries in the replay (default %(default)s)")
    parser.add_argument("--clients", default="198.18.0.0/16", help="prefix of the sources (default %(default)s)")
    parser.add_argument("--edns", type=float, default=0.7, help="share with an OPT record (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each window (default %(default)s)")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds before each window (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="windows of each program (default %(default)s)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="measured core (the last)")
    parser.add_argument("--control-core", type=int, default=min(os.sched_getaffinity(0)), help="the other (the first)")
    parser.add_argument("--huge", action="store_true", help="huge pages for both programs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("perf/results/l1_pcap.local.json"),
                        help="where the figures go (default %(default)s)")
    options = parser.parse_args()
    if shutil.which("dpdk-testpmd") is None:
        sys.exit("dpdk-testpmd is missing: apt-get install dpdk-dev")
    if not (options.state / "tables").is_dir():
        sys.exit(f"{options.state} has no tables/: give the state directory of a pharos-controlplane's data plane")
    with tempfile.TemporaryDirectory(prefix="pharos-l1-") as work:
        lane = Lane(options, Path(work))
        lane.prepare()
        result = measure(lane, options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    median = result["median"]
    print(f"L1 pcap: {median['answers_per_s'] / 1e6:.2f} M answers/s, 5tswap floor {median['floor_per_s'] / 1e6:.2f} M/s,"
          f" ratio {median['ratio']:.3f} (median of {options.turns})")
    print("rcodes: " + ", ".join(f"{name[6:]} {rate / 1e6:.2f} M/s" for name, rate in result["rcodes_per_s"].items()))


if __name__ == "__main__":
    main()
