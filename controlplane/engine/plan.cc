#include "pharos/controlplane/engine/plan.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace pharos::controlplane {
namespace {

using CellName = std::pair<std::string, std::string>;  // pool, locale
using Shares = std::map<std::string, double>;          // by site, or by endpoint

struct CellShares {
  Shares sites, endpoints;
  std::uint32_t ttl_s = 0;
  std::string service;
};

CellShares shares_of(const Engine& engine, std::uint32_t pool, std::uint16_t locale) {
  const auto& world = engine.world();
  const auto& service = world.service(world.pools[pool].service);
  const auto& source = world.service(world.pools[engine.view_pool(pool).answered_by].service);
  CellShares shares;
  shares.service = service.id;
  const unsigned slots = source.policy == config::Policy::weighted ? source.slots : 1;
  for (unsigned slot = 0; slot < slots; ++slot) {
    const auto answered = engine.answered(pool, locale, slot);
    if (answered.empty()) continue;
    const auto first = answered.front();
    shares.sites[world.site(world.endpoints[first].site).id] += 1.0 / slots;
    shares.endpoints[world.endpoint(first).id] += 1.0 / slots;
  }
  return shares;
}

// Cells of addresses: other records follow the same ranking. Of more than `cells_max`, pools at even distances.
std::map<CellName, CellShares> cells_of(
    const Engine& engine, std::size_t cells_max = std::numeric_limits<std::size_t>::max()) {
  std::map<CellName, CellShares> cells;
  const auto& world = engine.world();
  const auto all = world.pools.size() * world.locales.size();
  const auto stride = static_cast<std::uint32_t>(std::min<std::size_t>(
      all / std::max<std::size_t>(cells_max, 1) + 1, std::max<std::size_t>(world.pools.size(), 1)));
  for (std::uint32_t p = 0; p < world.pools.size(); p += stride) {
    if (!world.pools[p].pool.holds_addresses()) continue;
    const auto name = world.pools[p].pool.name();
    const auto ttl_s = engine.view_pool(p).ttl_s;
    for (std::uint16_t l = 0; l < world.locales.size(); ++l) {
      auto shares = shares_of(engine, p, l);
      shares.ttl_s = ttl_s;
      cells.emplace(CellName{name, world.locales[l]}, std::move(shares));
    }
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

Plan plan_of(const Engine& before, const Engine& after) {
  Plan plan;
  const auto former = cells_of(before);
  const auto next = cells_of(after);
  const auto loads = loads_of(before);
  const auto demand = demand_of(former, loads);
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
  for (const auto& [site, load] : loads) plan.load_known = plan.load_known || load > 0;
  for (auto& site : plan.sites) {
    if (const auto load = loads.find(site.id); load != loads.end())
      site.load_before_rps = load->second;
    if (total > 0) {
      site.share_before = leaves[site.id] / total;
      site.share_after = arrives[site.id] / total;
    }
    if (!plan.load_known) continue;
    // What no answer of ours brought there stays there.
    const double own = std::max(site.load_before_rps.value_or(0) - leaves[site.id], 0.0);
    site.load_after_rps = own + arrives[site.id];
    site.overloaded = site.capacity_rps && site.load_after_rps > *site.capacity_rps &&
                      site.load_after_rps > site.load_before_rps.value_or(0) * (1 + 1e-9);
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

std::map<std::string, double> answer_shares(const Engine& engine) {
  const auto cells = cells_of(engine, share_cells_max);
  const auto demand = demand_of(cells, {});  // each cell alike
  double total = 0;
  for (const auto& [name, carried] : demand) total += sum_of(carried);
  std::map<std::string, double> shares;
  for (const auto& site : engine.world().config->sites) shares.emplace(site.id, 0);
  for (const auto& [name, cell] : cells) {
    for (const auto& [site, carried] : demand.at(name)) {
      if (total > 0) shares[site] += carried / total;
    }
  }
  return shares;
}

}  // namespace pharos::controlplane
