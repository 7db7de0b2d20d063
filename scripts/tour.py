"""scripts/run --tour: five sites, people who ask, and four things that go wrong. Each act is bounded, checked, and told as it goes."""

import json
import signal
import socket
import threading
import time
import urllib.request

from people import People
from world import LOCALES, World, WorldError, namespace, wait_until

SITES = {
    # id: (region, latitude, longitude, address octet)
    "fra": ("europe", 50.11, 8.68, 10),
    "mad": ("europe", 40.42, -3.70, 13),
    "nyc": ("america", 40.71, -74.01, 11),
    "sjc": ("america", 37.34, -121.89, 14),
    "sin": ("asia", 1.35, 103.82, 12),
}
LIMIT_RPS = 700  # of each site
CALM_RPS = {"eu": 350, "us": 450, "asia": 250}
NAME = "www.example.org"
API_PORT = 8080  # inside the namespace; the door to it takes any port
ADDRESS_OF_SITE = {f"203.0.113.{octet}": site for site, (_, _, _, octet) in SITES.items()}
SETTLED_S = 20


class Door(threading.Thread):
    """A port of this machine's loopback that leads to the API inside of the world, for a browser."""

    def __init__(self, inside):
        super().__init__(daemon=True)
        self.inside = inside
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self):
        while True:
            try:
                outer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(outer,), daemon=True).start()

    def _serve(self, outer):
        try:
            with namespace(self.inside):
                inner = socket.create_connection(("127.0.0.1", API_PORT), timeout=5)
        except OSError:
            outer.close()
            return
        inner.settimeout(None)
        back = threading.Thread(target=self._copy, args=(inner, outer), daemon=True)
        back.start()
        self._copy(outer, inner)
        back.join()
        outer.close()
        inner.close()

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


def make_world(name, build, port):
    endpoints = "".join(
        f"      - {{id: {site}, site: {site}, addresses: [203.0.113.{octet}], port: 443}}\n"
        for site, (_, _, _, octet) in SITES.items())
    return World(
        name, build, port=port, sites=SITES, capacity_rps=LIMIT_RPS, more_prefixes=", 10.{0}.0.0/16",
        controlplane_extra=f"""\
  assign: {{interval: 500ms, window: 3s}}
  api: {{listen: "127.0.0.1:{API_PORT}", anonymous_read: true, requests_per_second: 1k}}
""",
        agent_extra="requests: {{counter_file: {directory}/{site}.requests}}\nendpoints: [{{service: www, id: {site}}}]\n",
        services=f"""\
  - id: www
    names: [{NAME}]
    policy: ranked
    answers_max: 2
    ttl_floor: 2s
    ttl_ceiling: 4s
    endpoints:
{endpoints}""")


class Tour:
    def __init__(self, world):
        self.world = world
        self.started = time.monotonic()
        self.people = People(world, NAME, ADDRESS_OF_SITE)
        self.door = Door(world.ns("fabric"))

    # ---- around the acts ----

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def close(self):
        self.people.stop()
        self.door.close()

    def bring_up(self):
        self.say("starting a world of five sites, each good for " + f"{LIMIT_RPS} requests a second")
        self.world.start_all()
        self.door.start()
        wait_until(self.all_up, 20, "beacons of all sites")
        self.people.start()
        self.calm_down()
        self.say("its dashboard, for a browser on this machine: "
                 f"{self.door.url}/#name={NAME}&client=10.1.0.1")
        self.show()

    def all_up(self):
        sites = self.world.ctl("--controlplane", "sites")
        return len(sites) == len(SITES) and all(site["state"] == "up" for site in sites)

    def calm_down(self):
        """The demand of a quiet hour, and everybody where he belongs."""
        for locale, rps in CALM_RPS.items():
            self.people.set_demand(locale, rps)
        wait_until(lambda: self.people.led_to("eu").get("fra", 0) > 0.95 * CALM_RPS["eu"], 2 * SETTLED_S,
                   "Europe is served by fra")

    def show(self):
        loads = self.people.loads
        asked = "  ".join(f"{locale} {self.people.demand(locale)}" for locale in LOCALES)
        carried = "  ".join(f"{site} {loads[site]:3.0f}" for site in SITES)
        self.say(f"   asked for: {asked}    carried: {carried}")

    def watch(self, seconds, each=None):
        """Tells the loads every two seconds; `each(passed)` runs every tenth of a second and may end it by a true value."""
        began = told = time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            if each and each(now - began):
                break
            if now - told >= 2:
                told = now
                self.show()
            time.sleep(0.1)
        return time.monotonic() - began

    def explain(self, client, site, wanted):
        """Prints why a client gets what it gets; the reason given for the site has to hold one of the `wanted` words."""
        client = client if "." in client else f"10.{LOCALES[client][2]}.0.1"
        told = self.world.ctl("explain", "--name", NAME, "--client", client)
        reason = next((f["reason"] for f in told["factors"] if f["endpoint"] == site), "not a member")
        self.say(f"pharosctl explain --name {NAME} --client {client}")
        done = self.world.client(*self.world.ctl_command("explain", "--name", NAME, "--client", client))
        for line in done.stdout.splitlines():
            if line.startswith(("ENDPOINT", *SITES)):
                print(f"            {line}", flush=True)
        if not any(word in reason for word in wanted):
            raise WorldError(f"explain says of {site}: {reason!r}; wanted was one of {wanted}")

    def dashboard(self, path):
        """What the page is made of."""
        with urllib.request.urlopen(self.door.url + path, timeout=5) as answer:
            return json.load(answer)

    def expect_in_decisions(self, since, words):
        """The page's list of recent decisions has to name one of the words."""
        def there():
            decisions = self.dashboard("/v1/history?limit=200")
            causes = {d["cause"] for d in decisions if d["age_s"] < time.monotonic() - since + 1}
            return next((cause for cause in causes if any(word in cause for word in words)), None)
        cause = wait_until(there, 5, f"the dashboard's recent decisions speak of {words}", interval_s=0.3)
        self.say(f"the dashboard says: {cause}")

    def expect_relieved(self, sites):
        for site in sites:
            if self.people.peaks[site] > LIMIT_RPS:
                raise WorldError(f"{site} carried {self.people.peaks[site]:.0f} requests a second; its limit is {LIMIT_RPS}")

    # ---- the acts ----

    def overheat(self):
        """A site that slowly gets more than it can take is relieved before its limit."""
        began = time.monotonic()
        self.say("Europe wakes up: within 20 seconds its demand grows to more than fra can take")
        self.people.reset_peaks()
        self.watch(20, lambda passed: self.people.set_demand("eu", CALM_RPS["eu"] + 22.5 * passed))
        self.watch(5)
        self.expect_relieved(SITES)
        spilled = self.people.led_to("eu")
        others = sum(rps for site, rps in spilled.items() if site != "fra")
        if others < 100 or spilled.get("fra", 0) < 0.6 * LIMIT_RPS:
            raise WorldError(f"Europe's demand is shared as {spilled}: fra should lead, and others help")
        self.say(f"fra never carried more than {self.people.peaks['fra']:.0f} of its {LIMIT_RPS}; "
                 f"others took {others} a second, the nearest first. Why:")
        self.explain("eu", "fra", ("watermark",))
        self.expect_in_decisions(began, ("fra: headroom",))
        self.calm_down()
        self.say("Europe sleeps again, and fra has its clients back")

    def region(self):
        """A region is lost, and no survivor passes its limit."""
        began = time.monotonic()
        self.people.set_demand("eu", 450)
        self.watch(3)
        survivors = [site for site, (region, *_) in SITES.items() if region != "europe"]
        self.say("Europe goes dark: fra and mad die without a word. By distance alone nyc would have to take "
                 f"{450 + CALM_RPS['us']} requests a second, and can take {LIMIT_RPS}")
        self.people.reset_peaks()
        dead = [site for site, (region, *_) in SITES.items() if region == "europe"]
        for site in dead:
            self.world.stop(f"agent-{site}", signal.SIGKILL)
        took = self.watch(15, lambda _: not any(self.people.led_to("eu").get(site) for site in dead))
        if any(self.people.led_to("eu").get(site) for site in dead):
            raise WorldError(f"after 15 s clients of Europe are still sent to dead sites: {self.people.led_to('eu')}")
        self.say(f"the last client of Europe had left after {took:.1f} s, TTLs and all")
        self.watch(4)
        self.expect_relieved(survivors)
        peaks = ", ".join(f"{site} {self.people.peaks[site]:.0f}" for site in survivors)
        self.say(f"no survivor ever carried more than its limit (the most: {peaks}). Why:")
        self.explain("eu", "fra", ("silent",))
        states = {site["id"]: site["state"] for site in self.dashboard("/v1/sites")}
        if any(states[site] != "down" for site in dead):
            raise WorldError(f"the dashboard's map shows {states}")
        self.expect_in_decisions(began, ("fra: up -> down", "mad: up -> down"))
        for site in dead:
            self.world.start_agent(site)
        wait_until(self.all_up, 20, "Europe is back")
        self.calm_down()
        self.say("Europe is back, and has its clients again")

    def flap(self):
        """A site that comes and goes is trusted less each time."""
        began = time.monotonic()
        cycles = 8
        self.say(f"sin begins to flap: {cycles} times it falls silent for 0.9 s and is back for 1.6 s")
        agent = self.world.processes["agent-sin"]
        comings, there = 0, True
        for _ in range(cycles):
            for number, seconds in ((signal.SIGSTOP, 0.9), (signal.SIGCONT, 1.6)):
                agent.send_signal(number)
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    now_there = self.sin_is_up()
                    if now_there != there:
                        comings += now_there
                        self.say(f"   sin is {'trusted again' if now_there else 'out of the answers'}")
                        there = now_there
                    time.sleep(0.05)
        self.say(f"of {cycles} times that it came back it was believed {comings} times. Why:")
        self.explain("asia", "sin", ("has to stay good", "fell lately", "silent"))
        if not 1 <= comings <= cycles // 2:
            raise WorldError(f"sin came back {comings} times in {cycles} cycles of flapping")
        self.expect_in_decisions(began, ("sin: up -> down", "site sin is silent", "site sin is back"))
        wait_until(self.sin_is_up, 60, "sin is trusted again")
        self.say("it has behaved for long enough, and is trusted again")

    def sin_is_up(self):
        return self.world.ctl("--controlplane", "sites", "sin")[0]["state"] in ("up", "suspect")

    def drain(self):
        """A drain, watched to its end."""
        began = time.monotonic()
        self.say("draining nyc: pharosctl endpoints drain www/nyc")
        self.world.ctl("endpoints", "drain", "www/nyc")
        last = [-1.0]

        def look(passed):
            row = next(e for e in self.world.ctl("endpoints", "www") if e["id"] == "nyc")
            moved = row["drain"]["moved"]
            if moved < last[0]:
                raise WorldError(f"the drain went back from {last[0]:.2f} to {moved:.2f}")
            if moved >= last[0] + 0.1 or moved == 1 and last[0] < 1:
                self.say(f"   {moved * 100:3.0f} % of its clients have moved; it still carries {self.people.loads['nyc']:.0f} a second")
                last[0] = moved
            return moved >= 1 and self.people.loads["nyc"] == 0
        took = self.watch(SETTLED_S, look)
        if self.people.loads["nyc"] > 0 or last[0] < 1:
            raise WorldError(f"after {took:.1f} s nyc carries {self.people.loads['nyc']:.0f} a second, "
                             f"and {last[0] * 100:.0f} % have moved")
        self.say(f"done after {took:.1f} s: nyc carries nothing, and can be switched off. Why:")
        self.explain("us", "nyc", ("draining",))
        states = {e["id"]: e["state"] for e in self.dashboard("/v1/endpoints?service=www")}
        if states["nyc"] != "draining":
            raise WorldError(f"the dashboard's endpoints are {states}")
        self.expect_in_decisions(began, ("draining by the operator",))
        self.world.ctl("endpoints", "auto", "www/nyc")
        wait_until(lambda: self.people.loads["nyc"] > 0, SETTLED_S, "nyc has clients again")
        self.say("given back: pharosctl endpoints auto www/nyc")

    ACTS = ("overheat", "region", "flap", "drain")

    def play(self, acts=ACTS):
        for act in acts:
            began = time.monotonic()
            self.say(f"---- {getattr(self, act).__doc__}")
            getattr(self, act)()
            self.say(f"---- {act}: as it should be, in {time.monotonic() - began:.0f} s")
