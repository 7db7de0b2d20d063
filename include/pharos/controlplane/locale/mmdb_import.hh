// Reads client prefixes from MaxMind DB files, by country, continent, subdivision or ASN.
//
// Called by the engine thread while it loads a configuration. The file is mapped for the time of the
// call: replace it by renaming a new one over it, never by writing into it.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"

#include <functional>
#include <string>
#include <string_view>

namespace pharos::controlplane {

enum class MmdbField {
  asn,          // "64500"            autonomous_system_number
  subdivision,  // "US-CA"            country.iso_code, subdivisions.0.iso_code
  country,      // "US"               country.iso_code
  continent,    // "NA"               continent.code
};
[[nodiscard]] std::string_view name_of(MmdbField field) noexcept;
[[nodiscard]] Result<MmdbField> mmdb_field(std::string_view name);

// Hands every network that has the field to `sink`, in the order of addresses. Networks of IPv4 come
// once, as IPv4, though files repeat them under 6to4, Teredo and mapped addresses. Errors: unavailable,
// invalid (damaged file: says which network), and the sink's; `where` is the file.
using MmdbSink = std::function<Status(const IpPrefix& prefix, const std::string& value)>;
[[nodiscard]] Status walk_mmdb(const std::string& file, MmdbField field, const MmdbSink& sink);

}  // namespace pharos::controlplane
