// The proof of a catalog image, in passes that each lean on the ones before: sections; bucket entries and their
// nodes; the table's walk finds every node; what nodes, zones and answers say of each other.
#include "pharos/shared/catalog_image.hh"

#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <bit>
#include <utility>

namespace pharos::catalog {
namespace {

constexpr std::uint64_t elements_max = 0xffffffff;

constexpr std::uint64_t record_bytes_max = (elements_max + 1) * ref_unit_bytes;

constexpr std::array<SectionRule, 8> rules{{
    {std::to_underlying(Section::summary), "summary", sizeof(Summary), 1},
    {std::to_underlying(Section::buckets), "buckets", sizeof(Bucket), elements_max},
    {std::to_underlying(Section::records), "records", 1, record_bytes_max},
    {std::to_underlying(Section::zones), "zones", sizeof(Zone), no_zone},
    {std::to_underlying(Section::policy_rules), "policy_rules", sizeof(PolicyRule),
     policy_rules_max},
    {std::to_underlying(Section::policy_names), "policy_names", sizeof(PolicyName), elements_max},
    {std::to_underlying(Section::policy_text), "policy_text", 1, elements_max},
    {std::to_underlying(Section::policy_database), "policy_database", 1, record_bytes_max},
}};

// One bit per record unit.
class UnitSet {
 public:
  explicit UnitSet(std::uint64_t units) : units_(units), words_((units + 63) / 64) {}
  [[nodiscard]] bool contains(Ref ref) const noexcept {
    return ref < units_ && (words_[ref / 64] >> (ref % 64) & 1) != 0;
  }
  // False where one of `count` units from `first` on was in the set before. Units behind the last one are none.
  [[nodiscard]] bool insert(std::uint64_t first, std::uint64_t count = 1) noexcept {
    const std::uint64_t end = std::min(first + count, units_);
    while (first < end) {
      const std::uint64_t offset = first % 64;
      const std::uint64_t taken = std::min(end - first, 64 - offset);
      const std::uint64_t mask = (~std::uint64_t{0} >> (64 - taken)) << offset;
      auto& word = words_[first / 64];
      if ((word & mask) != 0) return false;
      word |= mask;
      first += taken;
    }
    return true;
  }
  // In ascending order, until `step` returns false; whether it never did.
  template <typename Step>
  bool for_each(const Step& step) const {
    for (std::uint64_t at = 0; at < words_.size(); ++at) {
      for (std::uint64_t word = words_[at]; word != 0; word &= word - 1) {
        const auto bit = static_cast<unsigned>(std::countr_zero(word));
        if (!step(static_cast<Ref>(at * 64 + bit))) return false;
      }
    }
    return true;
  }

 private:
  std::uint64_t units_;
  std::vector<std::uint64_t> words_;
};

constexpr auto soa_type = std::to_underlying(dns::Type::soa);
constexpr auto ns_type = std::to_underlying(dns::Type::ns);
constexpr auto cname_type = std::to_underlying(dns::Type::cname);
constexpr auto dname_type = std::to_underlying(dns::Type::dname);

[[nodiscard]] bool has(const Node& node, std::uint16_t flag) noexcept {
  return (node.flags & flag) != 0;
}

[[nodiscard]] const RrsetSlot* slot_of(const Node& node, std::uint16_t type) noexcept {
  const auto slots = slots_of(node);
  const auto at = std::ranges::lower_bound(slots, type, {}, &RrsetSlot::type);
  return at != slots.end() && at->type == type ? &*at : nullptr;
}

[[nodiscard]] ConstBytes name_of_node(const Node& node) noexcept {
  return {node.name(), node.name_bytes};
}

// Whether `offset` is where a label other than the root starts in a sound name.
[[nodiscard]] bool is_label_start(ConstBytes name, unsigned offset) noexcept {
  unsigned at = 0;
  while (at < offset && name[at] != std::byte{0}) at += 1U + static_cast<std::uint8_t>(name[at]);
  return at == offset && name[at] != std::byte{0};
}

// Type and RDATA of the first record of a sound answer whose owner is one pointer, or the root written out.
struct FirstRecord {
  std::uint16_t type;
  ConstBytes rdata;
};
[[nodiscard]] FirstRecord first_record(const Answer& answer) noexcept {
  const std::byte* at = answer.body() + (answer.body()[0] == std::byte{0} ? 1 : 2);
  const unsigned rdata_bytes = load<Be16>(at + 8);
  return {load<Be16>(at), {at + 10, rdata_bytes}};
}

}  // namespace

std::span<const SectionRule> layout_of() noexcept {
  return rules;
}

const Node* View::find(const std::byte* folded_name, unsigned length) const noexcept {
  return find(folded_name, length, dns::hash_name(folded_name, length, summary_->hash_key));
}

const Node* View::find(const std::byte* folded_name, unsigned length,
                       std::uint64_t hash) const noexcept {
  const auto tag = tag_of(hash);
  const auto bucket_count = static_cast<std::uint32_t>(buckets_.size());
  auto index = bucket_of(hash, bucket_count);
  for (unsigned hops = 0; hops <= overflow_buckets_max; ++hops) {
    const Bucket& bucket = buckets_[index];
    for (unsigned i = 0; i < bucket_slots; ++i) {
      if (bucket.tags[i] != tag) continue;
      const Node* candidate = node(bucket.refs[i]);
      if (candidate->name_bytes == length &&
          std::memcmp(candidate->name(), folded_name, length) == 0) {
        return candidate;
      }
    }
    if (bucket.overflow == 0) break;
    index = index + 1 == bucket_count ? 0 : index + 1;
  }
  return nullptr;
}

// Proves one image; used once.
class Prover {
 public:
  [[nodiscard]] static Result<View> run(ConstBytes bytes) {
    auto sections = check_sections(bytes, ImageKind::catalog, rules);
    if (!sections) return std::unexpected(sections.error());
    Prover prover(bytes, *sections);
    return prover.prove();
  }

 private:
  Prover(ConstBytes bytes, const std::vector<SectionView>& sections)
      : record_bytes_(sections[2].count),
        summary_count_(sections[0].count),
        policy_sections_(sections.begin() + 4, sections.end()),
        nodes_(record_bytes_ / ref_unit_bytes),
        claimed_(record_bytes_ / ref_unit_bytes) {
    view_.header_ = reinterpret_cast<const ImageHeader*>(bytes.data());
    view_.summary_ = reinterpret_cast<const Summary*>(sections[0].data);
    view_.buckets_ = sections[1].as<Bucket>();
    view_.records_ = sections[2].data;
    view_.records_bytes_ = sections[2].count;
    view_.zones_ = sections[3].as<Zone>();
  }

  Result<View> prove() {
    const bool sound = prove_summary() && prove_policies() && prove_entries() && prove_walks() &&
                       prove_all_found() && prove_totals() && prove_zones() &&
                       for_each_node(&Prover::prove_node);
    if (!sound) {
      return fail(ErrorCode::invalid, error_.what, error_.where,
                  "the image is damaged or was built wrongly: build it again");
    }
    return view_;
  }

  bool no(std::string what, std::string where) {
    error_ = {ErrorCode::invalid, std::move(what), "catalog " + std::move(where), {}};
    return false;
  }
  bool no(std::string what, const Node& node) {
    return no(std::move(what), "name " + dns::name_text(name_of_node(node)));
  }

  static constexpr std::size_t sought_max = 16;
  struct Sought {
    const Node* node;
    std::uint64_t hash;
  };

  bool prove_summary() {
    if (summary_count_ != 1) return no("there is not exactly one summary", "summary");
    if (view_.buckets_.empty()) return no("there are no buckets", "buckets");
    if (view_.summary_->reserved != 0) return no("a reserved field is not zero", "summary");
    return true;
  }

  bool prove_policies() {
    const auto& s = policy_sections_;
    const Summary& summary = *view_.summary_;
    auto policies =
        catalog::prove_policies(s[0].as<PolicyRule>(), s[1].as<PolicyName>(), s[2].as<std::byte>(),
                                s[3].as<std::byte>(), summary.hash_key, summary.pool_count);
    if (!policies) return no(policies.error().what, "policies");
    view_.policies_ = *policies;
    return true;
  }

  // Collects the nodes, so that all that follows meets them in the order in which they lie: the builder writes a node's
  // answers behind it, and memory that is read in order comes by itself.
  bool prove_entries() {
    for (std::size_t b = 0; b < view_.buckets_.size(); ++b) {
      const Bucket& bucket = view_.buckets_[b];
      const auto where = [b] { return "buckets[" + std::to_string(b) + "]"; };
      if (bucket.overflow > 1 || bucket.reserved != 0) {
        return no("flags or reserved fields have unknown bits", where());
      }
      for (unsigned i = 0; i < bucket_slots; ++i) {
        const Ref ref = bucket.refs[i];
        if (bucket.tags[i] == 0 && ref == 0) continue;
        if (bucket.tags[i] == 0 || ref == 0) {
          return no("an entry has a tag without a ref, or a ref without a tag", where());
        }
        if (std::uint64_t{ref} * ref_unit_bytes + sizeof(Node) > record_bytes_ ||
            !nodes_.insert(ref)) {
          return no(no_node(ref), where());
        }
        ++node_count_;
      }
    }
    return nodes_.for_each(
        [this](Ref ref) { return node_is_whole(ref) || no(no_node(ref), "records"); });
  }

  [[nodiscard]] static std::string no_node(Ref ref) {
    return "ref " + std::to_string(ref) + " is no whole node, or overlaps another record";
  }

  // Takes the units of a record that lies in bounds. False where another has any of them: since no two records
  // overlap, all of them together are walked in linear time, whatever they say.
  // The last unit of the section may be cut short: nothing else can stand in it.
  [[nodiscard]] bool claim(Ref ref, std::uint64_t size_bytes) noexcept {
    return claimed_.insert(ref, (size_bytes + ref_unit_bytes - 1) / ref_unit_bytes);
  }

  // Whose fixed part lies in bounds: bounds of all, units of its own, and a sound folded name with zeros behind it.
  [[nodiscard]] bool node_is_whole(Ref ref) noexcept {
    const std::uint64_t offset = std::uint64_t{ref} * ref_unit_bytes;
    const Node& node = *view_.node(ref);
    if (node.name_bytes == 0 ||
        offset + node_record_bytes(node.name_bytes, node.rrset_count) > record_bytes_) {
      return false;
    }
    if (!claim(ref, node_record_bytes(node.name_bytes, node.rrset_count))) return false;
    const auto name = name_of_node(node);
    if (!dns::name_is_sound(name) || dns::label_count(name) != node.label_count) return false;
    const ConstBytes padding(node.name() + node.name_bytes,
                             round_up(unsigned{node.name_bytes}, 8U) - node.name_bytes);
    return std::ranges::all_of(name, [](std::byte b) { return dns::fold_byte(b) == b; }) &&
           std::ranges::all_of(padding, [](std::byte b) { return b == std::byte{0}; });
  }

  // No more than overflow_buckets_max buckets in a row send a walk on, around the end of the table too.
  bool prove_walks() {
    const auto count = view_.buckets_.size();
    unsigned in_row = 0;
    for (std::size_t i = 0; i < count + overflow_buckets_max + 1; ++i) {
      in_row = view_.buckets_[i % count].overflow != 0 ? in_row + 1 : 0;
      if (in_row > overflow_buckets_max) {
        return no(
            "more than " + std::to_string(overflow_buckets_max) + " buckets in a row overflow",
            "buckets[" + std::to_string(i % count) + "]");
      }
    }
    return true;
  }

  bool for_each_node(bool (Prover::*step)(const Node&)) {
    return nodes_.for_each([&](Ref ref) { return (this->*step)(*view_.node(ref)); });
  }

  // Buckets lie anywhere: each is asked for some nodes before it is looked into.
  bool prove_all_found() {
    std::array<Sought, sought_max> waiting;
    std::size_t begun = 0;
    std::size_t done = 0;
    const auto finish_one = [&] { return prove_found(waiting[done++ % sought_max]); };
    const bool sound = nodes_.for_each([&](Ref ref) {
      if (begun - done == sought_max && !finish_one()) return false;
      const Node& node = *view_.node(ref);
      const auto hash = dns::hash_name(node.name(), node.name_bytes, view_.summary_->hash_key);
      const auto buckets = view_.buckets_;
      __builtin_prefetch(&buckets[bucket_of(hash, static_cast<std::uint32_t>(buckets.size()))]);
      waiting[begun++ % sought_max] = {&node, hash};
      return true;
    });
    while (sound && done < begun) {
      if (!finish_one()) return false;
    }
    return sound;
  }

  bool prove_found(const Sought& sought) {
    const Node& node = *sought.node;
    if (view_.find(node.name(), node.name_bytes, sought.hash) != &node) {
      return no("it is out of reach of its bucket, or stands there twice", node);
    }
    label_count_max_ = std::max(label_count_max_, std::uint32_t{node.label_count});
    return true;
  }

  bool prove_totals() {
    const Summary& summary = *view_.summary_;
    if (summary.node_count != node_count_ || summary.label_count_max != label_count_max_) {
      return no("node count or greatest label count is wrong", "summary");
    }
    if (!nodes_.contains(summary.root) || view_.node(summary.root)->name_bytes != 1) {
      return no("there is no node of the root name", "summary");
    }
    return true;
  }

  bool prove_zones() {
    for (std::size_t i = 0; i < view_.zones_.size(); ++i) {
      const Zone& zone = view_.zones_[i];
      const auto where = [i] { return "zones[" + std::to_string(i) + "]"; };
      if (!nodes_.contains(zone.apex)) return no("its apex is no node", where());
      const Node& apex = *view_.node(zone.apex);
      if (!has(apex, node_flag::apex) || apex.zone != i)
        return no("its apex is another's", where());
      if (zone.reserved != 0) return no("a reserved field is not zero", where());
      if (!answer_fits(zone.negative, apex, where)) return false;
      const Answer& negative = *view_.answer(zone.negative);
      if (negative.answer_count != 0 || negative.authority_count != 1 ||
          negative.additional_count != 0 || first_record(negative).type != soa_type) {
        return no("its negative answer is not one SOA in the authority section", where());
      }
    }
    return true;
  }

  // A sound answer, referred to from here alone, whose pointers suit the name of its node.
  // `where()` tells where it is referred to.
  template <typename Where>
  bool answer_fits(Ref ref, const Node& owner, const Where& where) {
    const std::uint64_t offset = std::uint64_t{ref} * ref_unit_bytes;
    if (ref == 0 || offset + sizeof(Answer) > record_bytes_) {
      return no("ref " + std::to_string(ref) + " is no sound answer", where());
    }
    const auto size_bytes =
        answer_record_bytes(view_.answer(ref)->body_bytes, view_.answer(ref)->relocation_count);
    if (offset + size_bytes > record_bytes_)
      return no("an answer ends outside of the records", where());
    if (!claim(ref, size_bytes)) return no("an answer overlaps another record", where());
    if (!answer_is_sound(view_.answer(ref), record_bytes_ - offset)) {
      return no("ref " + std::to_string(ref) + " is no sound answer", where());
    }
    const Answer& answer = *view_.answer(ref);
    if (answer.body_bytes == 0) return no("an answer is empty", where());
    if (!first_owner_fits(answer, owner)) return no("the first record is another name's", where());
    for (unsigned i = 0; i < answer.relocation_count; ++i) {
      if (!pointer_fits(answer, answer.relocations()[i], owner)) {
        return no("a pointer leaves its owner's name or the body before it", where());
      }
    }
    return true;
  }

  [[nodiscard]] static bool first_owner_fits(const Answer& answer, const Node& owner) noexcept {
    if (answer.body()[0] == std::byte{0}) return owner.name_bytes == 1 || answer.answer_count == 0;
    if ((static_cast<unsigned>(answer.body()[0]) & 0xc0U) != 0xc0U) return false;
    // Of its own name; of a zone above it where it has no answer record.
    return owner.name_bytes > 1 &&
           (answer.answer_count == 0 ||
            load<Be16>(answer.body()) == dns::pointer_to(dns::header_bytes));
  }

  [[nodiscard]] static bool pointer_fits(const Answer& answer, std::uint16_t relocation,
                                         const Node& owner) noexcept {
    const unsigned at = relocation & ~unsigned{relocation_of_body};
    const unsigned target = load<Be16>(answer.body() + at) & 0x3fffU;
    if ((relocation & relocation_of_body) != 0) {
      const unsigned body = dns::header_bytes + owner.name_bytes + dns::question_tail_bytes;
      return target >= body && target < body + at;
    }
    const unsigned in_owner = target - dns::header_bytes;  // sound answers point behind the header
    if (has(owner, node_flag::wildcard)) return in_owner == 0;
    return in_owner < owner.name_bytes && is_label_start(name_of_node(owner), in_owner);
  }

  bool prove_node(const Node& node) {
    if (node.reserved0 != 0 || node.reserved1 != 0) {
      return no("a reserved field is not zero", node);
    }
    const auto policy_rules = view_.policies_.rules();
    if (node.verdict > policy_rules.size()) return no("its verdict is of no rule", node);
    if (node.verdict != 0 && !has(node, node_flag::outside) &&
        policy_rules[node.verdict - 1].action == PolicyAction::route) {
      return no("it is listed, and yet routed", node);
    }
    return prove_place(node) && prove_slots(node) && prove_flags(node) && prove_referral(node);
  }

  // Zone and covering follow from the parent; wildcards and their parents know each other.
  bool prove_place(const Node& node) {
    const bool apex = has(node, node_flag::apex);
    const bool outside = has(node, node_flag::outside);
    if (apex && outside) return no("an apex is in no zone", node);
    if (outside ? node.zone != no_zone : node.zone >= view_.zones_.size()) {
      return no("its zone does not exist", node);
    }
    if (apex && view_.node(view_.zones_[node.zone].apex) != &node) {
      return no("it is not the apex of its zone", node);
    }
    if (!prove_wildcard_child(node)) return false;
    if (node.name_bytes == 1) {
      return apex || outside ? prove_covering(node, nullptr)
                             : no("it is in a zone that does not start", node);
    }
    const auto parent_name = dns::parent_of(name_of_node(node));
    const Node* parent = view_.find(parent_name.data(), static_cast<unsigned>(parent_name.size()));
    if (parent == nullptr) return no("its parent is not there", node);
    if (!apex && node.zone != parent->zone) return no("its parent is in another zone", node);
    if (outside && !has(*parent, node_flag::outside))
      return no("it is outside of zones below one", node);
    if (has(*parent, node_flag::dname)) return no("it lies below a DNAME", node);
    const bool named_so =
        !outside && node.name()[0] == std::byte{1} && node.name()[1] == std::byte{'*'};
    if (named_so != has(node, node_flag::wildcard)) return no("the wildcard flag is wrong", node);
    if (named_so && (parent->wildcard_child == 0 || view_.node(parent->wildcard_child) != &node)) {
      return no("its parent does not know this wildcard", node);
    }
    return prove_covering(node, parent);
  }

  bool prove_wildcard_child(const Node& node) {
    if (node.wildcard_child == 0) return true;
    if (!nodes_.contains(node.wildcard_child)) return no("its wildcard is no node", node);
    const Node& child = *view_.node(node.wildcard_child);
    return (child.name_bytes == node.name_bytes + 2U && child.name()[0] == std::byte{1} &&
            child.name()[1] == std::byte{'*'} &&
            std::memcmp(child.name() + 2, node.name(), node.name_bytes) == 0) ||
           no("its wildcard is another's", node);
  }

  bool prove_covering(const Node& node, const Node* parent) {
    const bool cut = has(node, node_flag::cut);
    if (cut && (has(node, node_flag::apex) || has(node, node_flag::outside))) {
      return no("a cut is an apex or in no zone", node);
    }
    const Ref above = parent != nullptr && !has(*parent, node_flag::apex) ? parent->covering : 0;
    if (has(node, node_flag::apex)) {
      return (node.covering == above && !has(node, node_flag::below_cut)) ||
             no("another cut covers this apex", node);
    }
    const bool inherits = above != 0;
    if (inherits != has(node, node_flag::below_cut) || (inherits && cut)) {
      return no("the flag of names below a cut is wrong", node);
    }
    if (inherits) {
      return node.covering == above || no("another cut covers its parent", node);
    }
    if (!cut) return node.covering == 0 || no("it is covered without a cut", node);
    return (nodes_.contains(node.covering) && view_.node(node.covering) == &node) ||
           no("a cut does not cover itself", node);
  }

  bool prove_slots(const Node& node) {
    const RrsetSlot* previous = nullptr;
    const auto where = [&node] { return "name " + dns::name_text(name_of_node(node)); };
    for (const RrsetSlot& slot : slots_of(node)) {
      if (previous != nullptr && previous->type >= slot.type)
        return no("slots are out of order", node);
      previous = &slot;
      if (slot.kind == SlotKind::pool) {
        if (slot.value >= view_.summary_->pool_count) return no("a pool does not exist", node);
        if (std::to_underlying(slot.ecs) >= ecs_mode_count)
          return no("a pool goes by unknown client subnets", node);
        continue;
      }
      if (slot.kind != SlotKind::fixed) return no("a slot is of unknown kind", node);
      if (slot.ecs != EcsMode{}) return no("a fixed answer goes by client subnets", node);
      if (!answer_fits(slot.value, node, where)) return false;
      const Answer& answer = *view_.answer(slot.value);
      const bool says_no_data = answer.answer_count == 0 && answer.authority_count == 1 &&
                                first_record(answer).type == soa_type;
      if (!says_no_data && (answer.answer_count == 0 || first_record(answer).type != slot.type)) {
        return no("the answer of a slot is of another type", node);
      }
    }
    return true;
  }

  bool prove_flags(const Node& node) {
    if ((node.flags >> 8) != 0) return no("it has unknown flags", node);
    const auto slots = slots_of(node);
    if (!slots.empty() && (has(node, node_flag::outside) || has(node, node_flag::below_cut))) {
      return no("it has data that no zone answers", node);
    }
    const bool pools = std::ranges::any_of(
        slots, [](const RrsetSlot& slot) { return slot.kind == SlotKind::pool; });
    if (pools != has(node, node_flag::service)) return no("the service flag is wrong", node);
    if (has(node, node_flag::apex) &&
        (slot_of(node, soa_type) == nullptr || slot_of(node, ns_type) == nullptr)) {
      return no("an apex has no SOA or no NS", node);
    }
    return prove_alias(node, cname_type, node_flag::cname) &&
           prove_alias(node, dname_type, node_flag::dname);
  }

  // A CNAME or DNAME slot exists where the flag says so, and holds one record with its target in full.
  bool prove_alias(const Node& node, std::uint16_t type, std::uint16_t flag) {
    const RrsetSlot* slot = slot_of(node, type);
    if ((slot != nullptr) != has(node, flag)) return no("the flag of an alias is wrong", node);
    if (slot == nullptr) return true;
    if (slot->kind != SlotKind::fixed) return no("an alias is answered from the ranking", node);
    const Answer& answer = *view_.answer(slot->value);
    if (answer.answer_count != 1 || answer.authority_count != 0 || answer.additional_count != 0 ||
        !dns::name_is_sound(first_record(answer).rdata)) {
      return no("an alias is not one record with an uncompressed target", node);
    }
    if (type == cname_type && slot != slots_of(node).data())
      return no("a CNAME is not first", node);
    return true;
  }

  bool prove_referral(const Node& node) {
    if (!has(node, node_flag::cut))
      return node.referral == 0 || no("it refers without a cut", node);
    if (has(node, node_flag::wildcard)) return no("a wildcard is a cut", node);
    const auto where = [&node] { return "referral " + dns::name_text(name_of_node(node)); };
    if (!answer_fits(node.referral, node, where)) return false;
    const Answer& answer = *view_.answer(node.referral);
    return (answer.answer_count == 0 && answer.authority_count != 0 &&
            first_record(answer).type == ns_type &&
            load<Be16>(answer.body()) == dns::pointer_to(dns::header_bytes)) ||
           no("a referral is not NS records in the authority section", node);
  }

  View view_;
  std::uint64_t record_bytes_;
  std::uint64_t summary_count_;
  std::vector<SectionView> policy_sections_;  // rules, names, text, database
  UnitSet nodes_;
  UnitSet claimed_;  // by a node or an answer
  std::uint64_t node_count_ = 0;
  std::uint32_t label_count_max_ = 0;
  Error error_;
};

Result<View> View::prove(ConstBytes bytes) {
  return Prover::run(bytes);
}

}  // namespace pharos::catalog
