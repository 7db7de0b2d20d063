"""What the end-to-end tests share: the world of scripts/, a client per locale, and a bounded, clean end.

Each test file is a program: `python3 FILE --build DIR [unittest arguments]`. It makes namespaces of its own, takes
no fixed port of the machine, and skips with a reason where the machine lacks what it needs.
"""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from dnsclient import Client  # noqa: E402
from world import LOCALES, RESPONDER_V4, RESPONDER_V6, SITES, World, WorldError, namespace, run, wait_until  # noqa: E402,F401

BUILD = ROOT / "build"
TIME_LIMIT_S = 170  # of a whole file; the alarm ends it as Ctrl-C would, so that worlds are removed


def site_address(site, service_octet=0):
    return f"203.0.113.{SITES[site][3] + service_octet}"


SITE_OF_ADDRESS = {site_address(site): site for site in SITES}


class WorldTest(unittest.TestCase):
    """A test with a world of its own; subclasses say how it starts."""

    world_name = "test"
    port = "af_packet"
    beacon_interval_ms = 200
    world_options = {}

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("network namespaces need root")
        self.world = World(self.world_name, BUILD, port=self.port, beacon_interval_ms=self.beacon_interval_ms,
                           **self.world_options)
        self.addCleanup(self.world.remove)
        self.world.make()
        self.clients = {}

    def run(self, result=None):
        outcome = super().run(result)
        world = getattr(self, "world", None)
        failed = result is not None and any(test is self for test, _ in result.failures + result.errors)
        if world is not None and failed:
            for role, text in getattr(self, "logs", {}).items():
                print(f"--- log of {role}\n{text}", file=sys.stderr)
        return outcome

    def tearDown(self):
        for client in self.clients.values():
            client.close()
        self.logs = {role: self.world.log(role) for role in list(self.world.processes)}
        # Whatever a test does: the sandbox of the data plane allows it.
        self.assertNotIn("was refused system call", self.world.log("dataplane", lines=100000))

    def client(self, locale="eu", server=RESPONDER_V4):
        """A client of that locale; the same one each time."""
        if (locale, server) not in self.clients:
            octet = LOCALES[locale][2]
            source = f"2001:db8:{octet}::10" if ":" in server else f"198.18.{octet}.10"
            with namespace(self.world.ns("client")):
                self.clients[locale, server] = Client(source, server)
        return self.clients[locale, server]

    def ask(self, name, rrtype="A", locale="eu", server=RESPONDER_V4, **options):
        reply = self.client(locale, server).ask(name, rrtype, **options)
        self.assertIsNotNone(reply, f"no reply for {name} {rrtype}")
        return reply

    def sites(self, locale="eu", name="www.example.org"):
        reply = self.ask(name, locale=locale)
        return [SITE_OF_ADDRESS.get(a, a) for a in reply.addresses]

    def wait_all_up(self):
        def all_up():
            sites = self.world.ctl("--controlplane", "sites")
            return len(sites) == len(SITES) and all(site["state"] == "up" for site in sites)
        wait_until(all_up, 30, "every site is up")
        wait_until(lambda: len(self.sites()) == len(SITES), 10, "answers of every site")

    def start_all(self):
        self.world.start_all()
        self.wait_all_up()


def dnsperf(world, queries, seconds, rate, server=RESPONDER_V4, extra=()):
    """Runs dnsperf in the client namespace; its figures as {sent, completed, lost, rcodes: {name: count}}."""
    # At most 200 outstanding: more answers than that overflow dnsperf's own socket buffer when it is not scheduled
    # for some milliseconds, which says nothing about us.
    path = world.directory / "queries"
    path.write_text("".join(f"{name} {rrtype}\n" for name, rrtype in queries))
    done = world.client("dnsperf", "-s", server, "-d", path, "-l", seconds, "-Q", rate, "-q", 200, *extra,
                        timeout=seconds + 30)
    text = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("[Timeout]"))
    figures = {"rcodes": {}, "text": text}
    for line in text.splitlines():
        words = line.split()
        if line.strip().startswith("Queries sent:"):
            figures["sent"] = int(words[2])
        elif line.strip().startswith("Queries completed:"):
            figures["completed"] = int(words[2])
        elif line.strip().startswith("Queries lost:"):
            figures["lost"] = int(words[2])
        elif line.strip().startswith("Response codes:"):
            for part in line.split(":", 1)[1].split(","):
                name, count, *_ = part.split()
                figures["rcodes"][name] = int(count)
    return figures


def main(*, required_tools=()):
    global BUILD
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--build", default=BUILD)
    options, rest = parser.parse_known_args()
    BUILD = pathlib.Path(options.build).resolve()
    for tool in required_tools:
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed (scripts/setup run)")
            sys.exit(77)  # meson's code for a skipped test
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.alarm(TIME_LIMIT_S)
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)
