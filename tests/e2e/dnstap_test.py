"""dnstap of running programs, read by programs of others: fstrm_capture takes the stream, dnstap-read decodes it."""

import re
import signal
import subprocess

from e2e import RESPONDER_V6, WorldTest, dnsperf, main, run, wait_until

CONTENT = "protobuf:dnstap.Dnstap"
TCP_PORT = 6000


def section(reader, **keys):
    keys = {"socket": reader} | keys if reader else keys
    return "  dnstap: {" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}\n"


class DnstapTest(WorldTest):
    world_name = "dnstap"

    def setUp(self):
        super().setUp()
        self.socket = self.world.directory / "dnstap.sock"
        self.reader = None
        self.files = 0
        self.addCleanup(lambda: self.stop_reader(signal.SIGKILL))

    # ---- the reader ----

    def start_reader(self, *address):
        """fstrm_capture in the namespace of the responder, into a file of its own."""
        self.files += 1
        self.capture = self.world.directory / f"capture{self.files}.fstrm"
        address = address or ("-u", self.socket)
        self.socket.unlink(missing_ok=True)
        self.reader = subprocess.Popen(
            ["ip", "netns", "exec", self.world.ns("fabric"), "fstrm_capture", "-t", CONTENT, "-w", self.capture,
             *map(str, address)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop_reader(self, with_signal=signal.SIGTERM):
        if self.reader is not None and self.reader.poll() is None:
            self.reader.send_signal(with_signal)
            self.reader.wait(10)

    def messages(self):
        """What the reader has written once it has ended: a dict of the fields of each message."""
        self.stop_reader()
        text = run("dnstap-read", "-y", self.capture).stdout
        found = []
        for document in re.split(r"^---\n", text, flags=re.M):
            # Of the outer level and, indented by two, of the message's; deeper ones are DNS.
            fields = dict(re.findall(r"^(?:  )?([a-z_]+): (?:!!timestamp )?\"?(.*?)\"?$", document, flags=re.M))
            if fields:
                fields["text"] = document
                found.append(fields)
        return found

    def told(self):
        return self.world.ctl("dnstap")

    def wait_connected(self):
        wait_until(lambda: self.told()["state"] == "connected", 20, "the reader is connected")

    def wait_sent(self, count):
        wait_until(lambda: self.told()["sent_frames"] >= count, 10, f"{count} messages are sent")

    def configure(self, text):
        self.world.dataplane_extra = text
        self.world.write_config()

    def start(self, text):
        self.configure(text)
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client().ask("static.example.org", timeout_s=0.2) is not None, 20, "an answer")

    # ---- tests ----

    def test_what_is_asked_and_answered_comes_out_with_masked_clients(self):
        self.configure(section(self.socket, identity="ns-test"))
        self.start_reader()
        self.start(self.world.dataplane_extra)
        self.wait_connected()
        before = self.told()["sent_frames"]
        self.ask("www.example.org", locale="asia", ecs=("198.18.3.77", 32))
        self.ask("nothing.example.org", "AAAA", server=RESPONDER_V6)
        self.client().ask("static.example.org", timeout_s=1)
        self.wait_sent(before + 6)
        messages = self.messages()

        def of(kind, name):
            return [m for m in messages if m["type"] == kind and name in m["text"]]
        for kind in ("AUTH_QUERY", "AUTH_RESPONSE"):
            self.assertEqual(len(of(kind, "www.example.org")), 1, kind)
            self.assertEqual(len(of(kind, "nothing.example.org")), 1, kind)
        query = of("AUTH_QUERY", "www.example.org")[0]
        self.assertEqual(query["identity"], "ns-test")
        self.assertIn("pharos", query["version"])
        self.assertEqual((query["socket_family"], query["socket_protocol"]), ("INET", "UDP"))
        self.assertEqual(query["query_address"], "198.18.3.0")
        response = of("AUTH_RESPONSE", "www.example.org")[0]
        self.assertIn("203.0.113.", response["text"])
        self.assertEqual(of("AUTH_QUERY", "nothing")[0]["query_address"], "2001:db8:1::")
        self.assertIn("NXDOMAIN", of("AUTH_RESPONSE", "nothing")[0]["text"])
        # Nowhere in all that left, not even in client subnets.
        everything = "".join(m["text"] for m in messages)
        for address in ("198.18.3.77", "198.18.3.10", "198.18.1.10", "2001:db8:1::10"):
            self.assertNotIn(address, everything)
        self.assertIn("198.18.3.0", everything)
        told = self.told()
        self.assertEqual((told["dropped"], told["unreadable"], told["lost"]), (0, 0, 0))

    def test_sampling_keys_and_reloads_over_tcp(self):
        self.start("")
        self.assertEqual(self.told()["state"], "off")
        self.start_reader("-a", "127.0.0.1", "-p", TCP_PORT)
        self.configure(section(None, tcp=f"\"127.0.0.1:{TCP_PORT}\"", sample=10, messages="queries", clients="keyed"))
        self.assertIn("dataplane.dnstap", self.world.ctl("--dataplane", "reload")["changed"])
        self.wait_connected()
        asked = 1000
        figures = dnsperf(self.world, [("static.example.org", "A")], 1, asked)
        self.assertGreater(figures["completed"], asked // 2)
        copied = self.told()["copied"]
        # One of ten, give or take six standard deviations.
        self.assertAlmostEqual(copied, figures["sent"] / 10, delta=6 * (figures["sent"] / 30) ** 0.5 + 1)
        self.wait_sent(copied)
        messages = self.messages()
        self.assertEqual({m["type"] for m in messages}, {"AUTH_QUERY"})
        clients = {m["query_address"] for m in messages}
        self.assertEqual(len(clients), 1, "one client, one pseudonym")
        self.assertRegex(clients.pop(), r"^2[45]\d\.")
        self.configure("")
        self.world.ctl("--dataplane", "reload")
        wait_until(lambda: self.told()["state"] == "off", 10, "dnstap is off")

    def test_a_reader_that_is_away_or_stands_still_costs_messages_and_no_answers(self):
        self.start(section(self.socket, ring="256KiB"))
        wait_until(lambda: any("dnstap has no reader" in alarm for alarm in self.world.ctl(
            "--dataplane", "status")["alarms"]), 20, "an alarm")
        self.start_reader()
        self.wait_connected()
        self.reader.send_signal(signal.SIGSTOP)
        figures = dnsperf(self.world, [("big.example.org", "TXT"), ("static.example.org", "A")], 3, 4000)
        self.assertEqual(figures["lost"], 0, figures["text"])
        self.assertGreater(figures["completed"], 8000)
        told = self.told()
        self.assertGreater(told["dropped"], 0, "more than ring and socket hold")
        self.reader.send_signal(signal.SIGCONT)
        wait_until(lambda: self.told()["sent_frames"] > told["sent_frames"], 20, "the reader is served again")
        # Killed in the middle, and back.
        self.stop_reader(signal.SIGKILL)
        wait_until(lambda: self.told()["state"] == "no reader", 10, "the end is seen")
        self.ask("www.example.org")
        self.start_reader()
        self.wait_connected()
        self.ask("mail.example.org")
        sent = self.told()["sent_frames"]
        self.ask("sip.example.org")
        self.wait_sent(sent + 2)
        self.assertGreater(len([m for m in self.messages() if "sip.example.org" in m["text"]]), 0)
        self.assertEqual(self.told()["connections"], 2)


if __name__ == "__main__":
    main(required_tools=("fstrm_capture", "dnstap-read", "dnsperf"))
