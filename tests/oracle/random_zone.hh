// Random zones that are full of the hard cases: few labels, many collisions, every kind of name beside every other.
#pragma once

#include <cstdint>
#include <string>

namespace pharos::oracle {

// The text of a zone; the same seed gives the same text. Records that the zone check refuses are left out.
[[nodiscard]] std::string random_zone(const std::string& origin, std::uint64_t seed,
                                      unsigned records);

}  // namespace pharos::oracle
