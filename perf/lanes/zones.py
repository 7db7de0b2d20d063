#!/usr/bin/env python3
"""Lane zones: from zone files to the first answer, memory per name, and one changed zone, beside NSD and Knot.

Two shapes of the same size: one zone with all the names, and many small zones. Each server in turn starts with
nothing but the zone files, and is asked for the last name of the last zone until it answers rightly. Then one zone
gets a new serial, the server is told to load that zone, and is asked until the new serial answers. Pharos is started
a third time, the data plane alone, from the tables on its disk. All run on loopback, on all cores, one after another.

Memory is the proportional set size (PSS) of all processes of a server, less that of the same server with one
zone of three names.

  perf/lanes/zones.py --build build --names 1000000 --zones 10000
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import dnsclient  # noqa: E402

ADDRESS = "127.0.0.1"
START_LIMIT_S = 300


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    """A port that is free for UDP and TCP now."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((ADDRESS, 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]
    sys.exit("no free port on " + ADDRESS)


class Shape:
    """A set of zone files: `zones` zones that hold `names` names of `addresses` A records between them."""

    def __init__(self, title, folder, names, zones, addresses):
        self.title, self.folder, self.addresses = title, folder, addresses
        self.count = names
        self.per_zone = max(names // zones, 1)
        self.zones = [f"z{z:06}.example" for z in range(zones)]
        folder.mkdir(parents=True)
        for zone in self.zones:
            self.write(zone, 1)
        self.last_name = f"n{self.per_zone - 1:07}.{self.zones[-1]}."

    def write(self, zone, serial):
        """Whole or not at all: a server may be reading the former one."""
        path = self.folder / f"{zone}.zone"
        with open(path.with_suffix(".new"), "w") as out:
            out.write(f"$ORIGIN {zone}.\n$TTL 300\n@ SOA ns1 hostmaster {serial} 2h 30m 2w 60\n"
                      f"@ NS ns1\nns1 A 192.0.2.53\n")
            for n in range(self.per_zone):
                for a in range(self.addresses):
                    out.write(f"n{n:07} A 198.{18 + a % 2}.{n >> 8 & 255}.{(n + a) & 255}\n")
        os.replace(path.with_suffix(".new"), path)


def started(*command, log):
    with open(log, "ab") as out:
        return subprocess.Popen([str(part) for part in command], stdout=out, stderr=out, stdin=subprocess.DEVNULL)


def ended(process):
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def with_children(pid):
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += with_children(int(child))
    return found


def pss_bytes(*pids):
    total = 0
    for pid in {p for parent in pids for p in with_children(parent)}:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def until(port, name, rrtype, right, what):
    """Asks every few milliseconds until `right(reply)`; returns when that was (monotonic seconds)."""
    client = dnsclient.Client(ADDRESS, ADDRESS, port)
    deadline = time.monotonic() + START_LIMIT_S
    try:
        while time.monotonic() < deadline:
            try:
                reply = client.ask(name, rrtype, timeout_s=0.02)
            except OSError:  # refused: nobody listens yet
                time.sleep(0.002)
                continue
            if reply is not None and right(reply):
                return time.monotonic()
            time.sleep(0.002)
    finally:
        client.close()
    sys.exit(f"{what}: no right answer for {name} within {START_LIMIT_S} s")


class Server:
    """One server with one shape; subclasses say how it is set up, started and told of a changed zone."""

    def __init__(self, options, shape, work):
        self.options, self.shape, self.work = options, shape, work
        self.port = free_port()
        self.log = work / "log"
        self.processes = []
        work.mkdir(parents=True)

    def first_answer_s(self):
        begin = time.monotonic()
        self.start()
        try:
            return self.wait_for_answer() - begin
        except SystemExit:
            say(self.log.read_text(errors="replace")[-2000:])
            raise

    def wait_for_answer(self):
        addresses = self.shape.addresses
        return until(self.port, self.shape.last_name, "A",
                     lambda reply: reply.rcode == "NOERROR" and len(reply.answers) == addresses, self.name)

    def change_s(self, serial):
        zone = self.shape.zones[-1]
        self.shape.write(zone, serial)
        begin = time.monotonic()
        self.reload(zone)
        wanted = serial.to_bytes(4, "big")
        return until(self.port, zone + ".", "SOA",
                     lambda reply: reply.answers and reply.answers[0].data[-20:-16] == wanted, self.name) - begin

    def memory(self):
        return pss_bytes(*(process.pid for process in self.processes))

    def stop(self):
        for process in self.processes:
            ended(process)
        self.processes = []

    def tell(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(map(str, command))}: {done.stdout}{done.stderr}")


class Nsd(Server):
    name = "NSD"

    def start(self):
        w = self.work
        (w / "nsd.conf").write_text(
            f"server:\n  ip-address: {ADDRESS}\n  port: {self.port}\n  username: \"\"\n  pidfile: \"{w}/nsd.pid\"\n"
            f"  zonesdir: \"{self.shape.folder}\"\n  xfrdfile: \"{w}/xfrd\"\n  zonelistfile: \"{w}/zones\"\n"
            f"  xfrdir: \"{w}\"\n  database: \"\"\n  server-count: 1\n  verbosity: 0\n"
            f"remote-control:\n  control-enable: yes\n  control-interface: \"{w}/control\"\n"
            + "".join(f"zone:\n  name: {z}\n  zonefile: {z}.zone\n" for z in self.shape.zones))
        self.processes = [started("nsd", "-d", "-c", w / "nsd.conf", log=self.log)]

    def reload(self, zone):
        self.tell("nsd-control", "-c", self.work / "nsd.conf", "reload", zone)


class Knot(Server):
    name = "Knot"

    def start(self):
        w = self.work
        (w / "knot.conf").write_text(
            f"server:\n    listen: {ADDRESS}@{self.port}\n    rundir: {w}\n    udp-workers: 1\n    tcp-workers: 1\n"
            f"control:\n    listen: {w}/control\nlog:\n  - target: stderr\n    any: warning\n"
            f"database:\n    storage: {w}/db\n"
            f"template:\n  - id: default\n    storage: {self.shape.folder}\n    file: \"%s.zone\"\n"
            f"    zonefile-load: whole\n    journal-content: none\n    semantic-checks: off\n"
            "zone:\n" + "".join(f"  - domain: {z}\n" for z in self.shape.zones))
        self.processes = [started("knotd", "-c", w / "knot.conf", log=self.log)]

    def reload(self, zone):
        self.tell("knotc", "-s", self.work / "control", "zone-reload", zone)


class Pharos(Server):
    name = "Pharos"

    def configure(self):
        w = self.work
        (w / "pharos.yaml").write_text(
            f"run_directory: {w}/run\nstate_directory: {w}/state\nlog_level: warning\n"
            f"dataplane:\n  huge_pages: never\n  memory: 64MiB\n  listen: [\"{ADDRESS}:{self.port}\"]\n"
            f"zone_files: {self.shape.folder}\n")

    def start(self):
        self.configure()
        for program in ("controlplane/pharos-controlplane", "dataplane/pharos-dataplane"):
            self.processes.append(started(self.options.build / program, "--config", self.work / "pharos.yaml",
                                          log=self.log))

    def from_image_s(self):
        """The data plane alone, from the tables that it left on disk."""
        self.stop()
        begin = time.monotonic()
        self.processes = [started(self.options.build / "dataplane/pharos-dataplane", "--config",
                                  self.work / "pharos.yaml", log=self.log)]
        return self.wait_for_answer() - begin

    def memory(self):
        return pss_bytes(self.processes[-1].pid)  # the data plane; the control plane is told beside it

    def control_memory(self):
        return pss_bytes(self.processes[0].pid)

    def reload(self, zone):
        self.tell(self.options.build / "controlplane/ctl/pharosctl", "--run-directory", self.work / "run", "zone",
                  "reload", zone)


def one_turn(kind, options, shape, work):
    server = kind(options, shape, work)
    try:
        figures = {"first_answer_s": server.first_answer_s(), "memory_bytes": server.memory()}
        if kind is Pharos:
            figures["control_memory_bytes"] = server.control_memory()
        figures["changed_zone_s"] = server.change_s(int(time.time()))
        if kind is Pharos:
            figures["from_image_s"] = server.from_image_s()
            figures["from_image_memory_bytes"] = server.memory()
        return figures
    finally:
        server.stop()


def measure(options, work):
    kinds = [Pharos, Nsd, Knot]
    tiny = Shape("tiny", work / "tiny", 2, 1, 1)
    bare = {kind.name: one_turn(kind, options, tiny, work / f"bare-{kind.name}") for kind in kinds}
    results = []
    for title, zones in (("one zone", 1), (f"{options.zones} zones", options.zones)):
        say(f"writing {title}: {options.names} names of {options.addresses} addresses ...")
        shape = Shape(title, work / f"files-{zones}", options.names, zones, options.addresses)
        turns = {kind.name: [] for kind in kinds}
        for turn in range(options.turns):
            for kind in kinds:
                figures = one_turn(kind, options, shape, work / f"{kind.name}-{zones}-{turn}")
                turns[kind.name].append(figures)
                say(f"  {kind.name}, turn {turn + 1}/{options.turns}: first answer after "
                    f"{figures['first_answer_s']:.2f} s")
                shutil.rmtree(work / f"{kind.name}-{zones}-{turn}")
        shutil.rmtree(shape.folder)
        for name, all_turns in turns.items():
            row = {key: statistics.median(turn[key] for turn in all_turns) for key in all_turns[0]}
            memory = row.get("from_image_memory_bytes", row["memory_bytes"])
            base = bare[name].get("from_image_memory_bytes", bare[name]["memory_bytes"])
            row["bytes_per_name"] = (memory - base) / options.names
            results.append({"shape": title, "server": name, **row})
    return results


def table(results):
    lines = [f"{'':22}{'server':9}{'first answer':>13}{'from image':>12}{'changed zone':>14}{'bytes/name':>12}{'/ NSD':>8}"]
    for row in results:
        nsd = next(r for r in results if r["shape"] == row["shape"] and r["server"] == "NSD")
        image = f"{row['from_image_s'] * 1e3:9.0f} ms" if "from_image_s" in row else "-"
        lines.append(f"{row['shape']:22}{row['server']:9}{row['first_answer_s']:11.2f} s{image:>12}"
                     f"{row['changed_zone_s'] * 1e3:11.0f} ms{row['bytes_per_name']:12.0f}"
                     f"{row['bytes_per_name'] / nsd['bytes_per_name']:8.2f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--names", type=int, default=1_000_000, help="in all zones together (default %(default)s)")
    parser.add_argument("--zones", type=int, default=10_000, help="of the second shape (default %(default)s)")
    parser.add_argument("--addresses", type=int, default=4, help="A records of a name (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="starts of each server (default %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("perf/results/zones.local.json"),
                        help="where the figures go (default %(default)s)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    missing = [tool for tool in ("nsd", "nsd-control", "knotd", "knotc") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (scripts/setup perf)")
    with tempfile.TemporaryDirectory(prefix="pharos-zones-") as work:
        os.chmod(work, 0o755)
        results = measure(options, Path(work))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"lane": "zones", "names": options.names, "addresses": options.addresses,
                                        "turns": options.turns, "rows": results,
                                        "unix_time": int(time.time())}, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
