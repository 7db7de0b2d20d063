"""Ten thousand publishes under load, every answer carrying its generation in its addresses: none mixes two (promise 3)."""

import signal
import subprocess
import sys
import time
import unittest

from e2e import BUILD, WorldTest, dnsperf, main, wait_until
import e2e

PUBLISHES = 10_000


class GenerationsTest(WorldTest):
    world_name = "generations"

    def test_no_answer_mixes_two_generations(self):
        self.world.start_dataplane()
        storm = self.world.start("storm", "fabric", e2e.BUILD / "tests/e2e/publish_storm",
                                 self.world.run_directory / "tables.sock", PUBLISHES, 20)
        wait_until(lambda: "first adopted" in self.world.log("storm"), 10, "the first tables")
        load = subprocess.Popen(
            ["ip", "netns", "exec", self.world.ns("client"), "dnsperf", "-s", "198.18.0.53", "-d", self.queries(),
             "-l", "30", "-Q", "20000", "-q", "200"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: load.poll() is None and load.kill())
        client, last, seen, answers = self.client(), -1, set(), 0
        deadline = time.monotonic() + 120
        while storm.poll() is None and time.monotonic() < deadline:
            reply = client.ask("storm.example", timeout_s=2)
            self.assertIsNotNone(reply, "a reply came while tables were swapped")
            numbers = {tuple(r.data[1:3]) for r in reply.answers}
            self.assertEqual(len(reply.answers), 8)
            self.assertEqual(len(numbers), 1, "one generation in one answer")
            number = int.from_bytes(bytes(numbers.pop()), "big")
            self.assertGreaterEqual(number, last, "no older table comes back")
            last, answers = number, answers + 1
            seen.add(number)
        self.assertEqual(storm.wait(5), 0, self.world.log("storm"))
        self.assertEqual(self.ask("storm.example").answers[0].data[1:3], (PUBLISHES - 1).to_bytes(2, "big"))
        load.send_signal(signal.SIGINT)  # dnsperf prints its figures and ends
        text = load.communicate(timeout=30)[0]
        self.assertGreater(len(seen), 100, "the client saw many generations")
        print(f"\n{answers} answers checked, {len(seen)} generations seen; {self.world.log('storm', 1)}\n"
              + "\n".join(l.strip() for l in text.splitlines() if "Queries" in l), file=sys.stderr)
        self.assertRegex(text[text.index("Statistics:"):], r"Queries lost:\s+0 ")

    def queries(self):
        path = self.world.directory / "queries"
        path.write_text("storm.example A\nns1.example A\n")
        return path


if __name__ == "__main__":
    main(required_tools=("dnsperf",))
