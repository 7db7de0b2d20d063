"""The tour of scripts/run, act by act: a site that overheats is relieved, a region is lost, a flapping site is damped, a drain is
watched to its end. Each act judges itself by what sites carry, by `pharosctl explain`, and by what the dashboard is made of;
where there is Chromium, the page has to show the reason, too."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import unittest

import e2e
import tour
from world import LOCALES, WorldError


class Watched(tour.Tour):
    """The tour with somebody who looks at the page."""

    def explain(self, client, site, wanted):
        super().explain(client, site, wanted)
        if shutil.which("chromium") is None:
            return
        address = client if "." in client else f"10.{LOCALES[client][2]}.0.1"
        page = self.page(f"{self.door.url}/#name={tour.NAME}&client={address}")
        if not any(word in page for word in wanted):
            raise WorldError(f"the page shows none of {wanted}: {page[-3000:]}")
        self.say("   and so does the page")

    @staticmethod
    def page(url):
        with tempfile.TemporaryDirectory(prefix="pharos-tour-") as folder:
            # --no-sandbox: Chromium refuses to run as root with it; the page is ours.
            return subprocess.run(
                ["nice", "chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
                 "--virtual-time-budget=8000", "--dump-dom", url], capture_output=True, text=True, timeout=60).stdout


class TourTest(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("network namespaces need root")
        stack = self.enterContext(contextlib.ExitStack())
        world = stack.enter_context(tour.make_world("tour-test", e2e.BUILD, "af_packet"))
        self.guide = Watched(world)
        stack.callback(self.guide.close)
        self.guide.bring_up()

    def test_every_act_ends_as_it_should(self):
        self.guide.play()


if __name__ == "__main__":
    if shutil.which("chromium") is None:
        print("without chromium: the page itself is not looked at")
    e2e.TIME_LIMIT_S = 270  # the acts alone take 90
    e2e.main(required_tools=("ip",))
