// Keeps byte strings once each, however many cells of the ranking use them, and frees them when the
// last use ends: answers, and slot tables (lists of answers).
//
// Used by RankingBuilder alone, on its thread. Ids say nothing about order or content, and no image
// depends on them. Adding and releasing allocate only where the store grows beyond its largest size so far.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/controlplane/image/byte_pool.hh"
#include "pharos/shared/ranking_image.hh"

#include <cstdint>
#include <span>
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

  void retain(Id id, std::uint64_t uses = 1) noexcept { contents_[id].uses += uses; }
  void release(Id id) {
    if (id != none && --contents_[id].uses == 0) remove(id);
  }

  [[nodiscard]] bool is_slotted(Id id) const noexcept { return contents_[id].slotted; }
  [[nodiscard]] ConstBytes bytes(Id id) const noexcept {
    return {contents_[id].data, contents_[id].size_bytes};
  }
  [[nodiscard]] std::span<const Id> slots(Id id) const noexcept {
    const auto all = bytes(id);
    return {reinterpret_cast<const Id*>(all.data()), all.size() / sizeof(Id)};
  }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
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
    std::byte* data = nullptr;
    std::uint64_t uses = 0;
    std::uint64_t placed_by = 0;
    std::uint32_t size_bytes = 0;
    ranking::Ref ref = 0;
    std::uint32_t hash = 0;
    bool slotted = false;
  };
  // One in use of the index: the content with this hash. `none`: free.
  struct Entry {
    std::uint32_t hash = 0;
    Id id = none;
  };
  [[nodiscard]] Id find_or_insert(ConstBytes bytes, bool slotted, bool& is_new);
  [[nodiscard]] Id insert(ConstBytes bytes, std::uint32_t hash, bool slotted);
  void remove(Id id);
  void unindex(Id id);
  void grow_index();

  std::vector<Content> contents_ = std::vector<Content>(1);  // [0] is `none`
  std::uint64_t content_bytes_ = 0;                          // of all contents
  std::size_t count_ = 0;
  std::vector<Id> free_;
  // By hash; an entry stands at its place or right behind others that do (linear probing). At most half full.
  std::vector<Entry> index_ = std::vector<Entry>(64);
  BytePool pool_;
};

}  // namespace pharos::controlplane
