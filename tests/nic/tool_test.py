"""scripts/nic on machines that are folders: a made-up /sys, and a kernel that moves its links when files are written.

What real cards make of it is scripts/test-nic's; here stand the refusals, families that QEMU does not have, and ways back.
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
import types
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts/nic"
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("nic_tool", str(SCRIPT))
_spec = importlib.util.spec_from_loader("nic_tool", _loader)
nic = importlib.util.module_from_spec(_spec)
_loader.exec_module(nic)


class FakeKernel:
    """A /sys with cards; `write` and `run` of the tool come here."""

    def __init__(self, root):
        self.sys = root
        self.natural = {}      # address: the driver that the kernel would pick
        self.broken = set()    # drivers that take no card
        self.addresses = {}    # interface: addr_info
        self.routes = {}       # (family, interface): text
        self.commands = []
        self.pages_found = None
        (root / "bus/pci/devices").mkdir(parents=True)
        for driver in ("vfio-pci", "uio_pci_generic", "ixgbe", "mlx5_core", "vmxnet3"):
            (root / "bus/pci/drivers" / driver).mkdir(parents=True)
        pages = root / "kernel/mm/hugepages/hugepages-2048kB"
        pages.mkdir(parents=True)
        (pages / "nr_hugepages").write_text("0\n")
        (pages / "free_hugepages").write_text("0\n")

    def card(self, address, vendor, device, driver, interface=None, group=None, node=-1, queues=0, kind="0x020000"):
        path = self.sys / "bus/pci/devices" / address
        path.mkdir()
        for name, text in (("vendor", f"0x{vendor}"), ("device", f"0x{device}"), ("class", kind), ("numa_node", str(node)),
                           ("driver_override", "(null)")):
            (path / name).write_text(text + "\n")
        self.natural[address] = (driver, interface, queues)
        if group is not None:
            folder = self.sys / "kernel/iommu_groups" / group / "devices"
            folder.mkdir(parents=True, exist_ok=True)
            (path / "iommu_group").symlink_to(folder.parent)
            (folder / address).symlink_to(path)
        self._attach(address, driver)

    def _attach(self, address, driver):
        path = self.sys / "bus/pci/devices" / address
        if not driver or driver in self.broken:
            return
        (path / "driver").symlink_to(self.sys / "bus/pci/drivers" / driver)
        natural, interface, queues = self.natural[address]
        if driver == natural and interface:
            (path / "net" / interface).mkdir(parents=True)
            folder = self.sys / "class/net" / interface
            for queue in range(queues):
                (folder / f"queues/rx-{queue}").mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "operstate").write_text("up\n")
            (folder / "speed").write_text("25000\n")

    def _detach(self, address):
        path = self.sys / "bus/pci/devices" / address
        (path / "driver").unlink()
        if (path / "net").exists():
            for interface in (path / "net").iterdir():
                interface.rmdir()
                shutil.rmtree(self.sys / "class/net" / interface.name)
            (path / "net").rmdir()

    def rename(self, new, old):
        (self.sys / "class/net" / new).rename(self.sys / "class/net" / old)
        for link in self.sys.glob(f"bus/pci/devices/*/net/{new}"):
            link.rename(link.with_name(old))

    def write(self, path, text):
        path = pathlib.Path(path)
        if path.name == "unbind":
            self._detach(text)
        elif path.name == "drivers_probe":
            override = (self.sys / "bus/pci/devices" / text / "driver_override").read_text().strip()
            self._attach(text, override if override not in ("", "(null)") else self.natural[text][0])
        elif path.name == "nr_hugepages" and self.pages_found is not None and int(text) > self.pages_found:
            path.write_text(f"{self.pages_found}\n")
        else:
            path.write_text(text + "\n")

    def run(self, *command, check=True):
        self.commands.append(" ".join(command))
        if command[:2] == ("ip", "-json"):
            name = command[-1]
            return json.dumps([{"ifname": name, "flags": ["UP"], "addr_info": self.addresses.get(name, [])}])
        if command[:3] == ("ip", "link", "set") and command[4:5] == ("name",):
            self.rename(command[3], command[5])
        if command[0] == "ip" and command[2:4] == ("route", "show"):
            return self.routes.get((command[1], command[-1]), "")
        return ""


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.kernel = FakeKernel(self.root / "sys")
        self.config = self.root / "pharos.yaml"
        fakes = {"SYSFS": self.root / "sys", "JOURNAL": self.root / "journal.json", "PROC": self.root / "proc",
                 "UDEV": self.root / "no-udev", "write": self.kernel.write,
                 "run": self.kernel.run, "time": types.SimpleNamespace(monotonic=self.clock, sleep=lambda _: None),
                 "available_bytes": lambda _: 4 << 30}
        for name, fake in fakes.items():
            self.addCleanup(setattr, nic, name, getattr(nic, name))
            setattr(nic, name, fake)
        self.addCleanup(setattr, os, "geteuid", os.geteuid)
        os.geteuid = lambda: 0
        self.now = 0.0

    def clock(self):
        self.now += 1
        return self.now

    def call(self, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            nic.main(["--config", str(self.config), *arguments])
        return out.getvalue()

    def refused(self, text, *arguments):
        with self.assertRaises(nic.Refusal) as caught:
            self.call(*arguments)
        self.assertIn(text, str(caught.exception))

    def driver(self, address="0000:3b:00.0"):
        return nic.Card(address).driver

    def intel(self, **options):
        self.kernel.card("0000:3b:00.0", "8086", "10fb", "ixgbe", "eth1", **{"group": "7", "queues": 8, **options})

    def test_shows_every_network_card_and_nothing_else(self):
        self.intel(node=1)
        self.kernel.card("0000:3c:00.0", "15b3", "101d", "mlx5_core", "eth2", queues=4)
        self.kernel.card("0000:00:1f.2", "8086", "2922", "", kind="0x010601")
        self.config.write_text("dataplane:\n  ports:\n    - id: front\n      device: \"0000:3b:00.0\"\n")
        rows = {row["address"]: row for row in json.loads(self.call("show", "--json"))}
        self.assertEqual(list(rows), ["0000:3b:00.0", "0000:3c:00.0"])
        self.assertEqual(rows["0000:3b:00.0"], {
            "address": "0000:3b:00.0", "driver": "ixgbe", "family": "Intel", "id": "8086:10fb", "interface": "eth1",
            "link": "up 25 Gbit/s", "queues": 8, "node": 1, "port": "front"})
        self.assertEqual(rows["0000:3c:00.0"]["family"], "Mellanox")
        (self.root / "sys/kernel/iommu_groups/7/name").write_text("vfio-noiommu\n")
        self.assertIn("IOMMU: off", self.call())
        (self.root / "sys/kernel/iommu_groups/7/name").unlink()
        text = self.call()
        self.assertIn("0000:3c:00.0  mlx5_core  Mellanox  15b3:101d  eth2       up 25 Gbit/s  4       -     -", text)
        self.assertIn("IOMMU: on", text)

    def test_finds_ports_in_every_style_of_configuration(self):
        styles = {
            "  ports:\n    - id: a\n      device: \"3b:00.0\"\n": {"0000:3b:00.0": "a"},
            "  ports:\n    - {id: a, device: \"0000:3b:00.0\", addresses: [192.0.2.1]}\n": {"0000:3b:00.0": "a"},
            "  ports: [{device: 0000:3b:00.0, id: a}, {id: b, device: 0000:3b:00.1}]":
                {"0000:3b:00.0": "a", "0000:3b:00.1": "b"},
            "  ports:\n    - id: a\n      device: net_af_xdp0,iface=eth1,start_queue=0\n": {"eth1": "a"},
            "# - {id: a, device: 0000:3b:00.0}\n": {},
        }
        for text, expected in styles.items():
            self.config.write_text("dataplane:\n" + text)
            self.assertEqual(nic.configured_ports(self.config), expected, text)

    def test_binds_by_address_interface_and_port_and_goes_back(self):
        self.intel()
        self.config.write_text("- {id: front, device: 0000:3b:00.0}\n")
        for name in ("0000:3b:00.0", "3b:00.0", "eth1", "front"):
            self.assertIn("ixgbe -> vfio-pci (IOMMU group 7)", self.call("bind", name))
            self.assertEqual(self.driver(), "vfio-pci")
            self.assertIn("vfio-pci -> ixgbe, interface eth1", self.call("unbind", "0000:3b:00.0"))
            self.assertEqual(self.driver(), "ixgbe")
            self.assertFalse(nic.JOURNAL.exists())
        self.refused("there is no card 'eth9' (cards: 0000:3b:00.0)", "bind", "eth9")

    def test_refuses_what_someone_needs_unless_forced_and_puts_it_back(self):
        self.intel()
        self.kernel.addresses["eth1"] = [{"local": "192.0.2.5", "prefixlen": 24, "scope": "global"},
                                         {"local": "fe80::1", "prefixlen": 64, "scope": "link"}]
        self.refused("eth1 has the address 192.0.2.5/24. --force", "bind", "eth1")
        self.kernel.routes["-4", "eth1"] = "default via 192.0.2.1\n192.0.2.0/24 proto kernel scope link\n"
        self.refused("carries the default route and has the address", "bind", "eth1")
        self.assertEqual(self.driver(), "ixgbe")
        self.call("bind", "--force", "eth1")
        self.assertEqual(self.driver(), "vfio-pci")
        self.kernel.commands.clear()
        self.call("undo")
        self.assertEqual(self.driver(), "ixgbe")
        self.assertEqual([c for c in self.kernel.commands if "show" not in c],
                         ["ip link set eth1 up", "ip address replace 192.0.2.5/24 dev eth1",
                          "ip -4 route replace default via 192.0.2.1 dev eth1"])

    def test_leaves_cards_alone_that_dpdk_works_beside(self):
        self.kernel.card("0000:3c:00.0", "15b3", "101d", "mlx5_core", "eth2")
        self.refused("needs no bind: DPDK works beside mlx5_core", "bind", "3c:00.0")
        self.refused("needs no bind", "bind", "--force", "3c:00.0")

    def test_without_an_iommu_it_takes_what_the_kernel_has(self):
        self.intel(group=None)
        self.assertIn("uio_pci_generic; the card can reach all memory", self.call("bind", "eth1"))
        self.assertEqual(self.driver(), "uio_pci_generic")
        self.call("undo")
        self.refused("there is no IOMMU", "bind", "--driver", "vfio-pci", "eth1")
        switch = self.root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
        switch.parent.mkdir(parents=True)
        switch.write_text("N\n")
        self.assertIn("no-IOMMU mode on", self.call("bind", "eth1"))
        self.assertEqual((self.driver(), switch.read_text().strip()), ("vfio-pci", "1"))
        self.call("undo")
        self.assertEqual((self.driver(), switch.read_text().strip()), ("ixgbe", "N"))

    def test_names_the_others_of_an_iommu_group(self):
        self.intel()
        self.kernel.card("0000:3b:00.1", "8086", "10fb", "ixgbe", "eth2", group="7")
        self.assertIn("shares IOMMU group 7 with 0000:3b:00.1 (ixgbe)", self.call("bind", "eth1"))

    def test_a_card_that_the_driver_does_not_take_goes_back_at_once(self):
        self.intel()
        self.kernel.broken.add("vfio-pci")
        self.refused("does not take the driver vfio-pci", "bind", "eth1")
        self.assertEqual(self.driver(), "ixgbe")
        self.assertFalse(nic.JOURNAL.exists())

    def test_a_call_that_was_killed_can_be_undone(self):
        self.intel()
        real = nic.move

        def killed(*arguments):
            real(*arguments)
            raise KeyboardInterrupt
        nic.move = killed
        self.addCleanup(setattr, nic, "move", real)
        with self.assertRaises(KeyboardInterrupt):
            self.call("bind", "eth1")
        nic.move = real
        self.assertEqual(self.driver(), "vfio-pci")
        self.call("undo")
        self.assertEqual(self.driver(), "ixgbe")

    def test_a_card_that_left_the_machine_does_not_stand_in_the_way_of_the_rest(self):
        self.intel()
        self.call("huge-pages", "64MiB")
        self.call("bind", "eth1")
        shutil.rmtree(self.root / "sys/bus/pci/devices/0000:3b:00.0")
        self.assertIn("0000:3b:00.0 is not in the machine any more", self.call("undo"))
        self.assertEqual(self.pages(), 0)
        self.assertFalse(nic.JOURNAL.exists())

    def test_keeps_a_card_with_the_process_that_uses_it(self):
        self.intel()
        self.call("bind", "eth1")
        fds = self.root / "proc/4711/fd"
        fds.mkdir(parents=True)
        (fds.parent / "cmdline").write_text("/usr/bin/pharos-dataplane\0--config\0/etc/pharos/pharos.yaml\0")
        (fds / "9").symlink_to("/dev/vfio/8")
        (fds / "10").symlink_to("/dev/vfio/7")
        for verb in (["unbind", "3b:00.0"], ["undo"]):
            self.refused("0000:3b:00.0 is in use by pharos-dataplane (pid 4711): stop that first", *verb)
            self.assertEqual(self.driver(), "vfio-pci")
        (fds / "10").unlink()
        self.call("undo")
        self.assertEqual(self.driver(), "ixgbe")
        # The same by UIO, whose nodes are numbered.
        self.call("bind", "--driver", "uio_pci_generic", "eth1")
        (self.root / "sys/bus/pci/devices/0000:3b:00.0/uio/uio3").mkdir(parents=True)
        (fds / "10").symlink_to("/dev/uio3")
        self.refused("is in use by pharos-dataplane (pid 4711)", "undo")
        (fds / "10").unlink()
        self.call("undo")
        self.assertEqual(self.driver(), "ixgbe")

    def test_an_interface_gets_its_name_back(self):
        self.intel()
        self.kernel.addresses["eth1"] = [{"local": "192.0.2.5", "prefixlen": 24, "scope": "global"}]
        self.call("bind", "--force", "eth1")
        self.kernel.natural["0000:3b:00.0"] = ("ixgbe", "eth0", 8)  # the first name that is free then
        self.call("undo")
        self.assertEqual(nic.Card("0000:3b:00.0").interfaces, ["eth1"])
        self.assertIn("ip address replace 192.0.2.5/24 dev eth1", self.kernel.commands)

    def test_a_card_without_a_driver_goes_back_to_none_and_by_unbind_to_the_kernels(self):
        self.intel()
        path = self.root / "sys/bus/pci/devices/0000:3b:00.0"
        self.kernel.write(path / "driver/unbind", "0000:3b:00.0")
        self.assertIn("no driver -> vfio-pci", self.call("bind", "3b:00.0"))
        self.assertIn("vfio-pci -> no driver", self.call("undo"))
        self.assertEqual(self.driver(), "")
        self.call("bind", "3b:00.0")
        self.assertIn("vfio-pci -> ixgbe, interface eth1", self.call("unbind", "3b:00.0"))

    def test_says_what_is_wrong_with_an_order(self):
        self.intel()
        self.kernel.card("0000:00:1f.2", "8086", "2922", "", kind="0x010601")
        for arguments, text in ((["frob"], "invalid choice: 'frob'"), (["bind"], "required: device"),
                                (["bind", "--driver", "ixgbe", "eth1"], "invalid choice: 'ixgbe'"),
                                (["huge-pages"], "required: size"), (["config"], "required: device")):
            err = io.StringIO()
            with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(err):
                self.call(*arguments)
            self.assertEqual(caught.exception.code, 2)
            self.assertIn(text, err.getvalue())
        self.refused("there is no card 'eth9' (cards: 0000:3b:00.0)", "config", "eth9")
        self.refused("there is no card '3b:00.1'", "unbind", "3b:00.1")
        self.refused("0000:00:1f.2 is no network card (cards: 0000:3b:00.0)", "bind", "00:1f.2")
        self.assertIn("0000:3b:00.0 is with the kernel's ixgbe already", self.call("unbind", "eth1"))
        self.assertIn("nothing to undo", self.call("undo"))
        os.geteuid = lambda: 1000
        self.refused("bind needs root (--dry-run says what it would do)", "bind", "eth1")
        self.assertIn("ixgbe -> vfio-pci", self.call("--dry-run", "bind", "eth1"))
        self.assertIn("3b:00.0", self.call())

    def test_a_journal_that_is_no_journal_is_told(self):
        self.intel()
        nic.JOURNAL.write_text("[{")
        self.refused(f"{nic.JOURNAL}: ", "undo")

    def test_a_dry_run_changes_nothing(self):
        self.intel()
        self.assertIn("ixgbe -> vfio-pci", self.call("--dry-run", "bind", "eth1"))
        self.call("--dry-run", "huge-pages", "64MiB")
        self.assertEqual(self.driver(), "ixgbe")
        self.assertFalse(nic.JOURNAL.exists())
        self.assertFalse([c for c in self.kernel.commands if c.startswith("modprobe")])

    def pages(self):
        return int((self.root / "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages").read_text())

    def test_reserves_huge_pages_and_gives_them_back(self):
        self.assertIn("0 -> 256, 512 MiB", self.call("huge-pages", "512MiB"))
        self.assertEqual(self.pages(), 256)
        self.assertIn("256 -> 1, 2 MiB", self.call("huge-pages", "1B"))
        self.call("undo")
        self.assertEqual(self.pages(), 0)
        self.refused("'much' is no size", "huge-pages", "much")
        self.refused("no huge pages of 1GiB here (sizes: 2MiB)", "huge-pages", "--page", "1GiB", "1GiB")
        self.refused("would leave the machine no memory: 4096 MiB are available", "huge-pages", "4GiB")
        self.refused("there is no NUMA node 3 (nodes: none)", "huge-pages", "--node", "3", "2MiB")
        self.kernel.pages_found = 100
        self.refused("the kernel found 100 of 256 pages", "huge-pages", "512MiB")
        self.assertEqual(self.pages(), 0)
        self.assertFalse(nic.JOURNAL.exists())

    def test_writes_the_lines_of_a_port(self):
        node = self.root / "sys/devices/system/node/node1"
        node.mkdir(parents=True)
        here = os.sched_getaffinity
        self.addCleanup(setattr, os, "sched_getaffinity", here)
        os.sched_getaffinity = lambda _: set(range(16))
        (node / "cpulist").write_text("8-11,14\n")
        self.intel(node=1)
        self.kernel.addresses["eth1"] = [{"local": "2001:db8::5", "prefixlen": 64, "scope": "global"}]
        lines = self.call("config", "eth1")
        for line in ("  worker_cores: [8, 9, 10, 11, 14]", '      device: "0000:3b:00.0"', "    - id: front", "      queues: 5",
                     '      addresses: ["2001:db8::5"]', "  memory: 256MiB", "  huge_pages: required"):
            self.assertIn(line + "\n", lines)
        self.assertIn("# DPDK has it after: scripts/nic bind 0000:3b:00.0\n", lines)
        # Once it is bound, its addresses and queues are known from the journal alone.
        (node / "cpulist").write_text("0-15\n")
        self.call("bind", "--force", "eth1")
        self.assertIn("      queues: 8\n", self.call("config", "3b:00.0"))
        self.assertNotIn("DPDK has it after", self.call("config", "3b:00.0"))
        self.assertIn('addresses: ["2001:db8::5"]', self.call("config", "3b:00.0"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
