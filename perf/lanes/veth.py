"""Two network namespaces and a veth pair between them: the network of all lanes that go through the kernel.

    client: c0 198.18.1.1  ---veth---  s0 :server            198.18.0.53 is at s0, or at a DPDK port on s0,
                                                             or at a TAP port on a bridge with s0
"""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import world  # noqa: E402

SERVER, CLIENT = "198.18.0.53", "198.18.1.1"
SERVER_MAC, CLIENT_MAC, TAP_MAC = "02:00:5e:00:53:35", "02:00:5e:00:53:36", "02:00:5e:00:53:37"
TAP = "tap0"
# Servers and generators before all else that the machine does; niceness counts within the kernel's own threads, too.
PRIORITY = ("nice", "-n", "-15")


# Receive buffers of sockets that ask for no size: a burst must not overflow those of peers that leave theirs to the
# machine's administrator. Ours do not use them.
BUFFER = Path("/proc/sys/net/core/rmem_default")
BUFFER_BYTES = 4 << 20


class Network:
    """What a killed run left is removed by the next one: the names tell the process. `tag` tells several of one process
    apart, which are left in the reverse order."""

    def __init__(self, tag=""):
        self.server, self.client = f"pharos-perf-s{tag}-{os.getpid()}", f"pharos-perf-c{tag}-{os.getpid()}"

    def __enter__(self):
        remove_leftovers()
        self.buffer_before = BUFFER.read_text()
        BUFFER.write_text(str(max(BUFFER_BYTES, int(self.buffer_before))))
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
        self.neighbour(SERVER_MAC)
        return self

    def __exit__(self, *_):
        BUFFER.write_text(self.buffer_before)
        for name in (self.server, self.client):
            world.run("ip", "netns", "delete", name, check=False)

    def neighbour(self, mac):
        """Where the client sends what is for the server."""
        world.run("ip", "-n", self.client, "neighbour", "replace", SERVER, "lladdr", mac, "dev", "c0")

    def serve_by(self, port):
        """Readies s0 for a DPDK port ('AF_PACKET', 'AF_XDP', 'TAP'), for 'sockets' of the kernel, or for nobody."""
        world.run("ip", "-n", self.server, "address", "flush", "dev", "s0")
        world.run("ip", "-n", self.server, "link", "set", "s0", "xdp", "off", check=False)
        world.run("ip", "-n", self.server, "link", "delete", "bridge0", check=False)
        if port == "sockets":
            world.run("ip", "-n", self.server, "address", "add", f"{SERVER}/15", "dev", "s0")
            world.run("ip", "-n", self.server, "neighbour", "replace", CLIENT, "lladdr", CLIENT_MAC, "dev", "s0")
        elif port == "TAP":
            world.run("ip", "-n", self.server, "link", "add", "bridge0", "type", "bridge", "mcast_snooping", "0")
            world.run("ip", "-n", self.server, "link", "set", "s0", "master", "bridge0")
            world.run("ip", "-n", self.server, "link", "set", "bridge0", "up")

    def attach_tap(self):
        """Once a program has made its TAP port: the kernel's end joins the bridge."""
        deadline = time.monotonic() + 20
        while subprocess.run(["ip", "-n", self.server, "link", "show", TAP], capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit(f"the port {TAP} does not appear")
            time.sleep(0.05)
        world.run("ip", "-n", self.server, "link", "set", TAP, "master", "bridge0", "up")
        self.tell_tap_apart()

    def tell_tap_apart(self):
        """Gives the kernel's end a MAC of its own, again and again: drivers give it the port's whenever they start it,
        and a bridge takes for itself what has the MAC of one of its members."""
        world.run("ip", "-n", self.server, "link", "set", TAP, "address", "02:00:5e:00:53:38")


def remove_leftovers():
    """With the programs in them, which may have been stopped."""
    for line in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.splitlines():
        name = line.split()[0]
        pid = name.rsplit("-", 1)[-1]
        if name.startswith("pharos-perf-") and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            for left in world.run("ip", "netns", "pids", name, check=False).stdout.split():
                os.kill(int(left), signal.SIGKILL)
            world.run("ip", "netns", "delete", name, check=False)
