// How restless the shares of a locale have been: what moved one way and then moved back.
//
// What an assignment moves comes back to it as load, and load bends the scores that it goes by: a site that is relieved looks
// good again, for as long as nobody is there. Each turn makes the next one dearer, for a while. Pure; any thread.
#pragma once

#include "pharos/base/clock.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

// Less than this, of a locale's demand, is no movement.
inline constexpr double turn_step = 0.1;
inline constexpr Duration turn_half_life = seconds(300);

class Unrest {
 public:
  // How often the locale's shares turned round lately; half a turn after a half-life.
  [[nodiscard]] double turns(std::size_t locale, Instant now) const noexcept;

  // The locale's shares are these from now on, by site. Other sites than before: not what moved is remembered, only how often.
  void note(std::size_t locale, std::span<const double> shares, Instant now);

  // The same where locales have other indices: `locales` has the former one by the new one, `nothing` where it is new. Sites
  // are other ones, too.
  [[nodiscard]] Unrest renumbered(std::span<const std::uint32_t> locales,
                                  std::uint32_t nothing) const;
  // The sites are other ones from now on.
  void forget_sites() noexcept;

 private:
  struct Movement {
    double pivot = 0;  // the share from which it moves
    int sign = 0;      // which way it moved last
  };
  struct Row {
    double turns = 0;  // as of `at`
    Instant at;
    std::vector<Movement> sites;
  };
  std::vector<Row> rows_;  // by locale
};

}  // namespace pharos::controlplane
