// What one step of the engine changed: cells that are answered alike now, and what they answer.
//
// Flat lists that changes point into, so that a round of all cells costs a few allocations. Good by itself: it
// keeps the world that it speaks of.
#pragma once

#include "pharos/controlplane/assign/grouping.hh"
#include "pharos/controlplane/engine/world.hh"
#include "pharos/controlplane/image/cell_answers.hh"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace pharos::controlplane {

struct CellChange {
  std::uint32_t pool = 0;
  std::uint32_t answered_by = 0;  // the pool whose members are answered
  std::uint32_t ttl_s = 0;
  Range locales;
  Range answers;
  Range slots;
};

struct Round {
  std::vector<CellChange> changes;          // by pool, then by their first locale
  std::vector<std::uint32_t> site_changes;  // sites whose state is another now

  std::shared_ptr<const AssignTask> assigned;  // within the round, after a loss; null: nothing was

  std::shared_ptr<const World> world;
  std::vector<std::uint16_t> locales;  // ascending in each change
  std::vector<Range> answers;
  std::vector<std::uint16_t> slots;
  std::vector<std::uint16_t> members;
  std::vector<RankedRecord> records;

  [[nodiscard]] std::size_t cell_count() const noexcept { return locales.size(); }
  [[nodiscard]] std::span<const std::uint16_t> locales_of(const CellChange& change) const noexcept {
    return change.locales.of(std::span(locales));
  }
  [[nodiscard]] CellAnswers answers_of(const CellChange& change) const noexcept {
    const auto& source = world->pools[change.answered_by];
    const auto& asked = world->pools[change.pool];
    CellAnswers result;
    result.type = static_cast<std::uint16_t>(asked.pool.type);
    result.ttl_s = change.ttl_s;
    result.answers = change.answers.of(std::span(answers));
    result.slots = change.slots.of(std::span(slots));
    if (asked.pool.holds_addresses()) {
      result.members = members;
      result.addresses = source.addresses;
      result.addresses_max = world->service(asked.service).answers_max;
    } else {
      result.records = records;
      if (source.targets != nullptr) result.targets = *source.targets;
    }
    return result;
  }
};

}  // namespace pharos::controlplane
