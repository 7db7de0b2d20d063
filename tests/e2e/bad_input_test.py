"""Bad configuration, zone, image and commands: a clear error each, and the old state kept (promises 4, 5 and 9)."""

import subprocess
import unittest

from e2e import BUILD, WorldTest, main, run, wait_until
import e2e


class BadInputTest(WorldTest):
    world_name = "bad"

    def setUp(self):
        super().setUp()
        self.start_all()
        self.answers = self.everything()

    def everything(self):
        return {(name, rrtype): sorted(r.data for r in self.ask(name, rrtype).answers)
                for name, rrtype in (("www.example.org", "A"), ("static.example.org", "A"), ("example.org", "MX"))}

    def tool(self, *arguments):
        return run(*arguments, check=False)

    def refused_reload(self, *expected):
        done = self.tool(*self.world.ctl_command("reload"))
        self.assertEqual(done.returncode, 1, done.stdout)
        for text in expected:
            self.assertIn(text, done.stderr)
        self.assertEqual(self.everything(), self.answers, "the old state is kept")
        for role in ("dataplane", "controlplane"):
            self.assertTrue(self.world.alive(role))

    def line_of(self, text):
        lines = self.world.config_file.read_text().splitlines()
        return next(i for i, line in enumerate(lines, 1) if text in line)

    def test_a_bad_configuration_is_refused_with_file_and_line(self):
        good = self.world.config_text()
        cases = [
            (good.replace("policy: ranked", "policy: rankd"), "rankd", "ranked"),
            (good.replace("site: fra", "site: frankfurt"), "site: frankfurt", "frankfurt"),
            (good.replace("ttl_floor: 1s", "ttl_floor: 1 parsec"), "parsec", "1 parsec"),
            (good.replace("beacon_interval: 200ms", "beacon_intervall: 200ms"), "beacon_intervall", "beacon_interval"),
            (good.replace("names: [www.example.org]", "names: [www.example.com]"), "www.example.com", "zone"),
        ]
        for text, marker, expected in cases:
            with self.subTest(marker):
                self.world.config_file.write_text(text)
                where = f"{self.world.config_file}:{self.line_of(marker)}"
                self.refused_reload(where, expected)
                for daemon in ("dataplane/pharos-dataplane", "controlplane/pharos-controlplane"):
                    done = self.tool(e2e.BUILD / daemon, "--config", self.world.config_file, "--check")
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn(where, done.stderr)
        self.world.config_file.write_text("sites: [")
        self.refused_reload(str(self.world.config_file))
        self.world.config_file.write_text(good)
        self.assertEqual(self.tool(*self.world.ctl_command("reload")).returncode, 0)
        for daemon in ("dataplane/pharos-dataplane", "controlplane/pharos-controlplane"):
            done = self.tool(e2e.BUILD / daemon, "--config", self.world.config_file, "--check")
            self.assertEqual((done.returncode, done.stderr), (0, ""), daemon)

    def test_a_bad_zone_is_refused_with_file_and_line(self):
        good = self.world.zone_file.read_text()
        lines = good.count("\n")
        for extra, expected in (("broken IN A 192.0.2.300\n", f"{self.world.zone_file}:{lines + 1}"),
                                ("static IN CNAME www\n", "CNAME"),
                                ("outside.example.net. IN A 192.0.2.1\n", "outside")):
            with self.subTest(extra):
                self.world.zone_file.write_text(good + extra)
                self.refused_reload(expected)
        self.world.zone_file.write_text("")
        self.refused_reload("SOA")
        self.world.zone_file.write_text(good + "fresh IN A 192.0.2.99\n")
        self.assertEqual(self.tool(*self.world.ctl_command("reload")).returncode, 0)
        wait_until(lambda: self.ask("fresh.example.org").addresses == ["192.0.2.99"], 5, "the new record is served")

    def test_bad_images_are_refused(self):
        images = [p for p in self.world.state_directory.rglob("*") if p.is_file() and "catalog" in p.name]
        self.assertTrue(images, "the data plane keeps its last good images")
        good = images[0].read_bytes()
        check = self.world.ctl_command("image", "check")
        self.assertEqual(self.tool(*check, images[0]).returncode, 0)
        self.assertIn("www.example.org", self.tool(*self.world.ctl_command("image", "dump"), images[0]).stdout)
        bad = self.world.directory / "bad.image"
        for name, content in (("empty", b""), ("half", good[:len(good) // 2]), ("text", b"hello" * 100),
                              ("flipped", good[:200] + bytes([good[200] ^ 1]) + good[201:])):
            with self.subTest(name):
                bad.write_bytes(content)
                done = self.tool(*check, bad)
                self.assertEqual(done.returncode, 1)
                self.assertIn("bad.image", done.stderr)

    def test_bad_commands_fail_with_a_reason(self):
        for arguments, expected in ((("endpoints", "drain", "www/nowhere"), "nowhere"),
                                    (("endpoints", "drain", "nothing/fra"), "nothing"),
                                    (("weights", "set", "api/fra", "-1"), "-1"),
                                    (("explain", "--name", "nobody.example.net", "--client", "192.0.2.1"), "nobody"),
                                    (("explain", "--name", "www.example.org", "--client", "here"), "here")):
            with self.subTest(arguments):
                done = self.tool(*self.world.ctl_command(*arguments))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(expected, done.stderr)
        self.assertEqual(self.tool(*self.world.ctl_command("no-such-command")).returncode, 2)
        self.assertEqual(self.everything(), self.answers)

    def test_a_second_instance_is_refused(self):
        for daemon in ("dataplane/pharos-dataplane", "controlplane/pharos-controlplane"):
            done = run("ip", "netns", "exec", self.world.ns("fabric"), e2e.BUILD / daemon, "--config",
                       self.world.config_file, check=False, timeout=20)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stdout + done.stderr, "another .*(runs|holds)")
        self.assertEqual(self.everything(), self.answers)


if __name__ == "__main__":
    main()
