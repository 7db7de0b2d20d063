"""A guest in QEMU with NICs that are taps in a network namespace here, and a line to give it orders.

   namespace pharos-test-nic            QEMU, software emulation
   198.18.20.1 --- tap nic0 ----------- e1000      0000:00:04.0   198.18.20.53, 2001:db8:20::53
   198.18.21.1 --- tap nic1 ----------- e1000e     ...
   ...                                  management NIC: stays with the guest's kernel

The CPU is emulated (KVM is not asked for), so the guest is slow: every wait has a limit, and the limits are generous.
A Machine cleans up behind itself and behind one that was killed: QEMU dies with its parent, or is found again by pid
and start time.
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

from world import WorldError, _libc, _PR_SET_PDEATHSIG, _start_time, run, wait_until  # noqa: E402

NAMESPACE = "pharos-test-nic"
DIRECTORY = pathlib.Path("/run/pharos-test-nic")
PID_FILE = DIRECTORY / "qemu.pid"
INIT = """#!/bin/busybox sh
exec /usr/bin/python3 /opt/pharos/guest.py
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
    def __init__(self, nics, programs, files, iommu=False, memory_mib=2048, cache="/var/cache/pharos/test-nic", say=print):
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
        DIRECTORY.mkdir(mode=0o700)
        initrd = self._initrd(made)
        self._make_network()
        self._start(made, initrd)

    def remove(self):
        if self.line is not None:
            self.line.close()
            self.line = None
        if self.qemu is not None:
            self.qemu.kill()
            self.qemu.wait(10)
            self.qemu = None
        self._kill_leftover()
        if NAMESPACE in run("ip", "netns", "list", check=False).stdout.split():
            run("ip", "netns", "delete", NAMESPACE, check=False)
        shutil.rmtree(DIRECTORY, ignore_errors=True)

    @staticmethod
    def _kill_leftover():
        try:
            pid, start_time = json.loads(PID_FILE.read_text())
        except (OSError, ValueError):
            return
        if _start_time(pid) == start_time:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: _start_time(pid) != start_time, 5, f"end of process {pid}")

    def _initrd(self, made):
        """The image, and behind it an archive of what this run brings along."""
        with tempfile.TemporaryDirectory(dir=DIRECTORY) as work:
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
            shutil.copyfile(ROOT / "scripts/nic", binaries / "nic")
            (binaries / "nic").chmod(0o755)
            (root / "init").write_text(INIT)
            (root / "init").chmod(0o755)
            own = DIRECTORY / "own.cpio"
            guest_image.pack(root, own)
        initrd = DIRECTORY / "initrd"
        with open(initrd, "wb") as out:
            for part in (made.archive, own):
                with open(part, "rb") as source:
                    shutil.copyfileobj(source, out)
                out.write(b"\0" * (-out.tell() % 512))
        return initrd

    def _make_network(self):
        run("ip", "netns", "add", NAMESPACE)
        run("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
        for number, nic in enumerate(self.nics):
            flags = ["multi_queue"] if nic.queues > 1 else []
            run("ip", "-n", NAMESPACE, "tuntap", "add", "mode", "tap", "name", nic.name, *flags)
            run("ip", "-n", NAMESPACE, "address", "add", f"{self.client_v4(number)}/24", "dev", nic.name)
            run("ip", "-n", NAMESPACE, "address", "add", f"{self.client_v6(number)}/64", "dev", nic.name, "nodad")
            run("ip", "-n", NAMESPACE, "link", "set", nic.name, "up")

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
                   "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable net.ifnames=0"
                   + (" intel_iommu=on" if self.iommu else ""),
                   "-serial", f"file:{DIRECTORY}/console", "-chardev",
                   f"socket,id=line,path={DIRECTORY}/line,server=on,wait=off", "-serial", "chardev:line",
                   "-qmp", f"unix:{DIRECTORY}/qmp,server=on,wait=off"]
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
        log = open(DIRECTORY / "qemu.log", "ab")
        self.qemu = subprocess.Popen(["ip", "netns", "exec", NAMESPACE, *map(str, command)], stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log, start_new_session=True,
                                     preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
        log.close()
        PID_FILE.write_text(json.dumps([self.qemu.pid, _start_time(self.qemu.pid)]))

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
                connection.connect(str(DIRECTORY / name))
                return connection
            except OSError:
                if time.monotonic() > deadline:
                    raise WorldError(f"QEMU opens no socket {name}") from None
                time.sleep(0.05)

    def _still_runs(self):
        if self.qemu.poll() is not None:
            raise WorldError(f"QEMU ended: {(DIRECTORY / 'qemu.log').read_text()[-2000:]}\n{self.console()}")

    def console(self, lines=40):
        try:
            text = (DIRECTORY / "console").read_text(errors="replace")
        except OSError:
            return ""
        return "--- the guest's console\n" + "\n".join(text.splitlines()[-lines:])

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
        return run("ip", "netns", "exec", NAMESPACE, *command, check=check, timeout=timeout)

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
