"""The data plane in huge pages (--in-memory), over each kind of port; the other tests run it without (--no-huge)."""

import pathlib
import unittest

from e2e import LOCALES, WorldTest, main
from world import wait_until

POOL = pathlib.Path("/proc/sys/vm/nr_hugepages")
NEEDED_PAGES = 100  # of 2 MiB: the memory of the world's data plane and a margin


def free_pages():
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("HugePages_Free"))


class HugePagesTest(WorldTest):
    world_name = "huge"
    world_options = {"huge_pages": "required"}

    def setUp(self):
        before = int(POOL.read_text())
        missing = NEEDED_PAGES - free_pages()
        if missing > 0:
            self.addCleanup(POOL.write_text, str(before))
            POOL.write_text(str(before + missing))
        if free_pages() < NEEDED_PAGES:
            self.skipTest(f"this machine has no {NEEDED_PAGES} free huge pages to give")
        super().setUp()

    def answers_from_huge_pages(self, port):
        self.world.port = port
        self.world.write_config()
        before = free_pages()
        self.start_all()
        self.assertTrue(self.world.ctl("--dataplane", "status")["huge_pages"])
        self.assertLess(free_pages(), before, "memory comes from huge pages")
        for locale in LOCALES:
            self.assertEqual(len(self.ask("www.example.org", locale=locale).addresses), 3)
        for role in list(self.world.processes):
            self.world.stop(role)
        wait_until(lambda: free_pages() == before, 5, "the pages are given back")

    def test_af_packet(self):
        self.answers_from_huge_pages("af_packet")

    def test_af_xdp(self):
        self.answers_from_huge_pages("af_xdp")

    def test_tap(self):
        self.answers_from_huge_pages("tap")


if __name__ == "__main__":
    main()
