#include "pharos/controlplane/assign/name_demand.hh"

#include "pharos/config/service_records.hh"
#include "pharos/wire/name.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <array>

namespace pharos::controlplane {

NameDemand::NameDemand(const config::Config& config, const catalog::View& catalog,
                       const NameDemand& former)
    : catalog_id_(catalog.header().checksum) {
  for (const auto& service : config.services) {
    for (const auto& name : service.names) add(catalog, name, service.id);
    for (const auto& name : service.alias_names) add(catalog, name, service.id);
    for (const auto& at : config::record_names_of(service)) add(catalog, at.name, service.id);
  }
  board_ = DemandBoard(names_.size(), 1, config.controlplane.assign.window);
  std::vector<std::uint32_t> from;
  for (const auto& [name, service] : names_) {
    const auto at = former.places_.find(name);
    from.push_back(at == former.places_.end() ? DemandBoard::nothing : at->second);
  }
  board_.take_over(former.board_, from, std::array<std::uint32_t, 1>{0});
}

void NameDemand::add(const catalog::View& catalog, const std::string& name,
                     const std::string& service) {
  const auto wire = dns::parse_name(name);
  if (!wire) return;  // the loader has seen to it
  dns::FoldedName folded{};
  dns::fold_name(wire->bytes.data(), wire->length, folded);
  const auto* node = catalog.find(folded.bytes.data(), folded.length);
  if (node == nullptr) return;
  const auto place = static_cast<std::uint32_t>(names_.size());
  if (!places_.emplace(name, place).second) return;
  names_.push_back({name, service});
  const auto* begin = reinterpret_cast<const std::byte*>(catalog.node(0));
  const auto ref = (reinterpret_cast<const std::byte*>(node) - begin) / catalog::ref_unit_bytes;
  of_node_.emplace(static_cast<std::uint32_t>(ref), place);
}

void NameDemand::heard(std::uint32_t node, std::uint32_t weight) noexcept {
  if (const auto at = of_node_.find(node); at != of_node_.end())
    board_.heard(at->second, 0, weight);
}

double NameDemand::rate(const std::string& name) const noexcept {
  const auto at = places_.find(name);
  return at == places_.end() ? 0 : board_.rate(at->second, 0);
}

std::vector<NameDemand::Rate> NameDemand::hottest(std::size_t count) const {
  std::vector<Rate> rates;
  for (std::uint32_t i = 0; i < names_.size(); ++i) {
    if (const double rate = board_.rate(i, 0); rate > 0) rates.push_back({&names_[i], rate});
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(count, rates.size()));
  std::ranges::partial_sort(rates, rates.begin() + kept, [](const Rate& a, const Rate& b) {
    return a.answers_per_s != b.answers_per_s ? a.answers_per_s > b.answers_per_s
                                              : a.name->name < b.name->name;
  });
  rates.resize(static_cast<std::size_t>(kept));
  return rates;
}

}  // namespace pharos::controlplane
