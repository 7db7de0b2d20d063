// Name policies in the catalog image: rules in order of priority, names of plain patterns, and the Hyperscan database.
//
// A verdict is the index of a rule plus 1; 0: no rule. Of all rules whose patterns take a name the first one counts.
// Patterns that name a name, or all names below one, stand in a hash table: one probe a label of the query name, and
// only for label counts that patterns have. All others are expressions of the database; the id of a match is the
// index of its rule. Names of zones carry their verdict in their node, computed when the image is built.
//
//   policy_rules      PolicyRule[]             by priority
//   policy_names      PolicyName[2^n]          open addressing, at most policy_probes_max places behind the hash's
//   policy_text       names in wire form, folded
//   policy_database   PolicyDatabase (64 B), then `database_bytes` as hs_serialize_database() wrote them
//
// The proof covers all but the bytes inside of the database, which only Hyperscan can read, and which it does not prove:
// checksums catch accidents, and against intent stands that images only come from a peer that the tables socket knows.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/shared/ecs_mode.hh"
#include "pharos/shared/policy_action.hh"
#include "pharos/wire/name.hh"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace pharos::catalog {

inline constexpr std::uint32_t policy_rules_max = 65'535;
inline constexpr unsigned policy_id_bytes_max = 63;
inline constexpr unsigned policy_routes_max = 8;
inline constexpr unsigned policy_probes_max = 16;

// A type that a route answers, and its pool.
struct PolicyRoute {
  std::uint16_t type;  // host order
  EcsMode ecs;         // by whose client subnets the pool is answered
  std::uint8_t reserved;
  std::uint32_t pool;
};

namespace policy_flag {
inline constexpr std::uint8_t log = 1U << 0;  // samples of what it matches go to the log
}

struct PolicyRule {
  std::array<char, policy_id_bytes_max + 1> id;  // text, zeros behind it
  std::array<PolicyRoute, policy_routes_max> routes;
  std::int32_t priority;  // for people
  std::uint32_t pattern_count;
  PolicyAction action;
  std::uint8_t flags;
  std::uint8_t rate_class;   // of `limit`: index of the data plane's rate classes plus 1
  std::uint8_t route_count;  // of `route`
  std::uint32_t reserved;

  [[nodiscard]] std::string_view name() const noexcept { return {id.data()}; }
  [[nodiscard]] std::span<const PolicyRoute> route() const noexcept {
    return std::span(routes).first(route_count);
  }
};
static_assert(sizeof(PolicyRule) == 144 && std::has_unique_object_representations_v<PolicyRule>);

struct PolicyName {
  std::uint64_t hash;       // of the name, with the catalog's key
  std::uint32_t text;       // offset in policy_text
  std::uint32_t exact;      // verdict of this name, 0: none
  std::uint32_t below;      // verdict of all names below it, 0: none
  std::uint8_t name_bytes;  // 0: a free place
  std::uint8_t label_count;
  std::uint16_t reserved;
};
static_assert(sizeof(PolicyName) == 24 && std::has_unique_object_representations_v<PolicyName>);

namespace policy_database_flag {
// Every expression takes a line of a text, or may take more, where it takes the same text alone: `^` and `$` match at line
// ends, and none asks for the ends of the whole text. No name's text holds a line end, so many can be scanned at once.
inline constexpr std::uint32_t lines = 1U << 0;
}  // namespace policy_database_flag

// What hs_deserialize_database() is given, and for which library it was written.
struct PolicyDatabase {
  std::uint64_t database_bytes;
  std::uint64_t checksum;        // XXH3-64 of these bytes, seeded with their number
  std::array<char, 40> library;  // hs_version(), zeros behind it
  std::uint32_t expression_count;
  std::uint32_t flags;
};
static_assert(sizeof(PolicyDatabase) == 64 &&
              std::has_unique_object_representations_v<PolicyDatabase>);
[[nodiscard]] std::uint64_t policy_checksum(ConstBytes database) noexcept;

[[nodiscard]] constexpr std::uint32_t first_verdict(std::uint32_t a, std::uint32_t b) noexcept {
  return a - 1 < b - 1 ? a : b;  // 0 is the last
}

// The policies of a proven catalog. Borrows the bytes.
class PolicyView {
 public:
  PolicyView() = default;

  [[nodiscard]] bool empty() const noexcept { return rules_.empty(); }
  [[nodiscard]] std::span<const PolicyRule> rules() const noexcept { return rules_; }
  [[nodiscard]] std::span<const PolicyName> names() const noexcept { return names_; }
  [[nodiscard]] ConstBytes name_of(const PolicyName& name) const noexcept {
    return {text_ + name.text, name.name_bytes};
  }
  // Null where no pattern is an expression.
  [[nodiscard]] const PolicyDatabase* database() const noexcept { return database_; }
  [[nodiscard]] ConstBytes database_bytes() const noexcept {
    if (database_ == nullptr) return {};
    return {reinterpret_cast<const std::byte*>(database_ + 1), database_->database_bytes};
  }
  // All policy sections as one number: the same where nothing about the policies changed.
  [[nodiscard]] std::uint64_t content_id() const noexcept { return content_id_; }

  // The verdict of the plain patterns for a folded name of `label_count` labels: at most one hash and
  // policy_probes_max probes a label. Workers call it.
  [[nodiscard]] std::uint32_t plain_verdict(const std::byte* name, unsigned name_bytes,
                                            unsigned label_count) const noexcept {
    const auto exact = exact_verdict(name, name_bytes, label_count);
    if (label_count == 0) return exact;
    const unsigned parent = 1U + std::to_integer<unsigned>(*name);
    return first_verdict(exact, below_verdict(name + parent, name_bytes - parent, label_count - 1));
  }
  // Of those that are this name.
  [[nodiscard]] std::uint32_t exact_verdict(const std::byte* name, unsigned name_bytes,
                                            unsigned label_count) const noexcept {
    if (!has_names_of(label_count)) return 0;
    const auto* found = find(name, name_bytes);
    return found == nullptr ? 0 : found->exact;
  }
  // Of those that take all names below this one.
  [[nodiscard]] std::uint32_t below_verdict(const std::byte* name, unsigned name_bytes,
                                            unsigned label_count) const noexcept {
    std::uint32_t verdict = 0;
    unsigned at = 0;
    for (unsigned labels = label_count;; --labels) {
      if (has_names_of(labels)) {
        if (const auto* found = find(name + at, name_bytes - at))
          verdict = first_verdict(verdict, found->below);
      }
      if (labels == 0) return verdict;
      at += 1U + std::to_integer<unsigned>(name[at]);
    }
  }

 private:
  friend class PolicyProver;

  [[nodiscard]] bool has_names_of(unsigned label_count) const noexcept {
    return (label_counts_[label_count / 64] >> (label_count % 64) & 1) != 0;
  }
  [[nodiscard]] const PolicyName* find(const std::byte* name, unsigned name_bytes) const noexcept {
    const auto hash = dns::hash_name(name, name_bytes, key_);
    for (std::uint64_t at = hash;; ++at) {
      const PolicyName& place = names_[at & place_mask_];
      if (place.name_bytes == 0) return nullptr;
      if (place.hash == hash && place.name_bytes == name_bytes &&
          dns::equal_names(text_ + place.text, name, name_bytes)) {
        return &place;
      }
    }
  }

  std::span<const PolicyRule> rules_;
  std::span<const PolicyName> names_;
  const std::byte* text_ = nullptr;
  const PolicyDatabase* database_ = nullptr;
  dns::NameHashKey key_;
  std::uint64_t place_mask_ = 0;
  std::array<std::uint64_t, 2> label_counts_{};  // bit n: a pattern's name has n labels
  std::uint64_t content_id_ = 0;
};

// Proves the four sections. `where`-less errors: the caller knows the image. Errors: invalid.
[[nodiscard]] Result<PolicyView> prove_policies(std::span<const PolicyRule> rules,
                                                std::span<const PolicyName> names, ConstBytes text,
                                                ConstBytes database, const dns::NameHashKey& key,
                                                std::uint32_t pool_count);

// The table of plain patterns. `names` are folded, each once; `text` gets them. Errors: exhausted.
struct PlainPattern {
  ConstBytes name;
  std::uint32_t exact = 0;
  std::uint32_t below = 0;
};
[[nodiscard]] Result<std::vector<PolicyName>> make_policy_names(std::span<const PlainPattern> names,
                                                                const dns::NameHashKey& key,
                                                                std::vector<std::byte>& text);

}  // namespace pharos::catalog
