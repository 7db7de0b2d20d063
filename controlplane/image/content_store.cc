#include "pharos/controlplane/image/content_store.hh"

#include "pharos/base/assert.hh"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

namespace pharos::controlplane {
namespace {

[[nodiscard]] std::uint64_t hash_of(ConstBytes bytes, bool slotted) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), slotted ? 1 : 0);
}

}  // namespace

ContentStore::Id ContentStore::add_answer(ConstBytes bytes) {
  const std::uint64_t hash = hash_of(bytes, false);
  Id id = find(bytes, hash, false);
  if (id == none) id = insert(bytes, hash, false);
  retain(id);
  return id;
}

ContentStore::Id ContentStore::add_slots(std::span<const Id> answers) {
  const auto bytes = std::as_bytes(answers);
  const std::uint64_t hash = hash_of(bytes, true);
  Id id = find(bytes, hash, true);
  if (id == none) {
    id = insert(bytes, hash, true);
  } else {
    for (const Id answer : answers) release(answer);  // the list that is there has its own uses
  }
  retain(id);
  return id;
}

void ContentStore::release(Id id) {
  Content& content = contents_[id];
  if (id == none || --content.uses != 0) return;
  const auto [first, last] = index_.equal_range(content.hash);
  index_.erase(std::find_if(first, last, [id](const auto& entry) { return entry.second == id; }));
  const bool slotted = content.slotted;
  const auto bytes = std::exchange(content, Content{}).bytes;
  content_bytes_ -= bytes.size();
  free_.push_back(id);
  if (!slotted) return;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Id))
    release(load<Id>(bytes.data() + at));
}

ContentStore::Id ContentStore::find(ConstBytes bytes, std::uint64_t hash, bool slotted) const {
  const auto [first, last] = index_.equal_range(hash);
  const auto found = std::find_if(first, last, [&](const auto& entry) {
    const Content& content = contents_[entry.second];
    return content.slotted == slotted && std::ranges::equal(content.bytes, bytes);
  });
  return found == last ? none : found->second;
}

ContentStore::Id ContentStore::insert(ConstBytes bytes, std::uint64_t hash, bool slotted) {
  Id id;
  if (free_.empty()) {
    id = static_cast<Id>(contents_.size());
    contents_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Content& content = contents_[id];
  content.bytes.assign(bytes.begin(), bytes.end());
  content_bytes_ += bytes.size();
  content.hash = hash;
  content.slotted = slotted;
  index_.emplace(hash, id);
  return id;
}

}  // namespace pharos::controlplane
