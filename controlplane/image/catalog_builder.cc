// Builds the catalog: zones in canonical order of their origins, and in each zone one walk in canonical order.
//
// In that order all below a name follows it at once, so that a stack of ancestors is all that the walk needs to know:
// missing ones are made as empty non-terminals, and delegations hide what is below them. A zone that lies in another
// one shows up in the outer one's walk as a stop: its place is prepared, and all that the outer one has there skipped.
#include "pharos/controlplane/image/catalog_builder.hh"

#include "pharos/controlplane/image/answer_writer.hh"
#include "pharos/controlplane/image/catalog_records.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

namespace pharos::controlplane {
namespace {

using catalog::Node;
using catalog::Ref;
using catalog::RrsetSlot;
using catalog::SlotKind;
using dns::Type;
namespace node_flag = catalog::node_flag;
using Section = AnswerWriter::Section;

// Additional records that may be left out are not taken past what the common reply holds, for without room for all
// of them none is sent: 1232 bytes less header, question and EDNS.
constexpr std::size_t optional_body_bytes_max = 1232 - 12 - 4 - 40;

[[nodiscard]] constexpr std::uint16_t number(Type type) noexcept {
  return std::to_underlying(type);
}

// A name's place in canonical order: memcmp of keys; ancestors' keys are prefixes.
struct Key {
  dns::CanonicalKey bytes;
  unsigned length = 0;

  Key() = default;
  explicit Key(ConstBytes name) noexcept : length(dns::canonical_key(name, bytes)) {}
  [[nodiscard]] ConstBytes view() const noexcept { return ConstBytes(bytes).first(length); }
};

[[nodiscard]] bool before(ConstBytes a, ConstBytes b) noexcept {
  return std::ranges::lexicographical_compare(a, b);
}
[[nodiscard]] bool is_prefix(ConstBytes a, ConstBytes b) noexcept {
  return a.size() <= b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

struct Binding {
  dns::WireName name;
  std::vector<std::byte> key;
  std::uint16_t type = 0;
  std::uint32_t pool = 0;
};

// A zone and its place among the others.
struct Place {
  const ZoneData* zone = nullptr;
  std::vector<std::byte> key;
  std::optional<std::uint32_t> outer;  // the zone right around it
  std::vector<std::uint32_t> inner;    // zones right in it, in canonical order
  std::vector<Binding> bindings;       // in canonical order, then by type
  // Found in the outer zone's walk:
  Ref cut_above = 0;              // the delegation of the outer zone above our apex
  bool outer_answers_ds = false;  // the outer zone has authority over DS at our apex
};

class Builder {
 public:
  Builder(std::uint32_t pool_count, const dns::NameHashKey& key)
      : pool_count_(pool_count), key_(key), records_(key) {}

  Result<ImageBuffer> build(std::span<const ZoneData* const> zones,
                            std::span<const PoolBinding> bindings, std::uint64_t pools_id,
                            Version version) {
    if (auto status = arrange(zones); !status) return std::unexpected(status.error());
    for (const PoolBinding& binding : bindings) {
      if (auto status = bind(binding); !status) return std::unexpected(status.error());
    }
    if (auto status = place_outside(); !status) return std::unexpected(status.error());
    for (std::uint32_t i = 0; i < places_.size(); ++i) {
      if (auto status = place_zone(i); !status) return std::unexpected(status.error());
    }
    return assemble(pools_id, version);
  }

 private:
  // ---- zones and bindings ----

  Status arrange(std::span<const ZoneData* const> zones) {
    for (const ZoneData* zone : zones) {
      const Key key(zone->origin());
      if (zone->find(zone->origin(), number(Type::soa)) == nullptr) {
        return fail(ErrorCode::invalid, "the zone '" + zone->name() + "' has no SOA record", {},
                    "only zones that passed their checks can be served");
      }
      if (zone->origin()[0] == std::byte{1} && zone->origin()[1] == std::byte{'*'}) {
        return fail(ErrorCode::invalid, "the zone '" + zone->name() + "' is a wildcard", {},
                    "name it in its parent");
      }
      places_.push_back({zone, {key.view().begin(), key.view().end()}, {}, {}, {}, 0, false});
    }
    std::ranges::sort(places_, before, &Place::key);
    std::vector<std::uint32_t> around;
    for (std::uint32_t i = 0; i < places_.size(); ++i) {
      while (!around.empty() && !is_prefix(places_[around.back()].key, places_[i].key))
        around.pop_back();
      if (!around.empty()) {
        Place& outer = places_[around.back()];
        if (outer.key == places_[i].key) {
          return fail(ErrorCode::conflict, "the zone '" + outer.zone->name() + "' is there twice",
                      {}, "remove one");
        }
        places_[i].outer = around.back();
        outer.inner.push_back(i);
      }
      around.push_back(i);
    }
    return {};
  }

  // The innermost zone that holds a name, by its key.
  [[nodiscard]] std::optional<std::uint32_t> zone_of(ConstBytes key) const {
    const auto after = std::ranges::upper_bound(places_, key, before,
                                                [](const Place& p) { return ConstBytes(p.key); });
    if (after == places_.begin()) return std::nullopt;
    // The zone right before it in order, or one around that.
    std::optional<std::uint32_t> at = static_cast<std::uint32_t>(after - places_.begin() - 1);
    while (at && !is_prefix(places_[*at].key, key)) at = places_[*at].outer;
    return at;
  }

  Status bind(const PoolBinding& binding) {
    const auto name = dns::parse_name(binding.name);
    if (!name) return std::unexpected(name.error());
    if (binding.pool >= pool_count_) {
      return fail(ErrorCode::not_found, "the service name '" + binding.name +
                                            "' is bound to pool " + std::to_string(binding.pool) +
                                            " of " + std::to_string(pool_count_));
    }
    const Key key(name->view());
    const auto zone = zone_of(key.view());
    if (!zone) {
      return fail(ErrorCode::not_found,
                  "the service name '" + binding.name + "' is in none of the zones", {},
                  "add its zone, or correct the name");
    }
    auto& list = places_[*zone].bindings;
    list.push_back({*name, {key.view().begin(), key.view().end()}, binding.type, binding.pool});
    return {};
  }

  // ---- names above all zones ----

  // One node for each ancestor of a zone that lies in no zone; the root always.
  Status place_outside() {
    if (!places_.empty() && places_[0].key.empty()) return {};
    std::vector<std::byte> path;    // key of the last name
    std::vector<Ref> ancestors;     // its nodes, the root first
    std::vector<unsigned> lengths;  // their key lengths
    const auto place = [&](ConstBytes name, unsigned key_length) -> Status {
      Node node{};
      node.zone = catalog::no_zone;
      node.flags = node_flag::outside;
      batch_.clear();
      const auto ref = put(node, name, {});
      if (!ref) return std::unexpected(ref.error());
      ancestors.push_back(*ref);
      lengths.push_back(key_length);
      return {};
    };
    static constexpr std::array<std::byte, 1> root_name{};
    if (auto status = place(root_name, 0); !status) return status;
    root_ = ancestors[0];
    for (const Place& zone : places_) {
      if (zone.outer) continue;
      const auto common =
          static_cast<unsigned>(std::ranges::mismatch(path, zone.key).in1 - path.begin());
      while (lengths.back() > common) {
        lengths.pop_back();
        ancestors.pop_back();
      }
      const auto chain = ancestors_of(zone.zone->origin());
      for (std::size_t depth = ancestors.size(); depth < chain.size(); ++depth) {
        if (auto status = place(chain[depth], Key(chain[depth]).length); !status) return status;
      }
      path = zone.key;
    }
    return {};
  }

  // The proper ancestors of a name, the root first.
  [[nodiscard]] static std::vector<ConstBytes> ancestors_of(ConstBytes name) {
    std::vector<ConstBytes> chain;
    while (name.size() > 1) {
      name = dns::parent_of(name);
      chain.push_back(name);
    }
    std::ranges::reverse(chain);
    return chain;
  }

  // ---- one zone ----

  struct Ancestor {
    Ref node;
    unsigned key_length;
  };

  // What stands at one name in the walk of a zone.
  struct Item {
    Key key;
    ConstBytes name;
    std::span<const Rrset> rrsets;
    std::span<const Binding> bindings;
    std::optional<std::uint32_t> inner;
  };

  // State of the walk.
  struct Walk {
    std::uint32_t zone_index = 0;
    Key path;                         // of the last name
    std::vector<Ancestor> ancestors;  // from the apex on
    std::optional<Ancestor> cut;      // the delegation above, if any
    std::optional<Key> dname;         // the DNAME above, if any
    std::optional<unsigned> inner;    // key length of the inner zone above, if any
    std::uint32_t name_count = 0;
  };

  Status place_zone(std::uint32_t index) {
    Place& place = places_[index];
    std::ranges::sort(place.bindings, [](const Binding& a, const Binding& b) {
      if (a.key != b.key) return before(a.key, b.key);
      return a.type < b.type;
    });
    Walk walk;
    walk.zone_index = index;
    zones_.push_back({});
    std::span<const Rrset> rrsets = place.zone->rrsets();
    std::span<const Binding> bindings = place.bindings;
    std::span<const std::uint32_t> inner = place.inner;
    Key next_rrset = rrsets.empty() ? Key() : Key(owner_of(*place.zone, rrsets[0]));
    while (!rrsets.empty() || !bindings.empty() || !inner.empty()) {
      Item item;
      // The least of the three heads.
      std::optional<ConstBytes> least;
      const auto consider = [&](ConstBytes key) {
        if (!least || before(key, *least)) least = key;
      };
      if (!rrsets.empty()) consider(next_rrset.view());
      if (!bindings.empty()) consider(bindings[0].key);
      if (!inner.empty()) consider(places_[inner[0]].key);
      item.key.length = static_cast<unsigned>(least->size());
      std::ranges::copy(*least, item.key.bytes.begin());
      const ConstBytes key = item.key.view();
      if (!inner.empty() && std::ranges::equal(places_[inner[0]].key, key)) {
        item.inner = inner[0];
        item.name = places_[inner[0]].zone->origin();
        inner = inner.subspan(1);
      }
      std::size_t bound = 0;
      while (bound < bindings.size() && std::ranges::equal(bindings[bound].key, key)) ++bound;
      item.bindings = bindings.first(bound);
      if (bound > 0) item.name = bindings[0].name.view();
      bindings = bindings.subspan(bound);
      if (!rrsets.empty() && std::ranges::equal(next_rrset.view(), key)) {
        item.name = owner_of(*place.zone, rrsets[0]);
        std::size_t own = 0;
        do ++own;
        while (own < rrsets.size() &&
               dns::names_equal(owner_of(*place.zone, rrsets[own]), item.name));
        item.rrsets = rrsets.first(own);
        rrsets = rrsets.subspan(own);
        if (!rrsets.empty()) next_rrset = Key(owner_of(*place.zone, rrsets[0]));
      }
      if (auto status = place_item(walk, item); !status) return status;
    }
    zones_[index].name_count = walk.name_count;
    return {};
  }

  [[nodiscard]] static ConstBytes owner_of(const ZoneData& zone, const Rrset& rrset) noexcept {
    return zone.owner_of(zone.records()[rrset.first]);
  }
  [[nodiscard]] static std::uint16_t type_of(const ZoneData& zone, const Rrset& rrset) noexcept {
    return zone.records()[rrset.first].type;
  }
  [[nodiscard]] const ZoneData& zone_data(const Walk& walk) const noexcept {
    return *places_[walk.zone_index].zone;
  }

  Status place_item(Walk& walk, const Item& item) {
    leave(walk, item.key.view());
    if (walk.inner) return {};  // the inner zone's
    if (walk.dname && (item.inner || !item.bindings.empty())) {
      return fail(ErrorCode::conflict,
                  "'" + dns::name_text(item.name) + "' lies below a DNAME of the zone '" +
                      zone_data(walk).name() + "'",
                  {}, "nothing may (RFC 6672, 2.4)");
    }
    if (item.inner) {
      places_[*item.inner].outer_answers_ds = !walk.cut;
      places_[*item.inner].cut_above = walk.cut ? walk.cut->node : 0;
      walk.inner = item.key.length;
      return place_ancestors(walk, item.name);
    }
    if (walk.cut) {
      if (item.bindings.empty()) return {};  // glue: part of the referral
      return hidden_binding(walk, item);
    }
    if (auto status = place_ancestors(walk, item.name); !status) return status;
    return place_node(walk, item);
  }

  Error hidden(const Walk& walk, const Item& item) const {
    return {ErrorCode::conflict,
            "the service name '" + dns::name_text(item.name) +
                "' is at or below a delegation of the zone '" + zone_data(walk).name() + "'",
            {},
            "remove the NS records, or move the name"};
  }
  Status hidden_binding(const Walk& walk, const Item& item) const {
    return std::unexpected(hidden(walk, item));
  }

  // Forgets the ancestors that the next name does not have.
  static void leave(Walk& walk, ConstBytes key) {
    const auto path = walk.path.view();
    const auto common = static_cast<unsigned>(std::ranges::mismatch(path, key).in1 - path.begin());
    while (!walk.ancestors.empty() && walk.ancestors.back().key_length > common)
      walk.ancestors.pop_back();
    if (walk.cut && walk.cut->key_length > common) walk.cut.reset();
    if (walk.inner && *walk.inner > common) walk.inner.reset();
    if (walk.dname && !is_prefix(walk.dname->view(), key)) walk.dname.reset();
    walk.path.length = static_cast<unsigned>(key.size());
    std::ranges::copy(key, walk.path.bytes.begin());
  }

  // Empty non-terminals for the ancestors, from the apex down, that are not there yet.
  Status place_ancestors(Walk& walk, ConstBytes name) {
    const unsigned own_labels = dns::label_count(name);
    const unsigned apex_labels = dns::label_count(zone_data(walk).origin());
    for (unsigned labels = apex_labels + static_cast<unsigned>(walk.ancestors.size());
         labels < own_labels; ++labels) {
      ConstBytes ancestor = name;
      for (unsigned drop = own_labels - labels; drop > 0; --drop)
        ancestor = dns::parent_of(ancestor);
      Node node{};
      node.zone = walk.zone_index;
      if (walk.cut) {
        node.flags = node_flag::below_cut;
        node.covering = walk.cut->node;
      }
      batch_.clear();
      if (auto ref = put_in_zone(walk, node, ancestor, {}); !ref)
        return std::unexpected(ref.error());
    }
    return {};
  }

  // Puts a node and makes it known to its parent, and an ancestor of what follows.
  Result<Ref> put_in_zone(Walk& walk, Node node, ConstBytes name, std::span<RrsetSlot> slots) {
    const bool wildcard = name.size() > 2 && name[0] == std::byte{1} && name[1] == std::byte{'*'};
    if (wildcard) node.flags |= node_flag::wildcard;
    const auto ref = put(node, name, slots);
    if (!ref) return ref;
    if (wildcard && !walk.ancestors.empty())
      records_.node(walk.ancestors.back().node).wildcard_child = *ref;
    walk.ancestors.push_back({*ref, Key(name).length});
    ++walk.name_count;
    return ref;
  }

  Result<Ref> put(const Node& node, ConstBytes name, std::span<RrsetSlot> slots) {
    const Ref ref = records_.add(node, name, slots, batch_);
    if (ref == 0)
      return fail(ErrorCode::exhausted, "the catalog is larger than 64 GiB", {},
                  "serve fewer names");
    return ref;
  }

  // A name with data: its slots, and at a delegation the referral.
  Status place_node(Walk& walk, const Item& item) {
    const ZoneData& zone = zone_data(walk);
    const bool apex = item.name.size() == zone.origin().size();
    const bool wildcard =
        item.name.size() > 2 && item.name[0] == std::byte{1} && item.name[1] == std::byte{'*'};
    const auto has = [&](Type type) {
      return std::ranges::any_of(item.rrsets,
                                 [&](const Rrset& r) { return type_of(zone, r) == number(type); });
    };
    Node node{};
    node.zone = walk.zone_index;
    if (apex) {
      node.flags |= node_flag::apex;
      node.covering = places_[walk.zone_index].cut_above;
    }
    const bool cut = !apex && has(Type::ns);
    if (cut) node.flags |= node_flag::cut;
    if (has(Type::cname)) node.flags |= node_flag::cname;
    if (has(Type::dname)) node.flags |= node_flag::dname;
    if (!item.bindings.empty()) node.flags |= node_flag::service;
    if (cut && !item.bindings.empty()) return hidden_binding(walk, item);

    batch_.clear();
    std::vector<RrsetSlot> slots;
    for (const Rrset& rrset : item.rrsets) {
      const std::uint16_t type = type_of(zone, rrset);
      const bool glue =
          type == number(Type::ns) || type == number(Type::a) || type == number(Type::aaaa);
      const bool at_cut_hidden = cut && (glue || !answered_at_cut(type));
      const bool outers =
          apex && type == number(Type::ds) && places_[walk.zone_index].outer_answers_ds;
      if (at_cut_hidden || outers) continue;
      slots.push_back({type, SlotKind::fixed, batch_.next() + 1});
      if (auto status = write_rrset(zone, rrset, item.name, wildcard, item.name); !status)
        return status;
    }
    if (apex && places_[walk.zone_index].outer_answers_ds) {
      slots.push_back({number(Type::ds), SlotKind::fixed, batch_.next() + 1});
      if (auto status = write_ds(*places_[*places_[walk.zone_index].outer].zone, item.name);
          !status)
        return status;
    }
    if (auto status = add_pools(walk, item, node, slots); !status) return status;
    if (cut) {
      node.referral = batch_.next() + 1;
      if (auto status = write_referral(zone, item); !status) return status;
    }
    std::ranges::sort(slots, {}, &RrsetSlot::type);
    std::uint32_t negative = 0;
    if (apex) {
      negative = batch_.next();
      write_soa(zone, item.name);
      writer_.finish(batch_.bytes());
    }
    const auto ref = put_in_zone(walk, node, item.name, slots);
    if (!ref) return std::unexpected(ref.error());
    if (cut) walk.cut = walk.ancestors.back();
    if ((node.flags & node_flag::dname) != 0) walk.dname = item.key;
    if (apex) note_apex(walk.zone_index, *ref, records_.ref_in_last_batch(negative));
    return {};
  }

  [[nodiscard]] static bool answered_at_cut(std::uint16_t type) noexcept {
    return type == number(Type::ds) || type == number(Type::rrsig) || type == number(Type::nsec);
  }

  Status add_pools(const Walk& walk, const Item& item, const Node& node,
                   std::vector<RrsetSlot>& slots) const {
    for (const Binding& binding : item.bindings) {
      const auto conflict = [&](const std::string& with) {
        return fail(ErrorCode::conflict,
                    "the service name '" + dns::name_text(item.name) + "' " +
                        dns::type_text(binding.type) + " has " + with + " in the zone '" +
                        zone_data(walk).name() + "' as well",
                    item.rrsets.empty()
                        ? std::string()
                        : zone_data(walk).place_of(zone_data(walk).records_of(item.rrsets[0])[0]),
                    "remove one of the two");
      };
      if ((node.flags & node_flag::cname) != 0) return conflict("a CNAME record");
      if (std::ranges::find(slots, binding.type, &RrsetSlot::type) != slots.end()) {
        return conflict("another answer of that type");
      }
      slots.push_back({binding.type, SlotKind::pool, binding.pool});
    }
    return {};
  }

  void note_apex(std::uint32_t index, Ref apex, Ref negative) {
    const ZoneData& zone = *places_[index].zone;
    catalog::Zone& entry = zones_[index];
    entry.apex = apex;
    entry.negative = negative;
    entry.serial = zone.serial();
    entry.negative_ttl_s = negative_ttl_s(zone);
    if (zone.origin().size() == 1) root_ = apex;
  }

  // ---- answers ----

  [[nodiscard]] static Error too_large(ConstBytes name, std::uint16_t type) {
    return {ErrorCode::exhausted,
            "the answer for '" + dns::name_text(name) + "' " + dns::type_text(type) +
                " is larger than 32 KiB",
            {},
            "use fewer records"};
  }

  // All records of an RRset under `owner` into a section.
  [[nodiscard]] bool write_records(const ZoneData& zone, const Rrset& rrset, ConstBytes owner,
                                   Section section) {
    for (const ZoneRecord& record : zone.records_of(rrset)) {
      if (!writer_.add(section, owner, record.type, record.ttl_s, zone.rdata_of(record)))
        return false;
    }
    return true;
  }

  // The answer with an RRset; `name` is the name that it is prepared for.
  Status write_rrset(const ZoneData& zone, const Rrset& rrset, ConstBytes name, bool wildcard,
                     ConstBytes owner) {
    writer_.start(name, wildcard);
    if (!write_records(zone, rrset, owner, Section::answer))
      return std::unexpected(too_large(name, type_of(zone, rrset)));
    writer_.mark_required();
    write_optional(zone, rrset, {});
    writer_.finish(batch_.bytes());
    return {};
  }

  // Addresses of the names that records lead to, where they are in the same zone (RFC 1034, 4.3.2, step 6), but not of
  // those at or below `but`.
  void write_optional(const ZoneData& zone, const Rrset& rrset, ConstBytes but) {
    const std::uint16_t type = type_of(zone, rrset);
    if (type == number(Type::cname) || type == number(Type::dname) || type == number(Type::ptr) ||
        type == number(Type::soa)) {
      return;
    }
    const auto members = zone.records_of(rrset);
    for (std::size_t i = 0; i < members.size(); ++i) {
      const ConstBytes target = target_of(type, zone.rdata_of(members[i]));
      if (target.size() <= 1 || !dns::is_at_or_below(target, zone.origin())) continue;
      if (!but.empty() && dns::is_at_or_below(target, but)) continue;
      if (led_to_before(zone, members.first(i), target) || in_inner_zone(zone, target)) continue;
      for (const Rrset& address : zone.find_all(target)) {
        const std::uint16_t address_type = type_of(zone, address);
        if (address_type != number(Type::a) && address_type != number(Type::aaaa)) continue;
        const std::size_t most = writer_.body_bytes() + address.count * (target.size() + 26U);
        if (most > optional_body_bytes_max) return;
        if (!write_records(zone, address, target, Section::additional)) return;
      }
    }
  }

  // SRV and MX may name one target in several records; a long list is not worth the comparisons.
  [[nodiscard]] static bool led_to_before(const ZoneData& zone, std::span<const ZoneRecord> records,
                                          ConstBytes target) {
    return std::ranges::any_of(records, [&](const ZoneRecord& record) {
      return dns::names_equal(target_of(record.type, zone.rdata_of(record)), target);
    });
  }

  [[nodiscard]] bool in_inner_zone(const ZoneData& zone, ConstBytes name) const {
    if (places_.size() == 1) return false;
    const auto at = zone_of(Key(name).view());
    return !at || places_[*at].zone != &zone;
  }

  // NS in the authority section; glue of servers in the delegated zone must go along (RFC 9471), of others may.
  Status write_referral(const ZoneData& zone, const Item& item) {
    const auto servers = std::ranges::find_if(
        item.rrsets, [&](const Rrset& r) { return type_of(zone, r) == number(Type::ns); });
    writer_.start(item.name, false);
    bool fits = write_records(zone, *servers, item.name, Section::authority);
    const auto members = zone.records_of(*servers);
    for (std::size_t i = 0; i < members.size() && fits; ++i) {
      const ConstBytes target = target_of(number(Type::ns), zone.rdata_of(members[i]));
      if (!dns::is_at_or_below(target, item.name)) continue;
      for (const Rrset& address : zone.find_all(target)) {
        const std::uint16_t type = type_of(zone, address);
        if (type != number(Type::a) && type != number(Type::aaaa)) continue;
        fits = fits && write_records(zone, address, target, Section::additional);
      }
    }
    if (!fits) return std::unexpected(too_large(item.name, number(Type::ns)));
    writer_.mark_required();
    write_optional(zone, *servers, item.name);
    writer_.finish(batch_.bytes());
    return {};
  }

  [[nodiscard]] static std::uint32_t negative_ttl_s(const ZoneData& zone) {
    const ZoneRecord& soa = zone.records_of(*zone.find(zone.origin(), number(Type::soa)))[0];
    const ConstBytes rdata = zone.rdata_of(soa);
    return std::min<std::uint32_t>(soa.ttl_s, load<Be32>(rdata.data() + rdata.size() - 4));
  }

  // The zone's SOA in the authority section with the TTL of negative answers (RFC 2308, 5), prepared for `name`.
  void write_soa(const ZoneData& zone, ConstBytes name) {
    const ZoneRecord& soa = zone.records_of(*zone.find(zone.origin(), number(Type::soa)))[0];
    writer_.start(name, false);
    // One SOA is 12 + 255 + 10 + 2 * 255 + 20 bytes at the most.
    REQUIRE(writer_.add(Section::authority, zone.origin(), number(Type::soa), negative_ttl_s(zone),
                        zone.rdata_of(soa)));
  }

  // DS at the apex of an inner zone: the outer zone's records, or that it has none (RFC 4035, 3.1.4.1).
  Status write_ds(const ZoneData& outer, ConstBytes name) {
    if (const Rrset* rrset = outer.find(name, number(Type::ds)); rrset != nullptr) {
      return write_rrset(outer, *rrset, name, false, name);
    }
    write_soa(outer, name);
    writer_.finish(batch_.bytes());
    return {};
  }

  // ---- the image ----

  Result<ImageBuffer> assemble(std::uint64_t pools_id, Version version) {
    const auto buckets = records_.buckets();
    if (buckets.empty()) {
      return fail(ErrorCode::exhausted, "no name table has all names within reach", {},
                  "use another hash key");
    }
    catalog::Summary summary{};
    summary.hash_key = key_;
    summary.pool_count = pool_count_;
    summary.label_count_max = records_.label_count_max();
    summary.node_count = records_.node_count();
    summary.root = root_;
    const auto content = [](catalog::Section id, std::size_t element_bytes, ConstBytes bytes) {
      return SectionContent{std::to_underlying(id), static_cast<std::uint32_t>(element_bytes),
                            bytes};
    };
    const std::array<SectionContent, 6> sections{
        content(catalog::Section::summary, sizeof summary, object_bytes(summary)),
        content(catalog::Section::buckets, sizeof(catalog::Bucket),
                std::as_bytes(std::span(buckets))),
        content(catalog::Section::records, 1, records_.bytes()),
        content(catalog::Section::zones, sizeof(catalog::Zone), std::as_bytes(std::span(zones_))),
        content(catalog::Section::policy_rules, 1, {}),
        content(catalog::Section::policy_database, 1, {}),
    };
    return assemble_image(ImageKind::catalog, version, pools_id, sections);
  }

  std::uint32_t pool_count_;
  dns::NameHashKey key_;
  CatalogRecords records_;
  AnswerWriter writer_;
  AnswerBatch batch_;
  std::vector<Place> places_;  // in canonical order of origins
  std::vector<catalog::Zone> zones_;
  Ref root_ = 0;
};

}  // namespace

std::vector<PoolBinding> bindings_of(const config::Config& config, std::span<const Pool> pools) {
  std::vector<PoolBinding> bindings;
  for (const auto& service : config.services) {
    for (std::uint32_t i = 0; i < pools.size(); ++i) {
      if (pools[i].service != service.id || !pools[i].version.empty()) continue;
      for (const auto& name : service.names)
        bindings.push_back({name, std::to_underlying(pools[i].type), i});
    }
  }
  return bindings;
}

Result<ImageBuffer> build_catalog(std::span<const ZoneData* const> zones,
                                  std::span<const PoolBinding> bindings, std::uint32_t pool_count,
                                  std::uint64_t pools_id, const dns::NameHashKey& key,
                                  Version version) {
  return Builder(pool_count, key).build(zones, bindings, pools_id, version);
}

}  // namespace pharos::controlplane
