#include "pharos/controlplane/image/cell_encoder.hh"

#include "pharos/controlplane/image/answer_encoder.hh"

#include <algorithm>
#include <bit>

namespace pharos::controlplane {
namespace {

using Id = ContentStore::Id;

[[nodiscard]] Result<Id> encode_slot(ContentStore& store, const CellContent& content,
                                     const std::vector<IpAddress>& slot) {
  std::vector<std::byte> bytes;
  auto status = encode_address_answer(content.type, content.ttl_s, slot, bytes);
  if (!status) return std::unexpected(std::move(status).error());
  return store.add_answer(bytes);
}

[[nodiscard]] Result<Id> encode_slot(ContentStore& store, const CellContent& content,
                                     const std::vector<RankedRecord>& slot) {
  std::vector<std::byte> bytes;
  if (content.targets == nullptr) return fail(ErrorCode::invalid, "records without targets");
  auto status = encode_record_answer(content.type, content.ttl_s, *content.targets, slot, bytes);
  if (!status) return std::unexpected(std::move(status).error());
  return store.add_answer(bytes);
}

template <typename Slot>
[[nodiscard]] Result<Id> encode_slots(ContentStore& store, const CellContent& content,
                                      const std::vector<Slot>& slots) {
  std::vector<Id> answers;
  answers.reserve(slots.size());
  for (const auto& slot : slots) {
    auto answer = encode_slot(store, content, slot);
    if (!answer) {
      for (const Id id : answers) store.release(id);
      return answer;
    }
    answers.push_back(*answer);
  }
  // A list that repeats itself says no more than its half: a client's slot is its hash, cut to the
  // count. Down to one slot, such a cell is answered alike for all clients and has the wider scope.
  while (answers.size() > 1) {
    const auto half = std::span(answers).first(answers.size() / 2);
    if (!std::ranges::equal(half, std::span(answers).last(half.size()))) break;
    for (const Id id : half) store.release(id);
    answers.resize(half.size());
  }
  return answers.size() == 1 ? answers[0] : store.add_slots(answers);
}

template <typename Slot>
[[nodiscard]] Result<Id> encode(ContentStore& store, const CellContent& content,
                                const std::vector<Slot>& slots) {
  const auto empty_count = static_cast<std::size_t>(
      std::ranges::count_if(slots, [](const auto& slot) { return slot.empty(); }));
  if (empty_count == slots.size()) return ContentStore::none;
  if (!std::has_single_bit(slots.size()) || slots.size() > 1U << ranking::slot_count_log2_max) {
    return fail(ErrorCode::invalid,
                std::to_string(slots.size()) + " slots, which is no power of two up to 1024");
  }
  if (empty_count != 0) {
    return fail(ErrorCode::invalid, std::to_string(empty_count) + " of " +
                                        std::to_string(slots.size()) + " slots have no records");
  }
  return encode_slots(store, content, slots);
}

}  // namespace

Result<Id> encode_cell(ContentStore& store, const CellContent& content) {
  if (content.records.empty()) return encode(store, content, content.slots);
  if (!content.slots.empty())
    return fail(ErrorCode::invalid, "an answer has addresses and other records");
  return encode(store, content, content.records);
}

}  // namespace pharos::controlplane
