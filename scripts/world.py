"""A small world in network namespaces: one responder, sites with agents, clients of several locales.

          clients: 198.18.1.0/24 (eu)  .2.0/24 (us)  .3.0/24 (asia), and 2001:db8:1::/48 ... likewise
             |
       [ client ]---+
       [ fra ]------+--- bridge in [ fabric ] --- port of pharos-dataplane (AF_PACKET, AF_XDP or TAP)
       [ nyc ]------+                             198.18.0.53, 2001:db8::53
       [ sin ]------+

scripts/run shows it to people; the end-to-end tests build it with other parameters. A World cleans up behind itself
and behind a World of the same name that was killed: processes are found again by pid and start time, from a file.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESPONDER_V4 = "198.18.0.53"
RESPONDER_V6 = "2001:db8::53"
BEACON_PORT = 5380

SITES = {
    # id: (region, latitude, longitude, address octet)
    "fra": ("europe", 50.11, 8.68, 10),
    "nyc": ("america", 40.71, -74.01, 11),
    "sin": ("asia", 1.35, 103.82, 12),
}
LOCALES = {
    # id: (latitude, longitude, client address octet)
    "eu": (48.86, 2.35, 1),
    "us": (41.88, -87.63, 2),
    "asia": (13.76, 100.50, 3),
}

CALM = {"cpu": 0.2, "cpu_pressure": 0, "memory": 0.3, "memory_pressure": 0, "rtt": 500}

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000


class WorldError(Exception):
    """Something of the world could not be made; the text says what and how."""


def run(*command, check=True, timeout=60, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **options)
    if check and done.returncode != 0:
        raise WorldError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done


def _start_time(pid):
    """Kernel start time of a process, which together with its id names it for ever; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else int(fields[19])


def wait_until(condition, timeout_s, what, interval_s=0.02):
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise WorldError(f"waited {timeout_s} s in vain: {what}")
        time.sleep(interval_s)


class namespace:
    """Context: this thread in a network namespace. Sockets made inside of it stay there."""

    def __init__(self, name):
        self.path = f"/run/netns/{name}"

    def __enter__(self):
        self.own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        if _libc.setns(there, _CLONE_NEWNET) != 0:
            raise WorldError(f"setns {self.path}: {os.strerror(ctypes.get_errno())}")
        os.close(there)

    def __exit__(self, *_):
        _libc.setns(self.own, _CLONE_NEWNET)
        os.close(self.own)


class World:
    def __init__(self, name, build, port="af_packet", beacon_interval_ms=200, extra_config="", services=None,
                 zone_extra="", idle="adaptive", huge_pages="never", dataplane_extra="", port_extra="",
                 controlplane_extra="", agent_extra="", sites=None, capacity_rps="10k", more_prefixes=""):
        self.name = name
        self.build = pathlib.Path(build).resolve()
        self.port = port
        self.beacon_interval_ms = beacon_interval_ms
        self.extra_config = extra_config
        self.services = services
        self.zone_extra = zone_extra
        self.idle = idle
        self.huge_pages = huge_pages
        self.dataplane_extra = dataplane_extra  # lines of the section, and of its port
        self.port_extra = port_extra
        self.controlplane_extra = controlplane_extra
        self.agent_extra = agent_extra
        self.capacity_rps = capacity_rps
        self.more_prefixes = more_prefixes  # of each locale: ", 10.{0}.0.0/16"
        self.site_table = SITES if sites is None else sites
        self.directory = pathlib.Path(f"/run/pharos-worlds/{name}")
        self.run_directory = self.directory / "run"
        self.state_directory = self.directory / "state"
        self.config_file = self.directory / "pharos.yaml"
        self.zone_file = self.directory / "example.org.zone"
        self.pid_file = pathlib.Path(f"/run/pharos-worlds/{name}.pids")
        self.processes = {}

    # ---- names ----

    def ns(self, host):
        return f"pharos-{self.name}-{host}"

    @property
    def hosts(self):
        return ["client", *self.site_table]

    # ---- life ----

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def make(self):
        if os.geteuid() != 0:
            raise WorldError("network namespaces need root")
        self.directory.parent.mkdir(mode=0o755, exist_ok=True)
        self.remove()
        self.directory.mkdir(mode=0o755)
        self._make_network()
        self._write_files()

    def remove(self):
        for role in list(self.processes):
            self.stop(role, signal.SIGTERM)
        self._kill_leftovers()
        listing = run("ip", "netns", "list", check=False).stdout
        for line in listing.splitlines():
            host = line.split()[0]
            if host.startswith(f"pharos-{self.name}-"):
                run("ip", "netns", "delete", host, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.pid_file.unlink(missing_ok=True)

    def _kill_leftovers(self):
        try:
            started = json.loads(self.pid_file.read_text())
        except (OSError, ValueError):
            return
        for pid, start_time in started:
            if _start_time(pid) == start_time:
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda p=pid, s=start_time: _start_time(p) != s, 5, f"end of process {pid}")

    def _make_network(self):
        for host in ["fabric", *self.hosts]:
            run("ip", "netns", "add", self.ns(host))
            run("ip", "-n", self.ns(host), "link", "set", "lo", "up")
        fabric = self.ns("fabric")
        self._quiet_ipv6(fabric)
        # The bridge is a switch: it must not answer ARP for the addresses of an exception interface beside it.
        run("ip", "netns", "exec", fabric, "sysctl", "-q", "-w", "net.ipv4.conf.all.arp_ignore=1")
        run("ip", "-n", fabric, "link", "add", "bridge0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", fabric, "link", "set", "bridge0", "up")
        for host in self.hosts:
            run("ip", "link", "add", "eth0", "netns", self.ns(host), "type", "veth",
                "peer", "name", f"to-{host}", "netns", fabric)
            run("ip", "netns", "exec", self.ns(host), "ethtool", "-K", "eth0", "tx", "off")
            run("ip", "-n", fabric, "link", "set", f"to-{host}", "master", "bridge0", "up")
            run("ip", "-n", self.ns(host), "link", "set", "eth0", "up")
        for latitude, longitude, octet in LOCALES.values():
            self._address("client", f"198.18.{octet}.10/16", f"2001:db8:{octet}::10/32")
        for host, (_, _, _, octet) in self.site_table.items():
            self._address(host, f"198.18.{octet}.1/16", f"2001:db8:{octet}::1/32")
        if self.port != "tap":
            run("ip", "-n", fabric, "link", "add", "port0", "type", "veth", "peer", "name", "to-port")
            for end in ("port0", "to-port"):
                run("ip", "netns", "exec", fabric, "ethtool", "-K", end, "tx", "off")
            run("ip", "-n", fabric, "link", "set", "to-port", "master", "bridge0", "up")
            run("ip", "-n", fabric, "link", "set", "port0", "up")

    def _quiet_ipv6(self, host):
        run("ip", "netns", "exec", host, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1")

    def _address(self, host, *addresses):
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            run("ip", "-n", self.ns(host), "address", "add", address, "dev", "eth0", *nodad)

    def attach_tap(self):
        """The tap port exists only once the data plane has made and started it; then it joins the bridge."""
        fabric = self.ns("fabric")
        # The kernel's end starts with the port's own MAC, which a bridge would take for itself.
        run("ip", "-n", fabric, "link", "set", "tap0", "address", "02:00:5e:10:00:01")
        run("ip", "-n", fabric, "link", "set", "tap0", "master", "bridge0", "up")

    # ---- files ----

    def device(self):
        return {
            "af_packet": "net_af_packet0,iface=port0",
            "af_xdp": "net_af_xdp0,iface=port0",
            "tap": "net_tap0,iface=tap0",
        }[self.port]

    def _write_files(self):
        for site in self.site_table:
            key = os.urandom(32).hex()
            (self.directory / f"{site}.key").write_text(key + "\n")
            (self.directory / f"{site}.key").chmod(0o600)
            self.set_load(site)
            self._write_agent(site)
        self.zone_file.write_text(ZONE + self.zone_extra)
        self.write_config()

    def write_config(self, extra=None):
        self.config_file.write_text(self.config_text() + (self.extra_config if extra is None else extra))

    def config_text(self):
        sites = "".join(
            f"  - id: {site}\n    region: {region}\n    location: [{latitude}, {longitude}]\n"
            f"    beacon_interval: {self.beacon_interval_ms}ms\n    capacity_rps: {self.capacity_rps}\n"
            f"    keys: [{{id: 1, file: {self.directory}/{site}.key}}]\n"
            for site, (region, latitude, longitude, octet) in self.site_table.items())
        locales = "".join(
            f"  - id: {locale}\n    location: [{latitude}, {longitude}]\n"
            f"    prefixes: [198.18.{octet}.0/24, 2001:db8:{octet}::/48{self.more_prefixes.format(octet)}]\n"
            for locale, (latitude, longitude, octet) in LOCALES.items())
        return f"""\
# Written by scripts/world.py for the world "{self.name}".
run_directory: {self.run_directory}
state_directory: {self.state_directory}
server_name: {self.name}

dataplane:
  huge_pages: {self.huge_pages}
  memory: 128MiB
  nsid: {self.name}
{self.dataplane_extra}  ports:
    - id: front
      device: "{self.device()}"
      addresses: [{RESPONDER_V4}, "{RESPONDER_V6}"]
      idle: {self.idle}
{self.port_extra}
controlplane:
  health:
    rise: 1s
{self.controlplane_extra}
sites:
{sites}
locales:
{locales}
zones:
  - id: example.org
    file: {self.zone_file}

services:
{self.services if self.services is not None else default_services()}
"""

    def _write_agent(self, site):
        (self.directory / f"agent-{site}.yaml").write_text(f"""\
site: {site}
key: {{id: 1, file: {self.directory}/{site}.key}}
interval: {self.beacon_interval_ms}ms
responders:
  - beacon: {RESPONDER_V4}:{BEACON_PORT}
    dns: {RESPONDER_V4}:53
state_directory: {self.directory}/agent-{site}
override_file: {self.directory}/{site}.load
{self.agent_extra.format(directory=self.directory, site=site)}""")

    def set_load(self, site, **metrics):
        """Makes the agent of a site report these metrics: cpu=0.97. The others are those of a calm machine, since
        all sites of a world share one real machine, whose load says nothing about any of them."""
        temporary = self.directory / f"{site}.load.new"
        temporary.write_text("".join(f"{name}: {value}\n" for name, value in {**CALM, **metrics}.items()))
        temporary.rename(self.directory / f"{site}.load")

    # ---- processes ----

    def start(self, role, host, *command):
        if role in self.processes and self.processes[role].poll() is None:
            raise WorldError(f"{role} runs already")
        log = open(self.directory / f"{role}.log", "ab")
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.ns(host), *map(str, command)], stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
        log.close()
        self.processes[role] = process
        started = [(p.pid, _start_time(p.pid)) for p in self.processes.values() if p.poll() is None]
        self.pid_file.write_text(json.dumps(started))
        return process

    def stop(self, role, with_signal=signal.SIGTERM, timeout_s=10):
        process = self.processes.pop(role, None)
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(with_signal)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
                if with_signal == signal.SIGTERM:
                    raise WorldError(f"{role} did not stop within {timeout_s} s of SIGTERM; log:\n{self.log(role)}")
        return process.returncode

    def log(self, role, lines=25):
        try:
            text = (self.directory / f"{role}.log").read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def alive(self, role):
        process = self.processes.get(role)
        return process is not None and process.poll() is None

    def _wait_ready(self, role, ready, timeout_s=30):
        def check():
            if not self.alive(role):
                raise WorldError(f"{role} ended at once; log:\n{self.log(role)}")
            return ready()
        try:
            wait_until(check, timeout_s, f"{role} is ready")
        except WorldError as error:
            raise WorldError(f"{error}\n--- log of {role}\n{self.log(role)}") from None

    def start_dataplane(self):
        self.start("dataplane", "fabric", self.build / "dataplane/pharos-dataplane", "--config", self.config_file)
        self._wait_ready("dataplane", lambda: self.ctl("--dataplane", "status", check=False) is not None)
        if self.port == "tap":
            self.attach_tap()

    def start_controlplane(self):
        self.start("controlplane", "fabric", self.build / "controlplane/pharos-controlplane", "--config",
                   self.config_file)
        self._wait_ready("controlplane", lambda: self.ctl("--controlplane", "status", check=False) is not None)

    def start_agent(self, site):
        self.start(f"agent-{site}", site, self.build / "controlplane/agent/pharos-agent", "--config",
                   self.directory / f"agent-{site}.yaml")

    def start_all(self):
        self.start_dataplane()
        self.start_controlplane()
        for site in self.site_table:
            self.start_agent(site)

    # ---- tools ----

    def ctl_command(self, *arguments):
        return [self.build / "controlplane/ctl/pharosctl", "--run-directory", self.run_directory, *arguments]

    def ctl(self, *arguments, check=True):
        """pharosctl --json; the parsed result, or None where check is off and it failed."""
        done = run(*self.ctl_command("--json", *arguments), check=False)
        if done.returncode != 0:
            if check:
                raise WorldError(f"pharosctl {' '.join(arguments)}: {done.stderr.strip()}")
            return None
        return json.loads(done.stdout)

    def client(self, *command, check=True, timeout=60):
        return run("ip", "netns", "exec", self.ns("client"), *command, check=check, timeout=timeout)

    def dig(self, *arguments, locale="eu", server=RESPONDER_V4, check=True):
        octet = LOCALES[locale][2]
        source = f"2001:db8:{octet}::10" if ":" in server else f"198.18.{octet}.10"
        return self.client("dig", f"@{server}", "-b", source, "+tries=1", "+time=2", "+ignore", *arguments,
                           check=check).stdout


def default_services():
    """One service at three sites, by rank and by weight; addresses tell the site: .10 fra, .11 nyc, .12 sin."""
    def endpoints(service_octet):
        return "".join(
            f"      - {{id: {site}, site: {site}, addresses: [203.0.113.{octet + service_octet}, "
            f"\"2001:db8:f::{octet + service_octet}\"], port: 443, weight: {weight}}}\n"
            for weight, (site, (_, _, _, octet)) in zip((3, 2, 1), SITES.items()))
    return f"""\
  - id: www
    names: [www.example.org]
    policy: ranked
    ttl_floor: 1s
    ttl_ceiling: 20s
    endpoints:
{endpoints(0)}
  - id: api
    names: [api.example.org]
    policy: weighted
    answers_max: 1
    endpoints:
{endpoints(100)}
  - id: pay
    names: [pay.example.org]
    policy: failover
    answers_max: 1
    endpoints:
      - {{id: fra, site: fra, addresses: [203.0.113.210], priority: 0}}
      - {{id: nyc, site: nyc, addresses: [203.0.113.211], priority: 1}}
"""


ZONE = """\
$ORIGIN example.org.
$TTL 300
@        IN SOA   ns1 hostmaster 2026010101 3600 600 1209600 60
@        IN NS    ns1
@        IN NS    ns2
@        IN MX    10 mail
@        IN TXT   "v=spf1 -all"
@        IN CAA   0 issue "ca.example.net"
ns1      IN A     198.18.0.53
ns1      IN AAAA  2001:db8::53
ns2      IN A     198.18.0.53
mail     IN A     192.0.2.25
mail     IN AAAA  2001:db8:2::25
static   IN A     192.0.2.80
static   IN A     192.0.2.81
alias    IN CNAME static
_sip._udp IN SRV  10 60 5060 sip
sip      IN A     192.0.2.90
10       IN PTR   static
*.wild   IN A     192.0.2.200
sub      IN NS    ns.sub
ns.sub   IN A     192.0.2.53
odd      IN TYPE65280 \\# 4 01020304
""" + "".join(f"big      IN TXT   \"{i:02d} {'x' * 120}\"\n" for i in range(24)) + "".join(
    f"many     IN A     192.0.2.{i}\n" for i in range(100, 116))
