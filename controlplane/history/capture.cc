#include "pharos/controlplane/history/history.hh"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "state.hh"

namespace pharos::controlplane {

DecisionRound capture_round(const Engine& engine, Round round, Version version, Instant now,
                            WallTime wall) {
  DecisionRound captured{wall, version, engine.exponents(), std::move(round), {}};
  std::size_t looked_at = 0;
  std::map<std::uint32_t, MemberFacts> known;  // an endpoint stands in several pools
  for (const auto& change : captured.round.changes) {
    // Changes come by pool.
    if (!captured.pools.empty() && captured.pools.back().pool == change.pool) continue;
    PoolFacts facts{change.pool, change.answered_by, engine.view_pool(change.pool).panic, {}};
    const auto& members = captured.round.world->pools[change.answered_by].members;
    if (looked_at + members.size() <= facts_per_round_max) {
      for (const auto e : members) {
        auto [at, fresh] = known.try_emplace(e);
        if (fresh) {
          auto seen = engine.view(e, 0, now);
          at->second = {e, seen.factors, seen.weight, std::move(seen.state),
                        std::move(seen.reason)};
          ++looked_at;
        }
        facts.members.push_back(at->second);
      }
    }
    captured.pools.push_back(std::move(facts));
  }
  return captured;
}

std::vector<std::string> files_of(const config::Config& config) {
  std::vector<std::string> files = config.files;
  for (const auto& zone : config.zones) {
    if (!zone.file.empty()) files.push_back(zone.file);
  }
  for (const auto& locale : config.locales) {
    for (const auto& csv : locale.csv) files.push_back(csv.file);
  }
  for (const auto& policy : config.policies) {
    for (const auto& file : policy.files) files.push_back(file);
  }
  std::ranges::sort(files);
  const auto repeated = std::ranges::unique(files);
  files.erase(repeated.begin(), repeated.end());
  return files;
}

namespace {

PastFile read_file(const std::string& path) {
  PastFile file;
  file.path = path;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (!error && bytes <= history_file_bytes_max) {
    const std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    file.content = std::move(text).str();
    file.bytes = file.content->size();
  }
  file.hash = hash_of_content(file.content.value_or(""));
  return file;
}

}  // namespace

OfferedFiles offer_files(const config::Config& config, const KeptFiles& kept) {
  OfferedFiles files;
  for (auto& path : files_of(config)) {
    OfferedFile file{file_stamp(path), {}};
    const auto at = kept.stamps.find(path);
    if (at == kept.stamps.end() || at->second != file.stamp) file.read = read_file(path);
    files.emplace_hint(files.end(), std::move(path), std::move(file));
  }
  return files;
}

}  // namespace pharos::controlplane
