"""What a running data plane may still do, read from /proc, over each kind of port; and that all of it works so."""

import json
import os
import pathlib
import pwd
import signal
import unittest

from e2e import WorldTest, main, run, wait_until

NET_ADMIN, BPF = 1 << 12, 1 << 39
NOBODY = pwd.getpwnam("nobody")


def threads(pid):
    """Status fields of each thread, by name and number."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        found[f"{fields['Name']} {task.name}"] = fields
    return found


class RightsTest(WorldTest):
    port = "af_packet"
    world_name = "rights"
    user = None
    closing = NET_ADMIN  # capabilities that the control thread is permitted for closing its ports

    def setUp(self):
        super().setUp()
        if self.user is not None:
            text = self.world.config_file.read_text().replace("  nsid:", f"  user: {self.user}\n  nsid:", 1)
            self.world.config_file.write_text(text)
        self.start_all()
        self.pid = self.world.processes["dataplane"].pid

    def status(self):
        return self.world.ctl("--dataplane", "status")

    def test_no_thread_keeps_a_right_that_it_does_not_need(self):
        if not self.status()["sandbox"]["on"]:
            self.skipTest("a build with sanitizers")
        uid = NOBODY.pw_uid if self.user else 0
        found = threads(self.pid)
        self.assertGreaterEqual(len(found), 4, "control, worker, saver, interrupts")
        for name, fields in found.items():
            with self.subTest(name):
                self.assertEqual(fields["NoNewPrivs"], "1")
                self.assertEqual(fields["Seccomp"], "2", "filtered")
                self.assertEqual(set(fields["Uid"].split()), {str(uid)})
                self.assertEqual(int(fields["CapEff"], 16), 0)
                self.assertEqual(int(fields["CapInh"], 16) | int(fields["CapAmb"], 16) | int(fields["CapBnd"], 16), 0)
                control = name.endswith(f" {self.pid}")
                self.assertEqual(int(fields["CapPrm"], 16), self.closing if control else 0)
        self.check_that_everything_works()
        self.check_the_end()

    def check_that_everything_works(self):
        # A new table is adopted and saved.
        version = self.status()["version_in_use"]
        self.world.ctl("endpoints", "drain", "www/fra")
        wait_until(lambda: "fra" not in self.sites(), 5, "it steers")
        self.assertNotEqual(self.status()["version_in_use"], version)
        saved = self.world.state_directory / "tables" / "manifest"
        generation = self.status()["version_in_use"]
        wait_until(lambda: f"version {generation['epoch']}.{generation['generation']}\n" in saved.read_text(), 5,
                   "the tables are on disk")
        # The configuration is read again, and applied.
        self.world.config_file.write_text(self.world.config_file.read_text().replace("  nsid:", "  ecs: ignore\n  nsid:", 1))
        reloaded = self.world.ctl("--dataplane", "reload")
        self.assertIn("dataplane.ecs", json.dumps(reloaded))
        os.kill(self.pid, signal.SIGHUP)
        # The zone, too; and the control plane comes and goes.
        self.world.stop("controlplane", signal.SIGKILL)
        self.world.start_controlplane()
        wait_until(lambda: self.status()["controlplane_connected"], 10, "it reconnects")
        self.world.ctl("--dataplane", "stats")
        self.world.ctl("--dataplane", "generations")
        status = self.status()
        self.assertEqual(status["sandbox"]["refused"], [])
        self.assertEqual(status["uid"], NOBODY.pw_uid if self.user else 0)
        self.assertEqual([a for a in status["alarms"] if "sandbox" in a], [])

    def check_the_end(self):
        self.assertEqual(self.world.stop("dataplane"), 0)
        left = [p.name for p in self.world.run_directory.iterdir() if p.is_socket()]
        self.assertEqual([name for name in left if "controlplane" not in name], [], "its sockets are gone")
        log = self.world.log("dataplane", lines=1000)
        self.assertNotIn("refused", log)
        self.check_port_is_put_back()
        self.world.start_dataplane()  # and it starts again, on what it left
        wait_until(lambda: self.status()["controlplane_connected"], 10, "it reconnects")

    def check_port_is_put_back(self):
        links = json.loads(run("ip", "-n", self.world.ns("fabric"), "-j", "link").stdout)
        names = [link["ifname"] for link in links]
        if self.port == "tap":
            self.assertNotIn("tap0", names)
        else:
            link = links[names.index("port0")]
            self.assertNotIn("xdp", link)
            self.assertNotIn("PROMISC", link["flags"])


class UserRightsTest(RightsTest):
    world_name = "rights-user"
    user = "nobody"


class XdpRightsTest(RightsTest):
    world_name = "rights-xdp"
    port = "af_xdp"
    closing = NET_ADMIN | BPF


class TapRightsTest(RightsTest):
    world_name = "rights-tap"
    port = "tap"


class TapUserRightsTest(TapRightsTest):
    world_name = "rights-tapuser"
    user = "nobody"


if __name__ == "__main__":
    main()
