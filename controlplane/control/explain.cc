#include "pharos/config/service_records.hh"
#include "pharos/shared/client_hash.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <cctype>

#include "handlers.hh"
#include "question.hh"

// Why a client gets the answers that it gets: from the same tables and the same state that the
// answers come from.

namespace pharos::controlplane {
namespace {

Result<Question> question_of(const Json& arguments) {
  Question question;
  auto name = text_argument(arguments, "name");
  if (!name) return std::unexpected(name.error());
  question.name = name->ends_with('.') ? *name : *name + ".";
  const auto client = text_argument(arguments, "client");
  if (!client) return std::unexpected(client.error());
  auto prefix = IpPrefix::parse(*client);
  if (!prefix) return std::unexpected(std::move(prefix).error().in("client"));
  question.client = prefix->address;
  std::string type = optional_text(arguments, "type");
  if (type.empty()) return question;
  std::ranges::transform(type, type.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const auto ranked :
       {dns::Type::a, dns::Type::aaaa, dns::Type::srv, dns::Type::svcb, dns::Type::https}) {
    if (type != dns::type_text(static_cast<std::uint16_t>(ranked))) continue;
    question.type = ranked;
    return question;
  }
  return fail(ErrorCode::invalid, "'" + type + "' is not answered from the ranking", "type",
              "A, AAAA, SRV, SVCB or HTTPS");
}

// The node that answers a name: its own, or the wildcard below its closest encloser (RFC 4592).
const catalog::Node* node_of(const catalog::View& catalog, const dns::WireName& name) {
  dns::FoldedName folded{};
  dns::fold_name(name.bytes.data(), name.length, folded);
  if (const auto* node = catalog.find(folded.bytes.data(), folded.length)) return node;
  ConstBytes suffix(folded.bytes.data(), folded.length);
  while (suffix.size() > 1) {
    suffix = dns::parent_of(suffix);
    const auto* node = catalog.find(suffix.data(), static_cast<unsigned>(suffix.size()));
    if (node != nullptr)
      return node->wildcard_child == 0 ? nullptr : catalog.node(node->wildcard_child);
  }
  return nullptr;
}

// Records that name endpoints, in the order in which clients try them.
Json records_of(const EngineSide& side, std::uint32_t pool, std::uint16_t locale, unsigned slot) {
  const auto& world = side.engine.world();
  const auto content = side.engine.content(pool, locale);
  const auto& source = world.pools[side.engine.view_pool(pool).answered_by];
  Json answers = Json::array();
  if (content.records.empty()) return answers;
  for (const auto& record : content.records[slot % content.records.size()]) {
    const auto& endpoint = world.endpoint(source.members[record.target]);
    answers.push_back({{"address", endpoint.addresses.front().text()},
                       {"endpoint", endpoint.id},
                       {"ttl_s", content.ttl_s},
                       {"rank", answers.size() + 1},
                       {"priority", record.priority},
                       {"weight", record.weight},
                       {"port", endpoint.port},
                       {"target", config::target_of(world.service(source.service), endpoint)}});
  }
  return answers;
}

Json answers_of(const EngineSide& side, std::uint32_t pool, std::uint16_t locale, unsigned slot,
                std::uint32_t ttl_s) {
  const auto& world = side.engine.world();
  if (!world.pools[pool].pool.holds_addresses()) return records_of(side, pool, locale, slot);
  const auto family = world.pools[pool].pool.type == dns::Type::aaaa ? Family::ipv6 : Family::ipv4;
  const auto content = side.engine.content(pool, locale);
  std::size_t left = content.slots.empty() ? 0 : content.slots[slot % content.slots.size()].size();
  Json answers = Json::array();
  for (const auto e : side.engine.answered(pool, locale, slot)) {
    for (const auto& address : world.endpoint(e).addresses) {
      if (address.family() != family || left == 0) continue;
      --left;
      answers.push_back({{"address", address.text()},
                         {"endpoint", world.endpoint(e).id},
                         {"ttl_s", ttl_s},
                         {"rank", answers.size() + 1}});
    }
  }
  return answers;
}

Json factor_row(const EngineSide& side, std::uint32_t pool, std::size_t member,
                std::uint16_t locale, double share) {
  const auto& world = side.engine.world();
  const auto e = world.pools[pool].members[member];
  const auto view = side.engine.view(e, locale, side.now);
  const auto site = world.endpoints[e].site;
  Json row = {{"endpoint", world.endpoint(e).id},
              {"site", world.site(site).id},
              {"group", world.endpoint(e).group},
              {"version", world.endpoint(e).version},
              {"address", world.pools[pool].addresses[member].front().text()},
              {"score", view.score},
              {"proximity", view.factors.proximity},
              {"health", view.factors.health},
              {"headroom", view.factors.headroom},
              {"condition", view.factors.condition},
              {"preference", view.factors.version},
              {"risk", view.factors.risk},
              {"confidence", view.factors.confidence},
              {"weight", view.weight},
              {"share", share},
              {"admitted", view.admitted},
              {"state", view.state},
              {"reason", view.reason},
              {"rtt_ms", world.rtt(locale, site)}};
  if (const auto* verdict = side.engine.quorum().find(e))
    row["probes"] = {{"looking", verdict->counting()}, {"bad", verdict->bad()}};
  return row;
}

Json groups_of(const Engine& engine, std::uint32_t pool) {
  Json groups = Json::array();
  for (const auto& group : engine.view_groups(pool)) {
    groups.push_back({{"group", group.id},
                      {"in", group.in},
                      {"policy", config::name_of(group.policy)},
                      {"weight", group.weight},
                      {"priority", group.priority},
                      {"healthy", group.healthy},
                      {"total", group.total},
                      {"takes_part", group.takes_part},
                      {"panic", group.panic}});
  }
  return groups;
}

// As the order of the answers; those that are not answered behind them, best score first.
Json factors_of(const EngineSide& side, std::uint32_t pool, std::uint16_t locale, unsigned slot) {
  const auto& members = side.engine.world().pools[pool].members;
  const auto answered = side.engine.answered(pool, locale, slot);
  const auto shares = side.engine.lead_shares(pool, locale);
  std::vector<std::pair<std::size_t, Json>> rows;
  for (std::size_t m = 0; m < members.size(); ++m) {
    const auto rank = std::ranges::find(answered, members[m]) - answered.begin();
    rows.emplace_back(static_cast<std::size_t>(rank), factor_row(side, pool, m, locale, shares[m]));
  }
  std::ranges::stable_sort(rows, [](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    return a.second["score"].template get<double>() > b.second["score"].template get<double>();
  });
  Json factors = Json::array();
  for (auto& [rank, row] : rows) factors.push_back(std::move(row));
  return factors;
}

Result<Json> explain(const EngineSide& side, const Question& question) {
  const auto& tables = side.publication.tables();
  const auto& engine = side.engine;
  const auto& world = engine.world();
  const auto pool = pool_of(tables.catalog, question);
  if (!pool) return std::unexpected(pool.error());
  const auto locale = tables.locales.find(question.client);
  const auto content = engine.content(*pool, locale.index);
  const auto view = engine.view_pool(*pool);
  const auto& service = world.service(world.pools[*pool].service);
  const auto& source = world.service(world.pools[view.answered_by].service);

  const auto slot_count = std::max(content.slots.size(), content.records.size());
  const bool slotted = slot_count > 1;
  const auto slot =
      slotted ? ranking::client_hash(question.client, tables.catalog.summary().client_key) %
                    static_cast<std::uint32_t>(slot_count)
              : 0U;
  const unsigned slot_scope =
      question.client.is_ipv4() ? ranking::slot_prefix_ipv4_bits : ranking::slot_prefix_ipv6_bits;
  Json result = {{"name", question.name},
                 {"type", dns::type_text(static_cast<std::uint16_t>(question.type))},
                 {"client", question.client.text()},
                 {"locale", world.locales[locale.index]},
                 {"scope", slotted ? std::max<unsigned>(locale.scope_length, slot_scope)
                                   : locale.scope_length},
                 {"service", service.id},
                 {"pool", world.pools[*pool].pool.name()},
                 {"answered_by", world.pools[view.answered_by].pool.name()},
                 {"policy", config::name_of(source.policy)},
                 {"version", json_of(side.publication.last())},
                 {"ttl_s", content.ttl_s},
                 {"panic", view.panic},
                 {"answers_per_s", engine.demand().rate(*pool, locale.index)},
                 {"answers", answers_of(side, *pool, locale.index, slot, content.ttl_s)},
                 {"factors", factors_of(side, view.answered_by, locale.index, slot)}};
  if (auto groups = groups_of(engine, view.answered_by); !groups.empty())
    result["groups"] = std::move(groups);
  if (slotted) result["slot"] = slot;
  return result;
}

}  // namespace

Result<std::uint32_t> pool_of(const catalog::View& catalog, const Question& question) {
  auto name = dns::parse_name(question.name);
  if (!name) return std::unexpected(std::move(name).error().in("name"));
  const auto* node = node_of(catalog, *name);
  if (node == nullptr)
    return fail(ErrorCode::not_found, "no name " + question.name + " is served here");
  for (const auto& slot : catalog::slots_of(*node)) {
    if (slot.type == static_cast<std::uint16_t>(question.type) &&
        slot.kind == catalog::SlotKind::pool) {
      return slot.value;
    }
  }
  return fail(ErrorCode::not_found,
              question.name + " has no " +
                  dns::type_text(static_cast<std::uint16_t>(question.type)) +
                  " answers from a service",
              {}, "static records are shown by `pharosctl zone show`");
}

void add_explain_command(control::Server& server, Daemon& daemon) {
  server.add({"explain", control::Access::read, "why a client gets the answers that it gets",
              [&daemon](const Json& arguments) -> Result<Json> {
                const auto question = question_of(arguments);
                if (!question) return std::unexpected(question.error());
                if (const auto at = optional_text(arguments, "at"); !at.empty())
                  return explain_at(daemon, *question, at);
                return daemon.loop().ask(
                    [&](EngineSide& side) { return explain(side, *question); });
              },
              control::Pace::lengthy});
}

}  // namespace pharos::controlplane
