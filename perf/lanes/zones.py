#!/usr/bin/env python3
"""Lane zones: from zone files to the first answer, memory per name, and one changed zone, beside NSD and Knot.

Two shapes of the same size: one zone with all the names, and many small zones. Each server in turn starts with
nothing but the zone files, and is asked for the last name of the last zone until it answers rightly. Then one zone
gets a new serial, the server is told to load that zone, and is asked until the new serial answers. Pharos is started
a third time, the data plane alone, from the tables on its disk. All run on loopback, on all cores, one after another.

Memory is the proportional set size (PSS) and the reserved huge pages of all processes of a server (of Pharos, the data
plane), less that of the same server with one zone of three names.

  perf/lanes/zones.py --build build --names 1000000 --zones 10000
"""
import argparse
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import dnsclient  # noqa: E402
import harness  # noqa: E402
import l1_pcap  # noqa: E402
import peers  # noqa: E402
from harness import say  # noqa: E402

ADDRESS = "127.0.0.1"
START_LIMIT_S = 300


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
            if line.startswith(("Pss:", "Shared_Hugetlb:", "Private_Hugetlb:")):  # reserved pages are in no share
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


class Pharos(peers.Peer):
    """Control plane and data plane; DNS through the kernel's sockets, as for the peers."""

    name, tool = "Pharos", "pharosctl"
    build = None

    def start(self):
        w = self.work
        (w / "pharos.yaml").write_text(
            f"run_directory: {w}/run\nstate_directory: {w}/state\nlog_level: warning\n"
            f"dataplane:\n  huge_pages: never\n  memory: 64MiB\n  listen: [\"{self.address}:{self.port}\"]\n"
            f"zone_files: {self.folder}\n")
        self.control = peers.started([self.build / "controlplane/pharos-controlplane", "--config", w / "pharos.yaml"],
                                     self.log)
        self.processes = [self.control]
        self.start_dataplane()

    def start_dataplane(self):
        self.dataplane = peers.started([self.build / "dataplane/pharos-dataplane", "--config",
                                        self.work / "pharos.yaml"], self.log)
        self.processes.append(self.dataplane)

    def reload(self, zone):
        self.tell(self.build / "controlplane/ctl/pharosctl", "--run-directory", self.work / "run", "zone", "reload",
                  zone)


def first_answer_s(server, shape, start):
    begin = time.monotonic()
    start()
    try:
        return until(server.port, shape.last_name, "A",
                     lambda reply: reply.rcode == "NOERROR" and len(reply.answers) == shape.addresses,
                     server.name) - begin
    except SystemExit:
        say(server.log.read_text(errors="replace")[-2000:])
        raise


def change_s(server, shape, serial):
    """From `reload` of one zone with a new serial until that serial answers."""
    zone, wanted = shape.zones[-1], serial.to_bytes(4, "big")
    shape.write(zone, serial)
    begin = time.monotonic()
    server.reload(zone)
    return until(server.port, zone + ".", "SOA",
                 lambda reply: reply.answers and reply.answers[0].data[-20:-16] == wanted, server.name) - begin


def one_turn(kind, shape, work):
    server = kind(work, shape.folder, shape.zones, ADDRESS, free_port())
    try:
        figures = {"first_answer_s": first_answer_s(server, shape, server.start)}
        pids = [process.pid for process in server.processes]
        figures["memory_bytes"] = pss_bytes(*pids)
        figures["changed_zone_s"] = change_s(server, shape, int(time.time()))
        if kind is Pharos:  # the data plane alone, from the tables that it left on disk
            figures["control_memory_bytes"] = pss_bytes(pids[0])
            server.stop()
            figures["from_image_s"] = first_answer_s(server, shape, server.start_dataplane)
            figures["memory_bytes"] = pss_bytes(server.dataplane.pid)
        return figures
    finally:
        server.stop()


# What is compared: our figure, its unit, and the peers' figure beside it.
COMPARED = (("files to first answer", "first_answer_s", "s", "first_answer_s"),
            ("own tables on disk to first answer", "from_image_s", "s", "first_answer_s"),
            ("one changed zone", "changed_zone_s", "s", "changed_zone_s"),
            ("memory by name", "bytes_per_name", "bytes", "bytes_per_name"))


def rows_of(title, turns):
    rows = []
    for peer in turns.keys() - {Pharos.name}:
        for what, ours, unit, theirs in COMPARED:
            rows.append(harness.Row(f"{title}: {what}", unit, [turn[ours] for turn in turns[Pharos.name]], peer,
                                    [turn[theirs] for turn in turns[peer]]))
    return sorted(rows, key=lambda row: (row.peer, row.name))


def measure(options, work):
    Pharos.build = options.build
    kinds = [Pharos, peers.Nsd, peers.Knot]
    tiny = Shape("tiny", work / "tiny", 2, 1, 1)
    bare = {kind.name: one_turn(kind, tiny, work / f"bare-{kind.name}")["memory_bytes"] for kind in kinds}
    rows = []
    for title, zones in (("one zone", 1), (f"{options.zones:,} zones", options.zones)):
        say(f"writing {title}: {options.names:,} names of {options.addresses} addresses ...")
        shape = Shape(title, work / f"files-{zones}", options.names, zones, options.addresses)
        turns = {kind.name: [] for kind in kinds}
        for turn in range(options.turns):
            for kind in kinds:
                place = work / f"{kind.name}-{zones}-{turn}"
                figures = one_turn(kind, shape, place)
                figures["bytes_per_name"] = (figures["memory_bytes"] - bare[kind.name]) / options.names
                turns[kind.name].append(figures)
                say(f"  {kind.name}, turn {turn + 1}/{options.turns}: "
                    + ", ".join(f"{key} {value:.3g}" for key, value in figures.items()))
                shutil.rmtree(place)
        shutil.rmtree(shape.folder)
        rows += rows_of(title, turns)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"), help="build directory (default %(default)s)")
    parser.add_argument("--names", type=int, default=1_000_000, help="in all zones together (default %(default)s)")
    parser.add_argument("--zones", type=int, default=10_000, help="of the second shape (default %(default)s)")
    parser.add_argument("--addresses", type=int, default=4, help="A records of a name (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="starts of each server (default %(default)s)")
    parser.add_argument("--json", type=Path, help="where the figures go (default perf/results/zones.local.json)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    l1_pcap.require("nsd", "nsd-control", "knotd", "knotc")
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-zones-") as work:
        os.chmod(work, 0o755)
        rows = measure(options, Path(work))
    harness.finish("zones", rows, options)


if __name__ == "__main__":
    main()
