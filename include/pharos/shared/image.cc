#include "pharos/shared/image.hh"

namespace pharos {

std::string_view name_of(ImageKind kind) noexcept {
  switch (kind) {
    case ImageKind::catalog: return "catalog";
    case ImageKind::locale_map: return "locale map";
    case ImageKind::ranking_base: return "ranking base";
    case ImageKind::ranking_delta: return "ranking delta";
  }
  return "unknown";
}

}  // namespace pharos
