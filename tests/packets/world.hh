// Tables for tests: zones from text, pools and locales from a few calls, built by the control plane's own builders and
// proven as the data plane proves them. Throws where the test itself is wrong.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/controlplane/policy/name_policies.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/image.hh"

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace pharos::packets {

class World {
 public:
  using Root = std::unique_ptr<const dataplane::TableRoot>;

  // A zone file's text. SOA and NS are the caller's.
  void zone(const std::string& origin, const std::string& text) {
    const auto path =
        std::filesystem::temp_directory_path() /
        ("pharos-world-" + std::to_string(::getpid()) + "-" + std::to_string(zones_.size()));
    std::ofstream(path) << text;
    config::ZoneConfig config;
    config.id = origin;
    config.file = path.string();
    auto loaded = controlplane::load_zone(config);
    std::filesystem::remove(path);
    zones_.push_back(std::move(unwrap(loaded).data));
  }
  // A zone made elsewhere, finished.
  void zone(controlplane::ZoneData data) { zones_.push_back(std::move(data)); }

  std::uint16_t locale(const std::string& name, const std::vector<std::string>& prefixes) {
    const auto index = static_cast<std::uint16_t>(locales_.names.size());
    locales_.names.push_back(name);
    for (const auto& text : prefixes) {
      auto prefix = IpPrefix::parse(text);
      locales_.prefixes.push_back({unwrap(prefix), index});
    }
    return index;
  }

  // A pool that answers `type` at `name`; its cells are set by answer().
  std::uint32_t pool(const std::string& name, std::uint16_t type,
                     catalog::EcsMode ecs = catalog::EcsMode::all) {
    const auto index = static_cast<std::uint32_t>(pools_.size());
    pools_.push_back(name + "/" + std::to_string(type));
    bind(name, type, index, ecs);
    return index;
  }
  void bind(const std::string& name, std::uint16_t type, std::uint32_t pool,
            catalog::EcsMode ecs = catalog::EcsMode::all) {
    bindings_.push_back({name, type, pool, {}, ecs});
  }

  void answer(std::uint32_t pool, std::uint16_t locale, std::uint16_t type, std::uint32_t ttl_s,
              const std::vector<std::vector<std::string>>& slots) {
    controlplane::CellContent content{.type = type, .ttl_s = ttl_s, .slots = {}};
    for (const auto& slot : slots) {
      auto& addresses = content.slots.emplace_back();
      for (const auto& text : slot) {
        auto address = IpAddress::parse(text);
        addresses.push_back(unwrap(address));
      }
    }
    cells_.push_back({pool, locale, std::move(content)});
  }

  // Name policies, and the services that they route to.
  void policies(config::Config config) { config_ = std::move(config); }

  [[nodiscard]] Root build() const {
    constexpr Version version{1, 1};
    constexpr std::uint64_t pools_id = 77;
    std::vector<const controlplane::ZoneData*> zones;
    for (const auto& zone : zones_) zones.push_back(&zone);
    auto locales = locales_;
    std::ranges::sort(locales.prefixes);
    dns::NameHashKey key;
    for (unsigned i = 0; i < key.bytes.size(); ++i)
      key.bytes[i] = static_cast<std::byte>(i * 7 + 3);

    ranking::ClientHashKey client_key;
    for (unsigned i = 0; i < client_key.size(); ++i) client_key[i] = static_cast<std::byte>(i);

    auto pools = pools_;
    if (pools.empty()) pools.push_back("none");
    auto policies = controlplane::NamePolicies::make(config_, bindings_, nullptr);
    auto catalog = controlplane::build_catalog(
        zones, bindings_, static_cast<std::uint32_t>(pools.size()), pools_id, {key, client_key},
        version, {}, unwrap(policies).get());
    auto map = controlplane::build_locale_image(locales, version);
    controlplane::RankingBuilder ranking(pools, locales.names, pools_id,
                                         controlplane::locales_id_of(locales.names));
    for (const auto& cell : cells_) {
      auto set = ranking.set(cell.pool, cell.locale, cell.content);
      if (!set) throw std::runtime_error(set.error().text());
    }
    auto base = ranking.build_base(version);
    auto root = dataplane::make_root(nullptr, version,
                                     {.catalog = shared(unwrap(catalog)),
                                      .locale_map = shared(unwrap(map)),
                                      .ranking_base = shared(unwrap(base)),
                                      .ranking_delta = nullptr});
    return std::move(unwrap(root));
  }

 private:
  struct Cell {
    std::uint32_t pool;
    std::uint16_t locale;
    controlplane::CellContent content;
  };

  template <typename T>
  static T& unwrap(Result<T>& result) {
    if (!result) throw std::runtime_error(result.error().text());
    return *result;
  }
  static dataplane::SharedImage shared(ConstBytes bytes) {
    auto fd = seal_in_memfd(bytes, "world");
    auto mapping = map_sealed(unwrap(fd).get());
    return std::make_shared<const Mapping>(std::move(unwrap(mapping)));
  }

  std::deque<controlplane::ZoneData> zones_;
  controlplane::LocaleTable locales_{.names = {"default"}, .prefixes = {}};
  std::vector<std::string> pools_;
  std::vector<controlplane::PoolBinding> bindings_;
  std::vector<Cell> cells_;
  config::Config config_;
};

}  // namespace pharos::packets
