"""A guest in QEMU with NICs that are taps in a network namespace here, and a line to give it orders.

   namespace pharos-NAME                QEMU, software emulation
   198.18.20.1 --- tap nic0 ----------- e1000      0000:00:04.0   198.18.20.53, 2001:db8:20::53
   198.18.21.1 --- tap nic1 ----------- e1000e     ...
   ...                                  management NIC: stays with the guest's kernel

The CPU is emulated (KVM is not asked for), so the guest is slow: every wait has a limit, and the limits are generous.
A Machine cleans up behind itself and behind one of the same name that was killed at any moment: all that it makes carries
its name. What it runs is in its namespace, or ends with the process that started it.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import image as guest_image

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from image import end_with_parent  # noqa: E402
from world import WorldError, _start_time, run, wait_until  # noqa: E402

INIT = """#!/bin/busybox sh
exec /usr/bin/python3 /opt/pharos/guest.py
"""
# guest.py has compiled it: that takes longer than what it does.
NIC = """#!/bin/busybox sh
exec /usr/bin/python3 /opt/pharos/nic.pyc "$@"
"""


@dataclasses.dataclass
class Nic:
    name: str        # of the tap, the QEMU device and the port
    model: str       # QEMU's name of the device
    driver: str      # DPDK's name of its driver
    kernel: str      # the kernel's
    queues: int = 1
    options: str = ""
    address: int = 0  # the PCI slot; made at start

    @property
    def pci(self):
        return f"0000:00:{self.address:02x}.0"


class Machine:
    def __init__(self, nics, programs, files, iommu=False, memory_mib=2048, cache="/var/cache/pharos/test-nic", say=print,
                 name="test-nic"):
        self.namespace = f"pharos-{name}"
        self.directory = pathlib.Path(f"/run/pharos-{name}")
        self.nics = nics
        self.programs = programs  # paths here, found in /opt/pharos/bin there
        self.files = files        # {path there: text}
        self.iommu = iommu
        self.memory_mib = memory_mib
        self.cache = cache
        self.say = say
        self.qemu = None
        self.line = None
        self.buffer = b""
        self.next_id = 1

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
            raise WorldError("network namespaces and taps need root")
        self.remove()
        made = guest_image.obtain(self.cache, self.programs, self.say)
        self.directory.mkdir(mode=0o700)
        self.say("packing what the guest runs")
        initrd = self._initrd(made)
        self.say("making taps")
        self._make_network()
        self.say("starting QEMU")
        self._start(made, initrd)
        self.say("QEMU runs")

    def remove(self):
        """Takes away all of it, as far as it exists. Called again, and where nothing is, it does nothing."""
        if self.line is not None:
            self.line.close()
            self.line = None
        if self.qemu is not None:
            self.qemu.kill()
            self.qemu.wait(10)
            self.qemu = None
        if self.namespace in run("ip", "netns", "list", check=False).stdout.split():
            self._kill_inhabitants()
            run("ip", "netns", "delete", self.namespace, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        guest_image.clean(self.cache)

    def _kill_inhabitants(self):
        """Nothing but this Machine's QEMU and clients is ever in the namespace; the taps go with the last of them."""
        for pid in map(int, run("ip", "netns", "pids", self.namespace, check=False).stdout.split()):
            start_time = _start_time(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            wait_until(lambda p=pid, s=start_time: _start_time(p) != s, 10, f"end of process {pid}")

    def leftovers(self):
        """What is here of a machine of this name, as sentences; empty where there is nothing."""
        found = []
        if self.namespace in run("ip", "netns", "list", check=False).stdout.split():
            found.append(f"the namespace {self.namespace}")
        if self.directory.exists():
            found.append(f"the folder {self.directory}")
        found += [f"the mount {line}" for line in pathlib.Path("/proc/mounts").read_text().splitlines()
                  if line.split()[1].rsplit("/", 1)[-1] == self.namespace or f" {self.cache}/" in line]
        for link in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
            if (file := link.read_text().strip()).startswith((str(self.directory), str(self.cache))):
                found.append(f"a loop device on {file}")
        own = (f"{self.directory}/", f"{self.cache}/{guest_image.UNFINISHED}")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if process.name != str(os.getpid()) and any(text in command for text in own):
                found.append(f"process {process.name}: {command[:80]}")
        found += [f"the folder {path}" for path in pathlib.Path(self.cache).glob(f"{guest_image.UNFINISHED}*")]
        return found

    def _initrd(self, made):
        """The image, and behind it an archive of what this run brings along."""
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            root = pathlib.Path(work)
            binaries = root / "opt/pharos/bin"
            binaries.mkdir(parents=True)
            for program in self.programs:
                target = binaries / pathlib.Path(program).name
                shutil.copyfile(program, target)
                run("strip", target)
                target.chmod(0o755)
            for name, text in self.files.items():
                path = root / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                path.chmod(0o600)
            shutil.copyfile(pathlib.Path(__file__).parent / "guest.py", root / "opt/pharos/guest.py")
            shutil.copyfile(ROOT / "scripts/nic", root / "opt/pharos/nic.py")
            (binaries / "nic").write_text(NIC)
            (binaries / "nic").chmod(0o755)
            (root / "init").write_text(INIT)
            (root / "init").chmod(0o755)
            own = self.directory / "own.cpio"
            guest_image.pack(root, own)
        initrd = self.directory / "initrd"
        with open(initrd, "wb") as out:
            for part in (made.archive, own):
                with open(part, "rb") as source:
                    shutil.copyfileobj(source, out)
                out.write(b"\0" * (-out.tell() % 512))
        return initrd

    def _make_network(self):
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        for number, nic in enumerate(self.nics):
            flags = ["multi_queue"] if nic.queues > 1 else []
            run("ip", "-n", self.namespace, "tuntap", "add", "mode", "tap", "name", nic.name, *flags)
            run("ip", "-n", self.namespace, "address", "add", f"{self.client_v4(number)}/24", "dev", nic.name)
            run("ip", "-n", self.namespace, "address", "add", f"{self.client_v6(number)}/64", "dev", nic.name, "nodad")
            run("ip", "-n", self.namespace, "link", "set", nic.name, "up")

    def client_v4(self, number):
        return f"198.18.{20 + number}.1"

    def client_v6(self, number):
        return f"2001:db8:{20 + number}::1"

    def port_v4(self, number):
        return f"198.18.{20 + number}.53"

    def port_v6(self, number):
        return f"2001:db8:{20 + number}::53"

    def _start(self, made, initrd):
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                   "-m", str(self.memory_mib), "-nodefaults", "-display", "none", "-no-reboot",
                   "-kernel", made.kernel, "-initrd", initrd,
                   # no_timer_check: on a busy machine the guest finds that its timer does not tick, and panics.
                   "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check net.ifnames=0"
                   + (" intel_iommu=on" if self.iommu else ""),
                   "-serial", f"file:{self.directory}/console", "-chardev",
                   f"socket,id=line,path={self.directory}/line,server=on,wait=off", "-serial", "chardev:line",
                   "-qmp", f"unix:{self.directory}/qmp,server=on,wait=off"]
        if self.iommu:
            command += ["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on,aw-bits=48"]
        command += ["-device", "virtio-net-pci,netdev=management,addr=0x3,mac=02:70:68:00:01:00",
                    "-netdev", "user,id=management,restrict=on"]
        for number, nic in enumerate(self.nics):
            nic.address = 4 + number
            queues = f",queues={nic.queues}" if nic.queues > 1 else ""
            command += ["-netdev", f"tap,id=tap-{nic.name},ifname={nic.name},script=no,downscript=no,vhost=off{queues}",
                        "-device", f"{nic.model},id={nic.name},netdev=tap-{nic.name},addr={nic.address:#x},"
                        f"mac=02:70:68:00:00:{number:02x}{nic.options}"]
        log = open(self.directory / "qemu.log", "ab")
        # A session of its own: Ctrl-C is for the test, which ends QEMU.
        self.qemu = subprocess.Popen(["ip", "netns", "exec", self.namespace, *map(str, command)], stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log, start_new_session=True,
                                     preexec_fn=end_with_parent)
        log.close()

    # ---- the guest ----

    def wait_booted(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        self.line = self._connect("line", deadline)
        while not self._read_answer(deadline).get("ready"):
            pass

    def _connect(self, name, deadline):
        connection = socket.socket(socket.AF_UNIX)
        while True:
            self._still_runs()
            try:
                connection.connect(str(self.directory / name))
                return connection
            except OSError:
                if time.monotonic() > deadline:
                    raise WorldError(f"QEMU opens no socket {name}") from None
                time.sleep(0.05)

    def _still_runs(self):
        if self.qemu.poll() is not None:
            raise WorldError("QEMU ended")

    def console(self, lines=40):
        return self._log("console", "the guest's console", lines)

    def emulator_log(self, lines=20):
        return self._log("qemu.log", "QEMU", lines)

    def _log(self, name, title, lines):
        try:
            text = (self.directory / name).read_text(errors="replace")
        except OSError:
            return ""
        return f"--- {title}\n" + "\n".join(text.splitlines()[-lines:])

    def _read_answer(self, deadline):
        while b"\n" not in self.buffer:
            self._still_runs()
            left = deadline - time.monotonic()
            if left <= 0:
                raise WorldError(f"the guest does not answer in time\n{self.console()}")
            self.line.settimeout(min(left, 1))
            try:
                self.buffer += self.line.recv(65536)
            except TimeoutError:
                continue
        one, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(one)

    def _order(self, message, timeout_s):
        message = {"id": self.next_id, **message}
        self.next_id += 1
        self.line.settimeout(timeout_s)
        self.line.sendall(json.dumps(message).encode() + b"\n")
        deadline = time.monotonic() + timeout_s + 30
        while True:
            answer = self._read_answer(deadline)
            if answer.get("id") == message["id"]:
                return answer

    def run(self, *command, check=True, timeout=60):
        """Runs a program in the guest; its answer as {"code", "out", "err"}."""
        answer = self._order({"run": [str(c) for c in command], "timeout": timeout}, timeout)
        if check and answer["code"] != 0:
            raise WorldError(f"in the guest: {' '.join(map(str, command))}: {answer.get('err') or answer.get('out')}")
        return answer

    def start(self, role, *command):
        self._order({"start": role, "run": [str(c) for c in command]}, 30)

    def alive(self, role):
        return self._order({"alive": role}, 30)["code"] == 0

    def stop(self, role, timeout=30):
        return self._order({"stop": role, "timeout": timeout}, timeout)

    def log(self, role):
        return self.run("/bin/busybox", "cat", f"/tmp/{role}.log", check=False)["out"]

    def ctl(self, *arguments, check=True, timeout=60):
        """pharosctl --json in the guest; the parsed result, or None where check is off and it failed."""
        answer = self.run("pharosctl", "--json", *arguments, check=check, timeout=timeout)
        return json.loads(answer["out"]) if answer["code"] == 0 else None

    # ---- outside ----

    def client(self, *command, check=True, timeout=60):
        return run("ip", "netns", "exec", self.namespace, *command, check=check, timeout=timeout)

    def set_link(self, nic, up):
        """As if someone pulled the cable of a NIC, or put it back."""
        with self._connect("qmp", time.monotonic() + 10) as monitor:
            monitor.settimeout(10)
            stream = monitor.makefile("rw")
            stream.readline()  # the greeting
            for order in ({"execute": "qmp_capabilities"},
                          {"execute": "set_link", "arguments": {"name": nic.name, "up": up}}):
                stream.write(json.dumps(order) + "\n")
                stream.flush()
                while "event" in (answer := json.loads(stream.readline())):
                    pass
                if "error" in answer:
                    raise WorldError(f"QEMU's monitor: {answer['error']['desc']}")
