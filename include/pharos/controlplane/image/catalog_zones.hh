// The zones of a catalog by place: which lies in which, which one holds a name, which service names are in which.
//
// Used by build_catalog alone.
#pragma once

#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/catalog_parts.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pharos::controlplane {

// A name's place in canonical order: memcmp of keys; ancestors' keys are prefixes.
struct NameKey {
  dns::CanonicalKey bytes;
  unsigned length = 0;

  NameKey() = default;
  explicit NameKey(ConstBytes name) noexcept : length(dns::canonical_key(name, bytes)) {}
  [[nodiscard]] ConstBytes view() const noexcept { return ConstBytes(bytes).first(length); }
  void assign(ConstBytes key) noexcept {
    length = static_cast<unsigned>(key.size());
    std::ranges::copy(key, bytes.begin());
  }
};
[[nodiscard]] inline bool key_before(ConstBytes a, ConstBytes b) noexcept {
  return std::ranges::lexicographical_compare(a, b);
}
[[nodiscard]] inline bool is_key_prefix(ConstBytes a, ConstBytes b) noexcept {
  return a.size() <= b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

struct ServiceName {
  dns::WireName name;
  std::vector<std::byte> key;
  std::uint16_t type = 0;
  std::uint32_t pool = 0;
  catalog::EcsMode ecs = catalog::EcsMode::all;
  const MadeRrset* made = nullptr;  // in place of a pool
  std::string_view where;
};

// A zone and its place among the others.
struct ZonePlace {
  const ZoneData* zone = nullptr;
  std::vector<std::byte> key;
  std::optional<std::uint32_t> outer;  // the zone right around it
  std::vector<std::uint32_t> inner;    // zones right in it, in canonical order
  std::vector<ServiceName> services;   // in canonical order, then by type
  InnerPlace in_outer;                 // found in the outer zone's walk
};

// What stands at one name of a zone: its records, service names, or an inner zone that starts there.
struct ZoneItem {
  NameKey key;
  ConstBytes name;
  std::span<const Rrset> rrsets;
  std::span<const ServiceName> services;
  std::optional<std::uint32_t> inner;
};

class CatalogZones {
 public:
  // Errors: as build_catalog.
  [[nodiscard]] Status arrange(std::span<const ZoneData* const> zones,
                               std::span<const PoolBinding> bindings, std::uint32_t pool_count,
                               std::span<const MadeRrset> made);

  // In canonical order of origins.
  [[nodiscard]] std::span<ZonePlace> places() noexcept { return places_; }
  [[nodiscard]] std::span<const ZonePlace> places() const noexcept { return places_; }

  // The innermost zone that holds a name.
  [[nodiscard]] std::optional<std::uint32_t> zone_of(ConstBytes name_key) const;
  // Its data; null where there is none. `name` in wire form.
  [[nodiscard]] const ZoneData* holder_of(ConstBytes name) const;

 private:
  [[nodiscard]] Status add(const ZoneData& zone);
  [[nodiscard]] Status nest();
  [[nodiscard]] Status bind(std::string_view name, ServiceName service);

  std::vector<ZonePlace> places_;
};

// What answers of other zones that lead to the name may take along: nothing where it is in no zone of ours (null), or
// where its zone has delegated it, or a name above it.
[[nodiscard]] std::span<const Rrset> rrsets_for_others(const ZoneData* zone, ConstBytes name);

// All items of a zone in canonical order: its RRsets, service names and inner zones, merged.
class ZoneItems {
 public:
  ZoneItems(const CatalogZones& zones, const ZonePlace& place);
  [[nodiscard]] bool next(ZoneItem& item);

 private:
  void find_least(NameKey& key) const;
  void take_rrsets(ZoneItem& item);

  const CatalogZones& zones_;
  const ZoneData& zone_;
  std::span<const Rrset> rrsets_;
  std::span<const ServiceName> services_;
  std::span<const std::uint32_t> inner_;
  NameKey next_rrset_;
};

}  // namespace pharos::controlplane
