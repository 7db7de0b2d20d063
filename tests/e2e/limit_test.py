"""Rate limits and cookies of running programs: what a flood gets, who is spared, what reloads change."""

import struct
import time

from e2e import WorldTest, main, wait_until
from dnsclient import parse, query  # found through e2e

FLOOD = 300
NAME = "static.example.org"
CLIENT_COOKIE = bytes.fromhex("2464c4abcf10c957")
SECRETS = {"old": "e5e973e5a6b2a43f48e7dc849e37bfcf", "new": "445536bcd2513298075a5d379663c962"}


def section(secrets, **limit):
    keys = {"responses_per_second": 5, "slip": 2, **limit}
    return ("  rate_limit: {" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}\n"
            "  cookies: {secrets: [" + ", ".join(f"{{file: {name}.cookie}}" for name in secrets) + "]}\n")


def with_cookie(cookie):
    message = query(NAME)
    option = struct.pack("!HH", 10, len(cookie)) + cookie
    return message[:-2] + struct.pack("!H", len(option)) + option


def cookie_of(reply):
    opt = next(record for record in reply.additional if record.type == 41)
    code, length = struct.unpack_from("!HH", opt.data)
    return opt.data[4:4 + length] if code == 10 else b""


class LimitTest(WorldTest):
    world_name = "limit"
    world_options = {"dataplane_extra": section(["old"])}

    def setUp(self):
        super().setUp()
        for name, secret in SECRETS.items():
            path = self.world.directory / f"{name}.cookie"
            path.write_text(secret + "\n")
            path.chmod(0o600)
        self.world.start_dataplane()
        self.world.start_controlplane()
        wait_until(lambda: self.client("asia").ask(NAME, timeout_s=0.2) is not None, 20, "the first answer")

    def flood(self, message, locale="eu", count=FLOOD):
        """Sends the query that often, a few at a time; all replies that came."""
        client = self.client(locale)
        replies = []
        for first in range(0, count, 20):
            for _ in range(min(20, count - first)):
                client.send(message)
            client.socket.settimeout(0.1)
            try:
                while True:
                    replies.append(parse(client.socket.recv(65535)))
            except TimeoutError:
                pass
        return replies

    def counter(self, name):
        return self.world.ctl("--dataplane", "stats")["counters"][name]

    def reload(self, *secrets, **limit):
        self.world.dataplane_extra = section(secrets, **limit)
        self.world.write_config()
        outcome = self.world.ctl("--dataplane", "reload")
        self.assertEqual(outcome["needs_restart"], [])
        return outcome["changed"]

    def test_floods_are_limited_and_cookies_spare_from_it(self):
        # A flood gets what its rate earns in the time it took, and TC for half of the rest.
        began = time.monotonic()
        replies = self.flood(query(NAME))
        earned = 5 * (1 + time.monotonic() - began)
        whole = [reply for reply in replies if reply.answers]
        cut = [reply for reply in replies if reply.flags & 0x0200]
        self.assertLessEqual(len(whole), earned + 1)
        self.assertGreaterEqual(len(whole), 5)
        self.assertAlmostEqual(len(cut), (FLOOD - len(whole)) / 2, delta=FLOOD / 20)
        self.assertEqual(self.counter("limited_positive"), FLOOD - len(whole))
        self.assertEqual(self.counter("drop_rate_limited") + self.counter("slipped"), FLOOD - len(whole))
        self.assertTrue(self.ask(NAME, locale="us").answers, "another prefix is another account")

        # BADCOOKIE brings a cookie; with it there is no limit.
        replies = self.flood(with_cookie(CLIENT_COOKIE), count=60)
        refused = [reply for reply in replies if reply.flags & 15 == 7]
        self.assertGreater(len(refused), 10)
        cookie = cookie_of(refused[0])
        self.assertEqual(len(cookie), 24)
        replies = self.flood(with_cookie(cookie), count=100)
        self.assertEqual(sum(bool(reply.answers) for reply in replies), 100)
        self.assertEqual({cookie_of(reply) for reply in replies}, {cookie})

        # The secret is rolled under the clients: the former cookie is good and replaced by a new one, until it is gone.
        self.assertEqual(self.reload("new", "old"), ["dataplane.cookies"])
        replies = self.flood(with_cookie(cookie), count=100)
        self.assertEqual(sum(bool(reply.answers) for reply in replies), 100)
        renewed = cookie_of(replies[0])
        self.assertNotEqual(renewed, cookie)
        self.reload("new")
        self.assertLess(sum(bool(reply.answers) for reply in self.flood(with_cookie(cookie), count=100)), 60)
        self.assertEqual(sum(bool(reply.answers) for reply in self.flood(with_cookie(renewed), count=100)), 100)

        # A dry run limits nobody and counts all the same.
        self.assertEqual(self.reload("new", dry_run="true"), ["dataplane.rate_limit"])
        self.assertEqual(sum(bool(reply.answers) for reply in self.flood(query(NAME), count=100)), 100)
        self.assertGreater(self.counter("limit_dry_run"), 40)


if __name__ == "__main__":
    main()
