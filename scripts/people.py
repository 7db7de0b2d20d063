"""Resolvers and the people behind them, for the tour: what they are told becomes the load of the sites.

Each resolver is a /24 of its locale that asks through EDNS client subnet, keeps an answer for its TTL, and sends so many
requests a second to the first address. Sites report these requests as a real one would: from a counter file.
"""

import random
import threading
import time

from dnsclient import Client
from world import LOCALES, RESPONDER_V4, namespace

REQUESTS_PER_S = 5  # of each resolver
TURN_S = 0.05


class Resolver:
    def __init__(self, locale, number):
        octet = LOCALES[locale][2]
        self.locale = locale
        self.subnet = (f"10.{octet}.{number}.0", 24)
        self.asks_at = 0.0
        self.site = None


class People:
    """A thread that plays them from start() to stop(). `loads` is requests per second by site, `peaks` the most since reset()."""

    def __init__(self, world, name, site_of_address):
        self.world = world
        self.name = name
        self.site_of_address = site_of_address
        self.lock = threading.Lock()  # guards all below
        self.resolvers = {locale: [] for locale in LOCALES}
        self.loads = dict.fromkeys(world.site_table, 0.0)
        self.peaks = dict(self.loads)
        self.unanswered = 0
        self.totals = dict(self.loads)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._write()

    def start(self):
        with namespace(self.world.ns("client")):
            self.client = Client("198.18.1.10", RESPONDER_V4)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
            self.client.close()

    def set_demand(self, locale, requests_per_s):
        """So many requests a second of a locale: more people come with more resolvers."""
        wanted = int(requests_per_s / REQUESTS_PER_S)
        with self.lock:
            those = self.resolvers[locale]
            del those[wanted:]
            while len(those) < wanted:
                those.append(Resolver(locale, len(those)))

    def demand(self, locale):
        with self.lock:
            return len(self.resolvers[locale]) * REQUESTS_PER_S

    def led_to(self, locale):
        """Requests per second of a locale by site."""
        with self.lock:
            loads = {}
            for resolver in self.resolvers[locale]:
                if resolver.site:
                    loads[resolver.site] = loads.get(resolver.site, 0) + REQUESTS_PER_S
            return loads

    def reset_peaks(self):
        with self.lock:
            self.peaks = dict(self.loads)

    def _run(self):
        last = time.monotonic()
        while not self.stopping.wait(TURN_S):
            with self.lock:
                now = time.monotonic()
                self._ask(now)
                self._count(now - last)
                last = now
            self._write()

    def _ask(self, now):
        for those in self.resolvers.values():
            for resolver in those:
                if now < resolver.asks_at:
                    continue
                reply = self.client.ask(self.name, ecs=resolver.subnet, timeout_s=0.2)
                if reply is None or not reply.addresses:
                    self.unanswered += 1
                    resolver.asks_at = now + 0.2
                    continue
                resolver.site = self.site_of_address[reply.addresses[0]]
                resolver.asks_at = now + reply.ttl * random.uniform(0.9, 1.0)

    def _count(self, passed_s):
        loads = dict.fromkeys(self.loads, 0.0)
        for those in self.resolvers.values():
            for resolver in those:
                if resolver.site:
                    loads[resolver.site] += REQUESTS_PER_S
        self.loads = loads
        for site, load in loads.items():
            self.peaks[site] = max(self.peaks[site], load)
            self.totals[site] += load * passed_s

    def _write(self):
        for site, total in self.totals.items():
            file = self.world.directory / f"{site}.requests"
            fresh = self.world.directory / f"{site}.requests.new"
            fresh.write_text(f"requests {int(total)}\nrequests.www.{site} {int(total)}\n")
            fresh.rename(file)
