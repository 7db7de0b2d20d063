"""SRV, SVCB and HTTPS of a service as dig shows them, and as they follow an endpoint that is taken out."""

from e2e import SITES, WorldTest, main, site_address, wait_until


def services():
    endpoints = "".join(
        f"      - {{id: {site}, site: {site}, addresses: [{site_address(site)}, "
        f"\"2001:db8:f::{octet}\"], port: 443, weight: 3}}\n" for site, (_, _, _, octet) in SITES.items())
    return f"""\
  - id: www
    names: [www.example.org]
    alias_names: example.org
    srv: _https._tcp
    https: 443
    svcb: _dns
    parameters: {{alpn: [h2, h3]}}
    ttl_floor: 1s
    ttl_ceiling: 20s
    endpoints:
{endpoints}"""


class RecordsTest(WorldTest):
    world_name = "records"
    world_options = {"services": services()}

    def setUp(self):
        super().setUp()
        self.start_all()

    def dig(self, name, rrtype, *more):
        """The records of the answer section, each as dig prints its data."""
        text = self.world.dig(name, rrtype, "+short", *more)
        return [line.strip() for line in text.splitlines() if line.strip()]

    def test_dig_shows_the_ranking_in_every_type(self):
        parameters = ('alpn="h2,h3"', "port=443", f"ipv4hint={site_address('fra')}")
        srv = self.dig("_https._tcp.www.example.org", "SRV")
        self.assertEqual(srv[0], "1 3 443 fra.www.example.org.")
        self.assertEqual([line.split()[0] for line in srv], ["1", "2", "3"])
        for rrtype, name in (("HTTPS", "www.example.org"), ("SVCB", "_dns.www.example.org")):
            records = self.dig(name, rrtype)
            self.assertEqual(len(records), 3)
            self.assertTrue(records[0].startswith("1 fra.www.example.org. "), records[0])
            for part in parameters:
                self.assertIn(part, records[0])
        self.assertEqual(self.dig("example.org", "HTTPS"), ["0 www.example.org."])
        self.assertEqual(self.dig("nyc.www.example.org", "A"), [site_address("nyc")])

        whole = self.world.dig("_https._tcp.www.example.org", "SRV")
        self.assertIn("ADDITIONAL SECTION", whole)
        for site in SITES:
            self.assertIn(site_address(site), whole)

        told = self.world.ctl("explain", "--name", "_https._tcp.www.example.org", "--type", "SRV",
                              "--client", "198.18.1.10")
        self.assertEqual([f"{a['priority']} {a['weight']} {a['port']} {a['target']}" for a in told["answers"]], srv)

    def test_what_is_taken_out_leaves_them_all(self):
        self.world.ctl("endpoints", "down", "www/fra")
        for rrtype, name in (("SRV", "_https._tcp.www.example.org"), ("HTTPS", "www.example.org"),
                             ("SVCB", "_dns.www.example.org")):
            wait_until(lambda n=name, t=rrtype: "fra.www" not in " ".join(self.dig(n, t)), 10,
                       f"fra leaves {rrtype}")
            self.assertEqual(len(self.dig(name, rrtype)), 2)
        self.assertEqual(self.dig("fra.www.example.org", "A"), [site_address("fra")], "its name stays")


if __name__ == "__main__":
    main(required_tools=("dig",))
