// Builds the locale map image (shared/locale_image.hh) from prefixes.
//
// Called by the engine thread; pure. The same table gives the same bytes.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/controlplane/locale/locale_table.hh"
#include "pharos/shared/image.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

// The content_id of a locale map with these locales in this order: what RankingBuilder takes too.
[[nodiscard]] std::uint64_t locales_id_of(std::span<const std::string> names);

// The whole image, checksum included. Prefixes in any order; of equal prefixes the last one counts.
// Errors: invalid (no locales, a name of 0 or more than 255 bytes, a locale index that has no name,
// host bits set), exhausted (more locales or nodes than the format holds).
[[nodiscard]] Result<ImageBuffer> build_locale_image(const LocaleTable& table, Version version);

}  // namespace pharos::controlplane
