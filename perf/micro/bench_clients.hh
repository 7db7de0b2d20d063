// The client map of the benchmarks: every country of ../shared/data/country-cidr, 243 thousand prefixes; where that
// is absent, a random map of the same size and shape. Read once, at the first call.
#pragma once

#include "pharos/controlplane/locale/locale_table.hh"

namespace pharos {

struct ClientMap {
  controlplane::LocaleTable table;
  bool is_real = true;  // not the random one
};

[[nodiscard]] const ClientMap& client_map();

}  // namespace pharos
