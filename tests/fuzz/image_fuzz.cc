// Any bytes to the provers of all images; whatever one accepts is then walked all over, as the packet path and the
// dump tool would.
//
// An input that starts like an image is taken as one: as it is, and once more with its checksum made right. Any
// other is a recipe: the number of a sound image, then edits of 8 bytes, after which the checksum is made right.
//
//   edit:  | section (1) | kind (1) | position (2) | value (4) |    section 0: header and section list
#include "pharos/shared/catalog_image.hh"
#include "pharos/shared/image.hh"
#include "pharos/shared/locale_image.hh"
#include "pharos/shared/ranking_image.hh"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "image_seeds.hh"

namespace {

using namespace pharos;

constexpr std::size_t header_list_bytes_max =
    sizeof(ImageHeader) + image_sections_max * sizeof(SectionEntry);

// Keeps what is read from being optimized away.
volatile std::uint64_t sink;
void read_all(ConstBytes bytes) {
  std::uint64_t sum = 0;
  for (const std::byte b : bytes) sum += std::to_integer<std::uint64_t>(b);
  sink = sum;
}

void read_answer(const Answer* answer) {
  if (answer == nullptr) return;
  read_all({answer->body(), answer->body_bytes});
  for (unsigned i = 0; i < answer->relocation_count; ++i) {
    const unsigned at = answer->relocations()[i] & ~unsigned{relocation_of_body};
    if (at + 2 > answer->body_bytes) std::abort();
  }
}

void walk(const ranking::View& view) {
  for (std::uint32_t pool = 0; pool < view.pool_count(); ++pool) {
    for (std::uint32_t locale = 0; locale < view.locale_count(); ++locale) {
      for (std::uint32_t hash = 0; hash < 8; ++hash) {
        read_answer(view.answer(view.row(pool)[locale], hash * 0x9e3779b9U));
      }
    }
  }
}

void walk(const catalog::View& view) {
  for (const auto& bucket : view.buckets()) {
    for (const catalog::Ref ref : bucket.refs) {
      if (ref == 0) continue;
      const auto* node = view.node(ref);
      if (view.find(node->name(), node->name_bytes) != node) std::abort();
      for (const auto& slot : catalog::slots_of(*node)) {
        if (slot.kind == catalog::SlotKind::fixed) read_answer(view.answer(slot.value));
      }
      if (node->referral != 0) read_answer(view.answer(node->referral));
    }
  }
  for (const auto& zone : view.zones()) read_answer(view.answer(zone.negative));
  // The bounds of the pattern table hold for names that it has, and for all others.
  for (const auto& place : view.policies().names()) {
    if (place.name_bytes == 0) continue;
    const auto name = view.policies().name_of(place);
    sink = view.policies().plain_verdict(name.data(), place.name_bytes, place.label_count);
  }
  sink = catalog::dump(view).size();
}

void walk(const locale_map::View& view) {
  for (std::uint64_t i = 0; i < 4096; ++i) {
    const std::uint64_t mixed = i * 0x9e3779b97f4a7c15U;
    if (view.find_ipv4(static_cast<std::uint32_t>(mixed >> 32)).index >= view.locale_count() ||
        view.find_ipv6(mixed, ~mixed).index >= view.locale_count()) {
      std::abort();
    }
  }
  sink = locale_map::dump(view).size();
}

bool probe_ranking_delta(ConstBytes image) {
  static const auto base = ranking::View::prove_base(fuzz::seeds()[fuzz::base_seed].image);
  const auto view = base->prove_delta(image);
  if (!view) return false;
  walk(*view);
  sink = ranking::dump(image).size();
  return true;
}

bool probe_ranking_base(ConstBytes image) {
  const auto view = ranking::View::prove_base(image);
  if (!view) return false;
  walk(*view);
  sink = ranking::dump(image).size();
  return true;
}

template <typename View>
bool probe_as(ConstBytes image) {
  const auto view = View::prove(image);
  if (!view) return false;
  walk(*view);
  return true;
}

// Whether the image was accepted; then it has been walked.
bool probe(ConstBytes image) {
  const auto header = read_image_header(image);
  if (!header) return false;
  switch (header->kind) {
    case ImageKind::catalog:
      return probe_as<catalog::View>(image);
    case ImageKind::locale_map:
      return probe_as<locale_map::View>(image);
    case ImageKind::ranking_base:
      return probe_ranking_base(image);
    case ImageKind::ranking_delta:
      return probe_ranking_delta(image);
  }
  return false;
}

void make_checksum_right(ImageBuffer& image) {
  const std::uint64_t checksum = image_checksum(image);
  std::memcpy(image.data() + offsetof(ImageHeader, checksum), &checksum, sizeof checksum);
}

struct Edit {
  std::uint8_t section;
  std::uint8_t kind;
  std::uint16_t position;
  std::uint32_t value;
};
static_assert(sizeof(Edit) == 8);

// The bytes that an edit may touch; the list is that of the untouched image.
Bytes place_of(ImageBuffer& image, const ImageBuffer& original, std::uint8_t section) {
  const auto header = load<ImageHeader>(original.data());
  const auto number = section % (header.section_count + 1);
  if (number == 0) return Bytes(image).first(std::min(header_list_bytes_max, image.size()));
  const auto entry = load<SectionEntry>(original.data() + sizeof(ImageHeader) +
                                        (number - 1) * sizeof(SectionEntry));
  return Bytes(image).subspan(entry.offset, entry.count * entry.element_bytes);
}

void apply(const Edit& edit, Bytes place) {
  if (place.size() < 4) return;
  std::byte* at = place.data() + edit.position % (place.size() - 3);
  switch (edit.kind % 6) {
    case 0:
      store(at, static_cast<std::uint8_t>(edit.value));
      return;
    case 1:
      store(at, static_cast<std::uint16_t>(edit.value));
      return;
    case 2:
      store(at, edit.value);
      return;
    case 3:
      store(at, load<std::uint32_t>(at) + (edit.value & 0xff) - 128);
      return;
    case 4:
      store(at, load<std::uint32_t>(at) ^ 1U << edit.value % 32);
      return;
    default:
      store(at, load<std::uint32_t>(place.data() + edit.value % (place.size() - 3)));
      return;
  }
}

void probe_recipe(const std::uint8_t* data, std::size_t size) {
  const auto& original = fuzz::seeds()[data[0] % fuzz::seeds().size()].image;
  auto image = original;
  for (std::size_t at = 1; at + sizeof(Edit) <= size; at += sizeof(Edit)) {
    const auto edit = load<Edit>(data + at);
    apply(edit, place_of(image, original, edit.section));
  }
  make_checksum_right(image);
  const bool accepted = probe(image);
  if (!accepted && image == original) std::abort();  // a seed that is refused bends nothing
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  if (size < 8 || load<std::uint64_t>(data) != image_magic) {
    probe_recipe(data, size);
    return 0;
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  ImageBuffer image(bytes, bytes + size);
  probe(image);
  if (size >= sizeof(ImageHeader)) {
    make_checksum_right(image);
    probe(image);
  }
  return 0;
}
