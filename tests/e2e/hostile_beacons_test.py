"""Beacons that lie: forged, replayed, cut, bit-flipped. Each is dropped and counted, and nothing changes (promise 10).

True beacons are caught from an agent that is pointed at a socket of ours; so the test needs no keys.
"""

import random
import signal
import socket
import time
import unittest

from e2e import RESPONDER_V4, SITES, WorldTest, main, namespace, wait_until
from world import BEACON_PORT


HEADER_BYTES = 52  # include/pharos/wire/beacon.hh


class HostileBeaconsTest(WorldTest):
    world_name = "hostile"

    def setUp(self):
        super().setUp()
        with namespace(self.world.ns("fra")):
            self.catcher = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.catcher.bind(("198.18.10.1", 0))
        self.catcher.settimeout(10)
        self.addCleanup(self.catcher.close)
        with namespace(self.world.ns("client")):
            self.attacker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.attacker.connect((RESPONDER_V4, BEACON_PORT))
        self.addCleanup(self.attacker.close)
        # The agent of fra also sends its beacons to us: what an attacker on the path would have.
        config = self.world.directory / "agent-fra.yaml"
        host, port = self.catcher.getsockname()
        config.write_text(config.read_text().replace(
            "responders:\n", f"responders:\n  - beacon: {host}:{port}\n"))
        self.start_all()

    def counters(self):
        """All beacon verdicts by name."""
        return self.world.ctl("--controlplane", "stats")["counters"]

    def counter(self, name):
        matches = [v for k, v in self.counters().items() if k == name or k.endswith("_" + name)]
        self.assertEqual(len(matches), 1, f"one counter is called {name}: {sorted(self.counters())}")
        return matches[0]

    def expect_counted(self, name, datagrams):
        """Sends the datagrams; the counter grows by exactly their number, and the answers stay as they were."""
        answers = {locale: self.sites(locale) for locale in ("eu", "us", "asia")}
        version = self.world.ctl("--dataplane", "status")["version_in_use"]
        before = self.counter(name)
        for datagram in datagrams:
            self.attacker.send(datagram)
        wait_until(lambda: self.counter(name) >= before + len(datagrams), 5, f"{len(datagrams)} counted as {name}")
        self.assertEqual(self.counter(name), before + len(datagrams))
        self.assertEqual({locale: self.sites(locale) for locale in answers}, answers)
        self.assertEqual(self.world.ctl("--dataplane", "status")["version_in_use"], version)
        self.assertTrue(all(s["state"] == "up" for s in self.world.ctl("--controlplane", "sites")))

    def catch(self):
        """The newest true beacon of fra."""
        self.catcher.setblocking(False)
        try:
            while True:
                self.catcher.recv(2048)
        except BlockingIOError:
            pass
        self.catcher.settimeout(10)
        return self.catcher.recv(2048)

    def test_each_lie_is_dropped_and_counted(self):
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        beacon = self.catch()

        flipped = []
        for _ in range(50):  # behind the header, which decides length and key: so that the MAC is what refuses
            bit = chance.randrange(HEADER_BYTES * 8, len(beacon) * 8)
            copy = bytearray(beacon)
            copy[bit // 8] ^= 1 << (bit % 8)
            flipped.append(bytes(copy))
        self.expect_counted("bad_mac", flipped)
        forged = bytes(beacon[:-16]) + bytes(chance.randrange(256) for _ in range(16))
        self.expect_counted("bad_mac", [forged])

        before = self.counter("malformed")
        self.attacker.send(beacon[:20])
        wait_until(lambda: self.counter("malformed") == before + 1, 5, "a stump is malformed")
        refused_before = sum(self.counters_of_refusals().values())
        cuts = [beacon[:length] for length in range(1, len(beacon), 7)]
        for cut in cuts:
            self.attacker.send(cut)
        wait_until(lambda: sum(self.counters_of_refusals().values()) >= refused_before + len(cuts), 5, "cuts counted")

        wait_until(lambda: self.catch() != beacon, 5, "a newer beacon")
        self.expect_counted("replayed", [beacon] * 20)

    def counters_of_refusals(self):
        names = ("malformed", "unknown_site", "unknown_key", "bad_mac", "invalid")
        return {k: v for k, v in self.counters().items() if any(k == n or k.endswith("_" + n) for n in names)}

    def test_a_replay_does_not_keep_a_dead_site_alive(self):
        beacons = [self.catch() for _ in range(5)]
        self.world.stop("agent-fra", signal.SIGKILL)
        def gone():
            for beacon in beacons:
                self.attacker.send(beacon)
            return "fra" not in self.sites()
        wait_until(gone, 3, "fra leaves in spite of replays")

    def test_a_flood_delays_neither_dns_nor_true_beacons(self):
        chance = random.Random(7)
        noise = [bytes(chance.randrange(256) for _ in range(chance.randrange(1, 1200))) for _ in range(64)]
        beacon = self.catch()
        deadline = time.monotonic() + 4
        sent = 0
        while time.monotonic() < deadline:
            for datagram in noise:
                self.attacker.send(datagram)
            self.attacker.send(beacon)
            sent += len(noise) + 1
            if sent % 650 == 0:
                self.assertIsNotNone(self.client().ask("www.example.org", timeout_s=0.5), "DNS goes on")
        self.assertGreater(sent, 5000)
        self.assertEqual(len(self.sites()), len(SITES))
        self.assertTrue(all(s["state"] == "up" for s in self.world.ctl("--controlplane", "sites")))


if __name__ == "__main__":
    main()
