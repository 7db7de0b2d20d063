// Sound images of every kind, small, from the control plane's own builders: what the image target bends.
#pragma once

#include "pharos/shared/image.hh"

#include <string>
#include <vector>

namespace pharos::fuzz {

struct Seed {
  std::string name;
  ImageBuffer image;
};

// Catalog, locale map, base and delta of one small world, in that order, then a hand-made catalog and base. The
// delta follows the first base.
[[nodiscard]] const std::vector<Seed>& seeds();
inline constexpr std::size_t base_seed = 2;

}  // namespace pharos::fuzz
