"""The hottest names of running programs: what `pharosctl names` says of a load whose shares are known."""

from e2e import WorldTest, dnsperf, main, wait_until

# Of five queries: three for one name, one in another case than the zone's, one that does not exist.
LOAD = [("static.example.org", "A")] * 3 + [("Mail.example.org", "A"), ("none.example.org", "A")]


class NamesTest(WorldTest):
    world_name = "names"

    def test_rates_shares_and_outcomes_are_those_of_the_load(self):
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client().ask("static.example.org", timeout_s=0.2) is not None, 20, "an answer")
        figures = dnsperf(self.world, LOAD, 6, 5000)
        told = self.world.ctl("names", "--rows", "5")
        self.assertLess(told["samples"], figures["sent"], "not each query is a sample")
        rows = {row["name"]: row for row in told["names"]}
        self.assertEqual(told["names"][0]["name"], "static.example.org.")
        for name, share in (("static.example.org.", 0.6), ("mail.example.org.", 0.2), ("none.example.org.", 0.2)):
            self.assertAlmostEqual(rows[name]["share"], share, delta=0.05, msg=name)
        self.assertAlmostEqual(told["per_second"], figures["sent"] / 6, delta=figures["sent"] / 6 * 0.2)
        self.assertEqual(rows["none.example.org."]["nxdomain_share"], 1)
        self.assertEqual(rows["static.example.org."]["nxdomain_share"], 0)
        gauges = self.world.ctl("--dataplane", "stats")["gauges"]
        self.assertAlmostEqual(gauges["hot_names_share_of_1"], 0.6, delta=0.05)


if __name__ == "__main__":
    main(required_tools=("dnsperf",))
