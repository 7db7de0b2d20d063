// A copy of an engine that lives on, made in pieces: for a plan, which has to know how all is ranked now, and must not hold
// up the engine thread for as long as it takes to copy every pool.
//
// Between two pieces the engine may hear, judge and rank: pools of the copy are milliseconds apart, each whole in itself.
// The world has to stay the same; where it does not, begin another copy.
#pragma once

#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/pieces.hh"

#include <optional>
#include <utility>

namespace pharos::controlplane {

class Engine::Copy {
 public:
  // Copies until `over()`, asked for every few rows; true: all is there. On the thread of `from`.
  [[nodiscard]] bool go_on(Engine& from, const Over& over);
  // Once all is there.
  [[nodiscard]] Engine take() { return std::move(*copy_); }

 private:
  void begin(Engine& from);

  std::optional<Engine> copy_;
};

}  // namespace pharos::controlplane
