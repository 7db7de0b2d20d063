// What a round knew of members and distances: as the history keeps it, and as it gives it back. Private to this folder; pure.
//
// A round may touch every pool and every locale, so what is kept grows with either, never with both: facts of members by
// pool, distances of sites by locale once for a whole configuration. The scores of a cell follow from the two.
#pragma once

#include "pharos/controlplane/history/history.hh"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace pharos::controlplane {

// The members of the pool that answers, as objects: endpoint, site, version, addresses, weight, state, reason, and each
// factor but proximity by its name.
[[nodiscard]] nlohmann::json members_of(const DecisionRound& round, const PoolFacts& pool);

// A row of `inputs`: members, and in words what of them moved since the round before.
struct KeptMembers {
  nlohmann::json members;  // as members_of; no array where they were not kept, or are damaged
  std::string moved;
};
// As lists of values: their names would be two thirds of it.
[[nodiscard]] std::string members_text(const nlohmann::json& members, const std::string& moved);
// Reads that, and the objects that former versions wrote.
[[nodiscard]] KeptMembers kept_members(std::string_view text);

// Round-trip times of all sites for all locales of a world, beside their names.
[[nodiscard]] std::string distances_text(const World& world);
[[nodiscard]] std::string exponents_text(const config::ScoreConfig& exponents);
// Of each member [round-trip time in ms or null, proximity, score], by the formula by which it was ranked. Null where
// either text does not tell of the locale or of a member's site.
[[nodiscard]] nlohmann::json scores_of(const nlohmann::json& members, const std::string& locale,
                                       std::string_view distances, std::string_view exponents);

}  // namespace pharos::controlplane
