// Builds the catalog: zones in canonical order of their origins, and in each zone one walk in canonical order.
//
// In that order all below a name follows it at once, so that a stack of ancestors is all that the walk needs to know:
// missing ones are made as empty non-terminals, and delegations hide what is below them. A zone that lies in another
// one shows up in the outer one's walk as a stop: its place is prepared, and all that the outer one has there skipped.
//
// A zone whose sources are those of a former catalog is not walked: its records are copied from there.
#include "pharos/controlplane/image/catalog_builder.hh"

#include "pharos/controlplane/image/catalog_answers.hh"
#include "pharos/controlplane/image/catalog_records.hh"
#include "pharos/controlplane/image/catalog_zones.hh"
#include "pharos/controlplane/policy/name_policies.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <iterator>
#include <memory>
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

[[nodiscard]] constexpr std::uint16_t number(Type type) noexcept {
  return std::to_underlying(type);
}

// Projects RRsets of a zone to their types.
[[nodiscard]] auto type_in(const ZoneData& zone) noexcept {
  return [&zone](const Rrset& rrset) { return zone.records()[rrset.first].type; };
}

[[nodiscard]] bool is_wildcard(ConstBytes name) noexcept {
  return name.size() > 2 && name[0] == std::byte{1} && name[1] == std::byte{'*'};
}

class Builder {
 public:
  explicit Builder(const CatalogInput& input)
      : input_(input), policies_(input.policies), records_(input.keys.names) {}

  Result<BuiltCatalog> build(const FormerCatalog& former) {
    auto status = zones_.arrange(input_.zones, input_.bindings, input_.pool_count, input_.made);
    if (!status) return std::unexpected(status.error());
    ReusableParts reusable;
    if (former.parts != nullptr) {
      reusable = ReusableParts(*former.view, *former.parts, input_.keys.names, policies_);
    }
    if (status = place_outside(); !status) return std::unexpected(status.error());
    for (std::uint32_t i = 0; i < zones_.places().size(); ++i) {
      const ZonePart* part = reusable.find(zones_.places()[i], zones_);
      status = part != nullptr ? take_over(i, *part, reusable) : place_zone(i);
      if (!status) return std::unexpected(status.error());
    }
    return finish();
  }

 private:
  // ---- names above all zones ----

  // One node for each ancestor of a zone that lies in no zone; the root always.
  Status place_outside() {
    const auto places = zones_.places();
    if (!places.empty() && places[0].key.empty()) return {};
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
      outside_label_count_max_ =
          std::max(outside_label_count_max_, std::uint32_t{records_.node(*ref).label_count});
      ancestors.push_back(*ref);
      lengths.push_back(key_length);
      return {};
    };
    static constexpr std::array<std::byte, 1> root_name{};
    if (auto status = place(root_name, 0); !status) return status;
    root_ = ancestors[0];
    for (const ZonePlace& zone : places) {
      if (zone.outer) continue;
      const auto common =
          static_cast<unsigned>(std::ranges::mismatch(path, zone.key).in1 - path.begin());
      while (lengths.back() > common) {
        lengths.pop_back();
        ancestors.pop_back();
      }
      const auto chain = ancestors_of(zone.zone->origin());
      for (std::size_t depth = ancestors.size(); depth < chain.size(); ++depth) {
        if (auto status = place(chain[depth], NameKey(chain[depth]).length); !status) return status;
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

  // State of the walk.
  struct Walk {
    std::uint32_t zone_index = 0;
    const ZonePlace* place = nullptr;
    ZonePart part;
    NameKey path;                     // of the last name
    std::vector<Ancestor> ancestors;  // from the apex on
    std::optional<Ancestor> cut;      // the delegation above, if any
    std::optional<NameKey> dname;     // the DNAME above, if any
    std::optional<unsigned> inner;    // key length of the inner zone above, if any
  };

  Status place_zone(std::uint32_t index) {
    Walk walk;
    walk.zone_index = index;
    walk.place = &zones_.places()[index];
    walk.part.sources = sources_of(*walk.place, zones_);
    walk.part.index = index;
    walk.part.first = records_.start_zone();
    walk.part.first_entry = records_.entries().size();
    ZoneItems items(zones_, *walk.place);
    ZoneItem item;
    while (items.next(item)) {
      if (auto status = place_item(walk, item); !status) return status;
    }
    walk.part.sources.foreign = answers_.take_foreign();
    walk.part.size_bytes = records_.bytes_since(walk.part.first);
    walk.part.entry_count = records_.entries().size() - walk.part.first_entry;
    parts_.push_back(std::move(walk.part));
    return {};
  }

  // The zone as it is in the former catalog, at its new place.
  Status take_over(std::uint32_t index, const ZonePart& former, const ReusableParts& reusable) {
    const ZonePlace& place = zones_.places()[index];
    ZonePart part = former;
    part.index = index;
    part.first_entry = records_.entries().size();
    part.first = records_.start_zone();
    const Ref moved = part.first - former.first;
    part.zone.apex += moved;
    part.zone.negative += moved;
    const TakenZone zone{reusable.records_of(former),
                         reusable.entries_of(former),
                         former.first,
                         former.zone.apex,
                         former.index,
                         index,
                         place.in_outer.cut_above};
    if (!records_.take_over(zone)) return std::unexpected(too_large());
    for (std::size_t i = 0; i < part.inner.size(); ++i) {
      if (part.inner[i].cut_above != 0) part.inner[i].cut_above += moved;
      zones_.places()[place.inner[i]].in_outer = part.inner[i];
    }
    if (part.sources.zone->origin().size() == 1) root_ = part.zone.apex;
    parts_.push_back(std::move(part));
    ++taken_over_;
    return {};
  }

  Status place_item(Walk& walk, const ZoneItem& item) {
    leave(walk, item.key.view());
    if (walk.inner) return {};  // the inner zone's
    if (walk.dname && (item.inner || !item.services.empty())) {
      return fail(ErrorCode::conflict,
                  "'" + dns::name_text(item.name) + "' lies below a DNAME of the zone '" +
                      walk.place->zone->name() + "'",
                  item.services.empty() ? std::string() : std::string(item.services[0].where),
                  "nothing may (RFC 6672, 2.4)");
    }
    if (item.inner) {
      const InnerPlace found{walk.cut ? walk.cut->node : 0, !walk.cut};
      zones_.places()[*item.inner].in_outer = found;
      walk.part.inner.push_back(found);
      walk.inner = item.key.length;
      return place_ancestors(walk, item.name);
    }
    if (walk.cut) {
      if (item.services.empty()) return {};  // glue: part of the referral
      return hidden_service(walk, item);
    }
    if (auto status = place_ancestors(walk, item.name); !status) return status;
    return place_node(walk, item);
  }

  static Status hidden_service(const Walk& walk, const ZoneItem& item) {
    return fail(ErrorCode::conflict,
                "the service name '" + dns::name_text(item.name) +
                    "' is at or below a delegation of the zone '" + walk.place->zone->name() + "'",
                std::string(item.services[0].where), "remove the NS records, or move the name");
  }

  // Forgets the ancestors that the next name does not have.
  static void leave(Walk& walk, ConstBytes key) {
    const auto path = walk.path.view();
    const auto common = static_cast<unsigned>(std::ranges::mismatch(path, key).in1 - path.begin());
    while (!walk.ancestors.empty() && walk.ancestors.back().key_length > common)
      walk.ancestors.pop_back();
    if (walk.cut && walk.cut->key_length > common) walk.cut.reset();
    if (walk.inner && *walk.inner > common) walk.inner.reset();
    if (walk.dname && !is_key_prefix(walk.dname->view(), key)) walk.dname.reset();
    walk.path.assign(key);
  }

  // Empty non-terminals for the ancestors, from the apex down, that are not there yet.
  Status place_ancestors(Walk& walk, ConstBytes name) {
    const unsigned own_labels = dns::label_count(name);
    const unsigned apex_labels = dns::label_count(walk.place->zone->origin());
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
    const bool wildcard = is_wildcard(name);
    if (wildcard) node.flags |= node_flag::wildcard;
    const auto ref = put(node, name, slots);
    if (!ref) return ref;
    if (wildcard && !walk.ancestors.empty())
      records_.node(walk.ancestors.back().node).wildcard_child = *ref;
    walk.ancestors.push_back({*ref, NameKey(name).length});
    ++walk.part.zone.name_count;
    walk.part.served_names += !slots.empty();
    walk.part.label_count_max =
        std::max(walk.part.label_count_max, std::uint32_t{records_.node(*ref).label_count});
    return ref;
  }

  Result<Ref> put(Node node, ConstBytes name, std::span<RrsetSlot> slots) {
    if (policies_ != nullptr)
      node.verdict = policies_->verdict_of(name, (node.flags & node_flag::outside) == 0);
    const Ref ref = records_.add(node, name, slots, batch_);
    if (ref == 0) return std::unexpected(too_large());
    return ref;
  }

  [[nodiscard]] static Error too_large() {
    return {ErrorCode::exhausted, "the catalog is larger than 64 GiB", {}, "serve fewer names"};
  }

  // A name with data: its slots, at a delegation the referral, at an apex the negative answer.
  Status place_node(Walk& walk, const ZoneItem& item) {
    const ZoneData& zone = *walk.place->zone;
    Node node{};
    node.zone = walk.zone_index;
    node.flags = flags_of(zone, item);
    const bool apex = (node.flags & node_flag::apex) != 0;
    const bool cut = (node.flags & node_flag::cut) != 0;
    if (cut && !item.services.empty()) return hidden_service(walk, item);
    if (apex) node.covering = walk.place->in_outer.cut_above;

    batch_.clear();
    slots_.clear();
    if (auto status = add_rrsets(*walk.place, item, node); !status) return status;
    if (auto status = add_services(zone, item, node); !status) return status;
    std::ranges::sort(slots_, {}, &RrsetSlot::type);
    if (cut) {
      node.referral = batch_.next() + 1;
      const auto servers = std::ranges::find(item.rrsets, number(Type::ns), type_in(zone));
      if (auto status = answers_.write_referral(zone, *servers, item.name, batch_.bytes());
          !status) {
        return status;
      }
    }
    const std::uint32_t negative = batch_.next();
    if (apex) answers_.write_negative(zone, item.name, batch_.bytes());
    const auto ref = put_in_zone(walk, node, item.name, slots_);
    if (!ref) return std::unexpected(ref.error());
    if (cut) walk.cut = walk.ancestors.back();
    if ((node.flags & node_flag::dname) != 0) walk.dname = item.key;
    if (apex) note_apex(walk, *ref, records_.ref_in_last_batch(negative));
    return {};
  }

  [[nodiscard]] static std::uint16_t flags_of(const ZoneData& zone, const ZoneItem& item) {
    const auto has = [&](Type type) {
      return std::ranges::find(item.rrsets, number(type), type_in(zone)) != item.rrsets.end();
    };
    const bool apex = item.name.size() == zone.origin().size();
    unsigned flags = 0;
    if (apex) flags |= node_flag::apex;
    if (!apex && has(Type::ns)) flags |= node_flag::cut;
    if (has(Type::cname)) flags |= node_flag::cname;
    if (has(Type::dname)) flags |= node_flag::dname;
    const auto ranked = [](const ServiceName& service) { return service.made == nullptr; };
    if (std::ranges::any_of(item.services, ranked)) flags |= node_flag::service;
    return static_cast<std::uint16_t>(flags);
  }

  // Slots and answers of the records; of a delegation only what its parent answers; at an apex DS from the outer zone.
  Status add_rrsets(const ZonePlace& place, const ZoneItem& item, const Node& node) {
    const ZoneData& zone = *place.zone;
    const bool apex = (node.flags & node_flag::apex) != 0;
    const bool cut = (node.flags & node_flag::cut) != 0;
    const bool outer_ds = apex && place.in_outer.outer_answers_ds;
    for (const Rrset& rrset : item.rrsets) {
      const std::uint16_t type = type_in(zone)(rrset);
      if ((cut && !answered_at_cut(type)) || (outer_ds && type == number(Type::ds))) continue;
      slots_.push_back({type, SlotKind::fixed, {}, batch_.next() + 1});
      const bool wildcard = is_wildcard(item.name);
      if (auto status = answers_.write_rrset(zone, rrset, item.name, wildcard, batch_.bytes());
          !status) {
        return status;
      }
    }
    if (!outer_ds) return {};
    slots_.push_back({number(Type::ds), SlotKind::fixed, {}, batch_.next() + 1});
    return answers_.write_ds(*zones_.places()[*place.outer].zone, item.name, batch_.bytes());
  }

  [[nodiscard]] static bool answered_at_cut(std::uint16_t type) noexcept {
    return type == number(Type::ds) || type == number(Type::rrsig) || type == number(Type::nsec);
  }

  // The configuration's own names are no place for records of the zone, nor the other way round.
  static std::unexpected<Error> conflict(const ZoneData& zone, const ZoneItem& item,
                                         const ServiceName& service, const std::string& with) {
    const std::string there =
        item.rrsets.empty() ? std::string() : zone.place_of(zone.records_of(item.rrsets[0])[0]);
    const bool both = !there.empty() && !service.where.empty();
    return fail(ErrorCode::conflict,
                "the service name '" + dns::name_text(item.name) + "' " +
                    dns::type_text(service.type) + " has " + with + " in the zone '" + zone.name() +
                    "' as well" + (both ? " (" + there + ")" : ""),
                service.where.empty() ? there : std::string(service.where),
                "remove one of the two");
  }

  Status add_services(const ZoneData& zone, const ZoneItem& item, const Node& node) {
    for (const ServiceName& service : item.services) {
      if ((node.flags & node_flag::cname) != 0) {
        return conflict(zone, item, service, "a CNAME record");
      }
      if (std::ranges::find(slots_, service.type, &RrsetSlot::type) != slots_.end()) {
        return conflict(zone, item, service, "another answer of that type");
      }
      if (service.made == nullptr) {
        slots_.push_back({service.type, SlotKind::pool, service.ecs, service.pool});
        continue;
      }
      slots_.push_back({service.type, SlotKind::fixed, {}, batch_.next() + 1});
      auto status =
          answers_.write_made(*service.made, item.name, is_wildcard(item.name), batch_.bytes());
      if (!status) return status;
    }
    return {};
  }

  void note_apex(Walk& walk, Ref apex, Ref negative) {
    const ZoneData& zone = *walk.place->zone;
    catalog::Zone& entry = walk.part.zone;
    entry.apex = apex;
    entry.negative = negative;
    entry.serial = zone.serial();
    entry.negative_ttl_s = CatalogAnswers::negative_ttl_s(zone);
    if (zone.origin().size() == 1) root_ = apex;
  }

  // ---- the image ----

  // What sections are written from, once the builder is gone.
  struct Contents {
    catalog::Summary summary;
    std::vector<catalog::Bucket> buckets;
    CatalogRecords records;
    std::vector<catalog::Zone> zones;
    std::vector<catalog::PolicyRule> policy_rules;
    std::vector<catalog::PolicyName> policy_names;
    std::vector<std::byte> policy_text;
  };

  Result<BuiltCatalog> finish() {
    auto buckets = records_.buckets();
    if (buckets.empty()) {
      return fail(ErrorCode::exhausted, "no name table has all names within reach", {},
                  "use another hash key");
    }
    CatalogParts parts{input_.keys.names, policies_, {}, std::move(parts_)};
    parts.entries.assign(records_.entries().begin(), records_.entries().end());
    Contents contents{summarize(parts), std::move(buckets), std::move(records_), {}, {}, {}, {}};
    std::ranges::transform(parts.zones, std::back_inserter(contents.zones), &ZonePart::zone);
    if (policies_ != nullptr) {
      contents.policy_rules.assign(policies_->rules().begin(), policies_->rules().end());
      auto names =
          catalog::make_policy_names(policies_->plain(), input_.keys.names, contents.policy_text);
      if (!names) return std::unexpected(names.error());
      contents.policy_names = std::move(*names);
    }
    return BuiltCatalog{draft(std::make_shared<const Contents>(std::move(contents))),
                        std::move(parts), taken_over_};
  }

  [[nodiscard]] ImageDraft draft(const std::shared_ptr<const Contents>& contents) const {
    ImageDraft draft(ImageKind::catalog, input_.version, input_.pools_id);
    const auto add = [&](catalog::Section id, const auto& elements) {
      using Element = std::ranges::range_value_t<decltype(elements)>;
      draft.add({std::to_underlying(id), sizeof(Element), std::as_bytes(std::span(elements))});
    };
    add(catalog::Section::summary, std::span(&contents->summary, 1));
    add(catalog::Section::buckets, contents->buckets);
    // Holds what the other sections borrow.
    draft.add(std::to_underlying(catalog::Section::records), 1, contents->records.section_bytes(),
              [contents](Bytes out) { contents->records.write(out); });
    add(catalog::Section::zones, contents->zones);
    add(catalog::Section::policy_rules, contents->policy_rules);
    add(catalog::Section::policy_names, contents->policy_names);
    add(catalog::Section::policy_text, contents->policy_text);
    add(catalog::Section::policy_database,
        policies_ != nullptr ? policies_->database() : ConstBytes());
    return draft;
  }

  [[nodiscard]] catalog::Summary summarize(const CatalogParts& parts) const {
    catalog::Summary summary{};
    summary.hash_key = input_.keys.names;
    summary.client_key = input_.keys.clients;
    summary.pool_count = input_.pool_count;
    summary.label_count_max = outside_label_count_max_;
    for (const ZonePart& part : parts.zones)
      summary.label_count_max = std::max(summary.label_count_max, part.label_count_max);
    summary.node_count = parts.entries.size();
    summary.root = root_;
    return summary;
  }

  const CatalogInput& input_;
  const NamePolicies* policies_;  // may be null
  CatalogZones zones_;
  CatalogAnswers answers_{zones_};
  CatalogRecords records_;
  AnswerBatch batch_;             // answers of the node in hand
  std::vector<RrsetSlot> slots_;  // its slots
  std::vector<ZonePart> parts_;
  std::size_t taken_over_ = 0;
  std::uint32_t outside_label_count_max_ = 0;
  Ref root_ = 0;
};

}  // namespace

Result<BuiltCatalog> build_catalog(const CatalogInput& input, const FormerCatalog& former) {
  return Builder(input).build(former);
}

Result<ImageBuffer> build_catalog(std::span<const ZoneData* const> zones,
                                  std::span<const PoolBinding> bindings, std::uint32_t pool_count,
                                  std::uint64_t pools_id, const CatalogKeys& keys, Version version,
                                  std::span<const MadeRrset> made, const NamePolicies* policies) {
  auto built =
      build_catalog({zones, bindings, made, pool_count, pools_id, keys, policies, version}, {});
  if (!built) return std::unexpected(std::move(built).error());
  return built->image.buffer();
}

}  // namespace pharos::controlplane
