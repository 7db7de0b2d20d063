"""Huge pages for as long as a lane runs, reserved as an operator does (`scripts/nic huge-pages`)."""
import sys
from pathlib import Path

PAGE_BYTES = 2 << 20
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class HugePages:
    """So many free ones, within the block."""

    def __init__(self, pages):
        self.pages = pages

    def __enter__(self):
        self.before = number_of("nr_hugepages")
        missing = self.pages - number_of("free_hugepages")
        if missing > 0:
            (POOL / "nr_hugepages").write_text(str(self.before + missing))
        if (free := number_of("free_hugepages")) < self.pages:
            self.__exit__()
            sys.exit(f"the host gives {free} huge pages of {self.pages}")
        return self

    def __exit__(self, *_):
        (POOL / "nr_hugepages").write_text(str(self.before))


def number_of(what):
    return int((POOL / what).read_text())
