#include "pharos/controlplane/rank/volatility.hh"

#include <algorithm>

namespace pharos::controlplane {

Volatility::Volatility(Duration floor, Duration ceiling) noexcept
    : floor_(floor), ceiling_(std::max(floor, ceiling)) {}

void Volatility::changed(Instant now) noexcept {
  calm_since_ = now;
  if (now - last_change_ < volatility_step) return;
  last_change_ = now;
  // Levels beyond the one that reaches the floor would only have to be unlearned.
  if (level_ < volatility_level_max && Duration{ceiling_.ns >> level_} > floor_) ++level_;
}

bool Volatility::tick(Instant now) noexcept {
  const auto before = ttl_s(false);
  while (level_ > 0 && now - calm_since_ >= calm()) {
    --level_;
    calm_since_ = calm_since_ + calm();
  }
  return ttl_s(false) != before;
}

Instant Volatility::next_deadline() const noexcept {
  return level_ == 0 ? Instant{std::numeric_limits<std::int64_t>::max()} : calm_since_ + calm();
}

std::uint32_t Volatility::ttl_s(bool in_doubt, unsigned tightness,
                                unsigned restless) const noexcept {
  const Duration ttl =
      in_doubt || tightness > 1
          ? floor_
          : std::max(floor_, Duration{ceiling_.ns >> (level_ + tightness + restless)});
  return static_cast<std::uint32_t>(std::max<std::int64_t>(ttl.ns / 1'000'000'000, 0));
}

}  // namespace pharos::controlplane
