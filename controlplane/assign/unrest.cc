#include "pharos/controlplane/assign/unrest.hh"

#include <algorithm>
#include <cmath>

namespace pharos::controlplane {

double Unrest::turns(std::size_t locale, Instant now) const noexcept {
  if (locale >= rows_.size() || rows_[locale].turns <= 0) return 0;
  const double lives = (now - rows_[locale].at).seconds() / turn_half_life.seconds();
  return rows_[locale].turns * std::exp2(-std::max(lives, 0.0));
}

void Unrest::note(std::size_t locale, std::span<const double> shares, Instant now) {
  if (rows_.size() <= locale) rows_.resize(locale + 1);
  auto& row = rows_[locale];
  if (row.sites.size() != shares.size()) {
    row.sites.clear();
    for (const double share : shares) row.sites.push_back({share, 0});
    return;
  }
  bool turned = false;
  for (std::size_t s = 0; s < shares.size(); ++s) {
    auto& site = row.sites[s];
    const double moved = shares[s] - site.pivot;
    if (std::abs(moved) < turn_step) continue;
    const int sign = moved > 0 ? 1 : -1;
    turned = turned || site.sign == -sign;
    site = {shares[s], sign};
  }
  if (!turned) return;
  row.turns = turns(locale, now) + 1;
  row.at = now;
}

Unrest Unrest::renumbered(std::span<const std::uint32_t> locales, std::uint32_t nothing) const {
  Unrest made;
  for (const auto former : locales) {
    const bool known = former != nothing && former < rows_.size();
    made.rows_.push_back(known ? rows_[former] : Row{});
  }
  made.forget_sites();
  return made;
}

void Unrest::forget_sites() noexcept {
  for (auto& row : rows_) row.sites.clear();
}

}  // namespace pharos::controlplane
