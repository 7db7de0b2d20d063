#include "pharos/controlplane/image/locale_builder.hh"

#include "pharos/shared/locale_image.hh"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <unordered_map>

namespace pharos::controlplane {
namespace {

using locale_map::leaf_bit;

// The smallest binary trie of one family: every block that has one locale is one leaf, however many
// prefixes it was written with, so the depth of a leaf is the scope length of its addresses.
class BlockTree {
 public:
  // Either leaf_bit | locale, or the index of an inner node.
  using Ref = std::uint32_t;

  // `prefixes` are of `family`, sorted by address and then length, each once.
  BlockTree(Family family, std::span<const LocalePrefix> prefixes)
      : first_bit_(128 - address_bits(family)), root_(build(prefixes, 0, leaf_bit)) {}

  // Writes the blocks below `ref`, whose block has `depth` bits, into equal entries: leaves as they
  // stand in the image, refs of inner nodes where a block is smaller than an entry.
  void expand(Ref ref, unsigned depth, std::span<std::uint32_t> entries) const {
    if ((ref & leaf_bit) != 0) {
      const locale_map::Locale locale{static_cast<std::uint16_t>(ref),
                                      static_cast<std::uint8_t>(depth)};
      std::ranges::fill(entries, locale_map::leaf_of(locale));
    } else if (entries.size() == 1) {
      entries[0] = ref;
    } else {
      const std::size_t half = entries.size() / 2;
      expand(inner_[ref][0], depth + 1, entries.first(half));
      expand(inner_[ref][1], depth + 1, entries.last(half));
    }
  }
  [[nodiscard]] Ref root() const noexcept { return root_; }

 private:
  // The trie of the block that has the first `depth` bits of `prefixes`, all of which lie in it;
  // `inherited` is the leaf of what they leave open.
  [[nodiscard]] Ref build(std::span<const LocalePrefix> prefixes, unsigned depth, Ref inherited) {
    if (!prefixes.empty() && prefixes.front().prefix.length == depth) {
      inherited = leaf_bit | prefixes.front().locale;
      prefixes = prefixes.subspan(1);
    }
    if (prefixes.empty()) return inherited;
    const unsigned bit = first_bit_ + depth;
    const auto ones = std::ranges::partition_point(prefixes, [bit](const LocalePrefix& entry) {
      return (entry.prefix.address.bytes[bit / 8] >> (7 - bit % 8) & 1) == 0;
    });
    const auto zero_count = static_cast<std::size_t>(ones - prefixes.begin());
    const Ref zero = build(prefixes.first(zero_count), depth + 1, inherited);
    const Ref one = build(prefixes.subspan(zero_count), depth + 1, inherited);
    if (zero == one && (zero & leaf_bit) != 0) return zero;
    inner_.push_back({zero, one});
    return static_cast<Ref>(inner_.size() - 1);
  }

  unsigned first_bit_;  // of the family in IpAddress::bytes
  std::vector<std::array<Ref, 2>> inner_;
  Ref root_;
};

// Turns block trees into direct tables, nodes and leaves, breadth first: children stand in the
// order of their parents, which is what View::prove demands.
class PoptrieWriter {
 public:
  [[nodiscard]] std::vector<std::uint32_t> add_direct(const BlockTree& tree, unsigned direct_bits) {
    std::vector<std::uint32_t> entries(std::size_t{1} << direct_bits);
    tree.expand(tree.root(), 0, entries);
    for (auto& entry : entries) {
      if ((entry & leaf_bit) == 0) entry = enqueue(tree, entry, direct_bits);
    }
    return entries;
  }
  void add_nodes() {
    for (std::size_t i = 0; i < queue_.size(); ++i) nodes.push_back(make_node(queue_[i]));
  }

  std::vector<locale_map::Node> nodes;
  std::vector<std::uint32_t> leaves;

 private:
  struct Pending {
    const BlockTree* tree;
    BlockTree::Ref ref;
    unsigned depth;
  };

  [[nodiscard]] std::uint32_t enqueue(const BlockTree& tree, BlockTree::Ref ref, unsigned depth) {
    queue_.push_back({&tree, ref, depth});
    return static_cast<std::uint32_t>(queue_.size() - 1);
  }

  [[nodiscard]] locale_map::Node make_node(const Pending pending) {
    std::array<std::uint32_t, 1U << locale_map::chunk_bits> chunks;
    pending.tree->expand(pending.ref, pending.depth, chunks);
    locale_map::Node node{0, 0, static_cast<std::uint32_t>(queue_.size()), 0};
    own_leaves_.clear();
    for (unsigned chunk = 0; chunk < chunks.size(); ++chunk) {
      const std::uint64_t bit = std::uint64_t{1} << chunk;
      if ((chunks[chunk] & leaf_bit) == 0) {
        node.children |= bit;
        static_cast<void>(
            enqueue(*pending.tree, chunks[chunk], pending.depth + locale_map::chunk_bits));
      } else if (own_leaves_.empty() || chunks[chunk] != own_leaves_.back()) {
        node.leaf_starts |= bit;
        own_leaves_.push_back(chunks[chunk]);
      }
    }
    node.leaf_base = place_leaves();
    return node;
  }

  // Where own_leaves_ stands in `leaves`. Most lists occur many times, and each is kept once: in a
  // map of countries that takes two thirds off.
  [[nodiscard]] std::uint32_t place_leaves() {
    const std::uint64_t hash =
        XXH3_64bits(own_leaves_.data(), own_leaves_.size() * sizeof(own_leaves_[0]));
    const auto [first, last] = bases_.equal_range(hash);
    const auto same = std::find_if(first, last, [&](const auto& entry) {
      return leaves.size() - entry.second >= own_leaves_.size() &&
             std::equal(own_leaves_.begin(), own_leaves_.end(), leaves.begin() + entry.second);
    });
    if (same != last) return same->second;
    const auto base = static_cast<std::uint32_t>(leaves.size());
    bases_.emplace(hash, base);
    leaves.insert(leaves.end(), own_leaves_.begin(), own_leaves_.end());
    return base;
  }

  std::vector<Pending> queue_;                                   // all nodes, in their order
  std::vector<std::uint32_t> own_leaves_;                        // of the node in hand
  std::unordered_multimap<std::uint64_t, std::uint32_t> bases_;  // of leaf lists, by hash
};

[[nodiscard]] std::vector<std::byte> names_section(std::span<const std::string> names) {
  std::vector<std::byte> section;
  for (const auto& name : names) {
    section.push_back(static_cast<std::byte>(name.size()));
    section.insert(section.end(), as_bytes(name).begin(), as_bytes(name).end());
  }
  return section;
}

[[nodiscard]] Status check(const LocaleTable& table) {
  if (table.names.empty() || table.names.size() > locale_map::locales_max) {
    return fail(ErrorCode::exhausted,
                "a locale map holds 1 to 65536 locales, not " + std::to_string(table.names.size()));
  }
  for (const auto& name : table.names) {
    if (name.empty() || name.size() > 255) {
      return fail(ErrorCode::invalid, "a locale's name has 1 to 255 bytes",
                  "locale '" + name + "'");
    }
  }
  for (const auto& [prefix, locale] : table.prefixes) {
    if (locale >= table.names.size()) {
      return fail(ErrorCode::invalid, "there is no locale " + std::to_string(locale),
                  prefix.text());
    }
    if (prefix.length > address_bits(prefix.family()) || prefix.masked() != prefix) {
      return fail(ErrorCode::invalid, "bits are set behind the prefix length", prefix.text());
    }
  }
  return {};
}

// The prefixes of one family by address, shortest first; of equal ones only the last given.
[[nodiscard]] std::vector<LocalePrefix> sorted_side(const LocaleTable& table, Family family) {
  std::vector<LocalePrefix> side;
  for (const auto& entry : table.prefixes) {
    if (entry.prefix.family() == family) side.push_back(entry);
  }
  const auto by_prefix = &LocalePrefix::prefix;
  if (!std::ranges::is_sorted(side, {}, by_prefix)) std::ranges::stable_sort(side, {}, by_prefix);
  auto keep = side.begin();
  for (auto at = side.begin(); at != side.end(); ++at) {
    if (keep != side.begin() && (keep - 1)->prefix == at->prefix) {
      *(keep - 1) = *at;
    } else {
      *keep++ = *at;
    }
  }
  side.erase(keep, side.end());
  return side;
}

}  // namespace

std::uint64_t locales_id_of(std::span<const std::string> names) {
  const auto section = names_section(names);
  const std::uint64_t digest = XXH3_64bits(section.data(), section.size());
  return digest == 0 ? 1 : digest;
}

Result<ImageBuffer> build_locale_image(const LocaleTable& table, Version version) {
  if (auto status = check(table); !status) return std::unexpected(status.error());
  const BlockTree ipv4_tree(Family::ipv4, sorted_side(table, Family::ipv4));
  const BlockTree ipv6_tree(Family::ipv6, sorted_side(table, Family::ipv6));
  PoptrieWriter writer;
  const auto ipv4 = writer.add_direct(ipv4_tree, locale_map::direct_bits_ipv4);
  const auto ipv6 = writer.add_direct(ipv6_tree, locale_map::direct_bits_ipv6);
  writer.add_nodes();
  if (writer.nodes.size() >= leaf_bit || writer.leaves.size() > 0xffffffff) {
    return fail(ErrorCode::exhausted, "the prefixes need more nodes than a locale map can hold");
  }
  const locale_map::Summary summary{static_cast<std::uint32_t>(table.names.size()),
                                    static_cast<std::uint32_t>(table.prefixes.size())};
  const auto names = names_section(table.names);

  using locale_map::Section;
  const auto content = [](Section id, auto elements) {
    return SectionContent{static_cast<std::uint32_t>(id), sizeof(elements[0]),
                          std::as_bytes(elements)};
  };
  return assemble_image(ImageKind::locale_map, version, locales_id_of(table.names),
                        std::array{content(Section::summary, std::span(&summary, 1)),
                                   content(Section::direct_ipv4, std::span(ipv4)),
                                   content(Section::direct_ipv6, std::span(ipv6)),
                                   content(Section::nodes, std::span(writer.nodes)),
                                   content(Section::leaves, std::span(writer.leaves)),
                                   content(Section::names, std::span(names))});
}

}  // namespace pharos::controlplane
