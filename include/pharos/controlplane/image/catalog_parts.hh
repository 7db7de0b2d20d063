// What a catalog was put together from, so that the next one takes over the zones that are as they were.
//
// A part is the run of nodes and answers of one zone in the records section of its image. It begins on a cache line, and
// nothing in it but refs, the number of its zone and the cut above its apex depends on where it lies; so it is copied, and
// the refs moved, where all that it was made from is the same. What that is stands in ZoneSources. A build that takes
// parts over gives the bytes of one that does not.
//
// Belongs to one image; constant once built; borrows the zones and policies that the image was built from.
#pragma once

#include "pharos/controlplane/zone/zone_data.hh"
#include "pharos/shared/catalog_image.hh"

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace pharos::controlplane {

class CatalogZones;
class NamePolicies;
struct ZonePlace;

// A node as the name table enters it.
struct CatalogEntry {
  std::uint64_t hash;
  catalog::Ref ref;
};

// A name that answers of a zone lead to, outside of the zone's own data, and the zone of ours that holds it.
struct ForeignTarget {
  ConstBytes name;         // in wire form, within the data of the zone whose answers lead to it
  const ZoneData* holder;  // null: none of ours
};

// All that decides on the nodes and answers of a zone, but for the name policies.
struct ZoneSources {
  const ZoneData* zone = nullptr;
  const ZoneData* ds_answerer = nullptr;  // the outer zone that answers DS at the apex, if any
  std::vector<std::byte> surroundings;    // service names in it, and zones right in it, as bytes
  std::vector<ForeignTarget> foreign;     // in order, each once
};

// What an outer zone's walk finds out about a zone right in it.
struct InnerPlace {
  catalog::Ref cut_above = 0;  // the delegation above its apex
  bool outer_answers_ds = false;
};

struct ZonePart {
  ZoneSources sources;
  catalog::Ref first = 0;        // where it begins in the records section
  std::uint64_t size_bytes = 0;  // up to the end of its last record
  std::size_t first_entry = 0;   // in CatalogParts::entries
  std::size_t entry_count = 0;
  std::uint32_t index = 0;        // that its nodes have
  std::vector<InnerPlace> inner;  // of zones right in it, in canonical order
  catalog::Zone zone{};
  std::uint64_t served_names = 0;     // nodes with data or services
  std::uint32_t label_count_max = 0;  // of its nodes
};

struct CatalogParts {
  dns::NameHashKey hash_key;
  const NamePolicies* policies = nullptr;  // whose verdicts the nodes carry; null: there are none
  std::vector<CatalogEntry> entries;
  std::vector<ZonePart> zones;  // by index

  // Names with data or services: no empty non-terminals, no names above the zones.
  [[nodiscard]] std::uint64_t served_names() const noexcept;
};

// The parts of a former catalog that the zones of a new one may take over.
class ReusableParts {
 public:
  // Nothing to take over.
  ReusableParts() = default;
  // Both borrowed; `policies`: of the new catalog.
  ReusableParts(const catalog::View& former, const CatalogParts& parts,
                const dns::NameHashKey& hash_key, const NamePolicies* policies);

  // The part of the zone at `place`, if all its sources are the same among the zones of the new catalog. `place` knows
  // already what its outer zone found out.
  [[nodiscard]] const ZonePart* find(const ZonePlace& place, const CatalogZones& zones) const;

  [[nodiscard]] ConstBytes records_of(const ZonePart& part) const noexcept;
  [[nodiscard]] std::span<const CatalogEntry> entries_of(const ZonePart& part) const noexcept;

 private:
  const catalog::View* former_ = nullptr;
  const CatalogParts* parts_ = nullptr;
  std::unordered_map<const ZoneData*, const ZonePart*> by_zone_;
};

// The sources of a zone that are known before its walk: all but `foreign`.
[[nodiscard]] ZoneSources sources_of(const ZonePlace& place, const CatalogZones& zones);

}  // namespace pharos::controlplane
