#include "pharos/shared/locale_image.hh"

#include <algorithm>
#include <array>

namespace pharos::locale_map {
namespace {

constexpr std::array<SectionRule, 6> rules = {{
    {static_cast<std::uint32_t>(Section::summary), "summary", sizeof(Summary), 1},
    {static_cast<std::uint32_t>(Section::direct_ipv4), "direct_ipv4", 4, 1U << direct_bits_ipv4},
    {static_cast<std::uint32_t>(Section::direct_ipv6), "direct_ipv6", 4, 1U << direct_bits_ipv6},
    {static_cast<std::uint32_t>(Section::nodes), "nodes", sizeof(Node), leaf_bit},
    {static_cast<std::uint32_t>(Section::leaves), "leaves", 4, 0xffffffff},
    {static_cast<std::uint32_t>(Section::names), "names", 1, std::uint64_t{locales_max} * 256},
}};

[[nodiscard]] std::unexpected<Error> unsound(std::string what, const char* section) {
  return fail(ErrorCode::invalid, std::move(what),
              std::string("locale map image, section ") + section,
              "the image is damaged or was not made by pharos-controlplane: build it again");
}

// One side of the map while it is proven.
struct Side {
  unsigned address_bits;
  unsigned direct_bits;
  const char* section;
  std::span<const std::uint32_t> direct;
};

// Walks all nodes once, in the order in which a builder makes them: breadth first, so that the
// children of one node follow those of the node before it. That makes the nodes a tree: every walk
// ends, and so does every visit of all of them, whatever the bytes are.
class Prover {
 public:
  Prover(std::span<const Node> nodes, std::span<const std::uint32_t> leaves,
         std::uint32_t locale_count)
      : nodes_(nodes), leaves_(leaves), locale_count_(locale_count), places_(nodes.size()) {}

  [[nodiscard]] Status prove_direct(const Side& side) {
    if (side.direct.size() != std::size_t{1} << side.direct_bits) {
      return unsound("the number of entries is not 2^" + std::to_string(side.direct_bits),
                     side.section);
    }
    for (const std::uint32_t entry : side.direct) {
      if ((entry & leaf_bit) != 0) {
        if (!leaf_is_sound(entry)) return unsound("an entry is no leaf of a locale", side.section);
      } else if (!adopt(entry, 1, side.direct_bits, side.address_bits)) {
        return unsound("an entry names a node out of turn", side.section);
      }
    }
    const auto at = [&](unsigned i) { return side.direct[i]; };
    if (!blocks_are_whole(at, 0, side.direct_bits, side.address_bits)) {
      return unsound("a scope length does not fit the entries that it covers", side.section);
    }
    return {};
  }

  [[nodiscard]] Status prove_nodes() {
    if (!std::ranges::all_of(leaves_, [&](auto leaf) { return leaf_is_sound(leaf); })) {
      return unsound("an element is no leaf of a locale", "leaves");
    }
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      if (i >= adopted_) return unsound("node " + std::to_string(i) + " has no parent", "nodes");
      if (const char* fault = fault_of(i)) {
        return unsound("node " + std::to_string(i) + " " + fault, "nodes");
      }
    }
    return {};
  }

 private:
  struct Place {
    std::uint8_t first_bit;  // of the chunk that the node eats
    std::uint8_t address_bits;
  };

  // Takes `count` nodes from `first` on as the next children; false where they are not next.
  [[nodiscard]] bool adopt(std::uint32_t first, std::uint32_t count, unsigned first_bit,
                           unsigned address_bits) {
    if (first != adopted_ || count > nodes_.size() - adopted_ || first_bit >= address_bits)
      return false;
    const Place place{static_cast<std::uint8_t>(first_bit),
                      static_cast<std::uint8_t>(address_bits)};
    std::fill_n(places_.begin() + first, count, place);
    adopted_ += count;
    return true;
  }

  [[nodiscard]] const char* fault_of(std::uint32_t index) {
    const Node& node = nodes_[index];
    const Place place = places_[index];
    const auto child_count = static_cast<unsigned>(std::popcount(node.children));
    if (child_count != 0 &&
        !adopt(node.child_base, child_count, place.first_bit + chunk_bits, place.address_bits)) {
      return "has children out of turn, out of range or behind the end of the address";
    }
    if ((node.children & node.leaf_starts) != 0) return "has a chunk that is both child and leaf";
    const auto first_leaf_chunk = static_cast<unsigned>(std::countr_one(node.children));
    if (first_leaf_chunk == 64) return nullptr;
    if (static_cast<unsigned>(std::countr_zero(node.leaf_starts)) > first_leaf_chunk) {
      return "has a chunk without a leaf";
    }
    if (std::uint64_t{node.leaf_base} + static_cast<unsigned>(std::popcount(node.leaf_starts)) >
        leaves_.size()) {
      return "has leaves out of range";
    }
    const auto at = [&](unsigned chunk) -> std::uint32_t {
      const std::uint64_t upto = (std::uint64_t{2} << chunk) - 1;
      if ((node.children >> chunk & 1) != 0) return 0;
      return leaves_[node.leaf_base +
                     static_cast<unsigned>(std::popcount(node.leaf_starts & upto)) - 1];
    };
    return blocks_are_whole(at, place.first_bit, chunk_bits, place.address_bits)
               ? nullptr
               : "has a scope length that does not fit its chunks";
  }

  [[nodiscard]] bool leaf_is_sound(std::uint32_t leaf) const {
    return leaf == leaf_of(locale_of(leaf)) && locale_of(leaf).index < locale_count_;
  }

  // Whether each leaf among the 2^bits entries stands in all entries of the block that its scope
  // length says, and that block is no smaller than an entry and no larger than all of them.
  template <typename At>
  [[nodiscard]] static bool blocks_are_whole(At at, unsigned first_bit, unsigned bits,
                                             unsigned address_bits) {
    for (unsigned i = 0; i < 1U << bits;) {
      const std::uint32_t leaf = at(i);
      if ((leaf & leaf_bit) == 0) {
        ++i;
        continue;
      }
      const unsigned scope = locale_of(leaf).scope_length;
      if (scope < first_bit || scope > first_bit + bits || scope > address_bits) return false;
      const unsigned entries = 1U << (first_bit + bits - scope);
      if (i % entries != 0) return false;
      for (const unsigned end = i + entries; i < end; ++i) {
        if (at(i) != leaf) return false;
      }
    }
    return true;
  }

  std::span<const Node> nodes_;
  std::span<const std::uint32_t> leaves_;
  std::uint32_t locale_count_;
  std::vector<Place> places_;  // of the nodes that have a parent
  std::uint32_t adopted_ = 0;  // nodes that have a parent: always a head of the list
};

[[nodiscard]] bool names_are_sound(ConstBytes names, std::uint32_t count) {
  std::size_t at = 0;
  for (; count != 0; --count) {
    if (at >= names.size() || names[at] == std::byte{0}) return false;
    at += 1 + std::to_integer<std::size_t>(names[at]);
  }
  return at == names.size();
}

// Adds one to the number that the first `length` bits of the address form; false where it would
// spill into the first `fixed` bits.
[[nodiscard]] bool advance(IpAddress& address, unsigned length, unsigned fixed) {
  for (unsigned bit = length; bit > fixed; --bit) {
    auto& byte = address.bytes[(bit - 1) / 8];
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit - 1) % 8);
    byte ^= mask;
    if ((byte & mask) != 0) return true;
  }
  return false;
}

// As IpPrefix::text(), but blocks of the IPv6 side stay IPv6 also behind ::ffff:0:0/96.
[[nodiscard]] std::string text_of(const IpAddress& address, unsigned length, Family family) {
  char buffer[INET6_ADDRSTRLEN];
  const bool ipv4 = family == Family::ipv4;
  ::inet_ntop(ipv4 ? AF_INET : AF_INET6, address.bytes.data() + (ipv4 ? 12 : 0), buffer,
              sizeof buffer);
  return std::string(buffer) + "/" + std::to_string(length);
}

// Appends "prefix locale" for each block, from the first address to the last: the scope length of
// an address says where the next block starts, and proven blocks are whole.
void dump_blocks(const View& view, Family family, const std::vector<std::string>& names,
                 std::string& out) {
  IpAddress at = family == Family::ipv4 ? IpAddress::from_ipv4(0) : IpAddress{};
  const unsigned fixed_bits = 128 - address_bits(family);
  unsigned length = 0;
  do {
    const Locale locale = family == Family::ipv4
                              ? view.find_ipv4(at.ipv4())
                              : view.find_ipv6(byte_swap(load<std::uint64_t>(at.bytes.data())),
                                               byte_swap(load<std::uint64_t>(at.bytes.data() + 8)));
    length = locale.scope_length;
    out += text_of(at, length, family) + " " + names[locale.index] + "\n";
  } while (advance(at, fixed_bits + length, fixed_bits));
}

}  // namespace

std::span<const SectionRule> layout_of() noexcept {
  return rules;
}

Result<View> View::prove(ConstBytes bytes) {
  const auto sections = check_sections(bytes, ImageKind::locale_map, layout_of());
  if (!sections) return std::unexpected(sections.error());
  const auto& at = *sections;
  View view;
  view.header_ = reinterpret_cast<const ImageHeader*>(bytes.data());
  if (at[0].count != 1) return unsound("there is not exactly one summary", "summary");
  view.summary_ = at[0].as<Summary>().data();
  const std::uint32_t locale_count = view.summary_->locale_count;
  if (locale_count == 0 || locale_count > locales_max) {
    return unsound("the number of locales is not 1 to 65536", "summary");
  }
  const Side ipv4{32, direct_bits_ipv4, "direct_ipv4", at[1].as<std::uint32_t>()};
  const Side ipv6{128, direct_bits_ipv6, "direct_ipv6", at[2].as<std::uint32_t>()};
  Prover prover(at[3].as<Node>(), at[4].as<std::uint32_t>(), locale_count);
  for (const Side& side : {ipv4, ipv6}) {
    if (auto status = prover.prove_direct(side); !status) return std::unexpected(status.error());
  }
  if (auto status = prover.prove_nodes(); !status) return std::unexpected(status.error());
  view.names_ = {at[5].data, at[5].size_bytes()};
  if (!names_are_sound(view.names_, locale_count)) {
    return unsound("the names are not one for each locale", "names");
  }
  view.direct_ipv4_ = ipv4.direct.data();
  view.direct_ipv6_ = ipv6.direct.data();
  view.nodes_ = at[3].as<Node>().data();
  view.leaves_ = at[4].as<std::uint32_t>().data();
  return view;
}

std::vector<std::string> View::names() const {
  std::vector<std::string> result;
  for (ConstBytes rest = names_; !rest.empty();) {
    const auto length = std::to_integer<std::size_t>(rest[0]);
    result.emplace_back(as_text(rest.subspan(1, length)));
    rest = rest.subspan(1 + length);
  }
  return result;
}

std::string dump(const View& view) {
  const auto names = view.names();
  std::string out = "locales " + std::to_string(names.size()) + ", from " +
                    std::to_string(view.summary().prefix_count) + " prefixes\n";
  for (std::size_t i = 0; i < names.size(); ++i) {
    out += "locale " + std::to_string(i) + " " + names[i] + "\n";
  }
  dump_blocks(view, Family::ipv4, names, out);
  dump_blocks(view, Family::ipv6, names, out);
  return out;
}

}  // namespace pharos::locale_map
