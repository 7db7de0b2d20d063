// Finds what is alike: gives equal things one number, counted up from 0. For one thread; kept and started anew, so that
// it seldom allocates.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace pharos::controlplane {

class Alike {
 public:
  // Forgets all. At most `count_max` things will follow.
  void start(std::size_t count_max) {
    const auto size = std::bit_ceil(count_max * 2 + 1);
    if (entries_.size() < size) entries_.assign(size, {});
    mask_ = std::bit_ceil(count_max * 2 + 1) - 1;
    count_ = 0;
    if (++turn_ == 0) {  // what is left of the same turn, 2^32 before
      entries_.assign(entries_.size(), {});
      turn_ = 1;
    }
  }

  // The number of a thing with this hash: that of the one before for which `is_equal(number)`, else a new one.
  template <typename IsEqual>
  [[nodiscard]] std::uint32_t number_of(std::uint64_t hash, const IsEqual& is_equal) {
    for (auto at = hash & mask_;; at = (at + 1) & mask_) {
      auto& entry = entries_[at];
      if (entry.turn != turn_) {
        entry = {hash, turn_, count_};
        return count_++;
      }
      if (entry.hash == hash && is_equal(entry.number)) return entry.number;
    }
  }

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t turn = 0;  // entries of another turn are free
    std::uint32_t number = 0;
  };
  std::vector<Entry> entries_;
  std::uint64_t mask_ = 0;
  std::uint32_t turn_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace pharos::controlplane
