#!/usr/bin/env python3
"""Instructions an answer takes, by stage and kind of query, counted by callgrind: they repeat on the noisiest machine.

  budget.py               counts and prints
  budget.py --check       exit code 1 where a kind takes over 5 % more than perf/budget.json says
  budget.py --update      writes what was counted, and cycles of a native run, into perf/budget.json and perf/BUDGET.md
  budget.py --stages      cycles of each stage alone, beside their budget of perf/budget.json; with --update into perf/BUDGET.md

An instruction belongs to the stage of the innermost function around it that a stage names, inlined ones included: the
packet path is built with line tables for that.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBERS = ROOT / "perf/budget.json"
DOCUMENT = ROOT / "perf/BUDGET.md"
GROWTH_MAX = 0.05
MAKER = "perf/micro/serve_tables"  # any build makes the same tables
# First match wins, from the innermost function outwards.
STAGES = [
    ("fold+hash", r"fold_32|fold_name|hash_name|head_mask"),
    ("checksum", r"checksum|pseudo_sum"),
    ("locale", r"locate|locales|client_stage|cell_stage|slot_stage|steer|client_hash|client_of|locale_map|ranking"),
    ("cookie", r"cookie|siphash"),
    ("limit", r"limit_stage|RateLimit|rate_limit|limit_reply|^limit|account"),
    ("policy", r"polic|Polic|whole_stage|^judge$|judge_all|verdict_of|plain_octets|^act$"),
    ("frame", r"classify|skip_tags|add_query|is_martian|is_ours|prefetch_frame|address_of|plain_frame"),
    ("send", r"finish_|write_ipv|write_udp|count_sent"),
    ("question", r"parse_|careful_stage|is_whole|name_bytes_at"),
    ("lookup", r"match_stage|match_later|node_stage|typeless_stage|take_slot|find_slot|tag_matches|is_name_of|parent_|encloser|enclose|find_node"
               r"|find_closest|zone_stage|deny_type|denies_children|map_labels|first_match"),
    ("answer", r"[rR]eply|deny|denial|write_|close_plain|copy_body|move_pointers|is_plain|relocat|esolv|esolution|Tally"
               r"|moved|wildcard|memcpy|memmove|memset"),
]
PATTERNS = [(stage, re.compile(pattern)) for stage, pattern in STAGES]
ORDER = ["frame", "question", "fold+hash", "lookup", "policy", "locale", "cookie", "limit", "answer", "checksum",
         "send", "rest"]


def stage_of(chain):
    for function in chain:
        for stage, pattern in PATTERNS:
            if pattern.search(function):
                return stage
    return "rest"


def plain_name(function):
    """Without template arguments and parameters, which name other functions' types."""
    function = function.replace("pharos::", "").replace("dataplane::", "").replace("(anonymous namespace)::", "")
    return re.split(r"[(<]", function, maxsplit=1)[0]


def read_counts(path, binary):
    """Self cost by address of our own code, and by (object, function) elsewhere."""
    own, other = collections.Counter(), collections.Counter()
    place, function, called = "", "", False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("ob="):
            place = line[3:]
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            called = True  # the next line is the callee's
        elif line.startswith("0x"):
            address, _, cost = line.split()
            if called:
                called = False
            elif place == binary:
                own[int(address, 16)] += int(cost)
            else:
                other[(place, function)] += int(cost)
    return own, other


def inline_chains(addresses, binary):
    """For each address its functions, innermost first."""
    text = "\n".join(hex(a) for a in addresses)
    lines = subprocess.run(["addr2line", "-a", "-i", "-f", "-C", "-e", binary], input=text, text=True,
                           capture_output=True, check=True).stdout.splitlines()
    chains, at = {}, 0
    while at < len(lines):
        if lines[at].startswith("0x"):
            chain = chains.setdefault(int(lines[at], 16), [])
            at += 1
        else:
            chain.append(plain_name(lines[at]))
            at += 2
    return chains


def count(binary, maker):
    """Kind -> {stage: instructions an answer}."""
    with tempfile.TemporaryDirectory(prefix="pharos-budget-") as folder:
        subprocess.run([maker, folder], check=True)
        out = pathlib.Path(folder) / "counts"
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-instr=yes", "--compress-strings=no",
             "--compress-pos=no", "--collect-atstart=no", "--toggle-collect=measured_turn", "--dump-after=end_of_kind",
             binary, folder, "--counted"], text=True, capture_output=True, check=False)
        if run.returncode != 0:
            sys.exit(f"budget: valgrind failed:\n{run.stderr[-2000:]}")
        kinds = [line.split() for line in run.stdout.splitlines()]
        counts = [read_counts(pathlib.Path(f"{out}.{n + 1}"), binary) for n in range(len(kinds))]
        native = native_cycles(binary, folder)
    chains = inline_chains(sorted({a for own, _ in counts for a in own}), binary)
    table = {}
    for (kind, answers, _), (own, other) in zip(kinds, counts):
        stages = collections.Counter()
        for address, cost in own.items():
            stages[stage_of(chains[address])] += cost
        for (place, function), cost in other.items():
            stages["policy" if "libhs" in place else stage_of([plain_name(function)])] += cost
        table[kind] = {stage: stages[stage] / int(answers) for stage in ORDER if stages[stage]}
    return table, native


def native_cycles(binary, folder):
    """Kind -> cycles of the time-stamp counter an answer: the best of several runs, which disturbances only make longer."""
    best = {}
    for _ in range(3):
        run = subprocess.run([binary, folder], text=True, capture_output=True, check=True)
        for line in run.stdout.splitlines():
            kind, _, cycles = line.split()
            best[kind] = min(best.get(kind, 1e9), float(cycles))
    return best


def stage_cycles(binary):
    """Stage -> cycles of the time-stamp counter an item: the best of several runs."""
    best = {}
    for _ in range(5):
        run = subprocess.run([binary, "--benchmark_min_time=0.03", "--benchmark_format=json"], text=True,
                             capture_output=True, check=True)
        for each in json.loads(run.stdout)["benchmarks"]:
            best[each["name"]] = min(best.get(each["name"], 1e9), each["cycles"])
    return best


def stages_text(measured, budget):
    lines = ["| stage alone | budget | last measured |", "|---|---:|---:|"]
    for name, cycles in measured.items():
        title = name.replace("_", " ").replace("/", ", ")
        lines.append(f"| {title} | {budget.get(name, '')} | {cycles:.1f} |")
    return "\n".join(lines)


def table_text(table, cycles):
    stages = [s for s in ORDER if any(s in row for row in table.values())]
    lines = ["| kind | " + " | ".join(stages) + " | instructions | cycles |", "|---|" + "---:|" * (len(stages) + 2)]
    for kind, row in table.items():
        cells = [f"{row[s]:.0f}" if s in row else "" for s in stages]
        lines.append(f"| {kind} | " + " | ".join(cells) + f" | {sum(row.values()):.0f} | {cycles[kind]:.0f} |")
    return "\n".join(lines)


def compiler():
    text = subprocess.run(["g++", "-dumpfullversion"], text=True, capture_output=True, check=True).stdout
    return "g++ " + text.strip()


def check(table):
    known = json.loads(NUMBERS.read_text())
    if known["compiler"].split(".")[0] != compiler().split(".")[0]:
        print(f"budget: counted with {compiler()}, and perf/budget.json is of {known['compiler']}: not compared")
        return 0
    failed = False
    for kind in sorted(set(table) | set(known["instructions"])):
        before = known["instructions"].get(kind)
        if before is None or kind not in table:
            print(f"budget: {kind} is {'missing from perf/budget.json' if before is None else 'no longer counted'}")
            failed = True
            continue
        growth = sum(table[kind].values()) / before["whole"] - 1
        grown = growth > GROWTH_MAX
        failed |= grown
        print(f"{kind:16} {before['whole']:8.0f} -> {sum(table[kind].values()):8.0f}  {growth:+6.1%}"
              + ("  <- above 5 %" if grown else ""))
        if grown:
            for stage in ORDER:
                was, now = before["stages"].get(stage, 0), table[kind].get(stage, 0)
                if abs(now - was) >= 1:
                    print(f"    {stage:14} {was:8.0f} -> {now:8.0f}")
    if failed:
        print("budget: make it cheaper, or say in the commit why it is worth it, with `perf/lanes/budget.py --update`")
    return 1 if failed else 0


def update(table, cycles):
    numbers = {
        "compiler": compiler(),
        "cycles": json.loads(NUMBERS.read_text())["cycles"],
        "instructions": {kind: {"whole": round(sum(row.values()), 1), "stages": {s: round(v, 1) for s, v in row.items()}}
                         for kind, row in table.items()},
    }
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")
    replace("counted", table_text(table, cycles))


def replace(mark, table):
    """The table of perf/BUDGET.md between its marks."""
    text = DOCUMENT.read_text()
    begin, end = f"<!-- {mark} -->\n", "\n<!-- end -->"
    if text.count(begin) != 1 or end not in text.split(begin)[1]:
        sys.exit(f"budget: perf/BUDGET.md has lost the marks around its table '{mark}'")
    head, rest = text.split(begin)
    DOCUMENT.write_text(head + begin + table + end + rest.split(end, 1)[1])


def tell_stages(folder, write):
    text = stages_text(stage_cycles(folder / "perf/micro/stage_bench"), json.loads(NUMBERS.read_text())["cycles"])
    print(text)
    if write:
        replace("stages", text)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--build", help="a finished release build; without it scripts/build makes one")
    options = parser.parse_args()
    if options.build is None:
        subprocess.run([ROOT / "scripts/build", "release", "perf/micro/serve_once", "perf/micro/serve_tables",
                        "perf/micro/stage_bench"], check=True, stdout=subprocess.DEVNULL)
    folder = pathlib.Path(options.build) if options.build else ROOT / "build"
    if options.stages:
        return tell_stages(folder, options.update)
    maker = next((path for path in (folder / MAKER, ROOT / "build" / MAKER) if path.exists()), None)
    if maker is None:
        sys.exit(f"budget: {folder / MAKER} is not there: scripts/build release {MAKER}")
    table, cycles = count(str((folder / "perf/micro/serve_once").resolve()), maker)
    print(table_text(table, cycles))
    if options.update:
        update(table, cycles)
    return check(table) if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
