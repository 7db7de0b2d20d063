#include "handlers.hh"

// What probes say of endpoints: each vantage point's vote, and the verdict of their quorum.

namespace pharos::controlplane {
namespace {

Json vote_row(const EngineSide& side, const ProbeVote& vote) {
  Json row = {{"from", side.engine.world().site(vote.from).id},
              {"up", vote.up},
              {"counts", vote.counts},
              {"age_s", seconds_since(vote.heard, side.now)},
              {"since_s", seconds_since(vote.since, side.now)}};
  if (vote.took_us) row["took_ms"] = double{*vote.took_us} / 1000;
  return row;
}

Json probe_row(const EngineSide& side, std::uint32_t endpoint, const ProbeVerdict& verdict) {
  const auto& world = side.engine.world();
  Json votes = Json::array();
  for (const auto& vote : verdict.votes) votes.push_back(vote_row(side, vote));
  const char* state = !verdict.up ? "unknown" : *verdict.up ? "up" : "down";
  Json row = {{"service", world.service(world.endpoints[endpoint].service).id},
              {"endpoint", world.endpoint(endpoint).id},
              {"site", world.endpoint(endpoint).site},
              {"state", state},
              {"looking", verdict.counting()},
              {"bad", verdict.bad()},
              {"votes", std::move(votes)}};
  if (verdict.up) row["since_s"] = seconds_since(verdict.since, side.now);
  return row;
}

Result<Json> probes(Daemon& daemon, const Json& arguments) {
  const auto wanted = optional_text(arguments, "service");
  if (!wanted.empty()) {
    const auto known = daemon.loop().ask(
        [&](EngineSide& side) { return check_service(side.engine.world(), wanted); });
    if (!known) return std::unexpected(known.error());
  }
  Json rows = Json::array();
  std::uint32_t next = 0;  // endpoint
  daemon.loop().ask_in_slices([&](EngineSide& side, const Slice& slice) {
    if (slice.fresh()) {
      rows = Json::array();
      next = 0;
    }
    const auto& world = side.engine.world();
    const auto& verdicts = side.engine.quorum().verdicts();
    for (auto at = verdicts.lower_bound(next); at != verdicts.end(); ++at) {
      next = at->first;
      if (slice.over()) return false;
      if (wanted.empty() || world.service(world.endpoints[next].service).id == wanted)
        rows.push_back(probe_row(side, next, at->second));
    }
    return true;
  });
  return rows;
}

}  // namespace

void add_probe_command(control::Server& server, Daemon& daemon) {
  server.add({"probes", control::Access::read, "looks at endpoints from outside, and their quorum",
              [&daemon](const Json& arguments) { return probes(daemon, arguments); },
              control::Pace::lengthy});
}

}  // namespace pharos::controlplane
