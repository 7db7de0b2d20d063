"""pharosctl capture of running programs: what it writes, tcpdump reads."""

import signal
import subprocess

from e2e import RESPONDER_V6, WorldTest, dnsperf, main, run, wait_until


class CaptureTest(WorldTest):
    world_name = "capture"

    def setUp(self):
        super().setUp()
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client().ask("static.example.org", timeout_s=0.2) is not None, 20, "an answer")
        self.count = 0

    def start_capture(self, *options):
        """pharosctl capture, once it runs; its process and its file."""
        self.count += 1
        path = self.world.directory / f"capture{self.count}.pcapng"
        process = subprocess.Popen([str(c) for c in self.world.ctl_command("capture", "--write", path, *options)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        wait_until(lambda: process.poll() is not None or path.exists(), 10, "the capture begins")
        return process, path

    def end(self, process, with_signal=None):
        if with_signal is not None:
            process.send_signal(with_signal)
        _, error = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0, error)
        return error

    def lines(self, path, *expression):
        """What tcpdump makes of a file, a line a frame."""
        done = run("tcpdump", "-nn", "-v", "-r", path, *expression)
        self.assertNotIn("bad cksum", done.stdout)
        self.assertNotIn("bad udp cksum", done.stdout)
        return [" ".join(part.split()) for part in done.stdout.replace("\n    ", " ").splitlines()]

    def test_a_capture_has_queries_and_replies_of_clients_that_are_cut(self):
        process, path = self.start_capture("--seconds", "3")
        self.ask("www.example.org", locale="asia", ecs=("198.18.3.77", 32))
        self.ask("nothing.example.org", "AAAA", server=RESPONDER_V6)
        self.world.ctl("--dataplane", "reload")
        self.world.ctl("--controlplane", "reload", "--force")
        self.ask("mail.example.org")
        said = self.end(process)
        self.assertIn("0 dropped", said)
        lines = self.lines(path, "port", "53")
        for name in ("www.example.org", "nothing.example.org", "mail.example.org"):
            self.assertTrue(any(f"{name}." in line and "? " in line for line in lines), f"{name} in {lines}")
        text = "\n".join(lines)
        self.assertIn("NXDomain", text)
        self.assertIn("198.18.3.0.", text)
        self.assertIn("2001:db8:1::.", text)
        for address in ("198.18.3.10", "198.18.1.10", "198.18.3.77", "2001:db8:1::10"):
            self.assertNotIn(address, text)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        inbound = self.lines(path, "udp", "dst", "port", "53")
        outbound = self.lines(path, "udp", "src", "port", "53")
        self.assertEqual(len(inbound), len(outbound), "each query has its reply")
        self.assertIn("capture 1 ", self.world.log("dataplane", 1000))

    def test_filters_limits_and_whole_addresses(self):
        process, path = self.start_capture("--name", "*.example.org", "--rcode", "nxdomain", "--client",
                                           "198.18.0.0/16", "--count", "4", "--whole-addresses", "--port", "front")
        for name in ("static.example.org", "a.example.org", "example.org", "b.example.org", "c.example.org"):
            self.ask(name)
        self.assertIn("4 frames", self.end(process))
        text = "\n".join(self.lines(path))
        self.assertEqual([name in text for name in ("a.example.org", "b.example.org", "static", "c.example.org")],
                         [True, True, False, False])
        self.assertIn("198.18.1.10.", text)
        self.assertIn("whole addresses", self.world.log("dataplane", 1000))

    def test_files_take_turns_and_a_capture_whose_reader_dies_ends(self):
        process, path = self.start_capture("--size", "64KiB", "--files", "3")
        refused = run(*self.world.ctl_command("capture", "--write", "/dev/null", "--count", 1), check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("runs already", refused.stderr)
        figures = dnsperf(self.world, [("big.example.org", "TXT"), ("static.example.org", "A")], 2, 2000)
        self.assertEqual(figures["lost"], 0, figures["text"])
        self.end(process, signal.SIGINT)
        names = sorted(file.name for file in self.world.directory.glob("capture1.pcapng*"))
        self.assertEqual(names, ["capture1.pcapng", "capture1.pcapng.1", "capture1.pcapng.2"])
        for name in names:
            file = self.world.directory / name
            self.assertLessEqual(file.stat().st_size, 64 * 1024 + 100)
            self.assertGreater(len(self.lines(file)), 0, name)
        process, path = self.start_capture()
        process.kill()
        process.communicate()
        wait_until(lambda: "its reader is gone" in self.world.log("dataplane", 1000), 15, "the capture ends")
        process, path = self.start_capture("--count", "2")
        self.ask("static.example.org")
        self.end(process)


if __name__ == "__main__":
    main(required_tools=("tcpdump", "dnsperf"))
