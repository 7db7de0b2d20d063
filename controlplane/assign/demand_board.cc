#include "pharos/controlplane/assign/demand_board.hh"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pharos::controlplane {

DemandBoard::DemandBoard(std::size_t pools, std::size_t locales, Duration window)
    : locales_(locales),
      window_(window),
      counts_(pools * locales),
      averages_(pools * locales),
      totals_(pools * locales) {}

void DemandBoard::take_over(const DemandBoard& former, std::span<const std::uint32_t> pools,
                            std::span<const std::uint32_t> locales) noexcept {
  last_ = former.last_;
  ticking_ = former.ticking_;
  filled_ = former.filled_;
  for (std::uint32_t p = 0; p < pools.size(); ++p) {
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(locales.size()); ++l) {
      if (pools[p] == nothing || locales[l] == nothing) continue;
      const auto from = former.index(pools[p], static_cast<std::uint16_t>(locales[l]));
      counts_[index(p, l)] = former.counts_[from];
      averages_[index(p, l)] = former.averages_[from];
      totals_[index(p, l)] = former.totals_[from];
    }
  }
}

bool DemandBoard::take_piece(const DemandBoard& from, const Over& over) {
  constexpr std::size_t cells_at_once = 4096;
  locales_ = from.locales_;
  window_ = from.window_;
  last_ = from.last_;
  ticking_ = from.ticking_;
  filled_ = from.filled_;
  return append_piece(counts_, from.counts_, cells_at_once, over) &&
         append_piece(averages_, from.averages_, cells_at_once, over) &&
         append_piece(totals_, from.totals_, cells_at_once, over);
}

void DemandBoard::heard(std::uint32_t pool, std::uint16_t locale, std::uint32_t weight) noexcept {
  if (locale >= locales_ || index(pool, locale) >= counts_.size()) return;
  counts_[index(pool, locale)] += weight;
  totals_[index(pool, locale)] += weight;
}

void DemandBoard::restart() noexcept {
  ticking_ = false;
  std::ranges::fill(counts_, 0.0);
}

void DemandBoard::tick(Instant now) noexcept {
  const Duration passed = now - last_;
  if (ticking_ && passed.ns <= 0) return;
  last_ = now;
  if (!std::exchange(ticking_, true)) {
    std::ranges::fill(counts_, 0.0);
    return;
  }
  const double s = passed.seconds();
  const double part = 1 - std::exp(-s / std::max(window_.seconds(), 1e-3));
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    averages_[i] += part * (counts_[i] / s - averages_[i]);
    counts_[i] = 0;
  }
  filled_ += part * (1 - filled_);
}

double DemandBoard::rate(std::uint32_t pool, std::uint16_t locale) const noexcept {
  if (locale >= locales_ || index(pool, locale) >= averages_.size() || filled_ <= 0) return 0;
  return averages_[index(pool, locale)] / filled_;
}

double DemandBoard::total(std::uint32_t pool, std::uint16_t locale) const noexcept {
  if (locale >= locales_ || index(pool, locale) >= totals_.size()) return 0;
  return totals_[index(pool, locale)];
}

}  // namespace pharos::controlplane
