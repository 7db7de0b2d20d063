"""What scripts/run shows once everything is built: a world of three sites, and how answers follow them."""

import argparse
import signal
import sys
import threading
import time

import tour
from dnsclient import Client
from world import LOCALES, RESPONDER_V4, SITES, World, WorldError, namespace, wait_until

ADDRESS_OF_SITE = {f"203.0.113.{octet}": site for site, (_, _, _, octet) in SITES.items()}


class Demo:
    def __init__(self, world):
        self.world = world
        self.started = time.monotonic()
        self.clients = {}

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def connect(self):
        with namespace(self.world.ns("client")):
            for locale, (_, _, octet) in LOCALES.items():
                self.clients[locale] = Client(f"198.18.{octet}.10", RESPONDER_V4)

    def sites(self, locale, name="www.example.org"):
        """The sites of an answer in order, and its TTL; ([], None) without a reply."""
        reply = self.clients[locale].ask(name, timeout_s=0.5)
        if reply is None:
            return [], None
        return [ADDRESS_OF_SITE.get(a, a) for a in reply.addresses], reply.ttl

    def show(self):
        for locale in LOCALES:
            sites, ttl = self.sites(locale)
            self.say(f"   www.example.org for {locale:5}->  {'  '.join(sites):20} TTL {ttl}")

    def bring_up(self):
        self.say("starting pharos-dataplane on its port " + self.world.device())
        self.world.start_dataplane()
        self.say("starting pharos-controlplane")
        self.world.start_controlplane()
        for site in SITES:
            self.say(f"starting pharos-agent at site {site}")
            self.world.start_agent(site)
        self.connect()
        wait_until(lambda: all(len(self.sites(locale)[0]) == 3 for locale in LOCALES), 20, "answers of all sites")
        wait_until(self.all_up, 20, "beacons of all sites")
        self.say("every site is up; each locale is sent to its nearest site first:")
        self.show()

    def all_up(self):
        sites = self.world.ctl("--controlplane", "sites")
        return len(sites) == len(SITES) and all(site["state"] == "up" for site in sites)

    def check(self):
        """Kills a site, brings it back, heats another, and proves that the answers follow."""
        interval_s = self.world.beacon_interval_ms / 1000
        first = self.sites("eu")[0][0]
        self.say(f"killing the agent of {first} (no goodbye)")
        self.world.stop(f"agent-{first}", signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: first not in self.sites("eu")[0], 10, f"{first} leaves the answers", interval_s=0.005)
        took = time.monotonic() - killed
        limit = 3 * interval_s + 0.1
        self.say(f"{first} left the answers after {took * 1000:.0f} ms (limit {limit * 1000:.0f} ms):")
        self.show()
        if took > limit:
            raise WorldError(f"{first} stayed in the answers for {took:.3f} s; the limit is {limit:.3f} s")

        self.say(f"starting the agent of {first} again")
        self.world.start_agent(first)
        wait_until(lambda: self.sites("eu")[0][:1] == [first], 15, f"{first} is first again")
        self.say("it is back, after its hysteresis:")
        self.show()

        self.say(f"raising the CPU load of {first} to 97 %")
        self.world.set_load(first, cpu=0.97)
        wait_until(lambda: self.sites("eu")[0][:1] != [first], 15, f"{first} falls in rank")
        self.say("its rank fell; pharosctl explain says why:")
        self.show()
        self.explain()
        self.world.set_load(first)
        wait_until(lambda: self.sites("eu")[0][:1] == [first], 30, f"{first} recovers its rank")
        self.say(f"{first} cooled down and leads again")

        self.say("killing the control plane; answers must not notice")
        self.world.stop("controlplane", signal.SIGKILL)
        for _ in range(200):
            if len(self.sites("us")[0]) != 3:
                raise WorldError("an answer was lost while the control plane was dead")
        self.world.start_controlplane()
        self.say("200 of 200 answers came without it; it is back")

    def explain(self):
        octet = LOCALES["eu"][2]
        done = self.world.client(*self.world.ctl_command(
            "explain", "--name", "www.example.org", "--client", f"198.18.{octet}.10"))
        for line in done.stdout.splitlines():
            print(f"          {line}", flush=True)

    def things_to_try(self):
        client = f"ip netns exec {self.world.ns('client')}"
        ctl = " ".join(map(str, self.world.ctl_command()))
        world = self.world
        print(f"""
The world stays up until Ctrl-C. In another terminal, as root:

  ask as a client in Europe, America, Asia:
    {client} dig @{RESPONDER_V4} -b 198.18.1.10 www.example.org
    {client} dig @{RESPONDER_V4} -b 198.18.2.10 www.example.org AAAA
    {client} dig @{RESPONDER_V4} -b 198.18.3.10 api.example.org +subnet=198.18.1.0/24
  look inside:
    {ctl} status
    {ctl} sites
    {ctl} explain --name www.example.org --client 198.18.1.10
    {ctl} stats
  take a site out by hand, and give it back:
    {ctl} endpoints drain www/fra
    {ctl} endpoints auto www/fra
  let a site overheat, and cool it:
    sed -i 's/^cpu:.*/cpu: 0.97/' {world.directory}/fra.load
    sed -i 's/^cpu:.*/cpu: 0.2/' {world.directory}/fra.load
  load it:
    echo 'www.example.org A' > /tmp/pharos-queries
    {client} dnsperf -s {RESPONDER_V4} -d /tmp/pharos-queries -l 10 -Q 20000
  configuration, logs and images: {world.directory}
""", flush=True)

    def watch(self, stop):
        """Prints each change of an answer until told to stop; says so when a program ended by itself."""
        last = {}
        while not stop.wait(0.2):
            for locale in LOCALES:
                sites, ttl = self.sites(locale)
                if sites and sites != last.get(locale):
                    if locale in last:
                        self.say(f"www.example.org for {locale:5}->  {'  '.join(sites)}   TTL {ttl}")
                    last[locale] = sites
            for role in list(self.world.processes):
                if not self.world.alive(role):
                    self.world.processes.pop(role)
                    self.say(f"{role} has ended; last lines of its log:\n{self.world.log(role, 5)}")


def play_tour(options, name, acts):
    """The acts, one after the other. By itself it then stays up, for the dashboard and pharosctl."""
    with tour.make_world(name, options.build, options.port) as world:
        guide = tour.Tour(world)
        try:
            guide.bring_up()
            guide.play(acts)
            if options.check or name != "tour":
                return 0
            ctl = " ".join(map(str, world.ctl_command()))
            guide.say(f"the world stays up until Ctrl-C: {guide.door.url}, or {ctl} sites")
            while True:
                guide.watch(60)
        finally:
            guide.close()


def main():
    parser = argparse.ArgumentParser(prog="scripts/run", description=__doc__)
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="prove that answers follow the sites, then exit")
    parser.add_argument("--tour", nargs="*", metavar="ACT", choices=tour.Tour.ACTS,
                        help=f"five sites, people who ask, and what goes wrong, act by act: {', '.join(tour.Tour.ACTS)}")
    parser.add_argument("--port", choices=("af_packet", "af_xdp", "tap"), default="af_packet")
    options = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        if options.tour is not None:
            return play_tour(options, "tour", options.tour or tour.Tour.ACTS)
        with World("check" if options.check else "demo", options.build, port=options.port) as world:
            demo = Demo(world)
            demo.bring_up()
            if options.check:
                demo.check()
            else:
                demo.things_to_try()
                demo.watch(stop)
        if options.check:
            play_tour(options, "check-tour", tour.Tour.ACTS)
            demo.say("check passed")
    except KeyboardInterrupt:
        print("\nstopped; nothing is left behind")
        return 0 if not options.check else 130
    except WorldError as error:
        print(f"scripts/run: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
