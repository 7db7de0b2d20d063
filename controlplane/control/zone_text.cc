// Before ldns, whose headers redefine what the standard library's need.
#include "pharos/controlplane/engine/daemon.hh"

#include <ldns/ldns.h>

#include <cstdlib>
#include <memory>

#include "handlers.hh"

namespace pharos::controlplane {
namespace {

struct FreeRecord {
  void operator()(ldns_rr* record) const noexcept { ldns_rr_free(record); }
};
struct FreeText {
  void operator()(char* text) const noexcept { std::free(text); }  // ldns allocates with malloc
};

std::string record_text(const ZoneData& zone, const ZoneRecord& record) {
  std::vector<std::byte> wire;
  const auto add = [&](ConstBytes bytes) { wire.insert(wire.end(), bytes.begin(), bytes.end()); };
  add(zone.owner_of(record));
  add(object_bytes(Be16(record.type)));
  add(object_bytes(Be16(static_cast<std::uint16_t>(dns::Class::in))));
  add(object_bytes(Be32(record.ttl_s)));
  add(object_bytes(Be16(record.rdata_bytes)));
  add(zone.rdata_of(record));
  ldns_rr* parsed = nullptr;
  std::size_t at = 0;
  const auto code = ldns_wire2rr(&parsed, reinterpret_cast<const std::uint8_t*>(wire.data()),
                                 wire.size(), &at, LDNS_SECTION_ANSWER);
  const std::unique_ptr<ldns_rr, FreeRecord> owned(parsed);
  if (code != LDNS_STATUS_OK) {
    return dns::name_text(zone.owner_of(record)) + " " + dns::type_text(record.type) + " ?";
  }
  const std::unique_ptr<char, FreeText> text(ldns_rr2str(owned.get()));
  std::string line = text ? text.get() : "";
  while (line.ends_with('\n')) line.pop_back();
  return line;
}

}  // namespace

std::vector<std::string> zone_text(const ZoneData& zone, std::size_t bytes_max) {
  std::vector<std::string> lines;
  std::size_t bytes = 0;
  for (const auto& record : zone.records()) {
    lines.push_back(record_text(zone, record));
    bytes += lines.back().size();
    if (bytes > bytes_max) break;
  }
  return lines;
}

}  // namespace pharos::controlplane
