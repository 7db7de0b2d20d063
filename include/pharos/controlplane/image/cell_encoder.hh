// Encodes the answers of one cell of the ranking into the content store.
//
// Used by RankingBuilder alone, on its thread; pure but for the store.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/controlplane/image/content_store.hh"
#include "pharos/controlplane/image/ranking_builder.hh"

namespace pharos::controlplane {

// One use of the id that stands for `content`; ContentStore::none where there is no answer. Slots that
// repeat are folded. Errors as of RankingBuilder::set, the store being as before.
[[nodiscard]] Result<ContentStore::Id> encode_cell(ContentStore& store, const CellContent& content);

}  // namespace pharos::controlplane
