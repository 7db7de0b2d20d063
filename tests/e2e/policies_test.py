"""Name policies of running programs: every action from configuration to wire, counters that reloads keep, and what
`pharosctl policy` tells of them. Client subnets per service, since they are the other thing that a service says of
queries."""

from e2e import WorldTest, main, site_address, wait_until

NOERROR, NXDOMAIN, REFUSED = "NOERROR", "NXDOMAIN", "REFUSED"
RESOLVER = ("198.18.3.0/24", "asia")  # whose client subnets the listed service hears

POLICIES = r"""
policies:
  - {id: exempt, action: allow, pattern: ok.blocked.example.org, priority: -1}
  - {id: blocked, action: refuse, pattern: .blocked.example.org, log: true}
  - {id: dropped, action: drop, regex: '^drop[0-9]+\.'}
  - {id: gone, action: nxdomain, pattern: "*.gone.example.org"}
  - {id: empty, action: nodata, pattern: mail.example.org}
  - {id: cut, action: truncate, pattern: static.example.org}
  - {id: tenants, action: route, pattern: "*.tenants.example.org", service: www}
  - {id: slow, action: limit, pattern: .slow.example.org, rate_class: slow}
  - {id: watched, action: log, pattern: sip.example.org}
"""
LIMITS = "  rate_limit: {slip: 0, window: 60s, classes: [{id: slow, responses_per_second: 0.05}]}\n"


def service(name, mode):
    endpoints = "".join(f"      - {{id: {site}, site: {site}, address: {site_address(site)}}}\n"
                        for site in ("fra", "nyc", "sin"))
    return f"  - id: {name}\n    names: [{name}.example.org]\n    ecs: {mode}\n    endpoints:\n{endpoints}"


class PoliciesTest(WorldTest):
    world_name = "policies"
    world_options = {"extra_config": POLICIES, "dataplane_extra": LIMITS}

    def setUp(self):
        super().setUp()
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client("asia").ask("www.example.org", timeout_s=0.2) is not None, 20, "an answer")

    def hits(self):
        return {row["id"]: row["hits"] for row in self.world.ctl("--dataplane", "policy", "list")}

    def test_each_action_reaches_the_wire_and_is_counted(self):
        listed = self.world.ctl("--dataplane", "policy", "list")
        self.assertEqual([(row["id"], row["action"], row["log"]) for row in listed],
                         [("exempt", "allow", False), ("blocked", "refuse", True), ("dropped", "drop", False),
                          ("gone", "nxdomain", False), ("empty", "nodata", False), ("cut", "truncate", False),
                          ("tenants", "route", False), ("slow", "limit", False), ("watched", "log", True)])
        self.assertEqual(set(self.hits().values()), {0})

        self.assertEqual(self.ask("ok.blocked.example.org").rcode, NXDOMAIN, "as if there were no policy")
        for name in ("blocked.example.org", "a.b.BLOCKED.example.org"):
            reply = self.ask(name)
            self.assertEqual((reply.rcode, reply.answers, reply.authority), (REFUSED, [], []))
        self.assertIsNone(self.client().ask("drop1.example.org", timeout_s=0.3))
        self.assertEqual(self.ask("drop.example.org").rcode, NXDOMAIN, "not what the expression takes")
        reply = self.ask("x.gone.example.org")
        self.assertEqual((reply.rcode, [r.type for r in reply.authority]), (NXDOMAIN, [6]))
        reply = self.ask("mail.example.org")
        self.assertEqual((reply.rcode, reply.answers, [r.type for r in reply.authority]), (NOERROR, [], [6]))
        reply = self.ask("static.example.org")
        self.assertTrue(reply.flags & 0x0200)
        self.assertEqual(reply.answers, [])
        reply = self.ask("x.y.tenants.example.org")
        self.assertEqual(sorted(reply.addresses), sorted(site_address(site) for site in ("fra", "nyc", "sin")))
        self.assertEqual(len(self.ask("sip.example.org").answers), 1)

        # One in twenty seconds after three at once, whatever the name below it.
        client = self.client("us")
        asked = [client.ask(f"n{i}.slow.example.org", timeout_s=0.1) for i in range(8)]
        answered = [reply for reply in asked if reply is not None]
        self.assertTrue(1 <= len(answered) <= 4, len(answered))
        self.assertEqual(asked[0].rcode, NXDOMAIN)

        self.assertEqual(self.hits(), {"exempt": 1, "blocked": 2, "dropped": 1, "gone": 1, "empty": 1, "cut": 1,
                                       "tenants": 1, "slow": 8, "watched": 1})
        counters = self.world.ctl("--dataplane", "stats")["counters"]
        self.assertEqual(counters["drop_policy"], 1)
        self.assertEqual(counters["drop_rate_limited"], 8 - len(answered))
        # What is logged names policy, question and the client's block, never the client.
        wait_until(lambda: "'watched'" in self.world.log("controlplane", 1000), 5, "samples in the log")
        log = self.world.log("controlplane", 1000)
        self.assertIn("'blocked'", log)
        self.assertIn("198.18.1.0/24", log)
        self.assertNotIn("198.18.1.10", log)

        # A reload keeps the counts of policies that stay, and starts those of new ones.
        self.world.write_config(POLICIES.replace("id: gone", "id: away"))
        self.world.ctl("--controlplane", "reload")
        wait_until(lambda: "away" in self.hits(), 10, "the new policies")
        hits = self.hits()
        self.assertEqual((hits["blocked"], hits["dropped"], hits["away"]), (2, 1, 0))
        self.assertEqual(self.ask("y.gone.example.org").rcode, NXDOMAIN)
        self.assertEqual(self.hits()["away"], 1)

        # One that cannot be compiled changes nothing, and says where it stands.
        self.world.write_config(POLICIES.replace("'^drop[0-9]+\\.'", "'(unclosed'"))
        with self.assertRaisesRegex(Exception, r"pharos\.yaml:\d+.*\(unclosed"):
            self.world.ctl("--controlplane", "reload")
        self.assertIsNone(self.client().ask("drop2.example.org", timeout_s=0.3), "the former policies go on")

    def test_policy_test_tells_what_the_wire_shows(self):
        def told(name):
            return self.world.ctl("--controlplane", "policy", "test", name)
        for name, policy, answer in (
                ("ok.blocked.example.org", "exempt", "what the zone example.org. says"),
                ("x.blocked.example.org", "blocked", "REFUSED"),
                ("drop7.elsewhere", "dropped", "no reply"),
                ("x.gone.example.org", "gone", "NXDOMAIN, with the SOA of example.org."),
                ("MAIL.example.org", "empty", "NOERROR without data, with the SOA of example.org."),
                ("static.example.org", "cut", "TC over UDP; over TCP what the zone example.org. says"),
                ("n.slow.example.org", "slow", "within the rate class 'slow'"),
                ("sip.example.org", "watched", "samples are logged"),
                ("x.tenants.example.org", "tenants", "the service 'www' (A, AAAA)")):
            outcome = told(name)
            self.assertEqual(outcome["policy"], policy, name)
            self.assertIn(answer, outcome["answer"], name)
            self.assertRegex(outcome["matches"][0]["pattern"], r"pharos\.yaml:\d+: ", name)
        both = told("ok.blocked.example.org")
        self.assertEqual([match["policy"] for match in both["matches"]], ["exempt", "blocked"])
        self.assertNotIn("policy", told("www.example.org"))


class SubnetsTest(WorldTest):
    """`ecs` of services: who is answered by the client subnet, and with which scope."""

    world_name = "subnets"
    world_options = {
        "services": service("all", "all") + service("listed", "listed") + service("ignored", "ignore"),
        "dataplane_extra": f"  ecs: all\n  ecs_resolvers: {RESOLVER[0]}\n"}

    def setUp(self):
        super().setUp()
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client("us").ask("all.example.org", timeout_s=0.2) is not None, 20, "an answer")

    def first_and_scope(self, name, locale):
        """The nearest site of the answer to a client of eu that this resolver asks for, and the scope."""
        reply = self.ask(name, locale=locale, ecs=("198.18.1.0", 24))
        opt = next(record for record in reply.additional if record.type == 41)
        return reply.addresses[0], opt.data[7]

    def test_each_service_hears_whom_it_wants(self):
        self.assertEqual(self.first_and_scope("all.example.org", "us"), (site_address("fra"), 24))
        self.assertEqual(self.first_and_scope("ignored.example.org", "us"), (site_address("nyc"), 0))
        self.assertEqual(self.first_and_scope("ignored.example.org", "asia"), (site_address("sin"), 0))
        self.assertEqual(self.first_and_scope("listed.example.org", "us"), (site_address("nyc"), 0))
        self.assertEqual(self.first_and_scope("listed.example.org", RESOLVER[1]), (site_address("fra"), 24))
        counters = self.world.ctl("--dataplane", "stats")["counters"]
        self.assertEqual((counters["queries_ecs"], counters["queries_ecs_ignored"]), (5, 3))
        told = {row["id"]: row["ecs"] for row in self.world.ctl("--controlplane", "services")}
        self.assertEqual(told, {"all": "all", "listed": "listed", "ignored": "ignore"})

        # The list is the data plane's, live with a reload; the choice of a service comes with the tables.
        self.world.dataplane_extra = "  ecs: all\n  ecs_resolvers: [198.18.2.0/25, \"2001:db8:2::/48\"]\n"
        self.world.services = self.world.services.replace("ecs: ignore", "ecs: all")
        self.world.write_config()
        outcome = self.world.ctl("--dataplane", "reload")
        self.assertEqual((outcome["changed"], outcome["needs_restart"]), (["dataplane.ecs_resolvers"], []))
        self.assertEqual(self.first_and_scope("listed.example.org", "us"), (site_address("fra"), 24))
        self.assertEqual(self.first_and_scope("listed.example.org", "asia"), (site_address("sin"), 0))
        self.world.ctl("--controlplane", "reload")
        wait_until(lambda: self.first_and_scope("ignored.example.org", "us") == (site_address("fra"), 24), 10,
                   "the service hears subnets")


if __name__ == "__main__":
    main()
