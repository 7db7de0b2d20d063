#include "pharos/controlplane/image/content_store.hh"

#include "pharos/base/assert.hh"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

namespace pharos::controlplane {

ContentStore::Id ContentStore::add_answer(ConstBytes bytes) {
  bool is_new = false;
  const Id id = find_or_insert(bytes, false, is_new);
  retain(id);
  return id;
}

ContentStore::Id ContentStore::add_slots(std::span<const Id> answers) {
  bool is_new = false;
  const Id id = find_or_insert(std::as_bytes(answers), true, is_new);
  retain(id);
  if (!is_new) {
    for (const Id answer : answers) release(answer);  // the list that is there has its own uses
  }
  return id;
}

void ContentStore::remove(Id id) {
  unindex(id);
  const Content content = std::exchange(contents_[id], Content{});
  content_bytes_ -= content.size_bytes;
  --count_;
  free_.push_back(id);
  if (content.slotted) {
    for (std::size_t at = 0; at < content.size_bytes; at += sizeof(Id))
      release(load<Id>(content.data + at));
  }
  pool_.give_back(content.data, content.size_bytes);
}

// Takes an entry out, and moves those behind it that would not be found across the gap.
void ContentStore::unindex(Id id) {
  const std::size_t mask = index_.size() - 1;
  std::size_t gap = contents_[id].hash & mask;
  while (index_[gap].id != id) gap = (gap + 1) & mask;
  for (std::size_t at = (gap + 1) & mask; index_[at].id != none; at = (at + 1) & mask) {
    const std::size_t home = index_[at].hash & mask;
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    index_[gap] = index_[at];
    gap = at;
  }
  index_[gap] = {};
}

ContentStore::Id ContentStore::find_or_insert(ConstBytes bytes, bool slotted, bool& is_new) {
  const auto hash =
      static_cast<std::uint32_t>(XXH3_64bits_withSeed(bytes.data(), bytes.size(), slotted ? 1 : 0));
  const std::size_t mask = index_.size() - 1;
  for (std::size_t at = hash & mask; index_[at].id != none; at = (at + 1) & mask) {
    if (index_[at].hash != hash) continue;
    const Content& content = contents_[index_[at].id];
    if (content.slotted == slotted && content.size_bytes == bytes.size() &&
        std::memcmp(content.data, bytes.data(), bytes.size()) == 0) {
      return index_[at].id;
    }
  }
  is_new = true;
  return insert(bytes, hash, slotted);
}

ContentStore::Id ContentStore::insert(ConstBytes bytes, std::uint32_t hash, bool slotted) {
  Id id;
  if (free_.empty()) {
    id = static_cast<Id>(contents_.size());
    contents_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Content& content = contents_[id];
  content.data = pool_.take(bytes.size());
  std::memcpy(content.data, bytes.data(), bytes.size());
  content.size_bytes = static_cast<std::uint32_t>(bytes.size());
  content.hash = hash;
  content.slotted = slotted;
  content_bytes_ += bytes.size();
  if (++count_ * 2 > index_.size()) grow_index();
  const std::size_t mask = index_.size() - 1;
  std::size_t at = hash & mask;
  while (index_[at].id != none) at = (at + 1) & mask;
  index_[at] = {hash, id};
  return id;
}

void ContentStore::grow_index() {
  const auto former = std::exchange(index_, std::vector<Entry>(index_.size() * 2));
  const std::size_t mask = index_.size() - 1;
  for (const Entry& entry : former) {
    if (entry.id == none) continue;
    std::size_t at = entry.hash & mask;
    while (index_[at].id != none) at = (at + 1) & mask;
    index_[at] = entry;
  }
}

}  // namespace pharos::controlplane
