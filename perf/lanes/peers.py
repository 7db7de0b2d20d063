"""Other authoritative servers, as lanes start them: one server core each, UDP, the zones of a folder, nothing else on.

Every peer is started by `start()` and stopped by `stop()`; all of its files lie in the folder that it was given. The
settings are those that its manual gives for a single busy core; all that would write or log by query is off.
"""
import shutil
import socket
import subprocess
import sys
import time

import programs


def started(command, log, namespace=None):
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    with open(log, "ab") as out:
        return subprocess.Popen([*prefix, *map(str, command)], stdout=out, stderr=out, stdin=subprocess.DEVNULL)


class Peer:
    """`zones`: names of zones, each in the file `folder`/NAME.zone. `prefix`: a command that runs the server's."""

    name = tool = ""

    def __init__(self, work, folder, zones, address, port=53, namespace=None, interface=None, prefix=()):
        self.work, self.folder, self.zones = work, folder, zones
        self.address, self.port, self.namespace, self.interface = address, port, namespace, interface
        self.prefix = prefix
        self.processes = []
        self.log = work / "log"
        work.mkdir(parents=True, exist_ok=True)

    @classmethod
    def missing(cls):
        return shutil.which(cls.tool) is None

    def start(self):
        self.configure()
        self.processes = [started([*self.prefix, *self.command()], self.log, self.namespace)]

    def stop(self):
        for process in self.processes:
            programs.stop(process)
        self.processes = []

    def tell(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(map(str, command))}: {done.stdout}{done.stderr}")


class Nsd(Peer):
    name, tool = "NSD", "nsd"

    def configure(self):
        w = self.work
        (w / "nsd.conf").write_text(
            f"server:\n  ip-address: {self.address}\n  port: {self.port}\n  username: \"\"\n  pidfile: \"{w}/pid\"\n"
            f"  zonesdir: \"{self.folder}\"\n  xfrdfile: \"{w}/xfrd\"\n  zonelistfile: \"{w}/zones\"\n"
            f"  xfrdir: \"{w}\"\n  database: \"\"\n  server-count: 1\n  verbosity: 0\n  rrl-ratelimit: 0\n"
            f"remote-control:\n  control-enable: yes\n  control-interface: \"{w}/control\"\n"
            + "".join(f"zone:\n  name: {z}\n  zonefile: {z}.zone\n" for z in self.zones))

    def command(self):
        return ["nsd", "-d", "-c", self.work / "nsd.conf"]

    def reload(self, zone):
        self.tell("nsd-control", "-c", self.work / "nsd.conf", "reload", zone)


class Knot(Peer):
    name, tool = "Knot", "knotd"
    more = ""

    def configure(self):
        w = self.work
        (w / "knot.conf").write_text(
            f"server:\n    listen: {self.address}@{self.port}\n    rundir: {w}\n    udp-workers: 1\n"
            f"    tcp-workers: 1\n    background-workers: 1\n{self.listen_more()}"
            f"control:\n    listen: {w}/control\nlog:\n  - target: stderr\n    any: warning\n"
            f"database:\n    storage: {w}/db\n"
            f"template:\n  - id: default\n    storage: {self.folder}\n    file: \"%s.zone\"\n"
            f"    zonefile-load: whole\n    journal-content: none\n    semantic-checks: off\n"
            "zone:\n" + "".join(f"  - domain: {z}\n" for z in self.zones))

    def listen_more(self):
        return ""

    def command(self):
        return ["knotd", "-c", self.work / "knot.conf"]

    def reload(self, zone):
        self.tell("knotc", "-s", self.work / "control", "zone-reload", zone)


class KnotXdp(Knot):
    name = "Knot XDP"

    def listen_more(self):
        return f"xdp:\n    listen: {self.interface}\n"


class Bind(Peer):
    name, tool = "BIND", "named"

    def configure(self):
        w = self.work
        (w / "named.conf").write_text(
            f"options {{ directory \"{w}\"; listen-on port {self.port} {{ {self.address}; }}; listen-on-v6 {{ none; }};\n"
            f"  recursion no; minimal-responses no; pid-file \"{w}/pid\"; session-keyfile \"{w}/session.key\";\n"
            "  notify no; allow-transfer { none; }; querylog no; };\ncontrols { };\n"
            "logging { category default { null; }; };\n"
            + "".join(f"zone \"{z}\" {{ type primary; file \"{self.folder}/{z}.zone\"; }};\n" for z in self.zones))

    def command(self):
        return ["named", "-f", "-n", "1", "-c", self.work / "named.conf"]


class Gdnsd(Peer):
    name, tool = "gdnsd", "gdnsd"

    def configure(self):
        w = self.work
        for part in ("etc/zones", "run", "state"):
            (w / part).mkdir(parents=True, exist_ok=True)
        for zone in self.zones:
            shutil.copy(self.folder / f"{zone}.zone", w / "etc/zones" / zone)
        (w / "etc/config").write_text(
            f"options => {{ listen => \"{self.address}:{self.port}\", udp_threads => 1, tcp_threads => 1,\n"
            f"  run_dir => \"{w}/run\", state_dir => \"{w}/state\" }}\n")

    def command(self):
        return ["gdnsd", "-c", self.work / "etc", "start"]


class PowerDns(Peer):
    name, tool = "PowerDNS", "pdns_server"

    def configure(self):
        w = self.work
        (w / "named.conf").write_text("".join(
            f"zone \"{z}\" {{ type master; file \"{self.folder}/{z}.zone\"; }};\n" for z in self.zones))
        (w / "pdns.conf").write_text(
            f"launch=bind\nbind-config={w}/named.conf\nlocal-address={self.address}\nlocal-port={self.port}\n"
            f"socket-dir={w}\nreceiver-threads=1\ndistributor-threads=1\ncache-ttl=20\nloglevel=0\n"
            "disable-syslog=yes\nsetuid=\nsetgid=\nsecurity-poll-suffix=\n")

    def command(self):
        return ["pdns_server", f"--config-dir={self.work}", "--daemon=no", "--guardian=no"]


ALL = (Nsd, Knot, KnotXdp, Bind, Gdnsd, PowerDns)


def wait_for_answer(client, name, limit_s=60, what="server"):
    """Until the server answers `name` with NOERROR and a record."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            reply = client.ask(name, "A", timeout_s=0.05)
        except (OSError, socket.timeout):
            reply = None
        if reply is not None and reply.rcode == "NOERROR" and reply.answers:
            return
        time.sleep(0.02)
    sys.exit(f"{what}: no answer for {name} within {limit_s} s")
