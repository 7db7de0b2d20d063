// A whole set of small tables made by hand: catalog, locale map and ranking that fit together. See test_images.hh.
//
// The catalog has the root zone, with SOA and NS, and names "s0." to "sN." answered by pools 0 to N. The locale map
// splits both families evenly among a power of two of locales.
#pragma once

#include "pharos/shared/catalog_image.hh"
#include "pharos/shared/locale_image.hh"

#include "test_images.hh"

namespace pharos::test_images {

inline constexpr std::uint64_t pools_id = 11;
inline constexpr std::uint64_t locales_id = 12;

// A record owned by the root, which is written out.
inline std::vector<std::byte> root_record(dns::Type type, ConstBytes rdata) {
  auto bytes = record(type, 300, rdata);
  bytes.erase(bytes.begin());
  bytes[0] = std::byte{0};
  return bytes;
}

inline std::vector<std::byte> root_answer(dns::Type type, ConstBytes rdata, bool in_authority) {
  const auto body = root_record(type, rdata);
  Answer answer{};
  answer.body_bytes = answer.required_bytes = static_cast<std::uint16_t>(body.size());
  (in_authority ? answer.authority_count : answer.answer_count) = 1;
  answer.checksum = answer_checksum(body);
  std::vector<std::byte> bytes;
  append_object(bytes, answer);
  append(bytes, body);
  return bytes;
}

// "sN." in wire form.
inline std::vector<std::byte> service_name(std::uint32_t pool) {
  const auto label = "s" + std::to_string(pool);
  std::vector<std::byte> name = {std::byte(label.size())};
  append(name, as_bytes(label));
  name.push_back(std::byte{0});
  return name;
}

// Policies that refuse one name each: the first takes "s0.", the next "s1.".
struct PolicyTables {
  std::vector<catalog::PolicyRule> rules;
  std::vector<catalog::PolicyName> names;
  std::vector<std::byte> text;

  PolicyTables(std::span<const std::string> ids, const dns::NameHashKey& key) {
    std::vector<std::vector<std::byte>> owners;
    for (std::uint32_t i = 0; i < ids.size(); ++i) {
      catalog::PolicyRule rule{};
      std::ranges::copy(ids[i], rule.id.begin());
      rule.action = catalog::PolicyAction::refuse;
      rule.pattern_count = 1;
      rules.push_back(rule);
      owners.push_back(service_name(i));
    }
    std::vector<catalog::PlainPattern> patterns;
    for (std::uint32_t i = 0; i < owners.size(); ++i) patterns.push_back({owners[i], i + 1, 0});
    if (!patterns.empty()) names = catalog::make_policy_names(patterns, key, text).value();
  }
};

class CatalogWriter {
 public:
  explicit CatalogWriter(std::uint32_t pool_count, std::uint32_t serial = 1)
      : buckets_(1 + pool_count / 4), records_(catalog::ref_unit_bytes) {
    for (std::size_t i = 0; i < key_.bytes.size(); ++i) key_.bytes[i] = std::byte(i * 37 + 1);
    const std::vector<std::byte> name_server(1, std::byte{0});
    const std::vector<std::byte> soa(22, std::byte{0});
    const catalog::RrsetSlot root_slots[] = {
        {2, catalog::SlotKind::fixed, {}, add(root_answer(dns::Type::ns, name_server, false))},
        {6, catalog::SlotKind::fixed, {}, add(root_answer(dns::Type::soa, soa, false))}};
    zone_ = {add_node(std::vector<std::byte>(1), catalog::node_flag::apex, 0, root_slots),
             add(root_answer(dns::Type::soa, soa, true)),
             serial,
             300,
             pool_count + 1,
             0};
    for (std::uint32_t pool = 0; pool < pool_count; ++pool) {
      const catalog::RrsetSlot slot[] = {{1, catalog::SlotKind::pool, {}, pool}};
      add_node(service_name(pool), catalog::node_flag::service, 1, slot);
    }
    summary_ = {
        key_,       {}, pool_count, pool_count == 0 ? 0U : 1U, pool_count + std::uint64_t{1},
        zone_.apex, 0};
  }

  [[nodiscard]] ImageBuffer image(Version version, std::uint64_t content_id,
                                  std::span<const std::string> policy_ids = {}) const {
    using catalog::Section;
    const PolicyTables policies(policy_ids, key_);
    const SectionContent sections[] = {
        {std::to_underlying(Section::summary), sizeof summary_, object_bytes(summary_)},
        {std::to_underlying(Section::buckets), sizeof(catalog::Bucket),
         std::as_bytes(std::span(buckets_))},
        {std::to_underlying(Section::records), 1, records_},
        {std::to_underlying(Section::zones), sizeof zone_, object_bytes(zone_)},
        {std::to_underlying(Section::policy_rules), sizeof(catalog::PolicyRule),
         std::as_bytes(std::span(policies.rules))},
        {std::to_underlying(Section::policy_names), sizeof(catalog::PolicyName),
         std::as_bytes(std::span(policies.names))},
        {std::to_underlying(Section::policy_text), 1, policies.text},
        {std::to_underlying(Section::policy_database), 1, {}},
    };
    return assemble_image(ImageKind::catalog, version, content_id, sections);
  }

 private:
  catalog::Ref add(ConstBytes record) {
    records_.resize(round_up(records_.size(), std::size_t{catalog::ref_unit_bytes}));
    const auto ref = static_cast<catalog::Ref>(records_.size() / catalog::ref_unit_bytes);
    append(records_, record);
    return ref;
  }

  catalog::Ref add_node(std::vector<std::byte> name, std::uint16_t flags, std::uint8_t label_count,
                        std::span<const catalog::RrsetSlot> slots) {
    catalog::Node node{};
    node.flags = flags;
    node.name_bytes = static_cast<std::uint8_t>(name.size());
    node.label_count = label_count;
    node.rrset_count = static_cast<std::uint16_t>(slots.size());
    std::vector<std::byte> bytes;
    append_object(bytes, node);
    name.resize(256);  // slack for the hash
    enter_later(name, node.name_bytes);
    append(bytes, ConstBytes(name).first(round_up(unsigned{node.name_bytes}, 8U)));
    append(bytes, std::as_bytes(slots));
    const auto ref = add(bytes);
    *entry_ = ref;
    return ref;
  }

  // Finds the free entry for a name; its ref is known when the node is written.
  void enter_later(const std::vector<std::byte>& name, unsigned name_bytes) {
    const auto hash = dns::hash_name(name.data(), name_bytes, key_);
    auto index = catalog::bucket_of(hash, static_cast<std::uint32_t>(buckets_.size()));
    while (true) {
      auto& bucket = buckets_[index];
      for (unsigned i = 0; i < catalog::bucket_slots; ++i) {
        if (bucket.tags[i] != 0) continue;
        bucket.tags[i] = catalog::tag_of(hash);
        entry_ = &bucket.refs[i];
        return;
      }
      bucket.overflow = 1;
      index = static_cast<std::uint32_t>((index + 1) % buckets_.size());
    }
  }

  dns::NameHashKey key_;
  std::vector<catalog::Bucket> buckets_;
  std::vector<std::byte> records_;
  catalog::Zone zone_{};
  catalog::Summary summary_{};
  catalog::Ref* entry_ = nullptr;
};

// The zone's serial is the generation: it tells which version an answer comes from.
inline ImageBuffer make_catalog(Version version, std::uint32_t pool_count,
                                std::uint64_t content_id = pools_id) {
  return CatalogWriter(pool_count, static_cast<std::uint32_t>(version.generation))
      .image(version, content_id);
}

inline ImageBuffer make_locale_map(Version version, std::uint32_t locale_count_log2,
                                   std::uint64_t content_id = locales_id) {
  using locale_map::Section;
  const std::uint32_t locale_count = 1U << locale_count_log2;
  const auto direct_of = [&](unsigned direct_bits) {
    std::vector<std::uint32_t> direct(std::size_t{1} << direct_bits);
    for (std::uint32_t i = 0; i < direct.size(); ++i) {
      direct[i] =
          locale_map::leaf_of({static_cast<std::uint16_t>(i >> (direct_bits - locale_count_log2)),
                               static_cast<std::uint8_t>(locale_count_log2)});
    }
    return direct;
  };
  const auto ipv4 = direct_of(locale_map::direct_bits_ipv4);
  const auto ipv6 = direct_of(locale_map::direct_bits_ipv6);
  std::string names;
  for (std::uint32_t i = 0; i < locale_count; ++i) {
    const auto name = "l" + std::to_string(i);
    names += static_cast<char>(name.size()) + name;
  }
  const locale_map::Summary summary{locale_count, 2 * locale_count};
  const SectionContent sections[] = {
      {std::to_underlying(Section::summary), sizeof summary, object_bytes(summary)},
      {std::to_underlying(Section::direct_ipv4), 4, std::as_bytes(std::span(ipv4))},
      {std::to_underlying(Section::direct_ipv6), 4, std::as_bytes(std::span(ipv6))},
      {std::to_underlying(Section::nodes), sizeof(locale_map::Node), {}},
      {std::to_underlying(Section::leaves), 4, {}},
      {std::to_underlying(Section::names), 1, as_bytes(names)},
  };
  return assemble_image(ImageKind::locale_map, version, content_id, sections);
}

// The content_id of a ranking that fits the two above.
inline std::uint64_t ranking_id() {
  return ranking::content_id_for(pools_id, locales_id);
}

}  // namespace pharos::test_images
