// Keeps byte strings once each, however many cells of the ranking use them, and frees them when the
// last use ends: answers, and slot tables (lists of answers).
//
// Used by RankingBuilder alone, on its thread. Ids say nothing about order or content, and no image
// depends on them.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/shared/ranking_image.hh"

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace pharos::controlplane {

class ContentStore {
 public:
  using Id = std::uint32_t;
  static constexpr Id none = 0;  // the absence of an answer; may be retained and released

  // The id of these bytes; the caller gets one use of it.
  [[nodiscard]] Id add_answer(ConstBytes bytes);
  // The id of this list of answers. Takes over one use of each of them.
  [[nodiscard]] Id add_slots(std::span<const Id> answers);

  void retain(Id id) noexcept { ++contents_[id].uses; }
  void release(Id id);

  [[nodiscard]] bool is_slotted(Id id) const noexcept { return contents_[id].slotted; }
  [[nodiscard]] ConstBytes bytes(Id id) const noexcept { return contents_[id].bytes; }
  [[nodiscard]] std::span<const Id> slots(Id id) const noexcept {
    const auto& bytes = contents_[id].bytes;
    return {reinterpret_cast<const Id*>(bytes.data()), bytes.size() / sizeof(Id)};
  }
  [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
  [[nodiscard]] std::uint64_t content_bytes() const noexcept { return content_bytes_; }

  // Where a build has put a content: a note that only that build (any number but 0) sees.
  [[nodiscard]] ranking::Ref placed(Id id, std::uint64_t build) const noexcept {
    return contents_[id].placed_by == build ? contents_[id].ref : 0;
  }
  void place(Id id, std::uint64_t build, ranking::Ref ref) noexcept {
    contents_[id].placed_by = build;
    contents_[id].ref = ref;
  }

 private:
  struct Content {
    std::vector<std::byte> bytes;
    std::uint64_t hash = 0;
    std::uint64_t uses = 0;
    std::uint64_t placed_by = 0;
    ranking::Ref ref = 0;
    bool slotted = false;
  };
  [[nodiscard]] Id find(ConstBytes bytes, std::uint64_t hash, bool slotted) const;
  [[nodiscard]] Id insert(ConstBytes bytes, std::uint64_t hash, bool slotted);

  std::vector<Content> contents_ = std::vector<Content>(1);  // [0] is `none`
  std::uint64_t content_bytes_ = 0;                          // of all contents
  std::vector<Id> free_;
  std::unordered_multimap<std::uint64_t, Id> index_;  // by hash of the bytes
};

}  // namespace pharos::controlplane
