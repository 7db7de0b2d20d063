// How much each (pool, locale) and each name is asked for, on its way from a serving thread to the control plane: records of
// kind `demand` in the thread's ring.
//
//   | DemandHead | DemandEntry * entry_count |        in host order
//
// One query of each burst stands for all of the burst that were steered, and for those of bursts that nobody recorded
// since: weights add up to the true number of answers, and cells and names get their share of it by chance. No client is
// in it.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pharos {

struct DemandEntry {
  std::uint32_t pool;
  std::uint32_t node;  // Ref of the catalog's node that answered: of a service's name
  std::uint16_t locale;
  std::uint16_t reserved;
  std::uint32_t weight;  // answers that this one stands for
};
static_assert(sizeof(DemandEntry) == 16 && std::has_unique_object_representations_v<DemandEntry>);

struct DemandHead {
  std::uint64_t pools_id;    // content_id of the catalog whose pools are meant
  std::uint64_t locales_id;  // content_id of the locale map
  std::uint64_t catalog_id;  // checksum of the catalog whose nodes are meant
  std::uint32_t entry_count;
  std::uint32_t reserved;
};
static_assert(sizeof(DemandHead) == 32 && std::has_unique_object_representations_v<DemandHead>);

inline constexpr unsigned demand_entries_max = 120;  // of one record: it fits a ring's longest

}  // namespace pharos
