"""What all lanes share: contestants that take turns, ratios with their intervals, the machine, tables, JSON and plots.

A lane measures rows. A row has contestants: ours, and the floors or peers that it is compared with. All of them are
measured in every turn, one short window each, in an order that rotates from turn to turn; what counts is the ratio
within a turn, since the machine's speed drifts from turn to turn. A row says how sure it is: the bootstrap interval
(Efron 1979) of the median ratio, and whether the windows of its floor agree with each other.
"""
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESAMPLES = 4000
CONFIDENCE = 0.95
NOISY_SPREAD = 0.10  # of the floor's windows: interquartile range by median
MANY_WINDOWS = 10
FORMAT = 1


def say(text):
    print(text, file=sys.stderr, flush=True)


def progress(text):
    """A line that the next one replaces; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)


@dataclass
class Row:
    """One comparison. `ours` and `peers` hold a figure a turn; `note` is what a reader has to know of it."""

    name: str
    unit: str
    ours: list = field(default_factory=list)
    peer: str = ""
    peers: list = field(default_factory=list)
    note: str = ""
    details: dict = field(default_factory=dict)

    @property
    def ratios(self):
        return [ours / peer for ours, peer in zip(self.ours, self.peers) if peer > 0]

    @property
    def ratio(self):
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def interval(self):
        return interval(self.ratios)

    @property
    def noisy(self):
        """Of many short windows each may be anything: there the interval tells."""
        if len(self.ratios) >= MANY_WINDOWS:
            low, high = self.interval
            return high - low > NOISY_SPREAD * self.ratio
        return spread(self.peers or self.ours) > NOISY_SPREAD

    def to_json(self):
        low, high = self.interval if self.ratios else (None, None)
        return {**asdict(self), "ratio": self.ratio, "low": low, "high": high, "noisy": self.noisy}


def interval(values):
    """The bootstrap interval of the median: what it would have been with other turns of this run."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (None, None)
    draw = random.Random(len(values))
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = int((1 - CONFIDENCE) / 2 * RESAMPLES)
    return medians[cut], medians[-1 - cut]


def spread(values):
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / statistics.median(values)


def take_turns(contestants, turns):
    """`contestants`: name -> function that measures one window. Returns name -> figures, one a turn."""
    figures = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(turns):
        order = names[turn % len(names):] + names[:turn % len(names)]
        for done, name in enumerate(order):
            progress(f"  turn {turn + 1}/{turns}, {done + 1}/{len(order)}: {name}")
            figures[name].append(contestants[name]())
        progress("")
        told = ", ".join(f"{name} {text_of(figures[name][-1])}" for name in names)
        say(f"  turn {turn + 1}/{turns}: {told}")
    return figures


def text_of(value):
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.2f} {prefix}"
    return f"{value:.3g}"


# ---- the machine ----

def first_line(path, start):
    for line in Path(path).read_text().splitlines():
        if line.startswith(start):
            return line.split(":", 1)[1].strip()
    return "unknown"


def machine():
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return {"cpu": first_line("/proc/cpuinfo", "model name"), "cores": len(os.sched_getaffinity(0)),
            "memory": first_line("/proc/meminfo", "MemTotal"), "kernel": platform.release(),
            "virtual": "hypervisor" in first_line("/proc/cpuinfo", "flags"),
            "load_at_start": os.getloadavg()[0],
            "revision": revision.stdout.strip() + ("+" if dirty else "")}


def describe(about):
    place = "a virtual machine" if about["virtual"] else "bare metal"
    return (f"{about['cpu']}, {about['cores']} cores of {place}, Linux {about['kernel']}, "
            f"revision {about['revision']}, load {about['load_at_start']:.1f} at the start")


# ---- what comes out ----

def columns(lines, left):
    """Lines of cells under each other; the columns of `left` are aligned to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if column in left else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def table(rows):
    """Of the rows for people: those with details["plain"] are in the JSON alone."""
    rows = [row for row in rows if not row.details.get("plain")]
    lines = [("", "ours", "beside", "", "ratio", "95 %")]
    for row in rows:
        ratio, limits, peer = "", "", ""
        if row.ratios:
            low, high = row.interval
            ratio, limits = f"{row.ratio:.3f}", f"{low:.3f} to {high:.3f}"
            peer = f"{text_of(statistics.median(row.peers))} {row.unit}"
        lines.append((row.name, f"{text_of(statistics.median(row.ours))} {row.unit}", peer, row.peer, ratio,
                      limits + ("  noisy" if row.noisy else "")))
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    if any(row.noisy for row in rows):
        notes.append(f"noisy: the windows of the floor differ by more than {NOISY_SPREAD:.0%}; measure again on a "
                     "quiet machine")
    return "\n".join([columns(lines, left=(0, 3, 5)), *notes])


def finish(lane, rows, options, before=""):
    """Prints the table, behind the text `before`; writes the run as JSON, and the plot beside it."""
    print(describe(machine_of_run()))
    if before:
        print(before, end="\n\n")
    print(table(rows))
    path = options.json or Path(f"perf/results/{lane}.local.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    run = {"format": FORMAT, "lane": lane, "machine": machine_of_run(),
           "options": {key: str(value) for key, value in vars(options).items()},
           "unix_time": int(time.time()), "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(run, indent=1) + "\n")
    path.with_suffix(".svg").write_text(plot(lane, rows))
    say(f"{path} and {path.with_suffix('.svg').name} hold the figures")


_machine = None


def machine_of_run():
    """As it was before the first window."""
    global _machine
    if _machine is None:
        _machine = machine()
    return _machine


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def plot(lane, rows):
    """Bars of the ratios with their intervals; rows without a floor are left out."""
    rows = [row for row in rows if row.ratios]
    left, width, height, top = 330, 420, 26, 48
    limit = max([1.0, *(row.interval[1] for row in rows)]) * 1.05
    total = top + height * len(rows) + 34
    at = lambda value: left + value / limit * width  # noqa: E731
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{total}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="12" y="24" font-size="15" font-weight="bold">{escaped(lane)}: ratio to floor or peer</text>']
    step = 0.25 if limit < 2 else 0.5 if limit < 4 else 1.0 if limit < 8 else 5.0
    for tick in range(int(limit / step) + 1):
        x = at(tick * step)
        parts.append(f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{total - 28}" stroke="#ddd"/>'
                     f'<text x="{x:.1f}" y="{total - 12}" text-anchor="middle" fill="#555">{tick * step:g}</text>')
    parts.append(f'<line x1="{at(1):.1f}" y1="{top - 8}" x2="{at(1):.1f}" y2="{total - 28}" stroke="#888" '
                 'stroke-dasharray="4 3"/>')
    for number, row in enumerate(rows):
        y = top + number * height
        low, high = row.interval
        colour = "#b9c7d6" if row.noisy else "#3b76af"
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escaped(row.name)}'
                     f'<tspan fill="#777"> / {escaped(row.peer)}</tspan></text>'
                     f'<rect x="{left}" y="{y}" width="{at(row.ratio) - left:.1f}" height="17" fill="{colour}"/>'
                     f'<line x1="{at(low):.1f}" y1="{y + 8.5}" x2="{at(high):.1f}" y2="{y + 8.5}" stroke="black"/>'
                     f'<text x="{at(high) + 6:.1f}" y="{y + 13}">{row.ratio:.2f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
