#include "dataplane.hh"

#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>
#include <cstring>

namespace pharos::sim {
namespace {

using controlplane::CellContent;
using table_channel::Outcome;

// As TableStore maps errors of make_root().
Outcome outcome_of(const Error& error) noexcept {
  return error.code == ErrorCode::conflict ? Outcome::out_of_step : Outcome::refused;
}

dataplane::NewImages images_of(const PublishMessage& message) {
  dataplane::NewImages images;
  for (std::size_t i = 0; i < message.kinds.size(); ++i) {
    switch (message.kinds[i]) {
      case ImageKind::catalog:
        images.catalog = message.images[i];
        break;
      case ImageKind::locale_map:
        images.locale_map = message.images[i];
        break;
      case ImageKind::ranking_base:
        images.ranking_base = message.images[i];
        break;
      case ImageKind::ranking_delta:
        images.ranking_delta = message.images[i];
        break;
    }
  }
  return images;
}

// Records of an answer to a question at offset 12: a pointer to it, then type, class, TTL, length.
Reply read_answer(const Answer& answer) {
  constexpr unsigned fixed_bytes = 12;
  Reply reply;
  const auto* at = answer.body();
  for (unsigned i = 0; i < answer.answer_count; ++i) {
    const unsigned length = load<Be16>(at + fixed_bytes - 2);
    reply.ttl_s = load<Be32>(at + 6);
    const auto* data = at + fixed_bytes;
    if (length == 4) {
      reply.addresses.push_back(IpAddress::from_ipv4(load<Be32>(data)));
    } else {
      IpAddress address;
      std::memcpy(address.bytes.data(), data, address.bytes.size());
      reply.addresses.push_back(address);
    }
    at = data + length;
  }
  return reply;
}

const catalog::Node* find_name(const catalog::View& catalog, const std::string& text) {
  const auto name = dns::parse_name(text);
  if (!name) return nullptr;
  std::vector<std::byte> padded(name->view().begin(), name->view().end());
  padded.resize(padded.size() + dns::name_slack_bytes);
  return catalog.find(padded.data(), name->length);
}

bool names_pool(const catalog::Node& node, std::uint32_t pool) {
  return std::ranges::any_of(catalog::slots_of(node), [&](const auto& slot) {
    return slot.kind == catalog::SlotKind::pool && slot.value == pool;
  });
}

// Slots of a cell that are compared, spread over all of them.
constexpr unsigned slots_looked_at = 4;

std::string check_cell(const dataplane::TableRoot& root, const controlplane::World& world,
                       std::uint32_t pool, std::uint16_t locale, const CellContent& wanted) {
  const auto where = world.pools[pool].pool.name() + " for " + world.locales[locale];
  if (wanted.slots.empty()) {
    return reply_of(root, pool, locale, 0) ? where + " is answered although nothing was ranked"
                                           : "";
  }
  for (unsigned look = 0; look < slots_looked_at; ++look) {
    const auto slot = static_cast<std::uint32_t>(wanted.slots.size() * look / slots_looked_at);
    const auto reply = reply_of(root, pool, locale, slot);
    if (!reply) return where + " is not answered";
    if (reply->addresses != wanted.slots[slot]) return where + " is answered otherwise than ranked";
    if (reply->ttl_s != wanted.ttl_s) return where + " has another TTL than was decided";
  }
  return {};
}

}  // namespace

// Addresses by slot; no slots where there is no answer.
Cell read_cell(const controlplane::CellAnswers& answers) {
  Cell cell;
  cell.content = {.type = answers.type, .ttl_s = answers.ttl_s};
  std::vector<std::vector<IpAddress>> told(answers.answers.size());
  for (std::size_t a = 0; a < told.size(); ++a) {
    auto& places = cell.told.emplace_back().places;
    for (const auto member : answers.answers[a].of(answers.members)) {
      for (const auto& address : answers.addresses[member]) {
        if (told[a].size() == answers.addresses_max) break;
        told[a].push_back(address);
        places.push_back(place_of(address));
      }
    }
  }
  bool any = false;
  for (const auto slot : answers.slots) {
    cell.content.slots.push_back(told[slot]);
    cell.told[slot].share += 1.0 / static_cast<double>(answers.slots.size());
    any = any || !told[slot].empty();
  }
  if (!any) {
    cell.content.slots.clear();
    cell.told.clear();
  }
  return cell;
}

std::optional<Reply> reply_of(const dataplane::TableRoot& root, std::uint32_t pool,
                              std::uint16_t locale, std::uint32_t client_hash) {
  const auto* answer = root.ranking.answer(root.ranking.row(pool)[locale], client_hash);
  if (answer == nullptr) return std::nullopt;
  return read_answer(*answer);
}

std::string check_tables(const TableSet& tables) {
  if (!tables.root) return {};
  const auto& root = *tables.root;
  const auto& world = *tables.expected->world;
  if (root.ranking.pool_count() != world.pools.size()) return "the pools are others";
  for (std::uint32_t p = 0; p < world.pools.size(); ++p) {
    const auto& service = world.service(world.pools[p].service);
    for (const auto& name : service.names) {
      const auto* node = find_name(root.catalog, name);
      if (node == nullptr || !names_pool(*node, p)) return name + " is not in the catalog";
    }
    for (std::uint16_t l = 0; l < world.locales.size(); ++l) {
      const auto& wanted = tables.expected->at(p, l).content;
      if (auto wrong = check_cell(root, world, p, l, wanted); !wrong.empty()) return wrong;
    }
  }
  return {};
}

table_channel::Hello DataPlane::hello() const {
  table_channel::Hello hello{};
  hello.header = table_channel::header_for(table_channel::MessageType::hello);
  hello.boot_id = boot_id_;
  if (!tables_.root) return hello;
  const auto& root = *tables_.root;
  hello.in_use = root.version;
  hello.ranking = root.ranking.version();
  hello.ranking_base = root.ranking.base_version();
  hello.pools_id = root.catalog.header().content_id;
  hello.locales_id = root.locales.header().content_id;
  hello.ranking_segments = root.ranking.segment_count();
  return hello;
}

table_channel::Acknowledge DataPlane::publish(const PublishMessage& message, Instant now,
                                              Witness& witness) {
  const auto before = in_use();
  auto outcome = Outcome::adopted;
  std::string reason;
  if (message.version <= before) {
    outcome = Outcome::stale;
    // The comparison is made where the table is used, too.
    if (dataplane::make_root(tables_.root.get(), message.version, images_of(message)))
      witness.violated(now, "promise 1", "an older table would replace a newer one");
  } else {
    auto next = dataplane::make_root(tables_.root.get(), message.version, images_of(message));
    if (next) {
      tables_ = {std::shared_ptr<const dataplane::TableRoot>(std::move(*next)), message.expected};
      ++witness.figures.adoptions;
    } else {
      outcome = outcome_of(next.error());
      reason = next.error().text();
    }
  }
  if (outcome == Outcome::adopted) {
    if (in_use() <= before)
      witness.violated(now, "promise 1", "an older table replaced a newer one");
    if (message.corrupted) witness.violated(now, "promise 5", "a damaged image was adopted");
    if (auto wrong = check_tables(tables_); !wrong.empty()) {
      witness.violated(now, "promises 3 and 4", wrong);
    }
  } else if (in_use() != before) {
    witness.violated(now, "promise 5", "a publish that was not adopted changed something");
  } else if (outcome == Outcome::refused && !message.corrupted) {
    witness.violated(now, "publication", "the data plane refuses what is sound: " + reason);
  }
  auto answer = table_channel::make_acknowledge(outcome, message.version, in_use(), reason);
  answer.adopted_ns = now.ns;
  return answer;
}

}  // namespace pharos::sim
