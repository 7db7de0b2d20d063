#include "pharos/config/model.hh"

namespace pharos::config {

std::string_view name_of(Policy policy) noexcept {
  switch (policy) {
    case Policy::ranked:
      return "ranked";
    case Policy::weighted:
      return "weighted";
    case Policy::failover:
      return "failover";
    case Policy::geo:
      return "geo";
    case Policy::sticky:
      return "sticky";
    case Policy::multivalue:
      return "multivalue";
  }
  return "unknown";
}

std::string_view name_of(FailMode mode) noexcept {
  switch (mode) {
    case FailMode::open:
      return "open";
    case FailMode::closed:
      return "closed";
    case FailMode::to:
      return "to";
  }
  return "unknown";
}

std::string_view name_of(Failback value) noexcept {
  switch (value) {
    case Failback::automatic:
      return "auto";
    case Failback::manual:
      return "manual";
    case Failback::hold:
      return "hold";
  }
  return "unknown";
}

std::string_view name_of(Degrade value) noexcept {
  return value == Degrade::proportional ? "proportional" : "importance";
}

std::string_view name_of(Override value) noexcept {
  switch (value) {
    case Override::automatic:
      return "auto";
    case Override::up:
      return "up";
    case Override::down:
      return "down";
    case Override::drain:
      return "drain";
  }
  return "unknown";
}

std::string_view name_of(IdlePolicy policy) noexcept {
  switch (policy) {
    case IdlePolicy::poll:
      return "poll";
    case IdlePolicy::adaptive:
      return "adaptive";
  }
  return "unknown";
}

std::string_view name_of(HugePages value) noexcept {
  switch (value) {
    case HugePages::automatic:
      return "automatic";
    case HugePages::required:
      return "required";
    case HugePages::never:
      return "never";
  }
  return "unknown";
}

std::string Mistakes::text() const {
  std::string all;
  for (const auto& error : errors) all += error.text() + "\n";
  return all;
}

}  // namespace pharos::config
