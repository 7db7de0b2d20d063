// The locale map image: longest-prefix match from client address to (locale, scope length).
//
// A Poptrie (Asai and Ohara, SIGCOMM 2015): the first 16 bits index a direct table, then each node eats 6 bits
// with two 64-bit vectors, one for children and one for runs of equal leaves.
//
//   direct entry / leaf (u32):   bit 31 = 1: leaf     bits 23-16 scope length   bits 15-0 locale
//                                bit 31 = 0: node index
//   node: chunk bits of the address select bit c of `children`.
//     set:   child = child_base + popcount(children & ((2 << c) - 1)) - 1
//     clear: leaf  = leaves[leaf_base + popcount(leaf_starts & ((2 << c) - 1)) - 1]
//
// IPv4 walks at most 3 nodes, IPv6 at most 19. The scope length is that of the largest block around the
// address in which all addresses have this locale: right for ECS (RFC 7871, 7.2.1), and small for caches.
//
// content_id: a digest of the ordered locale list; a ranking image with another one does not fit.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/shared/image.hh"

#include <cstdint>

namespace pharos::locale_map {

inline constexpr unsigned direct_bits = 16;
inline constexpr unsigned chunk_bits = 6;
inline constexpr std::uint32_t leaf_bit = 0x80000000;
inline constexpr unsigned locales_max = 0x10000;

struct Node {
  std::uint64_t children;
  std::uint64_t leaf_starts;
  std::uint32_t child_base;  // index into nodes
  std::uint32_t leaf_base;   // index into leaves
};
static_assert(sizeof(Node) == 24);

struct Locale {
  std::uint16_t index;
  std::uint8_t scope_length;  // bits of the family's own width
};

[[nodiscard]] constexpr std::uint32_t leaf_of(Locale locale) noexcept {
  return leaf_bit | static_cast<std::uint32_t>(locale.scope_length) << 16 | locale.index;
}
[[nodiscard]] constexpr Locale locale_of(std::uint32_t leaf) noexcept {
  return {static_cast<std::uint16_t>(leaf), static_cast<std::uint8_t>(leaf >> 16)};
}

struct Summary {  // exactly one
  std::uint32_t locale_count;  // leaves name indices below this
  std::uint32_t prefix_count;  // for people
};
static_assert(sizeof(Summary) == 8);

// Locale names, in order of index, each behind its length octet: for people and for `explain`.
enum class Section : std::uint32_t {
  summary = 1, direct_ipv4 = 2, direct_ipv6 = 3, nodes = 4, leaves = 5, names = 6,
};
[[nodiscard]] std::span<const SectionRule> layout_of() noexcept;

class View {
 public:
  // Proves every index in every node, that children only lie behind their parent (so that walks end), and depth.
  [[nodiscard]] static Result<View> prove(ConstBytes bytes);

  [[nodiscard]] const ImageHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const Summary& summary() const noexcept { return *summary_; }
  [[nodiscard]] std::vector<std::string> names() const;

  // Hot: no checks, no branches on data beyond the trie itself.
  [[nodiscard]] Locale find_ipv4(std::uint32_t address) const noexcept;
  [[nodiscard]] Locale find_ipv6(std::uint64_t high, std::uint64_t low) const noexcept;
  [[nodiscard]] Locale find(const IpAddress& address) const noexcept;
  // First line that find_ipv4 will touch.
  void prefetch_ipv4(std::uint32_t address) const noexcept { __builtin_prefetch(&direct_ipv4_[address >> 16]); }

 private:
  const ImageHeader* header_ = nullptr;
  const Summary* summary_ = nullptr;
  const std::uint32_t* direct_ipv4_ = nullptr;
  const std::uint32_t* direct_ipv6_ = nullptr;
  const Node* nodes_ = nullptr;
  const std::uint32_t* leaves_ = nullptr;
  ConstBytes names_;
};

[[nodiscard]] std::string dump(const View& view);

}  // namespace pharos::locale_map
