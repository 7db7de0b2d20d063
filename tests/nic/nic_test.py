"""Real drivers without a NIC: a guest in software emulation, DPDK on its e1000, e1000e, vmxnet3 and virtio devices.

scripts/test-nic runs it; it takes minutes and is in no build. One class for each way of giving a card to DPDK: vfio-pci
behind an emulated IOMMU, and what the kernel offers without one. Each boots a guest, has scripts/nic bind the cards,
starts both daemons there, and asks from here, over taps. A third kills the first, again and again. Every step has a limit,
and so has each class.
"""

import argparse
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import unittest

from machine import Machine, Nic, WorldError, end_with_parent, wait_until

BUILD = pathlib.Path("build")
CACHE = "/var/cache/pharos/test-nic"
NAME = "test-nic"    # of the machine and all that belongs to it
TIME_LIMIT_S = 900   # of each class
BOOT_S = 240   # 15 s on an idle machine
START_S = 120

NAMES = 16
ZONE = """\
$ORIGIN example.org.
$TTL 300
@    IN SOA  ns1 hostmaster 2026010101 3600 600 1209600 60
@    IN NS   ns1
ns1  IN A    198.18.20.53
long IN TXT  "%s" "%s"
""" % ("x" * 250, "y" * 250) + "".join(f"host{i} IN A 192.0.2.{i + 1}\nhost{i} IN AAAA 2001:db8:f::{i + 1}\n"
                                       for i in range(NAMES))

# What each of QEMU's devices has: checksums that it verifies and writes. Its vmxnet3 has no RSS, its e1000e no second queue
# in DPDK's driver, its virtio-net both.
HARDWARE = {
    "e1000": {"receive_ipv4": True, "receive_udp": True, "transmit_ipv4": True, "transmit_udp": True, "rss": False},
    "e1000e": {"receive_ipv4": True, "receive_udp": True, "transmit_ipv4": True, "transmit_udp": True, "rss": False},
    "vmxnet3": {"receive_ipv4": False, "receive_udp": True, "transmit_ipv4": False, "transmit_udp": True, "rss": False},
    "virtio": {"receive_ipv4": False, "receive_udp": True, "transmit_ipv4": False, "transmit_udp": True, "rss": True},
}


def nics(iommu):
    platform = ",iommu_platform=on,disable-legacy=on,ats=on" if iommu else ""
    return [
        Nic("e1000", "e1000", "net_e1000_em", "e1000"),
        Nic("e1000e", "e1000e", "net_e1000_em", "e1000e"),
        Nic("vmxnet3", "vmxnet3", "net_vmxnet3", "vmxnet3"),
        Nic("virtio", "virtio-net-pci", "net_virtio", "virtio-pci", queues=2,
            options=f",mq=on,rss=on,vectors=8{platform}"),
    ]


class TimeLimit(Exception):
    """A class has taken longer than TIME_LIMIT_S."""


def limit_time():
    def expired(*_):
        raise TimeLimit(f"not done in {TIME_LIMIT_S} s")
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(TIME_LIMIT_S)


class NicTest:
    """The steps; subclasses say which machine, and what bind is to choose."""

    iommu = False
    bound_driver = ""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("network namespaces need root")
        self.started_at = time.monotonic()
        programs = [BUILD / "dataplane/pharos-dataplane", BUILD / "controlplane/pharos-controlplane",
                    BUILD / "controlplane/ctl/pharosctl"]
        self.machine = Machine(nics(self.iommu), programs, {"/opt/pharos/example.org.zone": ZONE}, iommu=self.iommu,
                               cache=CACHE, say=self.say, name=NAME)
        limit_time()
        self.addCleanup(signal.alarm, 0)

    def say(self, text):
        print(f"  {time.monotonic() - self.started_at:6.1f} s  {text}", flush=True)

    def step(self, name, function, *arguments):
        self.say(name)
        function(*arguments)

    def test_answers_through_every_driver(self):
        machine = self.machine
        try:
            machine.make()
            machine.wait_booted(BOOT_S)
            self.say("the guest is up")
            self.load_kernel_drivers()
            self.step("scripts/nic shows the cards", self.shows_the_cards)
            self.step("scripts/nic leaves the management interface alone", self.leaves_the_management_interface)
            self.step("scripts/nic says what is wrong with an order", self.refuses_bad_orders)
            self.step("scripts/nic reserves huge pages", self.reserves_huge_pages)
            self.step("scripts/nic binds the cards", self.binds_the_cards)
            self.step("scripts/nic writes the configuration", self.writes_the_configuration)
            self.step("both daemons start", self.starts)
            self.step("scripts/nic leaves cards to the process that uses them", self.leaves_cards_in_use)
            for number, nic in enumerate(machine.nics):
                self.step(f"{nic.name}: offloads", self.offloads, nic)
                self.step(f"{nic.name}: dig over IPv4 and IPv6", self.dig, number)
                self.step(f"{nic.name}: dnsperf", self.load, number)
                self.step(f"{nic.name}: link down and up", self.link, number)
            self.step("virtio: RSS spreads over both queues", self.spreads)
            self.step("e1000e: DNS over TCP through the exception interface", self.tcp, 1)
            self.step("the sandbox was not in the way", self.sandbox)
            self.step("a restart takes the cards again", self.restarts)
            self.step("scripts/nic undoes it all", self.undoes)
        except Exception:
            signal.alarm(0)
            self.tell_all()
            raise
        finally:  # also where someone has interrupted: unittest calls no clean-up then
            machine.remove()

    def tell_all(self):
        """What may say why a step has failed."""
        machine = self.machine
        print(machine.console())
        print(machine.emulator_log())
        if machine.line is None or machine.qemu.poll() is not None:
            return
        try:
            print(json.dumps(machine.ctl("ports", check=False)))
            print(machine.client("ip", "-s", "link", "show", check=False).stdout)
            print(machine.client("ip", "neigh", "show", check=False).stdout)
            for role in ("dataplane", "controlplane"):
                print(f"--- {role}\n{machine.log(role)[-6000:]}")
        except (OSError, WorldError) as error:
            print(f"the guest tells no more: {error}")

    # ---- the guest's cards ----

    def load_kernel_drivers(self):
        self.machine.run("modprobe", "-a", "virtio_pci", "virtio_net", "e1000", "e1000e", "vmxnet3", "tun", timeout=120)
        # As a machine that someone reached by this interface would have it.
        management = self.interface("0000:00:03.0")
        for command in (["link", "set", management, "up"], ["address", "add", "10.0.2.15/24", "dev", management],
                        ["route", "add", "default", "via", "10.0.2.2"]):
            self.machine.run("ip", *command)

    def cards(self):
        answer = self.machine.run("nic", "--config", "/opt/pharos/pharos.yaml", "show", "--json", timeout=60)
        return {card["address"]: card for card in json.loads(answer["out"])}

    def interface(self, pci):
        return wait_until(lambda: self.cards().get(pci, {}).get("interface"), 30, f"an interface of {pci}")

    def shows_the_cards(self):
        cards = self.cards()
        self.assertEqual(len(cards), len(self.machine.nics) + 1)
        families = {"e1000": "Intel", "e1000e": "Intel", "vmxnet3": "vmxnet3", "virtio": "virtio"}
        for nic in self.machine.nics:
            card = cards[nic.pci]
            self.assertEqual((card["driver"], card["family"], card["port"]), (nic.kernel, families[nic.name], ""))
            self.assertTrue(card["interface"])
        text = self.machine.run("nic")["out"]
        self.assertIn(f"IOMMU: {'on' if self.iommu else 'off'}", text)

    def leaves_the_management_interface(self):
        for device in ("00:03.0", self.interface("0000:00:03.0")):
            answer = self.machine.run("nic", "bind", device, check=False)
            self.assertEqual(answer["code"], 1)
            self.assertIn("carries the default route and has the address 10.0.2.15/24", answer["err"])
        self.assertEqual(self.cards()["0000:00:03.0"]["driver"], "virtio-pci")

    def refuse(self, code, text, *arguments):
        answer = self.machine.run("nic", *arguments, check=False)
        self.assertEqual(answer["code"], code, answer)
        self.assertIn(text, answer["err"])

    def refuses_bad_orders(self):
        """A few: each start of Python takes the emulated CPU a second. All of them are in tool_test.py."""
        first = self.machine.nics[0].pci
        known = ", ".join(["0000:00:03.0", *(nic.pci for nic in self.machine.nics)])
        self.refuse(2, "invalid choice: 'frob'", "frob")
        self.refuse(1, f"there is no card 'eth99' (cards: {known})", "bind", "eth99")
        self.refuse(1, "there is no NUMA node 9 (nodes: 0)", "huge-pages", "--node", "9", "2MiB")
        if not self.iommu:
            self.refuse(1, "there is no IOMMU, and this kernel's vfio has no mode without one", "bind", "--driver", "vfio-pci",
                        first)

    def leaves_cards_in_use(self):
        for arguments in (["unbind", self.machine.nics[0].pci], ["undo"]):
            self.refuse(1, "is in use by pharos-dataplane (pid ", *arguments)

    def reserves_huge_pages(self):
        text = self.machine.run("nic", "huge-pages", "512MiB")["out"]
        self.assertIn("0 -> 256, 512 MiB", text)
        self.assertIn("huge pages of 2 MiB: 256, 256 free", self.machine.run("nic")["out"])
        answer = self.machine.run("nic", "huge-pages", "64GiB", check=False)
        self.assertEqual(answer["code"], 1)
        self.assertIn("would leave the machine no memory", answer["err"])

    def binds_the_cards(self):
        all_cards = [nic.pci for nic in self.machine.nics]
        before = self.cards()
        self.interface_before = {pci: card["interface"] for pci, card in before.items()}
        dry = self.machine.run("nic", "--dry-run", "bind", *all_cards)["out"]
        self.assertEqual(self.cards(), before, "a dry run changes nothing")
        text = self.machine.run("nic", "bind", *all_cards, timeout=120)["out"]
        cards = self.cards()
        for nic in self.machine.nics:
            self.assertIn(f"{nic.pci}: {nic.kernel} -> {self.bound_driver}", dry)
            self.assertIn(f"{nic.pci}: {nic.kernel} -> {self.bound_driver}", text)
            self.assertEqual(cards[nic.pci]["driver"], self.bound_driver)
        self.assertIn("already", self.machine.run("nic", "bind", all_cards[0])["out"])

    def writes_the_configuration(self):
        """The lines for the last card are the start of the configuration; the other ports join in the same form."""
        last = self.machine.nics[-1]
        lines = self.machine.run("nic", "config", last.pci)["out"]
        self.assertIn(f'device: "{last.pci}"', lines)
        self.assertIn("huge_pages: required", lines)
        ports = "".join(
            f"    - id: {nic.name}\n      device: \"{nic.pci}\"\n"
            f"      addresses: [{self.machine.port_v4(i)}, \"{self.machine.port_v6(i)}\"]\n"
            f"      queues: {nic.queues}\n      idle: adaptive\n"
            + ("      exception_interface: front0\n" if nic.name == "e1000e" else "")
            + (f"      networks: [{self.machine.client_v4(i)[:-1]}0/24]\n" if nic.name == "e1000e" else "")
            for i, nic in enumerate(self.machine.nics))
        self.assertIn("worker_cores: [1]", lines)
        # One worker for all ports here, which is what the daemon does by itself where cores are few.
        head = re.sub(r"(?s)  worker_cores:.*", "  ports:\n", lines)
        text = head + ports + ("run_directory: /run/pharos\nstate_directory: /run/pharos-state\n"
                               "zones:\n  - {id: example.org, file: /opt/pharos/example.org.zone}\n")
        self.machine.run("/bin/busybox", "sh", "-c", f"cat > /opt/pharos/pharos.yaml <<'END'\n{text}END\n")
        self.machine.run("pharos-dataplane", "--config", "/opt/pharos/pharos.yaml", "--check")
        cards = self.cards()
        self.assertEqual([cards[nic.pci]["port"] for nic in self.machine.nics], [nic.name for nic in self.machine.nics])

    # ---- the daemons ----

    def start_dataplane(self):
        self.machine.start("dataplane", "pharos-dataplane", "--config", "/opt/pharos/pharos.yaml")
        wait_until(lambda: not self.machine.alive("dataplane") or self.machine.ctl("--dataplane", "status", check=False),
                   START_S, "the data plane is ready", interval_s=1)
        self.assertTrue(self.machine.alive("dataplane"), "it ended at once")

    def starts(self):
        self.start_dataplane()
        self.machine.start("controlplane", "pharos-controlplane", "--config", "/opt/pharos/pharos.yaml")
        wait_until(lambda: self.machine.ctl("--dataplane", "status")["state"] == "running", START_S,
                   "the data plane has tables", interval_s=1)

    def port(self, nic):
        return next(port for port in self.machine.ctl("ports") if port["id"] == nic.name)

    def offloads(self, nic):
        port = self.port(nic)
        self.assertEqual(port["driver"], nic.driver)
        self.assertEqual(port["queues"], nic.queues)
        expected = {key if key == "rss" else f"{key}_checksum": value for key, value in HARDWARE[nic.name].items()}
        self.assertEqual(port["offloads"], expected)

    # ---- answers ----

    def ask(self, number, name, rrtype="A", ipv6=False, check=True):
        server = self.machine.port_v6(number) if ipv6 else self.machine.port_v4(number)
        done = self.machine.client("dig", f"@{server}", name, rrtype, "+short", "+tries=5", "+time=2", "+ignore",
                                   check=check, timeout=30)
        return done.stdout.split()

    def dig(self, number):
        for ipv6 in (False, True):
            self.assertEqual(self.ask(number, "host3.example.org", "A", ipv6), ["192.0.2.4"])
            self.assertEqual(self.ask(number, "host4.example.org", "AAAA", ipv6), ["2001:db8:f::5"])
            self.assertEqual(len("".join(self.ask(number, "long.example.org", "TXT", ipv6))), 504)
        # The kernel asks for our MAC anew, by ARP and by neighbour discovery, right behind answers whose sums the device wrote.
        for ipv6 in (False, True):
            self.machine.client("ip", "neigh", "flush", "dev", self.machine.nics[number].name)
            self.assertEqual(self.ask(number, "host5.example.org", "A", ipv6), ["192.0.2.6"])
        # Odd and even lengths from headers and sums that the device has written; the kernel here verifies them.
        for i in range(NAMES):
            self.assertEqual(self.ask(number, f"host{i}.example.org"), [f"192.0.2.{i + 1}"])

    def load(self, number):
        """A steady load that emulation bears, without loss. Many source ports, so that RSS has something to spread."""
        queries = self.machine.directory / "queries"
        queries.write_text("".join(f"host{i}.example.org {t}\n" for i in range(NAMES) for t in ("A", "AAAA")))
        for server in (self.machine.port_v4(number), self.machine.port_v6(number)):
            before = self.port(self.machine.nics[number])["stats"]
            done = self.machine.client("dnsperf", "-s", server, "-d", queries, "-l", 3, "-Q", 400, "-q", 40, "-c", 16, "-t", 5,
                                       timeout=60).stdout
            sent = int(re.search(r"Queries sent:\s+(\d+)", done)[1])
            completed = int(re.search(r"Queries completed:\s+(\d+)", done)[1])
            self.assertGreater(sent, 100)
            self.assertEqual((completed, re.findall(r"NOERROR (\d+)", done)), (sent, [str(sent)]), done)
            after = self.port(self.machine.nics[number])["stats"]
            self.assertGreaterEqual(after["sent_packets"] - before["sent_packets"], sent)
            rate = float(re.search(r"Queries per second:\s+([\d.]+)", done)[1])
            latency = float(re.search(r"Average Latency \(s\):\s+([\d.]+)", done)[1])
            self.say(f"    {server}: {sent} of {sent} answered, {rate:.0f}/s, {latency * 1000:.1f} ms")

    def link(self, number):
        nic = self.machine.nics[number]
        self.assertEqual(self.port(nic)["link"], "up")
        self.machine.set_link(nic, False)
        wait_until(lambda: self.port(nic)["link"] == "down", 30, f"{nic.name} is seen down", interval_s=0.5)
        wait_until(lambda: any(nic.name in str(a) for a in self.machine.ctl("--dataplane", "status")["alarms"]), 30,
                   "an alarm of the link", interval_s=0.5)
        self.assertEqual(self.ask_once(number), [])
        # The other ports go on.
        self.assertEqual(self.ask((number + 1) % len(self.machine.nics), "host1.example.org"), ["192.0.2.2"])
        self.machine.set_link(nic, True)
        wait_until(lambda: self.port(nic)["link"] == "up", 30, f"{nic.name} is seen up", interval_s=0.5)
        wait_until(lambda: self.ask_once(number) == ["192.0.2.1"], 30, f"{nic.name} answers again", interval_s=0.5)
        wait_until(lambda: not self.machine.ctl("--dataplane", "status")["alarms"], 30, "the alarm is over", interval_s=0.5)

    def ask_once(self, number):
        done = self.machine.client("dig", f"@{self.machine.port_v4(number)}", "host0.example.org", "+short", "+tries=1", "+time=1",
                                   check=False)
        return done.stdout.split() if done.returncode == 0 else []

    def spreads(self):
        counts = self.port(self.machine.nics[-1])["stats"]["queue_received_packets"]
        self.say(f"    frames by queue: {counts}")
        self.assertEqual(len(counts), 2)
        self.assertGreater(min(counts), sum(counts) // 10)

    def tcp(self, number):
        done = self.machine.client("dig", f"@{self.machine.port_v4(number)}", "long.example.org", "TXT", "+tcp", "+short",
                                   "+time=10", timeout=60)
        self.assertEqual(len(done.stdout.strip()), 505)

    def sandbox(self):
        status = self.machine.ctl("--dataplane", "status")
        self.assertEqual(status["sandbox"], {"on": True, "refused": []})
        self.assertEqual(status["alarms"], [])

    def restarts(self):
        stopped = self.machine.stop("dataplane", timeout=60)
        log = self.machine.log("dataplane")
        self.assertEqual(stopped["code"], 0, log[-3000:])
        self.assertNotIn("was refused system call", log)
        self.start_dataplane()
        for number in range(len(self.machine.nics)):
            self.assertEqual(self.ask(number, "host5.example.org"), ["192.0.2.6"])
        self.assertEqual(self.machine.ctl("--dataplane", "status")["sandbox"], {"on": True, "refused": []})
        self.assertEqual(self.machine.stop("dataplane", timeout=60)["code"], 0)

    def undoes(self):
        first = self.machine.nics[0]
        self.assertIn(f"-> {first.kernel}, interface ", self.machine.run("nic", "unbind", first.pci, timeout=120)["out"])
        text = self.machine.run("nic", "undo", timeout=120)["out"]
        for nic in self.machine.nics[1:]:
            self.assertIn(f"{nic.pci}: {self.bound_driver} -> {nic.kernel}", text)
        cards = self.cards()
        for nic in self.machine.nics:
            self.assertEqual((cards[nic.pci]["driver"], cards[nic.pci]["interface"]),
                             (nic.kernel, self.interface_before[nic.pci]))
        self.assertNotIn("huge pages of", self.machine.run("nic")["out"])
        self.assertIn("nothing to undo", self.machine.run("nic", "undo")["out"])


class VfioTest(NicTest, unittest.TestCase):
    iommu = True
    bound_driver = "vfio-pci"


class WithoutIommuTest(NicTest, unittest.TestCase):
    """Debian's kernel has vfio without its no-IOMMU mode, so that bind falls back to uio_pci_generic."""

    iommu = False
    bound_driver = "uio_pci_generic"


class CleanupTest(unittest.TestCase):
    """Killed at any moment, VfioTest leaves nothing that its next start does not take away; interrupted, nothing at all.

    QEMU and what mmdebstrap has started end by themselves in either case.
    """

    # What the test says when it comes to the moment.
    MOMENTS = ["making the guest's image", "packing what the guest runs", "making taps", "starting QEMU", "QEMU runs",
               "the guest is up"]
    SEED = 20261120
    PATIENCE_S = 300

    def setUp(self):
        limit_time()
        self.addCleanup(signal.alarm, 0)
        self.name = f"{NAME}-cleanup"
        self.random = random.Random(self.SEED)

    def test_nothing_is_left(self):
        cases = [(moment, signal.SIGKILL) for moment in self.MOMENTS]
        cases += [(self.MOMENTS[i], number) for i, number in ((0, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGINT),
                                                              (4, signal.SIGTERM), (5, signal.SIGINT))]
        cases += [(f"{self.random.uniform(0.1, 5):.2f} s", signal.SIGKILL) for _ in range(4)]
        for moment, number in cases:
            with self.subTest(moment=moment, signal=number.name):
                self.end_at(moment, number)

    def end_at(self, moment, number):
        # An image that is there already is not made: that moment has a cache of its own.
        cache = f"{CACHE}-cleanup" if moment == self.MOMENTS[0] else CACHE
        machine = Machine([], [], {}, cache=cache, name=self.name)
        try:
            self.assertEqual(machine.leftovers(), [], "before")
            code = self.end_child(moment, number, cache)
            # What dies with its parent needs a moment to do so.
            wait_until(lambda: not [left for left in machine.leftovers() if left.startswith("process")], 10,
                       f"end of what runs: {machine.leftovers()}")
            left = machine.leftovers()
            print(f"  {number.name} at '{moment}' left: {', '.join(left) or 'nothing'}", flush=True)
            if number != signal.SIGKILL:
                self.assertEqual((code, left), (130, []))
            elif moment in self.MOMENTS:
                self.assertEqual(code, -signal.SIGKILL)
                self.assertTrue(left, "a kill leaves something, or the moment had not come")
        finally:
            machine.remove()
            remaining = machine.leftovers()
            shutil.rmtree(f"{CACHE}-cleanup", ignore_errors=True)
        self.assertEqual(remaining, [])

    def end_child(self, moment, number, cache):
        """Starts VfioTest, waits for the moment, and sends the signal; the exit status."""
        child = subprocess.Popen([sys.executable, __file__, "--build", BUILD, "--cache", cache, "--name", self.name,
                                  "VfioTest"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                 preexec_fn=end_with_parent)
        try:
            self.wait_for(child, moment)
            # As Ctrl-C does, SIGINT goes to all in the foreground.
            (os.killpg if number == signal.SIGINT else os.kill)(child.pid, number)
            return child.wait(60)
        finally:
            child.kill()
            child.wait(10)
            child.stdout.close()

    def wait_for(self, child, moment):
        if moment.endswith(" s"):
            time.sleep(float(moment.removesuffix(" s")))
            return
        deadline = time.monotonic() + self.PATIENCE_S
        said = b""
        while moment.encode() not in said:
            ready, _, _ = select.select([child.stdout], [], [], max(0, deadline - time.monotonic()))
            part = os.read(child.stdout.fileno(), 4096) if ready else b""
            self.assertTrue(part, f"never came to '{moment}': {said.decode(errors='replace')}")
            said += part
        # Into what follows, not to its first instruction.
        time.sleep(self.random.uniform(0, 0.5))


def interrupted(*_):
    # Once: what follows is the cleaning up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    global BUILD, CACHE, NAME
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--build", default=BUILD)
    parser.add_argument("--cache", default=CACHE)
    parser.add_argument("--name", default=NAME)
    options, rest = parser.parse_known_args()
    BUILD, CACHE, NAME = pathlib.Path(options.build).resolve(), options.cache, options.name
    # What a killed run has left.
    for name in (NAME, f"{NAME}-cleanup"):
        Machine([], [], {}, cache=CACHE, name=name).remove()
    shutil.rmtree(f"{CACHE}-cleanup", ignore_errors=True)
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2, failfast=True)
    except KeyboardInterrupt:
        print("scripts/test-nic: interrupted, and everything taken away", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
