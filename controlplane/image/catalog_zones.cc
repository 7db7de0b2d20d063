#include "pharos/controlplane/image/catalog_zones.hh"

namespace pharos::controlplane {

Status CatalogZones::arrange(std::span<const ZoneData* const> zones,
                             std::span<const PoolBinding> bindings, std::uint32_t pool_count,
                             std::span<const MadeRrset> made) {
  for (const ZoneData* zone : zones) {
    if (auto status = add(*zone); !status) return status;
  }
  std::ranges::sort(places_, key_before, &ZonePlace::key);
  if (auto status = nest(); !status) return status;
  for (const PoolBinding& binding : bindings) {
    if (binding.pool >= pool_count) {
      return fail(ErrorCode::not_found, "the service name '" + binding.name +
                                            "' is bound to pool " + std::to_string(binding.pool) +
                                            " of " + std::to_string(pool_count));
    }
    auto status = bind(binding.name,
                       {{}, {}, binding.type, binding.pool, binding.ecs, nullptr, binding.where});
    if (!status) return status;
  }
  for (const MadeRrset& rrset : made) {
    auto status = bind(rrset.name, {{}, {}, rrset.type, 0, {}, &rrset, rrset.where});
    if (!status) return status;
  }
  for (ZonePlace& place : places_) {
    std::ranges::sort(place.services, [](const ServiceName& a, const ServiceName& b) {
      return a.key != b.key ? key_before(a.key, b.key) : a.type < b.type;
    });
  }
  return {};
}

Status CatalogZones::add(const ZoneData& zone) {
  if (zone.find(zone.origin(), std::to_underlying(dns::Type::soa)) == nullptr) {
    return fail(ErrorCode::invalid, "the zone '" + zone.name() + "' has no SOA record", {},
                "only zones that passed their checks can be served");
  }
  if (zone.origin()[0] == std::byte{1} && zone.origin()[1] == std::byte{'*'}) {
    return fail(ErrorCode::invalid, "the zone '" + zone.name() + "' is a wildcard", {},
                "name it in its parent");
  }
  const NameKey key(zone.origin());
  ZonePlace place;
  place.zone = &zone;
  place.key.assign(key.view().begin(), key.view().end());
  places_.push_back(std::move(place));
  return {};
}

// In canonical order, the zones around one are those before it whose keys are its prefixes.
Status CatalogZones::nest() {
  std::vector<std::uint32_t> around;
  for (std::uint32_t i = 0; i < places_.size(); ++i) {
    while (!around.empty() && !is_key_prefix(places_[around.back()].key, places_[i].key)) {
      around.pop_back();
    }
    if (!around.empty()) {
      ZonePlace& outer = places_[around.back()];
      if (outer.key == places_[i].key) {
        return fail(ErrorCode::conflict, "the zone '" + outer.zone->name() + "' is there twice", {},
                    "remove one");
      }
      places_[i].outer = around.back();
      outer.inner.push_back(i);
    }
    around.push_back(i);
  }
  return {};
}

std::optional<std::uint32_t> CatalogZones::zone_of(ConstBytes name_key) const {
  const auto after = std::ranges::upper_bound(places_, name_key, key_before,
                                              [](const ZonePlace& p) { return ConstBytes(p.key); });
  if (after == places_.begin()) return std::nullopt;
  // The zone right before it in order, or one around that.
  std::optional<std::uint32_t> at = static_cast<std::uint32_t>(after - places_.begin() - 1);
  while (at && !is_key_prefix(places_[*at].key, name_key)) at = places_[*at].outer;
  return at;
}

const ZoneData* CatalogZones::holder_of(ConstBytes name) const {
  const auto at = zone_of(NameKey(name).view());
  return at ? places_[*at].zone : nullptr;
}

std::span<const Rrset> rrsets_for_others(const ZoneData* zone, ConstBytes name) {
  if (zone == nullptr) return {};
  for (ConstBytes at = name; at.size() > zone->origin().size(); at = dns::parent_of(at)) {
    if (zone->find(at, std::to_underlying(dns::Type::ns)) != nullptr) return {};
  }
  return zone->find_all(name);
}

Status CatalogZones::bind(std::string_view text, ServiceName service) {
  const auto name = dns::parse_name(text);
  if (!name) return std::unexpected(name.error());
  const NameKey key(name->view());
  const auto zone = zone_of(key.view());
  if (!zone) {
    return fail(ErrorCode::not_found,
                "the service name '" + std::string(text) + "' is in none of the zones",
                std::string(service.where), "add its zone, or correct the name");
  }
  service.name = *name;
  service.key.assign(key.view().begin(), key.view().end());
  places_[*zone].services.push_back(std::move(service));
  return {};
}

ZoneItems::ZoneItems(const CatalogZones& zones, const ZonePlace& place)
    : zones_(zones),
      zone_(*place.zone),
      rrsets_(place.zone->rrsets()),
      services_(place.services),
      inner_(place.inner) {
  if (!rrsets_.empty()) next_rrset_ = NameKey(zone_.owner_of(zone_.records_of(rrsets_[0])[0]));
}

// The least of the three heads; at least one is there.
void ZoneItems::find_least(NameKey& key) const {
  std::optional<ConstBytes> least;
  const auto consider = [&](ConstBytes head) {
    if (!least || key_before(head, *least)) least = head;
  };
  if (!rrsets_.empty()) consider(next_rrset_.view());
  if (!services_.empty()) consider(services_[0].key);
  if (!inner_.empty()) consider(zones_.places()[inner_[0]].key);
  key.assign(*least);
}

void ZoneItems::take_rrsets(ZoneItem& item) {
  const auto owner = [&](std::size_t i) { return zone_.owner_of(zone_.records_of(rrsets_[i])[0]); };
  item.name = owner(0);
  std::size_t own = 1;
  while (own < rrsets_.size() && dns::names_equal(owner(own), item.name)) ++own;
  item.rrsets = rrsets_.first(own);
  rrsets_ = rrsets_.subspan(own);
  if (!rrsets_.empty()) next_rrset_ = NameKey(owner(0));
}

bool ZoneItems::next(ZoneItem& item) {
  if (rrsets_.empty() && services_.empty() && inner_.empty()) return false;
  find_least(item.key);
  const ConstBytes key = item.key.view();
  item.inner.reset();
  item.rrsets = {};
  if (!inner_.empty() && std::ranges::equal(zones_.places()[inner_[0]].key, key)) {
    item.inner = inner_[0];
    item.name = zones_.places()[inner_[0]].zone->origin();
    inner_ = inner_.subspan(1);
  }
  std::size_t bound = 0;
  while (bound < services_.size() && std::ranges::equal(services_[bound].key, key)) ++bound;
  item.services = services_.first(bound);
  if (bound > 0) item.name = services_[0].name.view();
  services_ = services_.subspan(bound);
  if (!rrsets_.empty() && std::ranges::equal(next_rrset_.view(), key)) take_rrsets(item);
  return true;
}

}  // namespace pharos::controlplane
