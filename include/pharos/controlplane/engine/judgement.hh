// Why endpoints stand as they do: numbers that the engine thread copies in a fraction of a microsecond each, and words for
// them, found by whoever has time. So a round that touches all endpoints is remembered as whole as one that touches one.
// Pure; any thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/engine/world.hh"
#include "pharos/controlplane/health/health_board.hh"
#include "pharos/controlplane/score/score.hh"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace pharos::controlplane {

// What a quorum of probes says of an endpoint.
struct ProbesJudgement {
  static constexpr std::size_t named_max = 8;

  bool judged = false;  // there is a verdict
  bool up = true;       // which it is
  std::uint8_t named = 0;
  std::uint16_t counting = 0, bad = 0;               // votes
  std::array<std::uint32_t, named_max> bad_sites{};  // the first of those that find it down
};

// What its site shares with its other endpoints.
struct SiteJudgement {
  SiteState state = SiteState::unknown;
  bool heard = false;     // ever
  bool leaving = false;   // down because it said so
  bool degraded = false;  // overloaded for too long,
  bool hot = false;       // by CPU, not memory
  bool drains = false;    // for planned work
  unsigned rise_count = 0;
  unsigned tightness = 0;       // 1: above its low watermark, 2: above the high one
  unsigned restless_level = 0;  // in steps of `restless_step`
  unsigned doubt = 0;
  double silent_s = 0;
  double flaps = 0;
  const char* tightest = "";  // what holds its health down; empty: nothing much
  std::string work_id;        // planned, goes on or comes; empty: none
  WallTime work_from, work_to;
};

struct EndpointJudgement {
  std::uint32_t endpoint = 0;
  config::Override override = config::Override::automatic;
  bool override_by_operator = false;
  bool well = true;
  bool agent_up = true;   // as its own agent says
  bool held = false;      // well again, and waits
  bool rising = false;    // comes back step by step
  double held_for_s = 0;  // more; infinite: until the operator says so
  double weight = 1;
  double admitted = 1;  // share of its clients that it takes so far
  Factors factors;      // all but proximity
  ProbesJudgement probes;
};

// "up", "degraded", "down", "draining", "unknown".
[[nodiscard]] std::string_view state_of(const EndpointJudgement& endpoint,
                                        const SiteJudgement& site) noexcept;
// Why, in words; of an endpoint of `world`.
[[nodiscard]] std::string reason_of(const EndpointJudgement& endpoint, const SiteJudgement& site,
                                    const World& world);

}  // namespace pharos::controlplane
