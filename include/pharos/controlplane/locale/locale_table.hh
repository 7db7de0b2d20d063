// Which client prefixes belong to which locale, gathered from configuration and imported files.
//
// Called by the engine thread at start and at reload; pure apart from reading the files that the
// configuration names. A table is complete and free of conflicts, or it is an Error.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/config/model.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct LocalePrefix {
  IpPrefix prefix;
  std::uint16_t locale = 0;  // index into LocaleTable::names
  friend auto operator<=>(const LocalePrefix&, const LocalePrefix&) = default;
};

struct LocaleTable {
  std::vector<std::string> names;      // [0] is "default": every address that no prefix covers
  std::vector<LocalePrefix> prefixes;  // sorted, each prefix once; the longest match wins
};

// Index 0 is "default", then `config.locales` in their order (an entry with the id "default" gives
// index 0 its prefixes too, and no further index). The longest prefix wins. Where two locales name
// the very same prefix, the closer source wins: prefixes of the configuration, then CSV, then
// MaxMind DB by asn, subdivision, country, continent. The same prefix from equally close sources is
// an error that names both. Errors: invalid, not_found (a selected value that no record has),
// conflict, unavailable (file), exhausted (a limit).
[[nodiscard]] Result<LocaleTable> load_locales(const config::Config& config);

}  // namespace pharos::controlplane
