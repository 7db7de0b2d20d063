// Any text as a zone file: read or refused, and whatever is read makes a catalog that passes its proof.
//
// The text up to the first NUL is the zone "z.", the rest one that lies in it: "in.d.z.".
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/shared/catalog_image.hh"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace {

using namespace pharos;
using namespace pharos::controlplane;

constexpr std::size_t digits_max = 3;

// $GENERATE may make a million records, which is right and slow.
bool is_slow(std::string_view text) {
  std::size_t digits = 0;
  for (const char c : text) {
    digits = std::isdigit(static_cast<unsigned char>(c)) != 0 ? digits + 1 : 0;
    if (digits > digits_max && text.contains('$')) return true;
  }
  return false;
}

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (is_slow(text)) return 0;
  const auto split = std::min(text.find('\0'), text.size());
  const auto outer = parse_zone(*dns::parse_name("z."), text.substr(0, split), "outer");
  require(outer || (!outer.error().what.empty() && !outer.error().where.empty()));
  std::vector<const ZoneData*> zones;
  if (outer) zones.push_back(&outer->data);
  const auto inner =
      parse_zone(*dns::parse_name("in.d.z."), text.substr(std::min(split + 1, size)), "inner");
  if (inner) zones.push_back(&inner->data);
  if (zones.empty()) return 0;
  const std::vector<PoolBinding> bindings{{"www.z.", 1, 0}};
  for (const auto services : {std::size_t{0}, std::size_t{1}}) {
    const auto image =
        build_catalog(zones, std::span(bindings).first(services), 1, 1, dns::NameHashKey{}, {1, 1});
    if (!image) {
      require(!image.error().what.empty());
      continue;
    }
    const auto view = catalog::View::prove(*image);
    require(view.has_value());
    require(!catalog::dump(*view).empty());
  }
  return 0;
}
