// Zones from zone files (RFC 1035, section 5; $TTL of RFC 2308, $INCLUDE, $GENERATE) or from
// configuration.
//
// ldns reads the RDATA of every type that it knows, and RFC 3597 takes the rest; the lines,
// directives and owners are read here, so that every message carries file and line. Any thread;
// blocks on files.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/zone/zone_data.hh"

namespace pharos::controlplane {

struct LoadedZone {
  ZoneData data;
  ZoneReport report;  // no errors
};

// Errors: not_found and unavailable (the file), invalid (what is wrong, at "file:line"; says how
// many more mistakes there are).
[[nodiscard]] Result<LoadedZone> load_zone(const config::ZoneConfig& zone);

// The same from text at hand; `name` stands for the file in messages, and $INCLUDE is refused.
[[nodiscard]] Result<LoadedZone> parse_zone(const dns::WireName& origin, std::string_view text,
                                            const std::string& name);

// Everything that is wrong with a zone: what `pharosctl zone check` prints.
[[nodiscard]] ZoneReport check_zone(const config::ZoneConfig& zone);

}  // namespace pharos::controlplane
