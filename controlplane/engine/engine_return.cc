#include "pharos/controlplane/engine/engine.hh"

#include <algorithm>

// Coming back: endpoints that were down and are well again wait for their failback, then take their share step by step.

namespace pharos::controlplane {

void Engine::take_over(EndpointState& endpoint, const EndpointState& former) {
  endpoint.health = former.health;
  endpoint.well = former.well;
  endpoint.met = true;
  endpoint.held = former.held;
  endpoint.held_until = former.held_until;
  endpoint.rising = former.rising;
  endpoint.rising_since = former.rising_since;
  endpoint.admitted = former.admitted;
}

// Held is who was judged ill before and is well now; an operator's `up` beats it.
void Engine::note_wellness(std::uint32_t endpoint, bool well, Instant now) {
  auto& state = endpoints_[endpoint];
  const auto& service = world_->service(world_->endpoints[endpoint].service);
  const bool came_back = (state.judged || state.met) && well && !state.well;
  state.well = well;
  if (!well) {
    state.held = state.rising = false;
    state.admitted = 1;
  }
  if (state.override == config::Override::up) state.held = false;
  if (!came_back || state.override == config::Override::up ||
      service.failback == config::Failback::automatic) {
    return;
  }
  state.held = true;
  state.held_until =
      service.failback == config::Failback::hold ? now + service.failback_hold : never;
  returning_.push_back(endpoint);
  returns_due_ = std::min(returns_due_, state.held_until);
}

void Engine::begin_rise(std::uint32_t endpoint, Instant now) {
  auto& state = endpoints_[endpoint];
  const auto& service = world_->service(world_->endpoints[endpoint].service);
  if (service.slow_start.ns <= 0) return;
  state.rising = true;
  state.rising_since = now;
  state.admitted = 1.0 / slow_start_steps;
  returning_.push_back(endpoint);
  returns_due_ = std::min(returns_due_, return_deadline(endpoint));
}

Instant Engine::return_deadline(std::uint32_t endpoint) const {
  const auto& state = endpoints_[endpoint];
  if (state.held) return state.held_until;
  if (!state.rising) return never;
  const auto& service = world_->service(world_->endpoints[endpoint].service);
  const auto steps = static_cast<std::int64_t>(state.admitted * slow_start_steps + 0.5);
  return state.rising_since + service.slow_start * steps / slow_start_steps;
}

void Engine::tick_returns(Instant now) {
  if (now < returns_due_) return;
  auto waiting = std::exchange(returning_, {});
  std::ranges::sort(waiting);
  const auto repeated = std::ranges::unique(waiting);
  waiting.erase(repeated.begin(), repeated.end());
  for (const auto endpoint : waiting) {
    auto& state = endpoints_[endpoint];
    if (state.held && now >= state.held_until) {
      state.held = false;
      judge(endpoint, now);  // marks it, and lets it rise
    }
    while (state.rising && now >= return_deadline(endpoint)) {
      state.admitted = std::min(state.admitted + 1.0 / slow_start_steps, 1.0);
      state.rising = state.admitted < 1;
      mark_dirty(endpoint);
    }
    if (state.held || state.rising) returning_.push_back(endpoint);
  }
  returns_due_ = never;
  for (const auto endpoint : returning_)
    returns_due_ = std::min(returns_due_, return_deadline(endpoint));
}

}  // namespace pharos::controlplane
