"""The kernel lane: DNS over TCP at a port with an exception interface and at a listening address, 10 thousand idle and
slow connections, restarts and reloads.

--port af_packet|af_xdp|tap picks the kind of port; all but af_packet do without the connections.
"""

import json
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time

from e2e import RESPONDER_V4, RESPONDER_V6, WorldTest, main, namespace, run, wait_until
from dnsclient import parse, query  # found through e2e

PORT = "af_packet"
if "--port" in sys.argv:
    at = sys.argv.index("--port")
    PORT = sys.argv[at + 1]
    del sys.argv[at:at + 2]

INTERFACE = "pharos0"
LISTEN = "127.0.0.1:5399"
CONNECTIONS = 10_000
SOURCES = [f"198.18.1.{octet}" for octet in range(100, 110)]


def tcp_section(connections_max):
    return (f"  listen: [{LISTEN}, \"[::1]:5399\"]\n"
            f"  tcp: {{connections_max: {connections_max}, connections_per_client: 2000, idle_timeout: 100s,"
            f" message_timeout: 90s}}\n")


class TcpClient:
    """Asks over one connection, as often as it is told. Made inside of its namespace."""

    def __init__(self, source, server=RESPONDER_V4, timeout_s=10):
        self.socket = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.bind((source, 0))
        self.socket.connect((server, 53))
        self.stream = self.socket.makefile("rb")

    def ask_all(self, names, rrtype="A"):
        """One segment of all queries; the replies in order, None behind the connection's end."""
        messages = [query(name, rrtype, identifier=i) for i, name in enumerate(names)]
        self.socket.sendall(b"".join(struct.pack("!H", len(m)) + m for m in messages))
        return [self.read() for _ in messages]

    def read(self):
        prefix = self.stream.read(2)
        if len(prefix) < 2:
            return None
        return parse(self.stream.read(struct.unpack("!H", prefix)[0]))

    def close(self):
        self.stream.close()
        self.socket.close()


class LaneTest(WorldTest):
    port = PORT
    world_name = f"lane-{PORT.replace('_', '')}"
    world_options = {
        "port_extra": f"      exception_interface: {INTERFACE}\n",
        "dataplane_extra": tcp_section(12_000),
    }

    def test_kernel_lane(self):
        self.fabric("sysctl", "-q", "-w", "net.ipv6.conf.lo.disable_ipv6=0")  # for ::1; all else stays quiet
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client().ask("static.example.org", timeout_s=0.2) is not None, 20, "the first answer")
        checks = [self.dig_over_tcp, self.kdig_keeps_a_connection, self.truncated_udp_is_asked_again_over_tcp,
                  self.udp_stays_on_the_packet_path, self.the_kernel_answers_pings, self.listening_address]
        if PORT == "af_packet":
            checks += [self.idle_and_slow_connections, self.reload]
        checks += [self.restart_after_a_kill, self.orderly_end]
        for check in checks:
            with self.subTest(check.__name__):
                began = time.monotonic()
                check()
                print(f"{PORT}: {check.__name__}: {time.monotonic() - began:.1f} s", file=sys.stderr)

    # ---- helpers ----

    def fabric(self, *command, check=True):
        return run("ip", "netns", "exec", self.world.ns("fabric"), *command, check=check).stdout

    def dig_client(self, *arguments):
        return self.world.client("dig", *arguments, "+tries=2", "+time=5").stdout

    def counters(self, role):
        """The counters of all cores with that role, added up."""
        total = {}
        for core in self.world.ctl("--dataplane", "stats")["cores"]:
            if core["role"] == role:
                for name, value in core["counters"].items():
                    total[name] = total.get(name, 0) + value
        return total

    def gauge(self):
        return self.world.ctl("--dataplane", "stats")["gauges"]["tcp_open"]

    def tcp_client(self, source="198.18.1.10", **options):
        with namespace(self.world.ns("client")):
            return TcpClient(source, **options)

    def rules(self):
        listing = []
        for family in ("-4", "-6"):
            listing += [line for line in self.fabric("ip", family, "rule", check=False).splitlines()
                        if line.startswith("5300:")]
        return listing

    # ---- checks ----

    def dig_over_tcp(self):
        for server in (RESPONDER_V4, RESPONDER_V6):
            text = self.dig_client(f"@{server}", "+tcp", "big.example.org", "TXT")
            self.assertIn("status: NOERROR", text)
            self.assertIn("ANSWER: 24", text)
            self.assertIn("(TCP)", text)

    def kdig_keeps_a_connection(self):
        before = self.counters("kernel lane")
        queries = ["big.example.org", "TXT", "static.example.org", "A", "mail.example.org", "AAAA"]
        done = self.world.client("kdig", f"@{RESPONDER_V4}", "+tcp", "+keepopen", *queries)
        self.assertEqual(done.stdout.count("status: NOERROR"), 3, done.stdout)
        after = self.counters("kernel lane")
        self.assertEqual(after["queries_tcp"] - before["queries_tcp"], 3)
        self.assertEqual(after["tcp_accepted"] - before["tcp_accepted"], 1)
        # In one segment, answered in order.
        client = self.tcp_client()
        names = ["static.example.org", "mail.example.org", "nothing.example.org"] * 100
        replies = client.ask_all(names)
        client.close()
        self.assertEqual([r.identifier for r in replies], list(range(len(names))))
        self.assertEqual([r.rcode for r in replies], ["NOERROR", "NOERROR", "NXDOMAIN"] * 100)

    def truncated_udp_is_asked_again_over_tcp(self):
        text = self.dig_client(f"@{RESPONDER_V4}", "big.example.org", "TXT")
        self.assertIn("Truncated, retrying in TCP mode", text)
        self.assertIn("ANSWER: 24", text)

    def udp_stays_on_the_packet_path(self):
        before = self.counters("worker"), self.counters("kernel lane")
        for server in (RESPONDER_V4, RESPONDER_V6):
            for _ in range(50):
                self.assertEqual(self.ask("static.example.org", server=server).rcode, "NOERROR")
        after = self.counters("worker"), self.counters("kernel lane")
        self.assertGreaterEqual(after[0]["answered"] - before[0]["answered"], 100)
        self.assertEqual(after[1]["answered"] - before[1]["answered"], 0)

    def the_kernel_answers_pings(self):
        for server in (RESPONDER_V4, RESPONDER_V6):
            done = self.world.client("ping", "-c", "3", "-W", "2", "-i", "0.2", "-s", "1200", server)
            self.assertIn(" 0% packet loss", done.stdout)
            self.assertNotIn("DUP", done.stdout, "one kernel, one reply")
        workers = self.counters("worker")
        self.assertEqual(workers["local_reply"], 0)
        self.assertGreater(workers["exception"], 6)
        self.assertGreater(workers["exception_sent"], 6)

    def listening_address(self):
        for address in ("127.0.0.1", "::1"):
            for transport in ("+notcp", "+tcp"):
                text = self.fabric("dig", f"@{address}", "-p", "5399", transport, "static.example.org", "A", "+short")
                self.assertEqual(sorted(text.split()), ["192.0.2.80", "192.0.2.81"])
        self.assertEqual(self.world.ctl("--dataplane", "status")["listen"], [LISTEN, "[::1]:5399"])

    def idle_and_slow_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 1000, max(hard, CONNECTIONS + 1000)))
        for source in SOURCES:
            run("ip", "-n", self.world.ns("client"), "address", "add", f"{source}/16", "dev", "eth0")
        crowd = self.open_crowd()
        try:
            wait_until(lambda: self.gauge() >= CONNECTIONS, 20, "all connections are accepted")
            wrong, asked = self.well_behaved_client(lambda: self.dribble(crowd))
            self.assertEqual(wrong, [])
            self.assertGreaterEqual(self.gauge(), CONNECTIONS, "none was closed for the others' sake")
            # One of the crowd that sends the rest of its query after all gets its answer.
            late = crowd[0]
            late.setblocking(True)
            late.settimeout(10)
            message = query("static.example.org")
            late.sendall(struct.pack("!H", len(message)) + message)
            self.assertGreater(len(late.recv(4096)), 12)
            # Half of the room: those longest without a query go, and nobody notices who asks.
            self.world.dataplane_extra = tcp_section(5_000)
            self.world.write_config()
            wrong, more = self.well_behaved_client(lambda: self.world.ctl("--dataplane", "reload"))
            self.assertEqual(wrong, [])
            wait_until(lambda: self.gauge() <= 5_000, 10, "connections are closed down to the limit")
            late.sendall(struct.pack("!H", len(message)) + message)
            self.assertGreater(len(late.recv(4096)), 12, "the one that asked last is still there")
            print(f"{CONNECTIONS} connections idle or slow; {asked + more} queries of another client answered",
                  file=sys.stderr)
        finally:
            for one in crowd:
                one.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: self.gauge() < 100, 30, "the crowd is gone")

    def open_crowd(self):
        """All connections, in waves, so that the handshakes do not flood the rings."""
        crowd = []
        with namespace(self.world.ns("client")):
            while len(crowd) < CONNECTIONS:
                wave, poll = {}, select.epoll()
                for _ in range(250):
                    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                    one.setblocking(False)
                    one.bind((SOURCES[(len(crowd) + len(wave)) % len(SOURCES)], 0))
                    one.connect_ex((RESPONDER_V4, 53))
                    wave[one.fileno()] = one
                    poll.register(one, select.EPOLLOUT)
                deadline, waiting = time.monotonic() + 20, set(wave)
                while waiting and time.monotonic() < deadline:
                    for fd, _ in poll.poll(0.2):
                        error = wave[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        self.assertEqual(error, 0, "connect")
                        poll.unregister(fd)
                        waiting.discard(fd)
                self.assertEqual(waiting, set(), "connections that were never accepted")
                poll.close()
                crowd += wave.values()
        return crowd

    def dribble(self, crowd):
        """Every second connection sends one byte of a query that never ends."""
        for one in crowd[1::2]:
            one.send(b"\1")

    def well_behaved_client(self, meanwhile):
        """Asks without end over connections of its own while `meanwhile` runs, and 300 times more; what went wrong."""
        wrong, asked, done = [], [0], threading.Event()

        def ask():
            after = 300
            while after > 0:
                after -= 1 if done.is_set() else 0
                try:
                    client = self.tcp_client("198.18.3.10")
                    replies = client.ask_all(["static.example.org", "mail.example.org"] * 5)
                    client.close()
                except OSError as error:
                    wrong.append(repr(error))
                    continue
                asked[0] += len(replies)
                if [r and r.rcode for r in replies] != ["NOERROR"] * 10:
                    wrong.append(replies)
        thread = threading.Thread(target=ask)
        thread.start()
        try:
            meanwhile()
        finally:
            done.set()
            thread.join()
        return wrong[:5], asked[0]

    def reload(self):
        self.world.dataplane_extra = "  listen: 127.0.0.1:5400\n"
        self.world.write_config()
        outcome = self.world.ctl("--dataplane", "reload")
        self.assertIn("dataplane.listen", outcome["changed"])
        self.assertIn("dataplane.tcp", outcome["changed"])
        self.assertEqual(outcome["needs_restart"], [])
        text = self.fabric("dig", "@127.0.0.1", "-p", "5400", "+tcp", "static.example.org", "+short")
        self.assertEqual(len(text.split()), 2)
        refused = self.fabric("dig", "@127.0.0.1", "-p", "5399", "+tcp", "+tries=1", "x.example.org", check=False)
        self.assertIn("refused", refused)
        # An address that cannot be had changes nothing, and says why.
        self.world.dataplane_extra = "  listen: [127.0.0.1:5401, 192.0.2.99:53]\n"
        self.world.write_config()
        done = run(*self.world.ctl_command("--dataplane", "reload"), check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("192.0.2.99:53", done.stderr)
        self.assertIn("no interface has this address", done.stderr)
        text = self.fabric("dig", "@127.0.0.1", "-p", "5400", "static.example.org", "+short")
        self.assertEqual(len(text.split()), 2)
        self.world.dataplane_extra = tcp_section(12_000)
        self.world.write_config()
        self.world.ctl("--dataplane", "reload")

    def restart_after_a_kill(self):
        self.assertEqual(len(self.rules()), 2, self.rules())
        self.world.stop("dataplane", signal.SIGKILL)
        self.world.start_dataplane()
        if PORT == "tap":  # a new device with a new MAC, which joins the bridge too late to announce it
            self.world.client("ip", "neighbour", "flush", "all")
        wait_until(lambda: self.client().ask("static.example.org", timeout_s=0.2) is not None, 20, "answers again")
        self.assertEqual(len(self.rules()), 2, self.rules())
        for server in (RESPONDER_V4, RESPONDER_V6):
            self.assertIn("ANSWER: 24", self.dig_client(f"@{server}", "+tcp", "big.example.org", "TXT"))
        links = json.loads(self.fabric("ip", "-json", "address", "show", "dev", INTERFACE))
        addresses = {a["local"] for a in links[0]["addr_info"]}
        self.assertLessEqual({RESPONDER_V4, RESPONDER_V6}, addresses)

    def orderly_end(self):
        self.world.stop("dataplane")
        self.assertEqual(self.rules(), [])
        self.assertNotIn(INTERFACE, self.fabric("ip", "-brief", "link"))


class ListenOnlyTest(WorldTest):
    """No port: no DPDK memory, no packet path, and the same answers."""

    world_name = "listen"

    def test_answers_without_any_port(self):
        text = self.world.config_file.read_text()
        start = text.index("  ports:")
        end = text.index("\ncontrolplane:")
        text = text[:start] + "  listen: 127.0.0.1:53\n" + text[end:].replace(
            "controlplane:", "controlplane:\n  beacon_listen: [127.0.0.1:5380]", 1)
        self.world.config_file.write_text(text)
        run(self.world.build / "dataplane/pharos-dataplane", "--check", "--config", self.world.config_file)
        self.world.start_dataplane()
        self.world.start_controlplane()

        def asked():
            return run("ip", "netns", "exec", self.world.ns("fabric"), "dig", "@127.0.0.1", "static.example.org",
                       "+short", "+tries=1", "+time=1", check=False).stdout.split()
        wait_until(lambda: sorted(asked()) == ["192.0.2.80", "192.0.2.81"], 20, "answers")
        status = self.world.ctl("--dataplane", "status")
        self.assertEqual((status["ports"], status["workers"]), ([], []))
        self.assertEqual(status["alarms"], [])


if __name__ == "__main__":
    main(required_tools=("dig", "kdig", "ping"))
