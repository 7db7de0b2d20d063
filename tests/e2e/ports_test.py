"""DNS over each kind of port: the answers a person would look at, and a steady load without loss.

--port af_packet|af_xdp|tap picks the kind.
"""

import sys
import threading
import time
import unittest

from e2e import LOCALES, RESPONDER_V4, RESPONDER_V6, SITE_OF_ADDRESS, SITES, WorldTest, dnsperf, main

PORT = "af_packet"
if "--port" in sys.argv:
    at = sys.argv.index("--port")
    PORT = sys.argv[at + 1]
    del sys.argv[at:at + 2]

NEAREST = {"eu": "fra", "us": "nyc", "asia": "sin"}


class PortTest(WorldTest):
    port = PORT
    world_name = f"port-{PORT.replace('_', '')}"
    # The load is twelve thousand ranked answers a second: no site may have to be relieved of some of it.
    world_options = {"capacity_rps": "100k"}

    def test_answers_and_load(self):
        self.start_all()
        for check in (self.ranked_by_locale, self.client_subnet, self.zone_types, self.negative_answers, self.edns,
                      self.truncation, self.case_is_kept, self.ping, self.load_without_loss):
            with self.subTest(check.__name__):
                check()

    def ranked_by_locale(self):
        for server in (RESPONDER_V4, RESPONDER_V6):
            for locale in LOCALES:
                reply = self.ask("www.example.org", locale=locale, server=server)
                sites = [SITE_OF_ADDRESS[a] for a in reply.addresses]
                self.assertEqual(sites[0], NEAREST[locale])
                self.assertEqual(sorted(sites), sorted(SITES))
                self.assertTrue(reply.flags & 0x0400, "AA is set")
                self.assertEqual(len({r.ttl for r in reply.answers}), 1, "one TTL in an RRset (RFC 2181)")
        reply = self.ask("www.example.org", "AAAA", locale="us")
        self.assertEqual(reply.addresses[0], "2001:db8:f::11")
        text = self.world.dig("www.example.org", "+short", locale="asia")
        self.assertEqual(text.split()[0], "203.0.113.12")

    def client_subnet(self):
        for locale, (_, _, octet) in LOCALES.items():
            reply = self.ask("www.example.org", locale="eu", ecs=(f"198.18.{octet}.0", 24))
            self.assertEqual(SITE_OF_ADDRESS[reply.addresses[0]], NEAREST[locale])
        text = self.world.dig("www.example.org", "+subnet=198.18.2.0/24")
        self.assertIn("CLIENT-SUBNET: 198.18.2.0/24/24", text)

    def zone_types(self):
        expected = {
            ("example.org", "SOA"): "2026010101",
            ("example.org", "NS"): "ns1.example.org.",
            ("example.org", "MX"): "10 mail.example.org.",
            ("example.org", "TXT"): '"v=spf1 -all"',
            ("example.org", "CAA"): '0 issue "ca.example.net"',
            ("static.example.org", "A"): "192.0.2.80",
            ("mail.example.org", "AAAA"): "2001:db8:2::25",
            ("_sip._udp.example.org", "SRV"): "10 60 5060 sip.example.org.",
            ("10.example.org", "PTR"): "static.example.org.",
            ("alias.example.org", "CNAME"): "static.example.org.",
            ("alias.example.org", "A"): "192.0.2.81",
            ("a.b.wild.example.org", "A"): "192.0.2.200",
            ("odd.example.org", "TYPE65280"): "\\# 4 01020304",
        }
        for (name, rrtype), data in expected.items():
            self.assertIn(data, self.world.dig(name, rrtype, "+short"), f"{name} {rrtype}")
        text = self.world.dig("x.sub.example.org", "A")
        self.assertIn("ns.sub.example.org.", text)
        self.assertIn("192.0.2.53", text, "glue")
        self.assertNotIn(" aa", text.split(";; flags:")[1].split(";")[0], "a referral is not authoritative")

    def negative_answers(self):
        reply = self.ask("nothing.example.org")
        self.assertEqual(reply.rcode, "NXDOMAIN")
        self.assertEqual([r.type for r in reply.authority], [6])
        self.assertEqual(reply.authority[0].ttl, 60, "min(SOA TTL, MINIMUM), RFC 2308")
        reply = self.ask("static.example.org", "MX")
        self.assertEqual((reply.rcode, reply.answers, [r.type for r in reply.authority]), ("NOERROR", [], [6]))
        self.assertEqual(self.ask("example.net").rcode, "REFUSED")

    def edns(self):
        text = self.world.dig("static.example.org", "A", "+nsid", "+bufsize=4096")
        self.assertIn("EDNS: version: 0", text)
        self.assertIn("NSID", text)
        self.assertIn("udp: 1232", text)
        self.assertIn("BADVERS", self.world.dig("static.example.org", "A", "+edns=1", "+noednsnegotiation"))
        reply = self.ask("static.example.org", edns_bytes=None)
        self.assertEqual([r.type for r in reply.additional], [], "no OPT without OPT")

    def truncation(self):
        reply = self.ask("big.example.org", "TXT")
        self.assertTrue(reply.flags & 0x0200, "TC is set")
        reply = self.ask("many.example.org", edns_bytes=None)
        self.assertFalse(reply.flags & 0x0200, "16 addresses fit 512 bytes")
        self.assertEqual(len(reply.addresses), 16)

    def case_is_kept(self):
        self.assertIn("wWw.ExAmPlE.oRg.", self.world.dig("wWw.ExAmPlE.oRg", "A"))

    def ping(self):
        for server in (RESPONDER_V4, RESPONDER_V6):
            done = self.world.client("ping", "-c", "2", "-W", "2", "-i", "0.2", server)
            self.assertIn("0% packet loss", done.stdout)

    def load_without_loss(self):
        wrong, asked, stop = [], [0], threading.Event()
        client = self.client("us")

        def verify():
            while not stop.is_set():
                reply = client.ask("www.example.org", timeout_s=2)
                asked[0] += 1
                if reply is None or reply.addresses[:1] != ["203.0.113.11"] or len(reply.addresses) != 3:
                    wrong.append(reply)

        thread = threading.Thread(target=verify)
        thread.start()
        figures = dnsperf(self.world, [("www.example.org", "A"), ("api.example.org", "A"), ("static.example.org", "A"),
                                       ("www.example.org", "AAAA"), ("example.org", "MX")], 10, 20000)
        stop.set()
        thread.join()
        self.assertGreater(figures["sent"], 195_000, figures["text"])
        self.assertEqual(figures["lost"], 0, figures["text"])
        self.assertEqual(figures["rcodes"], {"NOERROR": figures["completed"]})
        self.assertEqual(wrong, [])
        self.assertGreater(asked[0], 500)
        print(f"\n{PORT}: {figures['completed']} answers at 20 thousand a second, none lost; {asked[0]} verified",
              file=sys.stderr)


if __name__ == "__main__":
    main(required_tools=("dnsperf", "dig", "ping"))
