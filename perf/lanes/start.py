#!/usr/bin/env python3
"""Lane start: a million names on disk, from the start of the process to the first right answer, and memory by name.

Ours are tables as the data plane keeps them, taken up alone, without a control plane; NSD and Knot load the same names
from a zone file. All answer on loopback by the kernel's sockets; `with a port` is ours with DPDK's environment and an
AF_PACKET port on a veth pair beside. Files are in the page cache, as after a crash or an upgrade. Every server runs on
all cores, one after another, in turns.

Huge pages for the tables are reserved, and the first start of each server is not counted. The host of a virtual machine
may take back what is free for two seconds (free page reporting of virtio-balloon); where it takes half a second to give
200 MiB of it again, that would be a figure of the host, and of who comes first. Reserved pages stay; for servers that
take ordinary memory as much of it as they need is touched before each start.

Memory is the proportional set size (PSS) and the reserved huge pages of all processes of a server, less that of the same
server with three names.
"""
import argparse
import mmap
import os
import subprocess
import tempfile
import time
from pathlib import Path

import harness
import huge_pages
import l1_pcap
import peers
import programs
import veth
import zones

ZONE = "bench"
TOUCHED_BYTES = 2 << 30  # more than any of them takes
MADV_POPULATE_WRITE = 23


class Ours:
    """pharos-dataplane alone, with what peers.Peer has that lane zones uses."""

    name = "Pharos"

    def __init__(self, options, work, state, port, network=None):
        self.port, self.address, self.log = port, zones.ADDRESS, work / "log"
        device = l2_device() if network else None
        if network:
            network.serve_by("AF_PACKET")
        self.dataplane = programs.Dataplane(options, work, state, device, memory_mib=64, listen=f"{self.address}:{port}",
                                            idle="adaptive", address=veth.SERVER,
                                            namespace=network.server if network else None)

    def start(self):
        self.dataplane.launch()

    @property
    def processes(self):
        return [self.dataplane.process]

    def stop(self):
        self.dataplane.stop()


def l2_device():
    return "net_af_packet0,iface=s0,qdisc_bypass=1,blocksz=1048576,framesz=2048,framecnt=8192"


class World:
    """So many names as tables and as a zone file."""

    def __init__(self, options, folder, names):
        self.folder, self.addresses, self.last_name = folder, options.addresses, f"n{names - 1:08x}.{ZONE}."
        folder.mkdir()
        subprocess.run([options.build / "perf/pharos-make-tables", "--state", folder / "state", "--names", str(names),
                        "--addresses", str(options.addresses)], check=True, stdout=subprocess.DEVNULL)
        os.chmod(folder / "state", 0o750)
        with open(folder / f"{ZONE}.zone", "w") as out:
            out.write(f"$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns1 hostmaster 1 2h 30m 2w 60\n@ NS ns1\nns1 A 10.0.0.0\n")
            for n in range(names):
                for a in range(options.addresses):
                    at = (n * options.addresses + a) % 0xffffff
                    out.write(f"n{n:08x} A 10.{at >> 16}.{at >> 8 & 255}.{at & 255}\n")


def pages_of(world):
    """What its tables take, each image pages of its own."""
    return sum(-(-path.stat().st_size // huge_pages.PAGE_BYTES) for path in (world.folder / "state").rglob("*.image"))


def touch_memory():
    """Has the host back free memory that a start may get."""
    with mmap.mmap(-1, TOUCHED_BYTES) as room:
        room.madvise(mmap.MADV_HUGEPAGE)
        room.madvise(MADV_POPULATE_WRITE)


def one_start(server, world):
    """Seconds to the first answer, and bytes of memory."""
    touch_memory()
    try:
        seconds = zones.first_answer_s(server, world, server.start)
        return seconds, zones.pss_bytes(*(process.pid for process in server.processes))
    finally:
        server.stop()


def with_port(options, work, world, network):
    """Seconds to the first answer with a port, which is asked through the kernel's socket: both begin at one time."""
    server = Ours(options, work, world.folder / "state", 5300, network)
    touch_memory()
    begin = time.monotonic()
    server.start()
    try:
        programs.wait_until(lambda: server.dataplane.read.exists()
                            and programs.control(server.dataplane.read, "status")["state"] == "running",
                            "pharos-dataplane", process=server.dataplane.process, interval_s=0.002)
        return time.monotonic() - begin
    finally:
        server.stop()


def measure(options, work, tiny, large):
    contestants = {
        "Pharos": lambda place, world: Ours(options, place, world.folder / "state", zones.free_port()),
        **{kind.name: lambda place, world, kind=kind: kind(place, world.folder, [ZONE], zones.ADDRESS, zones.free_port())
           for kind in (peers.Nsd, peers.Knot)}}
    places = iter(range(1 << 30))

    def run(name, world):
        return one_start(contestants[name](work / f"run{next(places)}", world), world)

    bare = {name: run(name, tiny)[1] for name in contestants}
    for name in contestants:
        run(name, large)
    found = harness.take_turns({name: lambda name=name: run(name, large)[0] for name in contestants}, options.turns)
    memory = {name: [(run(name, large)[1] - bare[name]) / options.names] for name in contestants}
    rows = [harness.Row(f"{options.names:,} names: tables to first answer", "s", found["Pharos"], peer, found[peer])
            for peer in ("NSD", "Knot")]
    with veth.Network() as network:
        port = [with_port(options, work / f"port{turn}", large, network) for turn in range(options.turns)]
    rows.append(harness.Row(f"{options.names:,} names: tables to serving, with a port", "s", port, "NSD", found["NSD"]))
    rows += [harness.Row("memory by name", "bytes", memory["Pharos"], peer, memory[peer]) for peer in ("NSD", "Knot")]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    l1_pcap.add_options(parser, seconds=0, turns=3)
    parser.add_argument("--names", type=int, default=1_000_000, help="(default %(default)s)")
    parser.add_argument("--addresses", type=int, default=4, help="A records of a name (default %(default)s)")
    options = parser.parse_args()
    options.build = options.build.resolve()
    l1_pcap.require("nsd", "knotd")
    harness.machine_of_run()
    with tempfile.TemporaryDirectory(prefix="pharos-start-") as work:
        os.chmod(work, 0o755)
        work = Path(work)
        tiny, large = World(options, work / "tiny", 3), World(options, work / "large", options.names)
        with huge_pages.HugePages(pages_of(large)):
            rows = measure(options, work, tiny, large)
    harness.finish("start", rows, options)


if __name__ == "__main__":
    main()
