"""Programs and configuration are replaced while queries come: none is lost but those that meet a port that is down (promise 11)."""

import subprocess
import sys
import time
import unittest

from e2e import RESPONDER_V4, WorldTest, main, wait_until
from world import default_services

RATE = 4000


class ReplaceTest(WorldTest):
    world_name = "replace"

    def setUp(self):
        super().setUp()
        self.start_all()
        self.queries = self.world.directory / "queries"
        self.queries.write_text("www.example.org A\nstatic.example.org A\nnothing.example.org A\n")

    def figures_while(self, act, seconds):
        """dnsperf's figures of a load that goes on for so long; `act` runs in the middle of it."""
        load = subprocess.Popen(
            ["ip", "netns", "exec", self.world.ns("client"), "dnsperf", "-s", RESPONDER_V4, "-d", self.queries, "-l", str(seconds),
             "-Q", str(RATE), "-q", "200", "-t", "1"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: load.poll() is None and load.kill())
        time.sleep(seconds / 6)
        act()
        self.assertIsNone(load.poll(), "the load outlasted it")
        text = load.communicate(timeout=seconds + 30)[0]
        text = text[text.index("Statistics:"):]
        count = lambda what: int(text.split(what)[1].split()[0])
        self.assertGreater(count("Queries sent:"), RATE * seconds / 3, "the load was a load")
        self.assertNotIn("SERVFAIL", text)
        self.assertNotIn("REFUSED", text)
        return count("Queries sent:"), count("Queries lost:")

    def change_configuration(self):
        """Reloads of both daemons that change zones, services and what the packet path does with client subnets."""
        services, zone = default_services(), self.world.zone_file.read_text()
        for turn in range(3):
            self.world.zone_file.write_text(zone + f"fresh{turn} IN A 192.0.2.{90 + turn}\n")
            self.world.services = services.replace("ttl_floor: 1s", f"ttl_floor: {turn + 1}s")
            self.world.dataplane_extra = "  ecs: " + ("ignore", "all", "ignore")[turn] + "\n"
            self.world.write_config()
            self.assertTrue(self.world.ctl("--controlplane", "reload")["changed"])
            self.world.ctl("--dataplane", "reload")
            wait_until(lambda t=turn: self.ask(f"fresh{t}.example.org").addresses == [f"192.0.2.{90 + t}"], 5, "the new record is served")

    def replace_controlplane(self):
        version = self.in_use()
        self.world.stop("controlplane")
        self.world.start_controlplane()
        wait_until(lambda: self.world.ctl("--dataplane", "status")["controlplane_connected"], 10, "it is connected")
        self.world.ctl("endpoints", "drain", "www/sin")
        wait_until(lambda: "sin" not in self.sites(), 5, "it steers")
        self.assertGreater(self.in_use(), version)
        self.world.ctl("endpoints", "auto", "www/sin")

    def in_use(self):
        version = self.world.ctl("--dataplane", "status")["version_in_use"]
        return version["epoch"], version["generation"]

    def test_neither_reloads_nor_a_new_control_plane_lose_a_query(self):
        for act, seconds in ((self.change_configuration, 12), (self.replace_controlplane, 12)):
            with self.subTest(act.__name__):
                sent, lost = self.figures_while(act, seconds)
                print(f"\n{act.__name__}: {lost} of {sent} queries lost", file=sys.stderr)
                self.assertEqual(lost, 0)

    def test_a_new_data_plane_loses_what_meets_a_port_that_is_down(self):
        before = {locale: self.sites(locale) for locale in ("eu", "us", "asia")}
        gap_s = 0.0

        def replace():
            nonlocal gap_s
            last = time.monotonic()
            self.world.stop("dataplane")
            self.world.start_dataplane()
            while self.client().ask("www.example.org", timeout_s=0.05) is None:
                self.assertLess(time.monotonic() - last, 10, "it answers again")
            gap_s = time.monotonic() - last
        sent, lost = self.figures_while(replace, 15)
        print(f"\na new data plane: {lost} of {sent} queries lost, {gap_s * 1000:.0f} ms without a port", file=sys.stderr)
        # dnsperf holds back while 200 of its queries have no answer, and gives each up after 5 s.
        self.assertLessEqual(lost, 200 * (1 + gap_s / 5) + 1)
        self.assertLess(gap_s, 5)
        self.assertEqual({locale: self.sites(locale) for locale in before}, before, "and it starts with the tables that were in use")


if __name__ == "__main__":
    main(required_tools=("dnsperf",))
