"""Who takes part in lane l2: servers and floors, each started once, in a network of its own, asleep while not asked.

All stand ready side by side, so that windows of a second and less can go around among them. Whoever is not asked is
stopped (SIGSTOP) with all its threads: it costs nothing, polling or not.
"""
import os
import signal
from pathlib import Path

import peers
import programs
import veth

DEVICES = {"AF_PACKET": "net_af_packet0,iface=s0,qdisc_bypass=1,blocksz=1048576,framesz=2048,framecnt=8192",
           "AF_XDP": "net_af_xdp0,iface=s0", "TAP": f"net_tap0,iface={veth.TAP},mac={veth.TAP_MAC}"}
DESCRIPTORS = 2048


class Contestant:
    """`answers`: DNS; `mac`: where its queries go; `port`: how its end of the veth pair is readied."""

    answers = True
    mac = veth.SERVER_MAC
    port = "sockets"

    def __init__(self, name, lane, number):
        self.name, self.lane = name, lane
        self.network = veth.Network(str(number))

    def start(self):
        self.network.serve_by(self.port)
        self.launch()
        if self.port == "TAP":
            self.network.attach_tap()

    def members(self):
        """Processes of its end of the network."""
        inode = os.stat(f"/run/netns/{self.network.server}").st_ino
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/net").stat().st_ino == inode:
                    yield int(process.name)
            except OSError:  # it has ended
                continue

    def signal(self, number):
        for pid in self.members():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def sleep(self):
        self.signal(signal.SIGSTOP)

    def wake(self):
        self.signal(signal.SIGCONT)

    def run_time_ns(self):
        return sum(run_time_ns(pid) for pid in self.members())

    def stop(self):
        self.wake()
        self.end()


class Ours(Contestant):
    """pharos-dataplane on one kind of port; idle: adaptive, as on a shared core."""

    def __init__(self, name, lane, number):
        super().__init__(name, lane, number)
        self.port = name
        self.mac = veth.TAP_MAC if name == "TAP" else veth.SERVER_MAC
        self.dataplane = programs.Dataplane(
            lane.options, lane.work / name, lane.work / "state", DEVICES[name], descriptors=DESCRIPTORS, memory_mib=256,
            extra=lane.options.dataplane, idle="adaptive", address=veth.SERVER, namespace=self.network.server,
            prefix=veth.PRIORITY)

    def launch(self):
        self.dataplane.start()

    def end(self):
        self.dataplane.stop()


class Theirs(Contestant):
    def __init__(self, kind, lane, number):
        super().__init__(kind.name, lane, number)
        self.peer = kind(lane.work / kind.name.replace(" ", "-"), lane.work / "zones", ["bench"], veth.SERVER,
                         namespace=self.network.server, interface="s0",
                         prefix=[*veth.PRIORITY, "taskset", "-c", lane.options.core])

    def launch(self):
        self.peer.start()

    def end(self):
        self.peer.stop()


class Floor(Contestant):
    """testpmd that swaps addresses and sends back what came; it answers nothing, so only kxdpgun may ask it."""

    answers = False

    def __init__(self, port, lane, number):
        super().__init__(f"5tswap {port}", lane, number)
        self.port = port
        self.mac = veth.TAP_MAC if port == "TAP" else veth.SERVER_MAC

    def launch(self):
        options = self.lane.options
        self.process = peers.started(
            [*veth.PRIORITY, "dpdk-testpmd", "--lcores", f"0@{options.control_core},1@{options.core}", "-m", "256",
             "--no-huge", "--no-shconf", "--file-prefix", f"pharos-l2-{os.getpid()}-{self.port}", "--no-pci", "--vdev",
             DEVICES[self.port], "--", "--forward-mode=5tswap", "--burst=64", "--nb-cores=1", f"--rxd={DESCRIPTORS}",
             f"--txd={DESCRIPTORS}", "--no-flush-rx", "--total-num-mbufs=16383", "--stats-period=60"],
            self.lane.work / f"testpmd-{self.port}.log", self.network.server)

    def end(self):
        programs.stop(self.process)


class Nobody(Contestant):
    """An interface where nobody listens: what a load costs the one that sends it."""

    answers = False
    port = None

    def __init__(self, lane, number):
        super().__init__("nobody", lane, number)

    def launch(self):
        pass

    def end(self):
        pass


def run_time_ns(pid):
    """Of all its threads, exact to the scheduler's clock."""
    total = 0
    for each in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(each.read_text().split()[0])
        except (OSError, IndexError):  # it has ended
            continue
    return total


def kernel_run_time_ns():
    """Of the kernel's threads for packets that whoever sent or received them left to others."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().startswith("ksoftirqd/"):
                total += run_time_ns(process.name)
        except OSError:
            continue
    return total
