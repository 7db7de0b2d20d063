"""Runs in the guest as its first process and does what the other end of the second serial line says.

One JSON object a line: {"id": 1, "run": ["ip", "link"], "timeout": 10} runs a program and answers
{"id": 1, "code": 0, "out": "...", "err": "..."}; {"id": 2, "start": "NAME", "run": [...]} starts one that stays, with its
output in /tmp/NAME.log, and answers at once; {"id": 3, "alive": "NAME"} answers code 0 while it runs; {"id": 4, "stop":
"NAME", "timeout": 10} ends it and tells its exit status.
"""

import json
import os
import py_compile
import signal
import subprocess
import termios
import tty

LINE = "/dev/ttyS1"
MOUNTS = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp")]


def mount_all():
    for kind, where in MOUNTS:
        os.makedirs(where, exist_ok=True)
        subprocess.run(["/bin/busybox", "mount", "-t", kind, kind, where], check=False)
    os.makedirs("/dev/hugepages", exist_ok=True)
    subprocess.run(["/bin/busybox", "mount", "-t", "hugetlbfs", "none", "/dev/hugepages"], check=False)


def execute(message, running):
    if "start" in message:
        log = open(f"/tmp/{message['start']}.log", "ab")
        running[message["start"]] = subprocess.Popen(message["run"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                     start_new_session=True)
        return {"code": 0}
    if "alive" in message:
        return {"code": 0 if running[message["alive"]].poll() is None else 1}
    if "stop" in message:
        process = running.pop(message["stop"])
        process.send_signal(signal.SIGTERM)
        try:
            return {"code": process.wait(message["timeout"])}
        except subprocess.TimeoutExpired:
            process.kill()
            return {"code": process.wait(), "err": "did not end on SIGTERM"}
    done = subprocess.run(message["run"], stdin=subprocess.DEVNULL, capture_output=True, timeout=message["timeout"],
                          check=False)
    return {"code": done.returncode, "out": done.stdout.decode(errors="replace"),
            "err": done.stderr.decode(errors="replace")}


def main():
    os.environ.update(PATH="/opt/pharos/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG="C.UTF-8", HOME="/root")
    mount_all()
    py_compile.compile("/opt/pharos/nic.py", cfile="/opt/pharos/nic.pyc", doraise=True)
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    attributes = termios.tcgetattr(line)
    attributes[4] = attributes[5] = termios.B115200
    termios.tcsetattr(line, termios.TCSANOW, attributes)
    running = {}
    with os.fdopen(line, "r+b", buffering=0) as channel:
        channel.write(b'{"ready": true}\n')
        text = b""
        while True:
            text += channel.read(4096)
            while b"\n" in text:
                one, _, text = text.partition(b"\n")
                message = json.loads(one)
                try:
                    answer = execute(message, running)
                except (OSError, KeyError, subprocess.SubprocessError) as error:
                    answer = {"code": -1, "err": f"{type(error).__name__}: {error}"}
                channel.write(json.dumps({"id": message["id"], **answer}).encode() + b"\n")


if __name__ == "__main__":
    main()
