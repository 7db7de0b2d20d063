// Room for many short byte strings that come and go: pieces of large blocks, reused by size.
//
// For one thread. Pieces are multiples of 16 bytes and aligned to that; room that was given back serves the next
// string of its size, and goes back to the system with the pool. Moving a pool moves no piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

namespace pharos::controlplane {

class BytePool {
 public:
  [[nodiscard]] std::byte* take(std::size_t size_bytes) {
    const auto units = units_of(size_bytes);
    if (units < free_.size() && !free_[units].empty()) {
      std::byte* const piece = free_[units].back();
      free_[units].pop_back();
      return piece;
    }
    if (left_ < units) {
      left_ = std::max(units, block_units);
      blocks_.push_back(std::make_unique_for_overwrite<Unit[]>(left_));
      next_ = blocks_.back().get();
    }
    std::byte* const piece = next_->bytes;
    next_ += units;
    left_ -= units;
    return piece;
  }

  void give_back(std::byte* piece, std::size_t size_bytes) {
    const auto units = units_of(size_bytes);
    if (units >= free_.size()) free_.resize(units + 1);
    free_[units].push_back(piece);
  }

 private:
  struct alignas(16) Unit {
    std::byte bytes[16];
  };
  static constexpr std::size_t block_units = 16'384;  // 256 KiB
  [[nodiscard]] static std::size_t units_of(std::size_t size_bytes) noexcept {
    return std::max<std::size_t>(1, (size_bytes + sizeof(Unit) - 1) / sizeof(Unit));
  }

  std::vector<std::unique_ptr<Unit[]>> blocks_;
  Unit* next_ = nullptr;                       // in the last block
  std::size_t left_ = 0;                       // units from there
  std::vector<std::vector<std::byte*>> free_;  // by units
};

}  // namespace pharos::controlplane
