"""Either daemon dies; answers go on, and what comes back continues where it was (promises 1 and 6)."""

import signal
import subprocess
import sys
import time
import unittest

from e2e import RESPONDER_V4, SITES, WorldTest, dnsperf, main, wait_until


class CrashTest(WorldTest):
    world_name = "crash"

    def setUp(self):
        super().setUp()
        self.start_all()

    def in_use(self):
        version = self.world.ctl("--dataplane", "status")["version_in_use"]
        return version["epoch"], version["generation"]

    def test_answers_outlive_the_control_plane(self):
        load = subprocess.Popen(
            ["ip", "netns", "exec", self.world.ns("client"), "dnsperf", "-s", RESPONDER_V4, "-d", self.queries(),
             "-l", "6", "-Q", "20000", "-q", "200"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: load.poll() is None and load.kill())
        time.sleep(1.5)
        self.world.stop("controlplane", signal.SIGKILL)
        # Asked of the dead one's last tables: until then a late beacon may have changed them, as it should.
        version = self.in_use()
        before = {locale: self.sites(locale) for locale in ("eu", "us", "asia")}
        for site in SITES:  # with nobody to tell, dead sites change nothing
            self.world.stop(f"agent-{site}", signal.SIGKILL)
        text = load.communicate(timeout=30)[0]
        self.assertRegex(text[text.index("Statistics:"):], r"Queries lost:\s+0 ")
        self.assertGreater(int(text.split("Queries sent:")[1].split()[0]), 60_000, "the load was a load")
        self.assertEqual({locale: self.sites(locale) for locale in before}, before)
        self.assertEqual(self.in_use(), version)

        for site in SITES:
            self.world.start_agent(site)
        self.world.start_controlplane()
        self.wait_all_up()
        wait_until(lambda: self.world.ctl("--dataplane", "status")["controlplane_connected"], 10, "it reconnects")
        self.world.ctl("endpoints", "drain", "www/sin")
        wait_until(lambda: "sin" not in self.sites(), 5, "it steers again")
        epoch, generation = self.in_use()
        self.assertEqual(epoch, version[0], "the epoch stays: nothing was forgotten")
        self.assertGreater(generation, version[1], "generations grow on")

    def test_answers_outlive_a_control_plane_that_stands_still(self):
        before = {locale: self.sites(locale) for locale in ("eu", "us", "asia")}
        load = subprocess.Popen(
            ["ip", "netns", "exec", self.world.ns("client"), "dnsperf", "-s", RESPONDER_V4, "-d", self.queries(),
             "-l", "5", "-Q", "20000", "-q", "200"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: load.poll() is None and load.kill())
        controlplane = self.world.processes["controlplane"]
        controlplane.send_signal(signal.SIGSTOP)
        self.addCleanup(lambda: controlplane.poll() is None and controlplane.send_signal(signal.SIGCONT))
        text = load.communicate(timeout=30)[0]
        self.assertRegex(text[text.index("Statistics:"):], r"Queries lost:\s+0 ")
        self.assertGreater(int(text.split("Queries sent:")[1].split()[0]), 50_000, "the load was a load")
        self.assertEqual({locale: self.sites(locale) for locale in before}, before)

        # Some 25 beacons of each site went by meanwhile: who did not listen blames nobody.
        controlplane.send_signal(signal.SIGCONT)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            self.assertEqual(sorted(self.sites()), sorted(SITES))
            time.sleep(0.05)
        states = {site["id"]: site["state"] for site in self.world.ctl("--controlplane", "sites")}
        self.assertEqual(states, {site: "up" for site in SITES})
        self.world.ctl("endpoints", "drain", "www/sin")
        wait_until(lambda: "sin" not in self.sites(), 5, "it steers again")

    def queries(self):
        path = self.world.directory / "queries"
        path.write_text("www.example.org A\nstatic.example.org A\n")
        return path

    def test_the_data_plane_starts_alone_with_its_last_tables(self):
        self.world.stop("agent-fra", signal.SIGKILL)
        wait_until(lambda: "fra" not in self.sites(), 10, "fra leaves")
        before = {locale: self.sites(locale) for locale in ("eu", "us", "asia")}
        version = self.in_use()
        time.sleep(1)  # tables are saved within 100 ms of a change, behind the answers
        self.world.stop("controlplane", signal.SIGKILL)
        version = self.in_use()
        self.world.stop("dataplane", signal.SIGKILL)
        self.assertIsNone(self.client().ask("www.example.org", timeout_s=0.3))

        self.world.start_dataplane()
        wait_until(lambda: self.client().ask("www.example.org", timeout_s=0.3), 10, "it answers")
        self.assertEqual({locale: self.sites(locale) for locale in before}, before, "fra is still out")
        self.assertEqual(sorted(self.ask("static.example.org").addresses), ["192.0.2.80", "192.0.2.81"])
        self.assertEqual(self.in_use(), version)

        self.world.start_controlplane()
        self.world.start_agent("fra")
        self.wait_all_up()
        self.assertGreater(self.in_use(), version)

    def test_a_lost_database_starts_a_new_epoch_that_is_adopted(self):
        version = self.in_use()
        self.world.stop("controlplane", signal.SIGKILL)
        database = next(self.world.state_directory.rglob("controlplane.db"))
        database.write_bytes(b"this is no database" * 100)
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        self.world.start_controlplane()
        self.wait_all_up()
        wait_until(lambda: self.in_use() > version, 10, "a newer version is in use")
        self.assertGreater(self.in_use()[0], version[0])
        self.assertEqual(len(self.sites()), 3)


if __name__ == "__main__":
    main(required_tools=("dnsperf",))
