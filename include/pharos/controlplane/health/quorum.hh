// What looks from outside say of endpoints: votes of several vantage points, and the verdict of their quorum.
//
//   vote(endpoint, from, up) ---> votes that count: of vantage points that are alive, repeated within `probe_life`
//                                      |
//            fewer than probe_votes_min: the last verdict stays, for probe_life; then there is none
//            bad ones are more than probe_quorum of them: down at once; but the first verdict waits for `rise`, until
//                                                         others have had time to say what they see
//            else: up, at once where it was not down, and after `rise` where it was
//
// A vantage point is a site whose agent probes; it may look at endpoints of any site. Its votes are void once it is down, or its
// agent started anew. A verdict is one of two words on an endpoint: the other is that of the endpoint's own agent, and both
// have to be good. Pure: every time comes in. Owned by the engine thread. Cost: a vote looks at the votes of
// its endpoint.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/health/health_board.hh"
#include "pharos/controlplane/pieces.hh"

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace pharos::controlplane {

struct ProbeVote {
  std::uint32_t from = 0;  // site
  bool up = true;
  std::optional<float> took_us;
  Instant heard;  // last repeated
  Instant since;  // says so since
  bool counts = true;
  std::uint16_t notices_ds = 0;  // EndpointReport
};

struct ProbeVerdict {
  std::vector<ProbeVote> votes;  // in the order of their sites
  std::optional<bool> up;        // absent: nobody looks, or too few ever did
  Instant since;                 // of the verdict
  Instant first;                 // when somebody looked for the first time
  Instant proven;                // enough votes counted for the last time
  Instant rise_at =
      never;  // down, and good again: then it is up; none yet, and bad: then it is down

  [[nodiscard]] unsigned counting() const noexcept;
  [[nodiscard]] unsigned bad() const noexcept;  // of those that count
};

class QuorumBoard {
 public:
  explicit QuorumBoard(config::HealthConfig config = {}) noexcept : config_(config) {}

  // A look's outcome arrived. True where the verdict is another now.
  bool vote(std::uint32_t endpoint, std::uint32_t from, bool up, std::optional<float> took_us,
            Instant now, std::uint16_t notices_ds = 0);
  // The votes of a site count no longer: it fell, or its agent started anew. Endpoints whose verdict is another now are appended.
  void silence(std::uint32_t from, Instant now, std::vector<std::uint32_t>& changed);
  // Lets time pass: votes grow old, good ones have been good for long enough.
  void tick(Instant now, std::vector<std::uint32_t>& changed);
  [[nodiscard]] Instant next_deadline() const noexcept { return due_; }

  // Null where nobody ever looked.
  [[nodiscard]] const ProbeVerdict* find(std::uint32_t endpoint) const noexcept;
  [[nodiscard]] bool down(std::uint32_t endpoint) const noexcept;
  [[nodiscard]] const std::map<std::uint32_t, ProbeVerdict>& verdicts() const noexcept {
    return verdicts_;
  }

  // Copies `from` in pieces, into a board that was made empty; true: all is there.
  [[nodiscard]] bool take_piece(const QuorumBoard& from, const Over& over);

  // After a reload: the same votes under new indices (absent: gone), by new rules.
  [[nodiscard]] QuorumBoard moved(config::HealthConfig config,
                                  const std::vector<std::optional<std::uint32_t>>& endpoints,
                                  const std::vector<std::optional<std::uint32_t>>& sites,
                                  Instant now) const;

 private:
  bool judge(ProbeVerdict& verdict, Instant now);
  [[nodiscard]] Instant deadline_of(const ProbeVerdict& verdict) const noexcept;

  config::HealthConfig config_;
  std::map<std::uint32_t, ProbeVerdict> verdicts_;  // by endpoint
  Instant due_ = never;                             // no verdict changes by itself before
};

}  // namespace pharos::controlplane
