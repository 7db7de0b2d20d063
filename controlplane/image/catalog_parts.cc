#include "pharos/controlplane/image/catalog_parts.hh"

#include "pharos/controlplane/image/catalog_zones.hh"
#include "pharos/controlplane/policy/name_policies.hh"

#include <algorithm>
#include <numeric>

namespace pharos::controlplane {
namespace {

void append(std::vector<std::byte>& to, ConstBytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
template <typename Number>
void append_number(std::vector<std::byte>& to, Number number) {
  append(to, object_bytes(number));
}
void append_sized(std::vector<std::byte>& to, ConstBytes bytes) {
  append_number(to, static_cast<std::uint64_t>(bytes.size()));
  append(to, bytes);
}

// One way to write each list, so that equal bytes mean equal lists.
[[nodiscard]] std::vector<std::byte> surroundings_of(const ZonePlace& place,
                                                     const CatalogZones& zones) {
  std::vector<std::byte> bytes;
  append_number(bytes, static_cast<std::uint64_t>(place.services.size()));
  for (const ServiceName& service : place.services) {
    append_sized(bytes, service.name.view());
    append_number(bytes, service.type);
    append_number(bytes, service.pool);
    append_number(bytes, std::to_underlying(service.ecs));
    append_number(bytes, static_cast<std::uint8_t>(service.made != nullptr));
    if (service.made == nullptr) continue;
    append_number(bytes, service.made->ttl_s);
    append_number(bytes, static_cast<std::uint64_t>(service.made->rdata.size()));
    for (const auto& rdata : service.made->rdata) append_sized(bytes, rdata);
  }
  for (const std::uint32_t inner : place.inner)
    append_sized(bytes, zones.places()[inner].zone->origin());
  return bytes;
}

[[nodiscard]] bool same_verdicts(const NamePolicies* a, const NamePolicies* b) {
  if (a == b) return true;
  return a != nullptr && b != nullptr && a->gives_verdicts_of(*b);
}

[[nodiscard]] bool gives_the_same(const ZoneData* former, const ZoneData* next, ConstBytes name) {
  if (former == next) return true;
  const auto same_record = [&](const ZoneRecord& x, const ZoneRecord& y) {
    return x.type == y.type && x.ttl_s == y.ttl_s &&
           std::ranges::equal(former->rdata_of(x), next->rdata_of(y));
  };
  const auto same_records = [&](const Rrset& x, const Rrset& y) {
    return std::ranges::equal(former->records_of(x), next->records_of(y), same_record);
  };
  return std::ranges::equal(rrsets_for_others(former, name), rrsets_for_others(next, name),
                            same_records);
}

}  // namespace

std::uint64_t CatalogParts::served_names() const noexcept {
  return std::transform_reduce(zones.begin(), zones.end(), std::uint64_t{0}, std::plus<>(),
                               [](const ZonePart& part) { return part.served_names; });
}

ZoneSources sources_of(const ZonePlace& place, const CatalogZones& zones) {
  const ZoneData* ds_answerer =
      place.in_outer.outer_answers_ds ? zones.places()[*place.outer].zone : nullptr;
  return {place.zone, ds_answerer, surroundings_of(place, zones), {}};
}

ReusableParts::ReusableParts(const catalog::View& former, const CatalogParts& parts,
                             const dns::NameHashKey& hash_key, const NamePolicies* policies)
    : former_(&former), parts_(&parts) {
  if (parts.hash_key != hash_key || !same_verdicts(parts.policies, policies)) return;
  for (const ZonePart& part : parts.zones) by_zone_.emplace(part.sources.zone, &part);
}

const ZonePart* ReusableParts::find(const ZonePlace& place, const CatalogZones& zones) const {
  const auto at = by_zone_.find(place.zone);
  if (at == by_zone_.end()) return nullptr;
  const ZoneSources& former = at->second->sources;
  const ZoneSources next = sources_of(place, zones);
  if (former.ds_answerer != next.ds_answerer || former.surroundings != next.surroundings)
    return nullptr;
  const bool same = std::ranges::all_of(former.foreign, [&](const ForeignTarget& target) {
    return gives_the_same(target.holder, zones.holder_of(target.name), target.name);
  });
  return same ? at->second : nullptr;
}

ConstBytes ReusableParts::records_of(const ZonePart& part) const noexcept {
  return {reinterpret_cast<const std::byte*>(former_->node(part.first)), part.size_bytes};
}

std::span<const CatalogEntry> ReusableParts::entries_of(const ZonePart& part) const noexcept {
  return std::span(parts_->entries).subspan(part.first_entry, part.entry_count);
}

}  // namespace pharos::controlplane
