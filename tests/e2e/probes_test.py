"""Agents of several sites look at an endpoint of another: their quorum takes it out of the answers, and explain says who saw what."""

import unittest

from e2e import SITES, WorldTest, main, site_address, wait_until


class ProbesTest(WorldTest):
    world_name = "probes"

    def probe_from(self, site, target):
        """Makes the agent of `site` look at www/`target`: it is well while a file is there."""
        world = self.world.directory
        mark = world / f"{site}-sees-{target}"
        mark.touch()
        agent = world / f"agent-{site}.yaml"
        agent.write_text(agent.read_text() +
                         f"probes:\n  - service: www\n    id: {target}\n"
                         f"    check: {{exec: [/usr/bin/test, -e, {mark}], interval: 100ms, timeout: 5s, rise: 2}}\n")
        return mark

    def test_a_quorum_of_sites_takes_an_endpoint_out_and_back(self):
        others = [site for site in SITES if site != "fra"]
        marks = {site: self.probe_from(site, "fra") for site in others}
        self.start_all()
        wait_until(lambda: self.verdict().get("looking") == len(others), 20, "every vantage point has looked")
        self.assertEqual(self.verdict()["state"], "up")

        marks[others[0]].unlink()
        wait_until(lambda: self.verdict()["bad"] == 1, 20, "one of them finds it down")
        self.assertEqual(self.verdict()["state"], "up", "one is no majority")
        self.assertIn("fra", self.sites())

        for site in others[1:]:
            marks[site].unlink()
        wait_until(lambda: "fra" not in self.sites(), 20, "fra leaves the answers")
        told = self.world.ctl("explain", "--name", "www.example.org", "--client", "198.18.1.10")
        fra = next(f for f in told["factors"] if f["endpoint"] == "fra")
        self.assertEqual(fra["state"], "down")
        for site in others:
            self.assertIn(site, fra["reason"])
        row = next(s for s in self.world.ctl("--controlplane", "sites") if s["id"] == "fra")
        self.assertEqual(row["state"], "up", "its own beacons say that all is well")

        for mark in marks.values():
            mark.touch()
        wait_until(lambda: "fra" in self.sites(), 30, "fra is back")
        self.assertIn(site_address("fra"), self.ask("www.example.org").addresses)

    def verdict(self):
        return next((row for row in self.world.ctl("probes", "www") if row["endpoint"] == "fra"), {})


if __name__ == "__main__":
    main()
