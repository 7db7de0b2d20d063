// The locale map image: longest-prefix match from client address to (locale, scope length).
//
// A Poptrie (Asai and Ohara, SIGCOMM 2015): the first bits index a direct table, then each node
// eats 6 bits with two 64-bit vectors, one for children and one for runs of equal leaves.
//
//   direct entry / leaf (u32):   bit 31 = 1: leaf     bits 23-16 scope length   bits 15-0 locale
//                                bit 31 = 0: node index
//   node: chunk c, the next 6 bits of the address, selects bit c of `children`.
//     set:   child = child_base + popcount(children & ((2 << c) - 1)) - 1
//     clear: leaf  = leaves[leaf_base + popcount(leaf_starts & ((2 << c) - 1)) - 1]
//
// Bits behind the end of an address count as zero. The scope length is that of the largest block
// around the address in which all addresses have this locale: right for ECS (RFC 7871, 7.2.1), and
// small for caches. An address in ::ffff:0:0/96 is IPv4 (base/ip_address.hh), whatever the IPv6
// side says of that block.
//
// content_id: a digest of the ordered locale list; a ranking image with another one does not fit.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/shared/image.hh"

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace pharos::locale_map {

// 18 bits end most IPv4 walks in the first node: 0.55 times the time that 16 bits take on a map of all
// countries (perf/micro/locale_bench.cc). 20 bits for IPv6 take 0.6 times, at 4 MiB in every image.
#ifndef PHAROS_FUZZ
inline constexpr unsigned direct_bits_ipv4 = 18;
inline constexpr unsigned direct_bits_ipv6 = 16;
#else  // fuzzing: the same code over images of 4 KiB, not of 1.3 MiB
inline constexpr unsigned direct_bits_ipv4 = 8;
inline constexpr unsigned direct_bits_ipv6 = 8;
#endif
inline constexpr unsigned chunk_bits = 6;
// Nodes on the longest walk: 3 and 19.
inline constexpr unsigned depth_max_ipv4 = (32 - direct_bits_ipv4 + chunk_bits - 1) / chunk_bits;
inline constexpr unsigned depth_max_ipv6 = (128 - direct_bits_ipv6 + chunk_bits - 1) / chunk_bits;
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
  friend constexpr bool operator==(const Locale&, const Locale&) = default;
};

[[nodiscard]] constexpr std::uint32_t leaf_of(Locale locale) noexcept {
  return leaf_bit | static_cast<std::uint32_t>(locale.scope_length) << 16 | locale.index;
}
[[nodiscard]] constexpr Locale locale_of(std::uint32_t leaf) noexcept {
  return {static_cast<std::uint16_t>(leaf), static_cast<std::uint8_t>(leaf >> 16)};
}

struct Summary {               // exactly one
  std::uint32_t locale_count;  // leaves name indices below this
  std::uint32_t prefix_count;  // for people
};
static_assert(sizeof(Summary) == 8);

// Locale names, in order of index, each behind its length octet: for people and for `explain`.
enum class Section : std::uint32_t {
  summary = 1,
  direct_ipv4 = 2,
  direct_ipv6 = 3,
  nodes = 4,
  leaves = 5,
  names = 6,
};
[[nodiscard]] std::span<const SectionRule> layout_of() noexcept;

class View {
 public:
  // Proves every index in every node, every locale and scope length, the names, that children only
  // lie behind their parent, and that no walk is longer than its address. Cost: linear. Errors:
  // invalid, unsupported.
  [[nodiscard]] static Result<View> prove(ConstBytes bytes);

  [[nodiscard]] const ImageHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const Summary& summary() const noexcept { return *summary_; }
  [[nodiscard]] std::uint32_t locale_count() const noexcept { return summary_->locale_count; }
  [[nodiscard]] std::vector<std::string> names() const;

  // Hot: no checks, no branches on data beyond the trie itself. Addresses in host order.
  [[nodiscard]] Locale find_ipv4(std::uint32_t address) const noexcept {
    const std::uint32_t entry = direct_ipv4_[address >> (32 - direct_bits_ipv4)];
    if ((entry & leaf_bit) != 0) return locale_of(entry);
    return walk_ipv4(nodes_ + entry, std::uint64_t{address} << (32 + direct_bits_ipv4));
  }
  [[nodiscard]] Locale find_ipv6(std::uint64_t high, std::uint64_t low) const noexcept {
    const std::uint32_t entry = direct_ipv6_[high >> (64 - direct_bits_ipv6)];
    if ((entry & leaf_bit) != 0) return locale_of(entry);
    return walk_ipv6(nodes_ + entry, high, low);
  }
  [[nodiscard]] Locale find(const IpAddress& address) const noexcept {
    const auto high = byte_swap(load<std::uint64_t>(address.bytes.data()));
    const auto low = byte_swap(load<std::uint64_t>(address.bytes.data() + 8));
    if (high == 0 && low >> 32 == 0xffff) return find_ipv4(static_cast<std::uint32_t>(low));
    return find_ipv6(high, low);
  }

  // The first line that the lookup of the same address will touch.
  void prefetch_ipv4(std::uint32_t address) const noexcept {
    __builtin_prefetch(&direct_ipv4_[address >> (32 - direct_bits_ipv4)]);
  }
  void prefetch_ipv6(std::uint64_t high) const noexcept {
    __builtin_prefetch(&direct_ipv6_[high >> (64 - direct_bits_ipv6)]);
  }
  void prefetch(const IpAddress& address) const noexcept {
    if (address.is_ipv4()) {
      prefetch_ipv4(address.ipv4());
    } else {
      prefetch_ipv6(byte_swap(load<std::uint64_t>(address.bytes.data())));
    }
  }

 private:
  // `rest` holds the address bits behind the direct ones at its top.
  [[nodiscard]] Locale walk_ipv4(const Node* node, std::uint64_t rest) const noexcept {
    for (;; rest <<= chunk_bits) {
      const std::uint64_t upto = (std::uint64_t{2} << (rest >> (64 - chunk_bits))) - 1;
      const std::uint64_t through = node->children & upto;
      if ((through & ~(upto >> 1)) == 0) return leaf(*node, upto);
      node = nodes_ + node->child_base + std::popcount(through) - 1;
    }
  }
  [[nodiscard]] Locale walk_ipv6(const Node* node, std::uint64_t high,
                                 std::uint64_t low) const noexcept {
    high = high << direct_bits_ipv6 | low >> (64 - direct_bits_ipv6);
    low <<= direct_bits_ipv6;
    for (;; high = high << chunk_bits | low >> (64 - chunk_bits), low <<= chunk_bits) {
      const std::uint64_t upto = (std::uint64_t{2} << (high >> (64 - chunk_bits))) - 1;
      const std::uint64_t through = node->children & upto;
      if ((through & ~(upto >> 1)) == 0) return leaf(*node, upto);
      node = nodes_ + node->child_base + std::popcount(through) - 1;
    }
  }
  [[nodiscard]] Locale leaf(const Node& node, std::uint64_t upto) const noexcept {
    return locale_of(leaves_[node.leaf_base +
                             static_cast<unsigned>(std::popcount(node.leaf_starts & upto)) - 1]);
  }

  const ImageHeader* header_ = nullptr;
  const Summary* summary_ = nullptr;
  const std::uint32_t* direct_ipv4_ = nullptr;
  const std::uint32_t* direct_ipv6_ = nullptr;
  const Node* nodes_ = nullptr;
  const std::uint32_t* leaves_ = nullptr;
  ConstBytes names_;
};

// The image as text: locales, and each block with one locale as "prefix locale". Proven images
// only.
[[nodiscard]] std::string dump(const View& view);

}  // namespace pharos::locale_map
