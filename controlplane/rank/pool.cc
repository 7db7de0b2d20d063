#include "pharos/controlplane/rank/pool.hh"

#include "pharos/config/service_records.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <utility>

namespace pharos::controlplane {
namespace {

bool has_addresses(const config::ServiceConfig& service, Family family) {
  return std::ranges::any_of(service.endpoints, [&](const auto& endpoint) {
    return std::ranges::any_of(endpoint.addresses,
                               [&](const auto& address) { return address.family() == family; });
  });
}

}  // namespace

std::string Pool::name() const {
  return service + (version.empty() ? "" : "@" + version) + "/" +
         dns::type_text(std::to_underlying(type));
}

std::vector<Pool> pools_of(const config::Config& config) {
  std::vector<Pool> pools;
  for (const auto& service : config.services) {
    if (has_addresses(service, Family::ipv4)) pools.push_back({service.id, {}, dns::Type::a});
    if (has_addresses(service, Family::ipv6)) pools.push_back({service.id, {}, dns::Type::aaaa});
    for (const auto type : config::record_types_of(service))
      pools.push_back({service.id, {}, type});
  }
  std::ranges::sort(pools);
  return pools;
}

std::optional<std::uint32_t> find_pool(std::span<const Pool> pools, const std::string& service,
                                       dns::Type type) {
  const auto at = std::ranges::lower_bound(pools, Pool{service, {}, type});
  if (at == pools.end() || at->service != service || at->type != type) return std::nullopt;
  return static_cast<std::uint32_t>(at - pools.begin());
}

std::uint64_t pools_digest(std::span<const Pool> pools) noexcept {
  std::uint64_t digest = 0xcbf29ce484222325;
  const auto add = [&](std::uint8_t byte) { digest = (digest ^ byte) * 0x100000001b3; };
  const auto add_text = [&](std::string_view text) {
    for (const char c : text) add(static_cast<std::uint8_t>(c));
    add(0);
  };
  for (const auto& pool : pools) {
    add_text(pool.service);
    add_text(pool.version);
    add(static_cast<std::uint8_t>(static_cast<unsigned>(pool.type) >> 8));
    add(static_cast<std::uint8_t>(pool.type));
  }
  return digest == 0 ? 1 : digest;
}

}  // namespace pharos::controlplane
