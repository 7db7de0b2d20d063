#!/usr/bin/env python3
"""Breaks the control plane deliberately, in one way at a time, and shows which bound of the simulation finds it.

usage: tests/sim/mutations.py [NAME ...] [--seeds N]      all by default; prints a table

Each mutation is one replaced piece of text in a copy of the tree (build-mutations), which is built without LTO and played from
seed 1 on until a bound breaks, while the next one is built. A piece that is not there any more, a build that fails, a mutation
that nothing finds, or one that another bound finds than the one that is meant, is an error.
"""
import argparse, concurrent.futures, filecmp, os, re, shutil, subprocess, sys

# name: (file, text, replacement, kind of histories, the bound that has to find it, what it does); texts and replacements may be
# lists of equal length
MUTATIONS = {
    "older-tables": ("dataplane/table/root.cc", "  if (version <= in_use) {", "  if (version < Version{}) {", "",
                     "promise 1", "tables are taken without looking at their version"),
    "early-free": ("dataplane/table/root.cc", "  root.ranking_bytes.resize(root.ranking.segment_count() - 1);",
                   "  root.ranking_bytes.clear();", "", "promise 2|crash",
                   "the base below a delta is let go while it is read"),
    "lost-change": ("controlplane/engine/publication.cc", "const auto locales = round.locales_of(change);",
                    "const auto locales = round.locales_of(change).first(1);", "", "promises 3 and 4",
                    "of cells that are alike only the first is encoded"),
    "empty": ("controlplane/rank/membership.cc",
              "  result.members = members_in_panic(candidates, in_use, !healthy.empty(), panic_threshold);",
              "  result.members = healthy;", "", "ranking", "nobody well: nobody is answered"),
    "drain": ("controlplane/engine/engine.cc", "const bool reserve = state.override == config::Override::drain ||",
              "const bool reserve =", "", "ranking", "a drain changes nothing"),
    "shrink": ("controlplane/engine/tables.cc",
               "  return judge_shrink(former.name_count(), removed, next.name_count(), shrink_limit);", "  return {};", "",
               "promise 5", "a configuration that empties is taken"),
    "damage": ("include/pharos/shared/image.cc", "  if (image_checksum(bytes) != header->checksum) {",
               "  if (bytes.empty()) {", "", "promise 5", "images are adopted whatever their checksum says"),
    "mass-silence": ("controlplane/health/health_board.cc",
                     "      if (silence_is_shared(now, site.rhythm.silence_of(config_.down_intervals))) {",
                     "      if (config_.down_intervals < 0) {", "", "promise 7", "no guard against mass silence"),
    "hasty": ("controlplane/health/health_board.cc",
              "  return site.silence_base + down_silence_of(site, intervals);",
              "  return site.silence_base + site.rhythm.silence_of(intervals * 0.7);", "", "health",
              "sites are taken down after two thirds of the silence"),
    "spin": ("controlplane/health/health_board.cc",
             "    if (!site.keyed || site.state == SiteState::down) continue;\n    if (site.state == SiteState::unknown) {",
             "    if (!site.keyed) continue;\n    if (site.state == SiteState::unknown) {", "", "engine",
             "sites that are down keep their deadline (promise 8)"),
    "replay": ("controlplane/ingest/beacon_gate.cc", "stamp.sequence <= site.sequence) {",
               "stamp.sequence < site.sequence) {", "", "promise 10", "a beacon is accepted twice"),
    "forgery": ("controlplane/ingest/beacon_gate.cc", "  if (!beacon::authentic(datagram, key->key)) return BeaconVerdict::bad_mac;",
                "", "", "promise 10", "the MAC is not checked"),
    "held-back": ("controlplane/ingest/beacon_gate.cc", "  if (!within(sent.wall_ns, wall.ns, window)) return std::nullopt;",
                  "", "", "promise 10", "no window of time"),
    "clock": ("controlplane/ingest/beacon_gate.cc", "    if (same_chain && next.lag_ns - allowed_ns <= window.ns) {",
              "    if (same_chain && next.lag_ns - allowed_ns <= -window.ns) {", "", "clocks",
              "a step of a site's clock is not carried by its sequence"),
    "hidden-state": ("controlplane/rank/deal.cc", "  add(service);\n  add(endpoint);\n  return mix(digest);",
                     "  add(service);\n  add(endpoint);\n  static thread_local unsigned calls = 0;\n"
                     "  return mix(digest + ++calls / 64);", "", "promise 12", "tables depend on what was made before"),
    "forgetful": ("controlplane/engine/publication.cc",
                  ["  if (hello.in_use > last_ ||\n",
                   "      last_ = std::max(last_, acknowledge.in_use);\n      need_ = Need::everything;"],
                  ["  if (hello.in_use < Version{} ||\n", "      blocked_ = true;"], "",
                  "liveness", "a newer past is heeded neither at the greeting nor when it is answered with `stale`"),
    "no-rise": ("controlplane/health/health_board.cc", "    site.fell_silent = never;\n    enter(site, SiteState::up, now);",
                "    site.fell_silent = never;", "", "liveness", "who is down stays down"),
    "no-limits": ("controlplane/assign/assign.cc",
                  "        penalty_(2 * score_units * static_cast<double>(problem.sites.size() + 1)) {}", "        penalty_(0) {}",
                  "settling", "capacity", "limits cost nothing"),
    "lazy-steps": ("controlplane/engine/engine_assign.cc",
                   "  if (fills_beyond(task, in_force, config.high_watermark)) taken.assign(shares.size(), true);", "",
                   "settling", "capacity", "small moves are left out where they are needed"),
    "slow-answer": ("controlplane/engine/engine_rank.cc", "    hasten_assignment(assign_urgent_interval);", "", "settling",
                    "capacity", "the assignment after a loss waits for its turn"),
    "planned": ("controlplane/engine/engine_planned.cc", "  result.ttl_s = limit;", "  result.ttl_s = limit * 8;", "",
                "planned work", "answers outlive the beginning of planned work"),
    "flapping": ("controlplane/health/health_board.cc", "  if (falls <= 0) return rise;", "  if (falls <= 1e9) return rise;",
                 "hour", "flapping", "who flaps is trusted again as soon as others"),
}


def run(command, **more):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def make_tree(top, tree, out):
    listed = subprocess.run(["git", "-C", top, "ls-files", "-z", "-co", "--exclude-standard"], check=True, stdout=subprocess.PIPE)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if not os.path.isfile(f"{top}/{name}"):
            continue
        os.makedirs(os.path.dirname(f"{tree}/{name}"), exist_ok=True)
        # What is as it was keeps its time, so that only changes are built.
        if not os.path.exists(f"{tree}/{name}") or not filecmp.cmp(f"{top}/{name}", f"{tree}/{name}", shallow=False):
            shutil.copy(f"{top}/{name}", f"{tree}/{name}")
    if not os.path.exists(out + "/build.ninja"):
        made = run(["meson", "setup", out, tree, "-Dbuildtype=release", "-Doptimization=2", "-Db_lto=false", "-Dwerror=false"],
                   env={**os.environ, "CXX": os.environ.get("CXX", "ccache g++" if shutil.which("ccache") else "g++")})
        if made.returncode != 0:
            sys.exit(made.stdout)


def play(program, kind, seeds):
    """The first seed that breaks, and by what; a process that dies was playing the seed after the last one it names."""
    command = [program, "--jobs", "1", "--count", str(seeds), "--stop-at-first", "--verbose"]
    done = run(command + (["--kind", kind] if kind else []))
    os.remove(program)
    if found := re.search(r"^seed (\d+) breaks (.*)", done.stdout, re.M):
        return int(found[1]), found[2]
    if done.returncode not in (0, 1):
        played = re.findall(r"^seed (\d+):", done.stdout, re.M)
        return int(played[-1]) + 1 if played else 1, "crash"
    return None, ""


def build(name, tree, out):
    """Builds the mutated program and leaves the tree as it was: the program's path, or what is wrong."""
    file, texts, replacements = MUTATIONS[name][:3]
    if isinstance(texts, str):
        texts, replacements = [texts], [replacements]
    path = f"{tree}/{file}"
    with open(path, encoding="utf-8") as source:
        whole = source.read()
    mutated = whole
    for text, replacement in zip(texts, replacements, strict=True):
        if whole.count(text) != 1:
            return None, f"{name}: {file} has the text {whole.count(text)} times, not once: {text.strip()}"
        mutated = mutated.replace(text, replacement)
    try:
        with open(path, "w", encoding="utf-8") as source:
            source.write(mutated)
        built = run(["ninja", "-C", out, "tests/sim/pharos-sim"])
    finally:
        with open(path, "w", encoding="utf-8") as source:
            source.write(whole)
    if built.returncode != 0:
        return None, f"{name}: does not build\n{built.stdout[-2000:]}"
    return shutil.copy(out + "/tests/sim/pharos-sim", f"{out}/pharos-sim-{name}"), None


def judge(name, program, seeds):
    """Plays one, prints its line, and returns what is wrong, if anything is."""
    _, _, _, kind, bound, what = MUTATIONS[name]
    seed, found = play(program, kind, seeds)
    if seed is None:
        return f"{name}: nothing found it in {seeds} seeds"
    if not re.match(bound, found):
        return f"{name}: found as '{found}', not by '{bound}' (seed {seed})"
    print(f"| `{name}`: {what} | {re.match('(.*?)(:| at |$)', found)[1]} | {kind or 'mixed'} | {seed} |", flush=True)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, default=4000, help="to play at most (default 4000)")
    options = parser.parse_args()
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    tree, out = top + "/build-mutations", top + "/build-mutations/build"
    make_tree(top, tree, out)
    print("| mutation | found by | histories | seeds needed |\n|---|---|---|---|", flush=True)
    wrong, games = [], []
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as players:
        for name in options.name or MUTATIONS:
            program, error = build(name, tree, out)
            if program:
                games.append(players.submit(judge, name, program, options.seeds))
            else:
                wrong.append(error)
    wrong += [error for game in games if (error := game.result())]
    for error in wrong:
        print(error, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
