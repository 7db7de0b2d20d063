"""The programs that lanes measure: pharos-dataplane on tables from disk, and testpmd as the floor.

Each runs for one window and is stopped; all that it leaves lies in the folder that it was given.
"""
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

ADDRESS = "192.0.2.53"
MAC = "02:00:5e:00:53:35"


def control(path, command):
    """A command of a control socket (controlplane/ctl/README.md)."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        body = json.dumps({"protocol": 1, "command": command, "arguments": {}}).encode()
        peer.sendall(struct.pack("!I", len(body)) + body)
        reader = peer.makefile("rb")
        response = json.loads(reader.read(struct.unpack("!I", reader.read(4))[0]))
    if not response["ok"]:
        sys.exit(f"{path}: {command}: {response['error']}")
    return response["result"]


def stop(process):
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(condition, what, limit_s=60, process=None, interval_s=0.02):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            sys.exit(f"{what}: the program ended with {process.returncode}")
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(interval_s)
    sys.exit(f"{what}: not within {limit_s} s")


def settled(read_counters, moving, limit_s=60):
    """Waits until the counter `moving` moves: the port is up and frames come in."""
    first = read_counters().get(moving, 0)
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if read_counters().get(moving, 0) > first:
            return
    sys.exit(f"no frame came in within {limit_s} s (counter '{moving}')")


class Dataplane:
    """pharos-dataplane with one port, starting alone from a copy of the tables in `state`.

    `cores`: of its workers; `queues`: one for each of them, or as many as are told; `extra`: more lines of the configuration's section `dataplane`; `prefix`: a
    command that runs it. Without a `device` it listens at `listen` alone.
    """

    def __init__(self, options, work, state, device, descriptors=1024, memory_mib=512, extra="", idle="poll",
                 address=ADDRESS, cores=None, queues=None, namespace=None, prefix=(), listen=None):
        self.options, self.work, self.namespace, self.prefix = options, work, namespace, prefix
        cores, worker_cores = cores or [options.core], ""
        if queues is None or queues == len(cores):
            worker_cores = f"  worker_cores: {cores}\n"
        else:  # cores that are listed must be as many as queues; a worker serves several where the process has fewer
            self.prefix = [*prefix, "taskset", "-c", ",".join(map(str, sorted({options.control_core, *cores})))]
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "state").exists():
            shutil.copytree(state, work / "state")
            os.chmod(work / "state", 0o750)
        huge = "automatic" if options.huge else "never"
        text = (f"run_directory: {work}/run\nstate_directory: {work}/state\nlog_level: warning\n"
                f"dataplane:\n  huge_pages: {huge}\n  memory: {memory_mib}MiB\n"
                f"  control_core: {options.control_core}\n{worker_cores}  beacon_port: 0\n{extra}")
        if listen:
            text += f"  listen: [\"{listen}\"]\n"
        if device:
            text += (f"  ports:\n    - id: lane\n      device: \"{device}\"\n      addresses: [{address}]\n"
                     f"      queues: {queues or len(cores)}\n      receive_descriptors: {descriptors}\n"
                     f"      transmit_descriptors: {descriptors}\n      promiscuous: true\n      idle: {idle}\n")
        (work / "pharos.yaml").write_text(text)

    def launch(self):
        """Starts it; it may not answer yet."""
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        with open(self.work / "log", "ab") as log:  # libbpf talks on stderr
            self.process = subprocess.Popen([*inside, *map(str, self.prefix),
                                             self.options.build / "dataplane/pharos-dataplane", "--config",
                                             self.work / "pharos.yaml"], stdout=log, stderr=log)
        self.read = self.work / "run/dataplane.read.sock"

    def start(self):
        self.launch()
        try:
            wait_until(lambda: self.read.exists() and control(self.read, "status")["state"] == "running",
                       "pharos-dataplane with tables", process=self.process)
        except SystemExit:
            print((self.work / "log").read_text(errors="replace")[-2000:], file=sys.stderr)
            raise

    def counters(self):
        return control(self.read, "stats")["counters"]

    def busy_cycles(self):
        return sum(core.get("busy_cycles", 0) for core in control(self.read, "stats")["cores"])

    def moved(self, seconds):
        """What each counter gained a second, over a window of `seconds`; `busy_cycles`, too."""
        settled(self.counters, "answered")
        def all_counters():
            return self.counters() | {"busy_cycles": self.busy_cycles()}

        first, first_at = all_counters(), time.monotonic()
        time.sleep(seconds)
        last, last_at = all_counters(), time.monotonic()
        return {name: (last[name] - first[name]) / (last_at - first_at) for name in last if last[name] != first[name]}

    def stop(self):
        stop(self.process)

    def window(self, seconds):
        self.start()
        try:
            return self.moved(seconds)
        finally:
            self.stop()


class Testpmd:
    """testpmd in a forwarding mode on one device. It ends at a line on stdin and draws its rates on stdout."""

    def __init__(self, options, device, mode="5tswap", descriptors=1024, memory_mib=512, queues=1, cores=None, mbufs=None,
                 eal=(), arguments=()):
        self.options = options
        cores = cores or [options.core]
        workers = "".join(f",{number}@{core}" for number, core in enumerate(cores, 1))
        self.command = ["dpdk-testpmd", "--lcores", f"0@{options.control_core}{workers}", "-m",
                        str(memory_mib), "--file-prefix", f"pharos-lane-{os.getpid()}", "--no-pci", "--vdev", device]
        self.command += ["--log-level", "error", *(["--in-memory"] if options.huge else ["--no-huge", "--no-shconf"]),
                         *eal, "--", f"--forward-mode={mode}", "--burst=64", f"--nb-cores={len(cores)}",
                         f"--rxq={queues}", f"--txq={queues}", f"--rxd={descriptors}", f"--txd={descriptors}",
                         f"--total-num-mbufs={mbufs or 8 * descriptors - 1}", "--no-flush-rx", "--stats-period=1",
                         *arguments]

    def window(self, seconds, field="Rx-pps"):
        """The median of its own rates of one second each; the first holds the start and does not count."""
        process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, errors="replace")
        rates, deadline = [], time.monotonic() + seconds + 40
        try:
            for line in process.stdout:
                found = re.search(rf"{field}:\s+(\d+)", line)
                if found and int(found[1]) > 0:
                    rates.append(int(found[1]))
                if len(rates) > seconds + 1 or time.monotonic() > deadline:
                    break
        finally:
            stop(process)
        if len(rates) < 2:
            sys.exit("testpmd told no rates; its command: " + " ".join(map(str, self.command)))
        return statistics.median(rates[1:])
