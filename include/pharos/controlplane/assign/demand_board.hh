// How much each (pool, locale) is asked for: answers per second, averaged over a window. Pure: times come in; owned by
// the engine thread.
//
// Weights of samples come in, tick() turns them into rates: an average whose weights fall by half in about 0.7 windows,
// without a bias towards 0 at the beginning. What comes before the first tick is not counted, since nobody knows how
// long it was under way.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/controlplane/pieces.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

class DemandBoard {
 public:
  DemandBoard() = default;
  DemandBoard(std::size_t pools, std::size_t locales, Duration window);

  // Goes on from what another board measured: pools and locales of this one are those of `former` that are named by
  // index (`nothing`: new, and not asked for yet). As many as this board has. Before anything else is called.
  static constexpr std::uint32_t nothing = ~0U;
  void take_over(const DemandBoard& former, std::span<const std::uint32_t> pools,
                 std::span<const std::uint32_t> locales) noexcept;

  // Copies `from` in pieces, into a board that was made empty; true: all is there.
  [[nodiscard]] bool take_piece(const DemandBoard& from, const Over& over);

  // Answers of a pool for a locale; what is out of range is ignored.
  void heard(std::uint32_t pool, std::uint16_t locale, std::uint32_t weight) noexcept;
  // Turns what was heard since the last tick into rates.
  void tick(Instant now) noexcept;
  // Forgets what was heard since the last tick: the data plane was away, and what it kept is late.
  void restart() noexcept;

  // Answers per second. 0 until the second tick.
  [[nodiscard]] double rate(std::uint32_t pool, std::uint16_t locale) const noexcept;
  // Answers since the board was made.
  [[nodiscard]] double total(std::uint32_t pool, std::uint16_t locale) const noexcept;
  [[nodiscard]] bool known() const noexcept { return filled_ > 0; }

 private:
  [[nodiscard]] std::size_t index(std::uint32_t pool, std::uint16_t locale) const noexcept {
    return std::size_t{pool} * locales_ + locale;
  }

  std::size_t locales_ = 0;
  Duration window_{};
  Instant last_;
  bool ticking_ = false;
  double filled_ = 0;           // weight of all ticks so far, up to 1
  std::vector<double> counts_;  // since the last tick
  std::vector<double> averages_;
  std::vector<double> totals_;
};

}  // namespace pharos::controlplane
