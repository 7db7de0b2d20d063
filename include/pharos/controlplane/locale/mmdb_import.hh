// Reads client prefixes from MaxMind DB files, by country, continent, subdivision, ASN or nearest site.
//
// Called by the engine thread while it loads a configuration. The file is mapped for the time of the
// call: replace it by renaming a new one over it, never by writing into it.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/controlplane/score/distance.hh"

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace pharos::controlplane {

enum class MmdbField {
  asn,           // "64500"            autonomous_system_number
  subdivision,   // "US-CA"            country.iso_code, subdivisions.0.iso_code
  country,       // "US"               country.iso_code
  continent,     // "NA"               continent.code
  nearest_site,  // "fra"             location.latitude, location.longitude
};

// A site that networks may be near to.
struct MmdbPlace {
  std::string id;
  Position at;
};
[[nodiscard]] std::string_view name_of(MmdbField field) noexcept;
[[nodiscard]] Result<MmdbField> mmdb_field(std::string_view name);

// Hands every network that has the field to `sink`, in the order of addresses. Networks of IPv4 come
// once, as IPv4, though files repeat them under 6to4, Teredo and mapped addresses. For nearest_site,
// the value is the id of the place nearest by great circle (of equally near ones the first). Errors:
// unavailable, invalid (damaged file: says which network), and the sink's; `where` is the file.
using MmdbSink = std::function<Status(const IpPrefix& prefix, const std::string& value)>;
[[nodiscard]] Status walk_mmdb(const std::string& file, MmdbField field, const MmdbSink& sink,
                               std::span<const MmdbPlace> places = {});

}  // namespace pharos::controlplane
