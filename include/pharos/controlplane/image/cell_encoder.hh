// Encodes the answers of cells of the ranking into the content store.
//
// Used by RankingBuilder alone, on its thread; pure but for the store. Kept from cell to cell for the room that it
// works in.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/controlplane/image/cell_answers.hh"
#include "pharos/controlplane/image/content_store.hh"
#include "pharos/controlplane/image/ranking_builder.hh"

#include <vector>

namespace pharos::controlplane {

class CellEncoder {
 public:
  // One use of the id that stands for the answers; ContentStore::none where there is no answer. Slots that
  // repeat are folded. Errors as of RankingBuilder::set, the store being as before.
  [[nodiscard]] Result<ContentStore::Id> encode(ContentStore& store, const CellAnswers& answers);
  [[nodiscard]] Result<ContentStore::Id> encode(ContentStore& store, const CellContent& content);

 private:
  [[nodiscard]] Status encode_answer(const CellAnswers& answers, Range answer);
  [[nodiscard]] Result<ContentStore::Id> fold(ContentStore& store,
                                              std::span<const std::uint16_t> slots);

  std::vector<std::byte> bytes_;  // of the answer in hand
  std::vector<IpAddress> addresses_;
  std::vector<ContentStore::Id> answer_ids_;
  std::vector<ContentStore::Id> slot_ids_;
};

}  // namespace pharos::controlplane
