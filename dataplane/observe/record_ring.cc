#include "pharos/dataplane/observe/record_ring.hh"

#include "pharos/base/assert.hh"

#include <bit>

namespace pharos::dataplane {

namespace {

constexpr std::uint64_t unit_bytes = 8;
constexpr std::uint64_t header_bytes = 8;  // u32 length, padded so that records are aligned
constexpr std::uint32_t filler_length = 0xffff'ffff;

}  // namespace

RecordRing::RecordRing(std::uint64_t capacity_bytes)
    : capacity_bytes_(capacity_bytes), memory_(std::make_unique<std::byte[]>(capacity_bytes)) {
  REQUIRE(std::has_single_bit(capacity_bytes) && capacity_bytes >= 64);
}

std::byte* RecordRing::reserve(std::uint64_t bytes) noexcept {
  // relaxed: our own
  const auto produced = produced_.load(std::memory_order_relaxed);
  const auto position = produced & (capacity_bytes_ - 1);
  const auto rest_of_turn = capacity_bytes_ - position;
  record_bytes_ = header_bytes + round_up(bytes, unit_bytes);
  filler_bytes_ = record_bytes_ > rest_of_turn ? rest_of_turn : 0;
  const auto has_room = [&] {
    return record_bytes_ <= capacity_bytes_ &&
           produced - consumed_seen_ + filler_bytes_ + record_bytes_ <= capacity_bytes_;
  };
  if (!has_room()) {
    // acquire: pairs with pop(); the consumer's reads of this space come before our writes to it
    consumed_seen_ = consumed_.load(std::memory_order_acquire);
    if (!has_room()) {
      // relaxed: see dropped_
      dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return nullptr;
    }
  }
  length_ = static_cast<std::uint32_t>(bytes);
  return memory_.get() + (filler_bytes_ != 0 ? 0 : position) + header_bytes;
}

void RecordRing::commit(std::uint64_t bytes) noexcept {
  ASSERT(bytes <= length_);
  length_ = static_cast<std::uint32_t>(bytes);
  record_bytes_ = header_bytes + round_up(bytes, unit_bytes);
  // relaxed: our own
  const auto produced = produced_.load(std::memory_order_relaxed);
  const auto position = produced & (capacity_bytes_ - 1);
  if (filler_bytes_ != 0) store(memory_.get() + position, filler_length);
  store(memory_.get() + (filler_bytes_ != 0 ? 0 : position), length_);
  // release: pairs with front(); the record is whole before it can be seen
  produced_.store(produced + filler_bytes_ + record_bytes_, std::memory_order_release);
}

ConstBytes RecordRing::front() noexcept {
  // acquire: pairs with commit()
  const auto produced = produced_.load(std::memory_order_acquire);
  // relaxed: our own
  auto consumed = consumed_.load(std::memory_order_relaxed);
  while (consumed != produced) {
    const auto position = consumed & (capacity_bytes_ - 1);
    const auto length = load<std::uint32_t>(memory_.get() + position);
    if (length != filler_length) return {memory_.get() + position + header_bytes, length};
    consumed += capacity_bytes_ - position;
    // release: pairs with reserve()
    consumed_.store(consumed, std::memory_order_release);
  }
  return {};
}

void RecordRing::pop() noexcept {
  // relaxed: our own
  const auto consumed = consumed_.load(std::memory_order_relaxed);
  const auto length = load<std::uint32_t>(memory_.get() + (consumed & (capacity_bytes_ - 1)));
  // release: pairs with reserve(); our reads come before the producer's next writes there
  consumed_.store(consumed + header_bytes + round_up(std::uint64_t{length}, unit_bytes),
                  std::memory_order_release);
}

}  // namespace pharos::dataplane
