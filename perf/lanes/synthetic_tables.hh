// Synthetic tables that lanes measure with: made-up names, services, locales and policies, through the builders that the
// control plane uses. Names are "nXXXXXXXX.bench."; the first of them may be services, whose addresses come from the
// ranking, one pool a name, one order a locale, and the others have static records. Policies take none of the names.
// The same options give the same bytes. One thread.
#pragma once

#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/controlplane/policy/name_policies.hh"
#include "pharos/controlplane/zone/zone_data.hh"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace pharos::perf {

struct SyntheticOptions {
  std::uint32_t names = 10000;
  std::uint32_t services = 0;  // of the names
  unsigned addresses = 1;
  unsigned locales = 1;
  std::string countries;
  std::uint64_t seed = 1;
  bool ipv6 = false;
  unsigned patterns = 0;
  bool sample = false;
};

// The options as a command line has them.
void add_options(CLI::App& app, SyntheticOptions& options);

// Name number i, without its zone.
[[nodiscard]] std::string label_of(std::uint32_t i);

class SyntheticWorld {
 public:
  // Errors: those of reading the country files and of the builders.
  [[nodiscard]] static Result<SyntheticWorld> make(const SyntheticOptions& options);

  [[nodiscard]] Result<ImageBuffer> catalog(Version version) const;
  [[nodiscard]] Result<ImageBuffer> locale_map(Version version) const;
  // A builder with the answers of all pools to all locales.
  [[nodiscard]] Result<controlplane::RankingBuilder> ranking() const;
  // The answer of a pool to a locale; each `turn` puts another address first.
  [[nodiscard]] controlplane::CellContent cell(std::uint32_t pool, unsigned locale,
                                               unsigned turn) const;
  [[nodiscard]] std::uint32_t pool_count() const noexcept {
    return static_cast<std::uint32_t>(pools_.size());
  }
  [[nodiscard]] std::uint32_t locale_count() const noexcept {
    return static_cast<std::uint32_t>(locales_.names.size());
  }

 private:
  SyntheticWorld() = default;
  SyntheticOptions options_;
  std::unique_ptr<controlplane::ZoneData> zone_;
  std::vector<controlplane::Pool> pools_;
  std::vector<controlplane::PoolBinding> bindings_;
  controlplane::LocaleTable locales_;
  std::shared_ptr<const controlplane::NamePolicies> policies_;
  dns::NameHashKey key_;
};

}  // namespace pharos::perf
