#include "pharos/controlplane/engine/engine_copy.hh"

#include <utility>

namespace pharos::controlplane {
namespace {

// Some ten microseconds each.
constexpr std::size_t pools_at_once = 8;
constexpr std::size_t endpoints_at_once = 128;

}  // namespace

// All but what grows with pools, endpoints and cells: that is out of the way meanwhile, where copying does not see it.
void Engine::Copy::begin(Engine& from) {
  auto pools = std::exchange(from.pools_, {});
  auto endpoints = std::exchange(from.endpoints_, {});
  auto demand = std::exchange(from.demand_, {});
  auto quorum = std::exchange(from.quorum_, QuorumBoard{});
  auto bench = std::exchange(from.bench_, {});
  copy_.emplace(from);
  from.pools_ = std::move(pools);
  from.endpoints_ = std::move(endpoints);
  from.demand_ = std::move(demand);
  from.quorum_ = std::move(quorum);
  from.bench_ = std::move(bench);
}

bool Engine::Copy::go_on(Engine& from, const Over& over) {
  if (!copy_) begin(from);
  return append_piece(copy_->endpoints_, from.endpoints_, endpoints_at_once, over) &&
         copy_->quorum_.take_piece(from.quorum_, over) &&
         copy_->demand_.take_piece(from.demand_, over) &&
         append_piece(copy_->pools_, from.pools_, pools_at_once, over);
}

}  // namespace pharos::controlplane
