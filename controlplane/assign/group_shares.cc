#include "pharos/controlplane/assign/demand_board.hh"
#include "pharos/controlplane/assign/grouping.hh"

#include <algorithm>
#include <cmath>
#include <utility>

// Shares as they are in force: asking them, carrying them over, telling them apart.

namespace pharos::controlplane {

double GroupShares::share(std::size_t locale, std::uint32_t site) const noexcept {
  if (locale >= shares.size() || shares[locale].empty()) return 0;
  const auto at = place_of(sites, site);
  return at < sites.size() && sites[at] == site ? shares[locale][at] : 0;
}

double GroupShares::home_share(std::size_t locale, std::uint32_t site) const noexcept {
  if (locale >= homes.size() || homes[locale].empty()) return 0;
  const auto at = place_of(sites, site);
  return at < sites.size() && sites[at] == site ? homes[locale][at] : 0;
}

double GroupShares::admitted_part(std::uint32_t site) const noexcept {
  const auto at = place_of(sites, site);
  return at < admitted.size() && sites[at] == site ? admitted[at] : 1;
}

double GroupShares::wanted_share(std::uint32_t site) const noexcept {
  const auto at = place_of(sites, site);
  return at < wanted.size() && sites[at] == site ? wanted[at] : 0;
}

bool GroupShares::bends_weights() const noexcept {
  return !wanted.empty() && !shares.empty() && !shares[0].empty() && shares[0] != wanted;
}

double GroupShares::weight_factor(std::uint32_t site) const noexcept {
  const auto at = place_of(sites, site);
  if (at >= sites.size() || sites[at] != site || at >= wanted.size() || wanted[at] <= 0) return 1;
  return shares.empty() || shares[0].empty() ? 1 : shares[0][at] / wanted[at];
}

GroupShares renumbered(const GroupShares& shares, std::span<const std::uint32_t> sites,
                       std::span<const std::uint32_t> locales) {
  constexpr auto nothing = DemandBoard::nothing;
  std::vector<std::pair<std::uint32_t, std::size_t>> kept;  // new index, place in `shares`
  for (std::size_t i = 0; i < shares.sites.size(); ++i) {
    if (const auto site = sites[shares.sites[i]]; site != nothing) kept.emplace_back(site, i);
  }
  std::ranges::sort(kept);
  const auto pick = [&](const std::vector<double>& row) {
    std::vector<double> picked;
    if (row.empty()) return picked;
    for (const auto& [site, place] : kept) picked.push_back(row[place]);
    return picked;
  };
  GroupShares made;
  made.rps = shares.rps;
  made.wanted = pick(shares.wanted);
  made.admitted = pick(shares.admitted);
  for (const auto& [site, place] : kept) made.sites.push_back(site);
  if (!shares.wanted.empty()) {  // dealt: one row for all locales
    for (const auto& row : shares.shares) made.shares.push_back(pick(row));
    made.unrest = shares.unrest;
    made.unrest.forget_sites();
    return made;
  }
  made.unrest = shares.unrest.renumbered(locales, nothing);
  for (const auto former : locales) {
    const bool known = former != nothing && former < shares.shares.size();
    made.shares.push_back(known ? pick(shares.shares[former]) : std::vector<double>{});
    if (shares.homes.empty()) continue;
    made.homes.push_back(known ? pick(shares.homes[former]) : std::vector<double>{});
  }
  return made;
}

void note_unrest(GroupShares& shares, const GroupShares* former, Instant now) {
  if (former != nullptr) shares.unrest = former->unrest;
  if (former != nullptr && former->sites != shares.sites) shares.unrest.forget_sites();
  for (std::size_t l = 0; l < shares.shares.size(); ++l) {
    if (!shares.shares[l].empty()) shares.unrest.note(l, shares.shares[l], now);
  }
}

bool differs(const GroupShares* former, const GroupShares& next, double step) {
  if (former == nullptr || former->sites != next.sites || former->wanted != next.wanted ||
      former->homes != next.homes || former->admitted != next.admitted)
    return true;
  for (std::size_t l = 0; l < next.shares.size(); ++l) {
    const bool was = l < former->shares.size() && !former->shares[l].empty();
    if (next.shares[l].empty()) continue;  // no demand now: what was goes on
    if (!was) return true;
    for (std::size_t s = 0; s < next.sites.size(); ++s) {
      if (std::abs(next.shares[l][s] - former->shares[l][s]) > step) return true;
    }
  }
  return false;
}

}  // namespace pharos::controlplane
