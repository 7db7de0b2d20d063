"""kxdpgun, many at a time, of which one sends: queries at a fixed rate that bypass the client's kernel.

kxdpgun takes three seconds for a window of one: it waits a second before it sends, and listens for one behind. So all
of a round are launched together and held (SIGSTOP) while they wait. Each in its turn is let go, sends at once, and the
next one begins while it listens to an empty interface.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import veth

SECONDS = 1      # of a window; kxdpgun knows whole seconds alone
HOLD_S = 0.5     # after launch: it is ready, and sends half a second later
LATE_S = 0.9
WAITED_S = 1.05  # after launch: it has nothing more to wait for
SETTLE_S = 0.06  # after a window: for what is under way
ENDS_S = 10
TRIES = 5        # the kernel may still take down the XDP socket of the last window


class Gun:
    def __init__(self, lane, contestant, rate):
        self.lane, self.contestant, self.rate, self.tries = lane, contestant, max(int(rate), 100), 0
        self.launch()

    def launch(self):
        self.tries += 1
        self.launched = time.monotonic()
        core = str(self.lane.options.control_core)
        self.told = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.contestant.network.client, *veth.PRIORITY, "taskset", "-c", core, "kxdpgun", "-i",
             str(self.lane.work / "queries"), "-I", "c0", "-l", veth.CLIENT, "-L", veth.CLIENT_MAC, "-R",
             self.contestant.mac, "-Q", str(self.rate), "-b", "10", "-t", str(SECONDS), "-F", core, veth.SERVER],
            stdout=self.told, stderr=subprocess.STDOUT)

    def hold(self):
        """Launched again where it says that it has failed, or where it may have begun to send."""
        while True:
            time.sleep(max(0.0, self.launched + HOLD_S - time.monotonic()))
            if self.process.poll() is None and "error" not in self.text():
                os.kill(self.process.pid, signal.SIGSTOP)
                if time.monotonic() - self.launched < LATE_S:
                    return
            told = self.stop()
            if self.tries == TRIES:
                sys.exit(f"kxdpgun on the way to {self.contestant.name}: {told}")
            time.sleep(0.3)
            self.launch()

    def fire(self):
        """One window, from its first query until the last answers have had their time."""
        os.kill(self.process.pid, signal.SIGCONT)
        time.sleep(SECONDS + SETTLE_S)

    def result(self):
        """Sent and received a second."""
        self.process.wait(ENDS_S)
        told = self.text()
        sent = re.search(r"total queries:\s+(\d+)", told)
        received = re.search(r"total replies:\s+(\d+)", told)
        if sent is None or received is None:
            sys.exit(f"kxdpgun said nothing that is known here: {told}")
        return int(sent[1]) / SECONDS, int(received[1]) / SECONDS

    def text(self):
        self.told.seek(0)
        return self.told.read()

    def stop(self):
        self.process.kill()
        self.process.wait()
        return self.text()


def volley(lane, rates, fired=lambda gun, fire: fire()):
    """A window of each contestant of `rates`, one behind another. `fired` is called for each, with the function that fires.
    Returns contestant -> sent and received a second."""
    guns = []
    try:
        for contestant, rate in rates.items():
            guns.append(Gun(lane, contestant, rate))
        for gun in guns:
            gun.hold()
        for gun in guns:
            time.sleep(max(0.0, gun.launched + WAITED_S - time.monotonic()))
            gun.contestant.wake()
            fired(gun, gun.fire)
            gun.contestant.sleep()
        return {gun.contestant: gun.result() for gun in guns}
    finally:
        for gun in guns:
            gun.stop()


class Search:
    """The highest rate that loses next to nothing, by steps up and down (Dixon and Mood, 1948): up after a window without loss,
    down after one with; what is stepped around in the end is the rate at which half of the windows lose some. A window that the
    machine spoils is one step, not the end of the search.

    It begins at what came back of a flood, which is less than many can do (they spend themselves on what they lose), and goes on
    in large steps until it has turned for the first time; only windows from there on are figures."""

    STEP_BEGIN = 0.1
    STEPS = (0.05, 0.03)  # behind the first and the second turn
    STEP = 0.02           # behind all others; twice that after three in one direction, and so on
    AFTER_FLOOD = 0.93
    REACHED = 0.98        # of the rate: less sent is all that the generator can

    def __init__(self, flood):
        self.rate, self.windows, self.direction, self.run, self.turns = flood, [], 0, 0, 0
        self.begin = None  # of the figures: the window that turned, or in which the generator gave all that it can
        self.generator_limits = 0

    def learn(self, sent, received, loss):
        """What is told of a window at `rate`; sets the next one."""
        self.windows.append(min(self.rate, sent))
        if len(self.windows) == 1:  # the flood
            self.rate = self.AFTER_FLOOD * received
            return
        free = received >= sent * (1 - loss)
        direction = 1 if free else -1
        self.turns += self.direction == -direction
        self.run = self.run + 1 if direction == self.direction else 1
        self.direction = direction
        if free and sent < self.REACHED * self.rate:
            self.generator_limits += 1
            self.rate = sent
        if self.begin is None and (self.turns or self.generator_limits):
            self.begin = len(self.windows) - 1
        self.rate = max(self.rate * (1 + direction * self.step()), 1000)

    def step(self):
        if not self.turns:
            return self.STEP_BEGIN
        if self.turns <= len(self.STEPS):
            return self.STEPS[self.turns - 1]
        return min(self.STEP * 2 ** ((self.run - 1) // 3), 0.3)

    @property
    def figures(self):
        """One a round; None before the rate is known."""
        begin = len(self.windows) if self.begin is None else self.begin
        return [rate if number >= begin else None for number, rate in enumerate(self.windows)]
