// The catalog image: everything that changes with configuration. Names, static answers, zones,
// policy.
//
// A query's path through it: hash -> bucket (one cache line) -> node (name, flags, RRset slots) ->
// answer. Builders put a node and its answers side by side, so that the common hit touches bucket +
// 2 lines.
//
// Existence is monotone: with a name, all its ancestors up to the root have a node (names between
// as empty non-terminals, names above all zones as `outside`). The closest encloser is therefore
// the longest suffix with a node, and is found by the parent first and by halving the label count
// after that.
//
//   bucket (64 B)   | tags[10] (u16) | refs[10] (u32) | overflow (u16) | reserved (u16) |
//   node (16-aligned)
//     +-------------------------------+------------------------------+--------------------+
//     | Node (32 B)                   | name, folded, padded to 8    | RrsetSlot[count]   |
//     +-------------------------------+------------------------------+--------------------+
//
// What hides what: an apex starts its zone afresh; a cut hides all below it (`covering`), so that
// the only names below one are ancestors of a further zone of ours; nothing lies below a DNAME. A
// cut has no slots but DS and its signatures: all else there is a referral.
//
// Pointers: an answer's owner is its node's name. In answers of a wildcard every pointer into the
// owner is to the whole of it, because the owner is the QNAME then. The root is written out, never
// pointed to.
//
// content_id: a digest of the ordered pool list; a ranking image with another one does not fit.
#pragma once

#include "pharos/shared/answer.hh"
#include "pharos/shared/client_hash.hh"
#include "pharos/shared/ecs_mode.hh"
#include "pharos/shared/image.hh"
#include "pharos/shared/policy_image.hh"
#include "pharos/wire/name.hh"

#include <array>
#include <cstddef>
#include <cstdint>

namespace pharos::catalog {

// Refs count units of 16 bytes from the start of the records section; 0 means none (unit 0 is
// unused).
using Ref = std::uint32_t;
inline constexpr unsigned ref_unit_bytes = 16;

inline constexpr unsigned bucket_slots = 10;
struct alignas(64) Bucket {
  std::array<std::uint16_t, bucket_slots> tags;  // 0: free slot
  std::array<Ref, bucket_slots> refs;
  // 1: more entries of this bucket stand in the next one (the last wraps to 0).
  std::uint16_t overflow;
  std::uint16_t reserved;
};
static_assert(sizeof(Bucket) == 64);
// Entries stand at most this many buckets behind their own, and no more buckets in a row than this
// have `overflow` set: a walk ends without counting. The builder grows the table otherwise.
inline constexpr unsigned overflow_buckets_max = 4;

[[nodiscard]] constexpr std::uint32_t bucket_of(std::uint64_t hash,
                                                std::uint32_t bucket_count) noexcept {
  return static_cast<std::uint32_t>((hash & 0xffffffffU) * bucket_count >> 32);
}
[[nodiscard]] constexpr std::uint16_t tag_of(std::uint64_t hash) noexcept {
  const auto tag = static_cast<std::uint16_t>(hash >> 32);
  return tag == 0 ? std::uint16_t{1} : tag;
}

namespace node_flag {
inline constexpr std::uint16_t apex = 1U << 0;       // zone apex: has SOA and NS
inline constexpr std::uint16_t cut = 1U << 1;        // delegation point: NS, not apex
inline constexpr std::uint16_t below_cut = 1U << 2;  // glue and the like: `covering` is the cut
inline constexpr std::uint16_t dname = 1U << 3;      // owns a DNAME
// Owns a CNAME: the first slot; others are DNSSEC's.
inline constexpr std::uint16_t cname = 1U << 4;
inline constexpr std::uint16_t wildcard = 1U << 5;  // leftmost label is "*"
inline constexpr std::uint16_t outside = 1U << 6;   // ancestor of zones, in none: REFUSED
inline constexpr std::uint16_t service = 1U << 7;   // has a slot answered from the ranking
}  // namespace node_flag

inline constexpr std::uint32_t no_zone = 0xffffffff;

struct Node {
  std::uint32_t zone;     // index into zones, no_zone where outside
  Ref covering;           // node of the cut that hides this name (itself where cut), else 0;
                          // at an apex: the cut above it, which is asked for its DS
  Ref wildcard_child;     // node of "*.<this name>", else 0
  Ref referral;           // on a cut: the Answer with NS (authority) and glue (additional), else 0
  std::uint32_t verdict;  // of the name policies (policy_image.hh): index of a rule plus 1, 0: none
  std::uint16_t flags;
  std::uint8_t name_bytes;   // 1-255
  std::uint8_t label_count;  // without the root: 0-127
  std::uint16_t rrset_count;
  std::uint16_t reserved0;
  std::uint32_t reserved1;

  [[nodiscard]] const std::byte* name() const noexcept {
    return reinterpret_cast<const std::byte*>(this) + sizeof(Node);
  }
};
static_assert(sizeof(Node) == 32 && alignof(Node) == 4 &&
              std::has_unique_object_representations_v<Node>);

enum class SlotKind : std::uint8_t { fixed = 0, pool = 1 };

// One RRset of a node, sorted by type. `fixed`: value is the Ref of an Answer. `pool`: value is the
// pool index of the ranking image, `ecs` says by whose client subnets it is answered. A CNAME or
// DNAME Answer starts with that one record, target uncompressed. A fixed Answer may hold no answer record but the SOA in the authority section: no
// data, said by another zone than the node's own (DS at an apex whose parent zone is served here as
// well: RFC 4035, 3.1.4.1).
struct RrsetSlot {
  std::uint16_t type;  // host order
  SlotKind kind;
  EcsMode ecs;  // of a pool; else 0
  std::uint32_t value;
};
static_assert(sizeof(RrsetSlot) == 8 && offsetof(RrsetSlot, value) == 4 &&
              std::has_unique_object_representations_v<RrsetSlot>);

[[nodiscard]] constexpr std::uint32_t slots_offset(std::uint32_t name_bytes) noexcept {
  return static_cast<std::uint32_t>(sizeof(Node)) + round_up(name_bytes, 8U);
}
[[nodiscard]] constexpr std::uint64_t node_record_bytes(std::uint32_t name_bytes,
                                                        std::uint32_t rrset_count) noexcept {
  return slots_offset(name_bytes) + std::uint64_t{rrset_count} * sizeof(RrsetSlot);
}
[[nodiscard]] inline std::span<const RrsetSlot> slots_of(const Node& node) noexcept {
  return {reinterpret_cast<const RrsetSlot*>(reinterpret_cast<const std::byte*>(&node) +
                                             slots_offset(node.name_bytes)),
          node.rrset_count};
}

struct Zone {
  Ref apex;      // its node
  Ref negative;  // Answer with the SOA in the authority section, owner and names relocated from the
                 // apex
  std::uint32_t serial;
  std::uint32_t negative_ttl_s;  // min(SOA TTL, SOA MINIMUM): RFC 2308, section 5
  std::uint32_t name_count;      // nodes of the zone, for people
  std::uint32_t reserved;
};
static_assert(sizeof(Zone) == 24);

struct Summary {  // exactly one
  dns::NameHashKey hash_key;
  // Deals clients to the slots of answers: all responders of a fleet have the same, nobody else does.
  ranking::ClientHashKey client_key;
  std::uint32_t pool_count;       // pool slots name indices below this
  std::uint32_t label_count_max;  // of any node
  std::uint64_t node_count;
  Ref root;  // node of the root name: closest encloser of last resort
  std::uint32_t reserved;
};
static_assert(sizeof(Summary) == 72);

enum class Section : std::uint32_t {
  summary = 1,
  buckets = 2,
  records = 3,
  zones = 4,
  policy_rules = 5,  // name policies (policy_image.hh): empty sections where there are none
  policy_names = 6,
  policy_text = 7,
  policy_database = 8,
};
[[nodiscard]] std::span<const SectionRule> layout_of() noexcept;

// A proven catalog image. Borrows the bytes; copies are cheap.
class View {
 public:
  // Proves all of `bytes`: every bucket entry, node, slot, zone and answer, and the rules of this
  // page (monotone existence, entries within reach of their bucket). Cost: linear. Errors: invalid,
  // unsupported.
  [[nodiscard]] static Result<View> prove(ConstBytes bytes);

  [[nodiscard]] const ImageHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const Summary& summary() const noexcept { return *summary_; }
  [[nodiscard]] std::span<const Bucket> buckets() const noexcept { return buckets_; }
  [[nodiscard]] std::span<const Zone> zones() const noexcept { return zones_; }
  [[nodiscard]] const Node* node(Ref ref) const noexcept {
    return reinterpret_cast<const Node*>(records_ + std::uint64_t{ref} * ref_unit_bytes);
  }
  [[nodiscard]] const Answer* answer(Ref ref) const noexcept {
    return reinterpret_cast<const Answer*>(records_ + std::uint64_t{ref} * ref_unit_bytes);
  }

  [[nodiscard]] const PolicyView& policies() const noexcept { return policies_; }

  [[nodiscard]] std::uint64_t records_bytes() const noexcept { return records_bytes_; }

  // The node of a folded name, or nullptr. The plain way; the packet path does the same in stages.
  [[nodiscard]] const Node* find(const std::byte* folded_name, unsigned length) const noexcept;

 private:
  const ImageHeader* header_ = nullptr;
  const Summary* summary_ = nullptr;
  std::span<const Bucket> buckets_;
  std::span<const Zone> zones_;
  PolicyView policies_;
  [[nodiscard]] const Node* find(const std::byte* folded_name, unsigned length,
                                 std::uint64_t hash) const noexcept;
  friend class Prover;
  const std::byte* records_ = nullptr;
  std::uint64_t records_bytes_ = 0;
};

// The image as text, for `pharosctl image dump`. Proven images only.
[[nodiscard]] std::string dump(const View& view);

}  // namespace pharos::catalog
