#include "pharos/base/fd.hh"
#include "pharos/controlplane/history/history.hh"

#include <fcntl.h>

#include <sodium.h>

#include <algorithm>
#include <vector>

#include "state.hh"

namespace pharos::controlplane {

DecisionRound capture_round(const Engine& engine, Round round, Version version, Instant now,
                            WallTime wall) {
  DecisionRound captured{wall, version, engine.exponents(), std::move(round), {}, {}, {}};
  const auto& world = *captured.round.world;
  std::vector<std::uint32_t> members;
  for (const auto& change : captured.round.changes) {
    // Changes come by pool.
    if (!captured.pools.empty() && captured.pools.back().pool == change.pool) continue;
    captured.pools.push_back(
        {change.pool, change.answered_by, engine.view_pool(change.pool).panic});
    const auto& answering = world.pools[change.answered_by].members;
    members.insert(members.end(), answering.begin(), answering.end());
  }
  // An endpoint stands in several pools.
  std::ranges::sort(members);
  const auto repeated = std::ranges::unique(members);
  members.erase(repeated.begin(), repeated.end());
  captured.endpoints.reserve(members.size());
  std::vector<bool> met(world.config->sites.size());
  for (const auto e : members) {
    captured.endpoints.push_back(engine.judgement(e, now));
    const auto site = world.endpoints[e].site;
    if (met[site]) continue;
    met[site] = true;
    captured.sites.emplace(site, engine.site_judgement(site, now));
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

Result<PastFile> read_file(const std::string& path) {
  constexpr std::size_t piece_bytes = 1U << 20;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("open", path);
  PastFile file;
  file.path = path;
  file.content.emplace();
  crypto_generichash_state hash;
  crypto_generichash_init(&hash, nullptr, 0, file.hash.size());
  std::string piece(piece_bytes, '\0');
  for (;;) {
    const auto got = ::read(fd.get(), piece.data(), piece.size());
    if (got < 0) return fail_errno("read", path);
    if (got == 0) break;
    const auto bytes = static_cast<std::size_t>(got);
    crypto_generichash_update(&hash, reinterpret_cast<const unsigned char*>(piece.data()), bytes);
    file.bytes += bytes;
    if (file.bytes > history_file_bytes_max) file.content.reset();
    if (file.content) file.content->append(piece, 0, bytes);
  }
  crypto_generichash_final(&hash, file.hash.data(), file.hash.size());
  return file;
}

OfferedFiles offer_files(const config::Config& config, const KeptFiles& kept) {
  OfferedFiles files;
  for (auto& path : files_of(config)) {
    OfferedFile file{file_stamp(path), {}};
    const auto at = kept.stamps.find(path);
    if (at == kept.stamps.end() || at->second != file.stamp) {
      file.read = PastFile{.path = path, .hash = hash_of_content(""), .content = {}};
      if (auto read = read_file(path)) file.read = std::move(*read);
    }
    files.emplace_hint(files.end(), std::move(path), std::move(file));
  }
  return files;
}

}  // namespace pharos::controlplane
