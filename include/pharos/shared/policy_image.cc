#include "pharos/shared/policy_image.hh"

#include "pharos/wire/name_text.hh"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <string>
#include <utility>
#include <vector>

namespace pharos::catalog {
namespace {

constexpr std::array<std::string_view, policy_action_count> action_names{
    "allow", "refuse", "drop", "nxdomain", "nodata", "truncate", "route", "limit", "log"};

constexpr std::uint64_t places_max = std::uint64_t{1} << 26;

}  // namespace

std::string_view name_of(PolicyAction action) noexcept {
  const auto index = std::to_underlying(action);
  return index < action_names.size() ? action_names[index] : "unknown";
}

std::uint64_t policy_checksum(ConstBytes database) noexcept {
  return XXH3_64bits_withSeed(database.data(), database.size(), database.size());
}

// Proves the policies of one image; used once.
class PolicyProver {
 public:
  PolicyProver(std::span<const PolicyRule> rules, std::span<const PolicyName> names,
               ConstBytes text, ConstBytes database, const dns::NameHashKey& key)
      : text_(text), database_(database) {
    view_.rules_ = rules;
    view_.names_ = names;
    view_.text_ = text.data();
    view_.key_ = key;
    view_.place_mask_ = names.empty() ? 0 : names.size() - 1;
  }

  Result<PolicyView> prove(std::uint32_t pool_count) {
    if (view_.rules_.empty()) {
      if (!view_.names_.empty() || !text_.empty() || !database_.empty())
        return no("there are patterns, but no rules");
      return view_;
    }
    for (std::size_t i = 0; i < view_.rules_.size(); ++i) {
      if (!rule_is_sound(view_.rules_[i], pool_count))
        return no("rule " + std::to_string(i) + " is not sound");
    }
    if (auto why = check_names(); !why.empty()) return no(why);
    if (auto why = check_database(); !why.empty()) return no(why);
    if (view_.names_.empty() && view_.database_ == nullptr) return no("no rule has a pattern");
    view_.content_id_ = digest();
    return view_;
  }

 private:
  static std::unexpected<Error> no(std::string what) {
    return fail(ErrorCode::invalid, std::move(what), "catalog policies",
                "the image is damaged or was built wrongly: build it again");
  }

  [[nodiscard]] static bool rule_is_sound(const PolicyRule& rule, std::uint32_t pool_count) {
    const auto end = std::ranges::find(rule.id, '\0');
    const bool id_is_text =
        end != rule.id.begin() && end != rule.id.end() &&
        std::all_of(rule.id.begin(), end, [](char c) { return c > ' ' && c < 0x7f; }) &&
        std::all_of(end, rule.id.end(), [](char c) { return c == '\0'; });
    const bool is_route = rule.action == PolicyAction::route;
    if (!id_is_text || std::to_underlying(rule.action) >= policy_action_count ||
        (rule.flags & ~policy_flag::log) != 0 || rule.reserved != 0 ||
        rule.route_count > policy_routes_max || (rule.route_count != 0) != is_route ||
        (rule.rate_class != 0) != (rule.action == PolicyAction::limit)) {
      return false;
    }
    for (unsigned i = 0; i < policy_routes_max; ++i) {
      const PolicyRoute& route = rule.routes[i];
      const bool sound =
          i < rule.route_count
              ? route.pool < pool_count && (i == 0 || rule.routes[i - 1].type < route.type)
              : route.type == 0 && route.pool == 0 && route.ecs == EcsMode{};
      if (!sound || route.reserved != 0 || std::to_underlying(route.ecs) >= ecs_mode_count)
        return false;
    }
    return true;
  }

  // Every name is sound and found from its hash; probing ends, since at least half of the places are free and no more
  // than policy_probes_max in a row are taken.
  [[nodiscard]] std::string check_names() {
    const auto names = view_.names_;
    if (names.empty()) return text_.empty() ? "" : "there is text of no pattern";
    if (!std::has_single_bit(names.size())) return "the number of places is not a power of two";
    unsigned in_row = 0;
    for (std::size_t i = 0; i < names.size() + policy_probes_max + 1; ++i) {
      in_row = names[i & view_.place_mask_].name_bytes != 0 ? in_row + 1 : 0;
      if (in_row > policy_probes_max) return "too many places in a row are taken";
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!place_is_sound(names[i])) return "pattern name " + std::to_string(i) + " is not sound";
    }
    for (const PolicyName& place : names) {
      if (place.name_bytes != 0 &&
          view_.find(text_.data() + place.text, place.name_bytes) != &place)
        return "a pattern name is out of reach of its hash, or stands there twice";
    }
    return {};
  }

  [[nodiscard]] bool place_is_sound(const PolicyName& place) {
    if (place.name_bytes == 0) {
      return place.hash == 0 && place.text == 0 && place.exact == 0 && place.below == 0 &&
             place.label_count == 0 && place.reserved == 0;
    }
    const auto rule_count = view_.rules_.size();
    if (std::uint64_t{place.text} + place.name_bytes > text_.size() || place.reserved != 0 ||
        place.exact > rule_count || place.below > rule_count || (place.exact | place.below) == 0) {
      return false;
    }
    const ConstBytes name = text_.subspan(place.text, place.name_bytes);
    if (!dns::name_is_sound(name) || dns::label_count(name) != place.label_count ||
        !std::ranges::all_of(name, [](std::byte b) { return dns::fold_byte(b) == b; })) {
      return false;
    }
    view_.label_counts_[place.label_count / 64] |= std::uint64_t{1} << (place.label_count % 64);
    return true;
  }

  [[nodiscard]] std::string check_database() {
    if (database_.empty()) return {};
    if (database_.size() < sizeof(PolicyDatabase)) return "the expression database is cut short";
    const auto* head = reinterpret_cast<const PolicyDatabase*>(database_.data());
    const auto bytes = database_.subspan(sizeof(PolicyDatabase));
    if (head->database_bytes != bytes.size() || bytes.empty() ||
        (head->flags & ~policy_database_flag::lines) != 0 || head->expression_count == 0 ||
        head->library.back() != '\0') {
      return "the head of the expression database is not sound";
    }
    if (head->checksum != policy_checksum(bytes)) return "the expression database is damaged";
    view_.database_ = head;
    return {};
  }

  [[nodiscard]] std::uint64_t digest() const {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    const auto add = [&](const void* bytes, std::size_t count) {
      XXH3_64bits_update(&state, bytes, count);
    };
    add(view_.rules_.data(), view_.rules_.size_bytes());
    add(view_.names_.data(), view_.names_.size_bytes());
    add(text_.data(), text_.size());
    if (!database_.empty()) add(database_.data(), sizeof(PolicyDatabase));  // holds its checksum
    return XXH3_64bits_digest(&state);
  }

  PolicyView view_;
  ConstBytes text_;
  ConstBytes database_;
};

Result<PolicyView> prove_policies(std::span<const PolicyRule> rules,
                                  std::span<const PolicyName> names, ConstBytes text,
                                  ConstBytes database, const dns::NameHashKey& key,
                                  std::uint32_t pool_count) {
  return PolicyProver(rules, names, text, database, key).prove(pool_count);
}

namespace {

[[nodiscard]] bool fill(std::span<const PolicyName> entries, std::span<PolicyName> places) {
  const std::uint64_t mask = places.size() - 1;
  for (const PolicyName& entry : entries) {
    std::uint64_t at = entry.hash;
    while (places[at & mask].name_bytes != 0) ++at;
    places[at & mask] = entry;
  }
  unsigned in_row = 0;
  for (std::uint64_t i = 0; i < places.size() + policy_probes_max + 1; ++i) {
    in_row = places[i & mask].name_bytes != 0 ? in_row + 1 : 0;
    if (in_row > policy_probes_max) return false;
  }
  return true;
}

}  // namespace

Result<std::vector<PolicyName>> make_policy_names(std::span<const PlainPattern> names,
                                                  const dns::NameHashKey& key,
                                                  std::vector<std::byte>& text) {
  std::vector<PolicyName> entries;
  if (names.empty()) return entries;
  entries.reserve(names.size());
  for (const PlainPattern& pattern : names) {
    PolicyName entry{};
    dns::FoldedName folded;
    dns::scalar::fold_name(pattern.name.data(), static_cast<unsigned>(pattern.name.size()), folded);
    entry.hash = dns::hash_name(folded.bytes.data(), folded.length, key);
    entry.text = static_cast<std::uint32_t>(text.size());
    entry.exact = pattern.exact;
    entry.below = pattern.below;
    entry.name_bytes = static_cast<std::uint8_t>(folded.length);
    entry.label_count = static_cast<std::uint8_t>(dns::label_count(pattern.name));
    entries.push_back(entry);
    text.insert(text.end(), folded.bytes.begin(), folded.bytes.begin() + folded.length);
  }
  // A quarter full: runs of more than policy_probes_max are then rare enough that one more doubling ends them.
  for (auto places = std::bit_ceil(entries.size() * 4 + policy_probes_max + 1);
       places <= places_max; places *= 2) {
    std::vector<PolicyName> table(places);
    if (fill(entries, table)) return table;
  }
  return fail(ErrorCode::exhausted, "no table has all pattern names within reach", {},
              "use another hash key");
}

}  // namespace pharos::catalog
