#include "pharos/controlplane/engine/plan.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace pharos::controlplane {
namespace {

// Clients are dealt in slots: so much more than was asked for may come to a site.
constexpr double slot_slack = 0.005;

using CellName = std::pair<std::string, std::string>;  // pool, locale
using Shares = std::map<std::string, double>;          // by site, or by endpoint

struct CellShares {
  Shares sites, endpoints;
  std::uint32_t ttl_s = 0;
  std::string service;
};

CellShares shares_of(const Engine& engine, std::uint32_t pool, std::uint16_t locale) {
  const auto& world = engine.world();
  const auto& members = world.pools[engine.view_pool(pool).answered_by].members;
  CellShares shares;
  shares.service = world.service(world.pools[pool].service).id;
  shares.ttl_s = engine.ttl_of_cell(pool, locale);
  const auto leads = engine.lead_shares(pool, locale);
  for (std::size_t m = 0; m < leads.size(); ++m) {
    if (leads[m] <= 0) continue;
    shares.sites[world.site(world.endpoints[members[m]].site).id] += leads[m];
    shares.endpoints[world.endpoint(members[m]).id] += leads[m];
  }
  return shares;
}

enum class Which { addresses, all };

// Cells of addresses (other records follow the same ranking), or of all records.
std::map<CellName, CellShares> cells_of(const Engine& engine, Which which) {
  std::map<CellName, CellShares> cells;
  const auto& world = engine.world();
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    if (which == Which::addresses && !world.pools[p].pool.holds_addresses()) continue;
    const auto name = world.pools[p].pool.name();
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world.locales.size()); ++l)
      cells.emplace(CellName{name, world.locales[l]}, shares_of(engine, p, l));
  }
  return cells;
}

double distance(const Shares& a, const Shares& b) {
  double moved = 0;
  for (const auto& [key, share] : a) {
    const auto at = b.find(key);
    moved += std::abs(share - (at == b.end() ? 0 : at->second));
  }
  for (const auto& [key, share] : b) {
    if (!a.contains(key)) moved += share;
  }
  return moved / 2;
}

std::map<std::string, double> loads_of(const Engine& engine) {
  std::map<std::string, double> loads;
  for (std::uint32_t s = 0; s < engine.health().site_count(); ++s) {
    const auto& rps = engine.health().site(s).metrics.requests_rps;
    if (rps) loads.emplace(engine.world().site(s).id, static_cast<double>(*rps));
  }
  return loads;
}

// What each cell carries to each site, by the data plane's counters; nothing where they have counted nothing.
std::map<CellName, Shares> measured_demand_of(const Engine& engine,
                                              const std::map<CellName, CellShares>& cells) {
  const auto& world = engine.world();
  const auto requests = engine.requests_by_cell();
  if (!engine.demand().known() ||
      std::ranges::none_of(requests, [](const double rps) { return rps > 0; })) {
    return {};
  }
  std::map<CellName, Shares> demand;
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    for (std::uint16_t l = 0; l < static_cast<std::uint16_t>(world.locales.size()); ++l) {
      CellName name{world.pools[p].pool.name(), world.locales[l]};
      auto& carried = demand[name];
      for (const auto& [site, share] : cells.at(name).sites)
        carried[site] = requests[p * world.locales.size() + l] * share;
    }
  }
  return demand;
}

// What each cell carries of each site's load; where nobody reports any, its share.
std::map<CellName, Shares> demand_of(const std::map<CellName, CellShares>& cells,
                                     const std::map<std::string, double>& loads) {
  Shares of_site;
  for (const auto& [name, cell] : cells) {
    for (const auto& [site, share] : cell.sites) of_site[site] += share;
  }
  double total = 0;
  for (const auto& [site, load] : loads) total += of_site.contains(site) ? load : 0;
  std::map<CellName, Shares> demand;
  for (const auto& [name, cell] : cells) {
    auto& carried = demand[name];
    for (const auto& [site, share] : cell.sites) {
      const auto load = loads.find(site);
      if (total <= 0)
        carried[site] = share;
      else if (load != loads.end())
        carried[site] = load->second * share / of_site.at(site);
    }
  }
  return demand;
}

double sum_of(const Shares& shares) {
  double sum = 0;
  for (const auto& [key, share] : shares) sum += share;
  return sum;
}

double at_or_zero(const Shares& shares, const std::string& key) {
  const auto at = shares.find(key);
  return at == shares.end() ? 0 : at->second;
}

// What a cell carries goes with its answers: what stays stays, what leaves goes where answers are added.
void move(const CellShares& before, const CellShares& after, const Shares& carried,
          Shares& arrives) {
  double released = 0;
  double gained = 0;
  for (const auto& [site, share] : before.sites) {
    const double stays = std::min(share, at_or_zero(after.sites, site)) / share;
    arrives[site] += at_or_zero(carried, site) * stays;
    released += at_or_zero(carried, site) * (1 - stays);
  }
  for (const auto& [site, share] : after.sites)
    gained += std::max(share - at_or_zero(before.sites, site), 0.0);
  if (gained <= 0) return;
  for (const auto& [site, share] : after.sites)
    arrives[site] += released * std::max(share - at_or_zero(before.sites, site), 0.0) / gained;
}

void add_sites(const Engine& engine, Plan& plan) {
  for (const auto& site : engine.world().config->sites) {
    if (std::ranges::find(plan.sites, site.id, &SitePlan::id) != plan.sites.end()) continue;
    auto& added = plan.sites.emplace_back();
    added.id = site.id;
    added.capacity_rps = site.capacity_rps;
  }
}

}  // namespace

Engine planned(const Engine& engine, std::shared_ptr<const World> world, Instant now) {
  auto next = engine;
  next.replace_world(std::move(world), now);
  static_cast<void>(next.step(now));  // who is answered at all: what there is to assign to
  next.assign_in_place(now);
  static_cast<void>(next.step(now));
  return next;
}

Plan plan_of(const Engine& before, const Engine& after) {
  Plan plan;
  auto former = cells_of(before, Which::all);
  auto demand = measured_demand_of(before, former);
  const auto loads = loads_of(before);
  plan.load_source = !demand.empty() ? LoadSource::demand
                     : std::ranges::any_of(loads, [](const auto& load) { return load.second > 0; })
                         ? LoadSource::sites
                         : LoadSource::none;
  if (plan.load_source != LoadSource::demand) {
    former = cells_of(before, Which::addresses);
    demand = demand_of(former, loads);
  }
  const auto next = cells_of(after, Which::all);
  add_sites(after, plan);
  add_sites(before, plan);
  double total = 0;
  for (const auto& [name, carried] : demand) total += sum_of(carried);
  std::map<std::string, double> of_service;
  const CellShares nothing;
  Shares arrives, leaves;
  for (const auto& [name, cell] : former) {
    const auto at = next.find(name);
    const auto& later = at == next.end() ? nothing : at->second;
    const double carried = sum_of(demand.at(name));
    for (const auto& [site, load] : demand.at(name)) leaves[site] += load;
    move(cell, later, demand.at(name), arrives);
    const double moved = distance(cell.endpoints, later.endpoints);
    of_service[cell.service] += carried;
    plan.moved_by_service[cell.service] += moved * carried;
    plan.moved_share += moved * carried;
    if (moved > 0 && cell.ttl_s >= plan.ttl_exposure_s) {
      plan.ttl_exposure_s = cell.ttl_s;
      plan.exposed_pool = name.first;
    }
  }
  if (total > 0) plan.moved_share /= total;
  for (auto& [service, moved] : plan.moved_by_service) {
    if (of_service[service] > 0) moved /= of_service[service];
  }
  for (auto& site : plan.sites) {
    if (const auto load = loads.find(site.id); load != loads.end()) {
      site.load_before_rps = load->second;
    } else if (plan.load_source == LoadSource::demand) {
      site.load_before_rps = leaves[site.id];
    }
    if (total > 0) {
      site.share_before = leaves[site.id] / total;
      site.share_after = arrives[site.id] / total;
    }
    if (plan.load_source == LoadSource::none) continue;
    // What no answer of ours brought there stays there.
    const double own = std::max(site.load_before_rps.value_or(0) - leaves[site.id], 0.0);
    site.load_after_rps = own + arrives[site.id];
    site.overloaded = site.capacity_rps &&
                      site.load_after_rps > *site.capacity_rps * (1 + slot_slack) &&
                      site.load_after_rps >
                          std::max(site.load_before_rps.value_or(0), leaves[site.id]) * (1 + 1e-9);
  }
  return plan;
}

std::vector<std::string> overloads_of(const Plan& plan) {
  std::vector<std::string> all;
  for (const auto& site : plan.sites) {
    if (!site.overloaded) continue;
    all.push_back(fmt::format("site {} would get {:.0f} requests a second, and bears {:.0f}",
                              site.id, site.load_after_rps, *site.capacity_rps));
  }
  return all;
}

AnswerShares::AnswerShares(const World& world)
    : stride_(static_cast<std::uint32_t>(
          std::min(world.pools.size() * world.locales.size() / share_cells_max + 1,
                   std::max<std::size_t>(world.pools.size(), 1)))),
      leads_(world.config->sites.size(), 0.0) {}

void AnswerShares::look_at(const Engine& engine, std::uint32_t pool, std::uint16_t locale) {
  const auto& source = engine.world().pools[engine.view_pool(pool).answered_by];
  const auto shares = engine.lead_shares(pool, locale);
  for (std::size_t m = 0; m < shares.size(); ++m) leads_[source.sites[m]] += shares[m];
}

bool AnswerShares::go_on(const Engine& engine, const Over& over) {
  const auto& world = engine.world();
  const auto locales = static_cast<std::uint16_t>(world.locales.size());
  for (; next_pool_ < world.pools.size(); next_pool_ += stride_) {
    if (!world.pools[next_pool_].pool.holds_addresses()) continue;
    for (; next_locale_ < locales; ++next_locale_) {
      if (over()) return false;
      look_at(engine, next_pool_, next_locale_);
    }
    next_locale_ = 0;
  }
  return true;
}

std::map<std::string, double> AnswerShares::by_site(const World& world) const {
  double total = 0;
  for (const double lead : leads_) total += lead;
  std::map<std::string, double> shares;
  for (std::uint32_t s = 0; s < leads_.size(); ++s)
    shares.emplace(world.site(s).id, total > 0 ? leads_[s] / total : 0);
  return shares;
}

}  // namespace pharos::controlplane
