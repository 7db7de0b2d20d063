#include "pharos/controlplane/image/cell_encoder.hh"

#include "pharos/controlplane/image/answer_encoder.hh"

#include <algorithm>
#include <bit>
#include <numeric>

namespace pharos::controlplane {
namespace {

using Id = ContentStore::Id;

[[nodiscard]] Status check(const CellAnswers& answers) {
  if (!std::has_single_bit(answers.slots.size()) ||
      answers.slots.size() > 1U << ranking::slot_count_log2_max) {
    return fail(ErrorCode::invalid, std::to_string(answers.slots.size()) +
                                        " slots, which is no power of two up to 1024");
  }
  const auto empty = std::ranges::count_if(
      answers.slots, [&](std::uint16_t answer) { return answers.answers[answer].count == 0; });
  if (empty != 0) {
    return fail(ErrorCode::invalid, std::to_string(empty) + " of " +
                                        std::to_string(answers.slots.size()) +
                                        " slots have no records");
  }
  return {};
}

}  // namespace

// Into bytes_.
Status CellEncoder::encode_answer(const CellAnswers& answers, Range answer) {
  bytes_.clear();
  if (!answers.holds_addresses()) {
    if (answers.targets.empty()) return fail(ErrorCode::invalid, "records without targets");
    return encode_record_answer(answers.type, answers.ttl_s, answers.targets,
                                answer.of(answers.records), bytes_);
  }
  addresses_.clear();
  for (const auto member : answer.of(answers.members)) {
    for (const auto& address : answers.addresses[member]) {
      if (addresses_.size() < answers.addresses_max) addresses_.push_back(address);
    }
  }
  return encode_address_answer(answers.type, answers.ttl_s, addresses_, bytes_);
}

Result<Id> CellEncoder::encode(ContentStore& store, const CellAnswers& answers) {
  const auto is_empty = [&](std::uint16_t answer) { return answers.answers[answer].count == 0; };
  if (std::ranges::all_of(answers.slots, is_empty)) return ContentStore::none;
  if (auto sound = check(answers); !sound) return std::unexpected(std::move(sound).error());
  answer_ids_.clear();
  Status status;
  for (const auto& answer : answers.answers) {
    // A list may hold answers that no slot gives.
    if (answer.count == 0) {
      answer_ids_.push_back(ContentStore::none);
      continue;
    }
    status = encode_answer(answers, answer);
    if (!status) break;
    answer_ids_.push_back(store.add_answer(bytes_));
  }
  auto id =
      status ? fold(store, answers.slots) : Result<Id>(std::unexpected(std::move(status).error()));
  for (const Id answer : answer_ids_) store.release(answer);
  return id;
}

// A list that repeats itself says no more than its half: a client's slot is its hash, cut to the count. Down to one
// slot, such a cell is answered alike for all clients and has the wider scope.
Result<Id> CellEncoder::fold(ContentStore& store, std::span<const std::uint16_t> slots) {
  slot_ids_.clear();
  for (const auto answer : slots) slot_ids_.push_back(answer_ids_[answer]);
  std::span<const Id> ids(slot_ids_);
  while (ids.size() > 1 && std::ranges::equal(ids.first(ids.size() / 2), ids.last(ids.size() / 2)))
    ids = ids.first(ids.size() / 2);
  for (const Id id : ids) store.retain(id);
  return ids.size() == 1 ? ids[0] : store.add_slots(ids);
}

Result<Id> CellEncoder::encode(ContentStore& store, const CellContent& content) {
  const bool addresses = content.records.empty();
  if (!addresses && !content.slots.empty())
    return fail(ErrorCode::invalid, "an answer has addresses and other records");
  CellAnswers answers;
  answers.type = content.type;
  answers.ttl_s = content.ttl_s;
  answers.addresses = content.slots;
  std::vector<RankedRecord> records;
  std::vector<Range> ranges;
  for (const auto& slot : content.slots) {
    ranges.push_back({static_cast<std::uint32_t>(ranges.size()), slot.empty() ? 0U : 1U});
  }
  for (const auto& slot : content.records) {
    ranges.push_back(
        {static_cast<std::uint32_t>(records.size()), static_cast<std::uint32_t>(slot.size())});
    records.insert(records.end(), slot.begin(), slot.end());
  }
  std::vector<std::uint16_t> slots(ranges.size());
  std::iota(slots.begin(), slots.end(), std::uint16_t{0});
  answers.members = slots;  // of addresses, each slot is a member
  answers.records = records;
  if (content.targets != nullptr) answers.targets = *content.targets;
  answers.answers = ranges;
  answers.slots = slots;
  return encode(store, answers);
}

}  // namespace pharos::controlplane
