#include "pharos/controlplane/assign/drain_meter.hh"

#include <algorithm>

namespace pharos::controlplane {
namespace {

double moved_of(const DrainCell& cell, double passed_s, double answers) {
  const double held = cell.rate * cell.ttl_s;  // resolvers with an answer of before
  if (cell.ttl_s == 0) return 1;
  if (held <= 0) return std::min(passed_s / cell.ttl_s, 1.0);
  return std::clamp((answers - cell.total) / held, 0.0, 1.0);
}

}  // namespace

double moved_share(const Drain& drain, Instant now, AnswersUntilNow answers, const void* of) {
  const double passed_s = std::max((now - drain.began).seconds(), 0.0);
  double weight = 0, moved = 0, unweighed = 0;
  for (const auto& cell : drain.cells) {
    const double part = moved_of(cell, passed_s, answers(of, cell.pool, cell.locale));
    weight += cell.share * cell.rate;
    moved += cell.share * cell.rate * part;
    unweighed += part;
  }
  if (drain.cells.empty()) return 1;
  return weight > 0 ? moved / weight : unweighed / static_cast<double>(drain.cells.size());
}

}  // namespace pharos::controlplane
