// What the writer writes and forgets.
#include "pharos/controlplane/history/history.hh"
#include "pharos/controlplane/score/score.hh"

#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "state.hh"

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr std::int64_t no_blob = 0;  // of what is not kept, or could not be

double rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json members_of(const DecisionRound& round, const PoolFacts& pool) {
  const auto& world = *round.round.world;
  const auto family = world.pools[pool.pool].pool.type;
  json members = json::array();
  for (const auto& facts : pool.members) {
    const auto& fixed = world.endpoints[facts.endpoint];
    const auto& config = world.endpoint(facts.endpoint);
    json addresses = json::array();
    for (const auto& address : config.addresses) {
      const bool wanted = family == dns::Type::aaaa ? !address.is_ipv4()
                          : family == dns::Type::a  ? address.is_ipv4()
                                                    : true;
      if (wanted) addresses.push_back(address.text());
    }
    members.push_back({{"endpoint", config.id},
                       {"site", world.site(fixed.site).id},
                       {"version", config.version},
                       {"addresses", std::move(addresses)},
                       {"weight", rounded(facts.weight)},
                       {"state", facts.state},
                       {"reason", facts.reason},
                       {"health", rounded(facts.factors.health)},
                       {"headroom", rounded(facts.factors.headroom)},
                       {"condition", rounded(facts.factors.condition)},
                       {"preference", rounded(facts.factors.version)},
                       {"risk", rounded(facts.factors.risk)},
                       {"confidence", rounded(facts.factors.confidence)}});
  }
  return members;
}

// Of the members, for one locale: what distance makes of them.
std::string scores_of(const DecisionRound& round, const PoolFacts& pool, std::uint16_t locale) {
  json scores = json::array();
  const auto& world = *round.round.world;
  for (const auto& facts : pool.members) {
    const double rtt_ms = world.rtt(locale, world.endpoints[facts.endpoint].site);
    auto factors = facts.factors;
    factors.proximity = proximity_factor(rtt_ms);
    scores.push_back({std::isfinite(rtt_ms) ? json(rounded(rtt_ms)) : json(),
                      rounded(factors.proximity), rounded(score_of(factors, round.exponents))});
  }
  return dumped(scores);
}

json addresses_of(const CellAnswers& cell, const Range& answer) {
  json one = json::array();
  for (const auto member : answer.of(cell.members)) {
    for (const auto& address : cell.addresses[member]) {
      if (one.size() < cell.addresses_max) one.push_back({member, address.text()});
    }
  }
  return one;
}

std::string body_of(const CellAnswers& cell) {
  json answers = json::array();
  for (const auto& answer : cell.answers) {
    if (cell.holds_addresses()) {
      answers.push_back(addresses_of(cell, answer));
      continue;
    }
    json one = json::array();
    for (const auto& record : answer.of(cell.records))
      one.push_back({record.target, record.priority, record.weight});
    answers.push_back(std::move(one));
  }
  json slots = json::array();
  for (const auto slot : cell.slots) slots.push_back(slot);
  return dumped({{"slots", std::move(slots)},
                 {cell.holds_addresses() ? "answers" : "records", std::move(answers)}});
}

PoolThen parsed(const FormerPool& pool) {
  return {pool.answered_by, pool.panic, json::parse(pool.members, nullptr, false)};
}

std::int64_t ms_of(WallTime time) {
  return time.ns / 1'000'000;
}

}  // namespace

const DatabaseKind history_kind{.application_id = 0x50484849,  // "PHHI"
                                .version = 1,
                                .name = "a history of Pharos",
                                .schema = R"sql(
CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE,
  content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tables_seen (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
  epoch INTEGER NOT NULL, generation INTEGER NOT NULL, changes TEXT NOT NULL, names BLOB NOT NULL,
  catalog INTEGER, locale_map INTEGER);
CREATE TABLE IF NOT EXISTS files (tables INTEGER NOT NULL, path TEXT NOT NULL,
  bytes INTEGER NOT NULL, hash BLOB NOT NULL, blob INTEGER, PRIMARY KEY (tables, path))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rounds (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
  epoch INTEGER NOT NULL, generation INTEGER NOT NULL, tables INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS inputs (round INTEGER NOT NULL, pool TEXT NOT NULL,
  panic INTEGER NOT NULL, answered_by TEXT NOT NULL, members TEXT NOT NULL,
  PRIMARY KEY (round, pool)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE,
  body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
  round INTEGER NOT NULL, pool TEXT NOT NULL, locale TEXT NOT NULL, ttl_s INTEGER NOT NULL,
  content INTEGER NOT NULL, cause TEXT NOT NULL, scores TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS decisions_by_cell ON decisions (pool, locale, at);
CREATE INDEX IF NOT EXISTS decisions_by_time ON decisions (at);
CREATE INDEX IF NOT EXISTS decisions_by_round ON decisions (round);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
  caller TEXT NOT NULL, command TEXT NOT NULL, outcome TEXT NOT NULL, client BLOB NOT NULL);
)sql",
                                .durable = true};

Status History::State::write_all(const std::vector<Offered>& batch) {
  const auto former_tables = tables_id;
  auto outcome = write_transaction(batch);
  if (outcome) {
    owed.reset();
    return outcome;
  }
  static_cast<void>(writing.execute("ROLLBACK"));  // the failure to report is the first one
  former_pools.clear();
  tables_id = former_tables;
  for (const auto& one : batch) {
    if (const auto* tables = std::get_if<OfferedTables>(&one)) owed = *tables;
  }
  const std::lock_guard lock(mutex);
  kept_files = {};  // what comes next is read whole
  return outcome;
}

Status History::State::write_transaction(const std::vector<Offered>& batch) {
  if (auto begun = writing.execute("BEGIN IMMEDIATE"); !begun) return begun;
  const auto failed = [&] { return fail(ErrorCode::unavailable, writing.message(), "history.db"); };
  if (owed && !write(*owed)) return failed();
  for (const auto& one : batch) {
    if (!std::visit([&](const auto& what) { return write(what); }, one)) return failed();
  }
  if (auto committed = writing.execute("COMMIT"); !committed) return committed;
  note_kept_files(batch);
  return {};
}

void History::State::note_kept_files(const std::vector<Offered>& batch) {
  for (const auto& one : batch) {
    const auto* tables = std::get_if<OfferedTables>(&one);
    if (tables == nullptr) continue;
    KeptFiles kept{tables_id, {}};
    for (const auto& [path, file] : tables->files) kept.stamps.emplace(path, file.stamp);
    const std::lock_guard lock(mutex);
    kept_files = std::move(kept);
  }
}

std::int64_t History::State::blob_of(std::string_view content) {
  const auto hash = hash_of_content(content);
  auto known = writing.prepare("SELECT id FROM blobs WHERE hash = ?1");
  known.bind(1, object_bytes(hash));
  if (known.row()) return known.integer(0);
  const auto sealed = sealer.seal(pack(content), "blob");
  auto added = writing.prepare("INSERT INTO blobs (hash, content) VALUES (?1, ?2) RETURNING id");
  added.bind(1, object_bytes(hash)).bind(2, as_bytes(std::string_view(sealed)));
  return added.row() ? added.integer(0) : no_blob;
}

std::int64_t History::State::content_of(const std::string& body) {
  const auto hash = hash_of_content(body);
  auto known = writing.prepare("SELECT id FROM contents WHERE hash = ?1");
  known.bind(1, object_bytes(hash));
  if (known.row()) return known.integer(0);
  auto added = writing.prepare("INSERT INTO contents (hash, body) VALUES (?1, ?2) RETURNING id");
  added.bind(1, object_bytes(hash)).bind(2, body);
  return added.row() ? added.integer(0) : 0;
}

bool History::State::write(const OfferedTables& offered_tables) {
  const auto& tables = *offered_tables.tables;
  const auto& world = *tables.world;
  json policies = json::array();
  for (const auto& pool : world.pools)
    policies.push_back(std::string(config::name_of(world.service(pool.service).policy)));
  const auto names = pack(dumped({{"pools", world.pool_names()},
                                  {"locales", world.locales},
                                  {"policies", std::move(policies)}}));
  const auto image = [&](const SealedImage& of) -> std::optional<std::int64_t> {
    const auto bytes = of.mapping.bytes();
    if (bytes.size() > history_image_bytes_max) return no_blob;
    const auto blob = blob_of(as_text(bytes));
    return blob == no_blob ? std::nullopt : std::optional(blob);
  };
  const auto catalog = image(tables.catalog_image);
  const auto locale_map = image(tables.locale_image);
  if (!catalog || !locale_map) return false;
  auto added = writing.prepare(
      "INSERT INTO tables_seen (at, epoch, generation, changes, names, catalog, locale_map) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id");
  added.bind(1, ms_of(offered_tables.at))
      .bind(2, static_cast<std::int64_t>(offered_tables.version.epoch))
      .bind(3, static_cast<std::int64_t>(offered_tables.version.generation))
      .bind(4, offered_tables.changes)
      .bind(5, as_bytes(std::string_view(names)))
      .bind(6, *catalog)
      .bind(7, *locale_map);
  if (!added.row()) return false;
  tables_id = added.integer(0);
  // Of pools that go on being there it is told what a configuration made of them.
  const auto names_now = world.pool_names();
  const std::set<std::string_view> stay(names_now.begin(), names_now.end());
  std::erase_if(former_pools, [&](const auto& pool) { return !stay.contains(pool.first); });
  return write_files(offered_tables);
}

// A file that did not change has the row of the tables that it was read for.
bool History::State::write_files(const OfferedTables& offered_tables) {
  for (const auto& [path, file] : offered_tables.files) {
    if (file.read) {
      const auto blob = file.read->content ? blob_of(*file.read->content) : no_blob;
      if (file.read->content && blob == no_blob) return false;
      auto added = writing.prepare("INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5)");
      added.bind(1, tables_id)
          .bind(2, path)
          .bind(3, static_cast<std::int64_t>(file.read->bytes))
          .bind(4, object_bytes(file.read->hash))
          .bind(5, blob);
      if (!added.run()) return false;
      continue;
    }
    auto kept = writing.prepare(
        "INSERT INTO files SELECT ?1, path, bytes, hash, blob FROM files WHERE tables = ?2 AND "
        "path = ?3 RETURNING path");
    kept.bind(1, tables_id).bind(2, offered_tables.files_since).bind(3, path);
    if (!kept.row()) return false;
  }
  return true;
}

bool History::State::write(const DecisionRound& decided) {
  const auto& round = decided.round;
  const auto& world = *round.world;
  auto added = writing.prepare(
      "INSERT INTO rounds (at, epoch, generation, tables) VALUES (?1, ?2, ?3, ?4) RETURNING id");
  added.bind(1, ms_of(decided.at))
      .bind(2, static_cast<std::int64_t>(decided.version.epoch))
      .bind(3, static_cast<std::int64_t>(decided.version.generation))
      .bind(4, tables_id);
  if (!added.row()) return false;
  const auto id = added.integer(0);
  std::size_t at = 0;
  for (const auto& pool : decided.pools) {
    auto then = former_pools.find(world.pools[pool.pool].pool.name());
    const PoolMove move{
        then == former_pools.end() ? PoolThen{} : parsed(then->second),
        {world.pools[pool.answered_by].pool.name(), pool.panic, members_of(decided, pool)}};
    if (!write_inputs(decided, pool, move.now, id)) return false;
    for (; at < round.changes.size() && round.changes[at].pool == pool.pool; ++at) {
      if (!write_change(decided, pool, move, round.changes[at], id)) return false;
    }
  }
  const std::lock_guard lock(mutex);
  ++counters.rounds;
  counters.cells += round.cell_count();
  return true;
}

// The facts of a pool's members.
bool History::State::write_inputs(const DecisionRound& decided, const PoolFacts& pool,
                                  const PoolThen& now, std::int64_t id) {
  const auto name = decided.round.world->pools[pool.pool].pool.name();
  auto text = dumped(now.members);
  auto inputs = writing.prepare("INSERT INTO inputs VALUES (?1, ?2, ?3, ?4, ?5)");
  inputs.bind(1, id)
      .bind(2, name)
      .bind(3, static_cast<std::int64_t>(pool.panic))
      .bind(4, now.answered_by)
      .bind(5, text);
  if (!inputs.run()) return false;
  auto& former = former_pools[name];
  former.answered_by = now.answered_by;
  former.panic = now.panic;
  if (!pool.members.empty()) former.members = std::move(text);  // else those known last stay
  return true;
}

// What a cell was told until now, in words about what comes after it. Cells that were told the same by the same round have
// the same words, so that these are found once.
std::string History::State::moved_since(const std::string& pool, const std::string& locale,
                                        const CellThen& after, KnownMoves& known) {
  auto newest = writing.prepare(
      "SELECT round, content, ttl_s FROM decisions WHERE pool = ?1 AND locale = ?2 "
      "ORDER BY at DESC, id DESC LIMIT 1");
  newest.bind(1, pool).bind(2, locale);
  if (!newest.row()) return {};
  const std::array told = {newest.integer(0), newest.integer(1), newest.integer(2)};
  const auto [at, fresh] = known.try_emplace(told);
  if (!fresh) return at->second;
  auto then = writing.prepare(
      "SELECT c.body, i.members FROM contents c, inputs i "
      "WHERE c.id = ?1 AND i.round = ?2 AND i.pool = ?3");
  then.bind(1, told[1]).bind(2, told[0]).bind(3, pool);
  if (then.row()) {
    at->second = clients_moved({told[2], json::parse(then.text(0), nullptr, false),
                                json::parse(then.text(1), nullptr, false)},
                               after);
  }
  return at->second;
}

bool History::State::write_change(const DecisionRound& decided, const PoolFacts& pool,
                                  const PoolMove& move, const CellChange& change, std::int64_t id) {
  const auto& world = *decided.round.world;
  const auto body = body_of(decided.round.answers_of(change));
  const auto content = content_of(body);
  if (content == 0) return false;
  const bool told = !pool.members.empty();
  const auto facts =
      !told ? std::string("a round of many pools at once") : facts_moved(move.former, move.now);
  const CellThen after{change.ttl_s, told ? json::parse(body, nullptr, false) : json(),
                       told ? move.now.members : json()};
  const auto name = world.pools[pool.pool].pool.name();
  KnownMoves known;
  for (const auto locale : decided.round.locales_of(change)) {
    auto cause = facts;
    if (told && !move.former.answered_by.empty()) {
      const auto moved = moved_since(name, world.locales[locale], after, known);
      cause += (cause.empty() || moved.empty() ? "" : "; ") + moved;
    }
    if (cause.empty()) cause = "scores moved";
    auto row = writing.prepare(
        "INSERT INTO decisions (at, round, pool, locale, ttl_s, content, cause, scores) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    row.bind(1, ms_of(decided.at))
        .bind(2, id)
        .bind(3, name)
        .bind(4, world.locales[locale])
        .bind(5, static_cast<std::int64_t>(change.ttl_s))
        .bind(6, content)
        .bind(7, cause)
        .bind(8, scores_of(decided, pool, locale));
    if (!row.run()) return false;
  }
  return true;
}

bool History::State::write(const AuditEntry& entry) {
  const auto client =
      sealer.seal(dumped({{"peer", entry.peer}, {"arguments", entry.arguments}}), "audit");
  auto row = writing.prepare(
      "INSERT INTO audit (at, caller, command, outcome, client) VALUES (?1, ?2, ?3, ?4, ?5)");
  return row.bind(1, ms_of(entry.at))
      .bind(2, entry.caller)
      .bind(3, entry.command)
      .bind(4, entry.outcome)
      .bind(5, as_bytes(std::string_view(client)))
      .run();
}

// Everything before a time, but for what was in force at it.
Status History::State::forget(WallTime before) {
  if (auto begun = writing.execute("BEGIN IMMEDIATE"); !begun) return begun;
  const auto run = [&](const char* sql) {
    auto statement = writing.prepare(sql);
    statement.bind(1, ms_of(before));  // where there is no ?1 this does nothing
    return statement.run();
  };
  const bool done =
      run("DELETE FROM decisions WHERE id IN (SELECT d.id FROM decisions d WHERE d.at < ?1 AND "
          "EXISTS (SELECT 1 FROM decisions n WHERE n.pool = d.pool AND n.locale = d.locale AND "
          "n.id > d.id AND n.at <= ?1))") &&
      run("DELETE FROM audit WHERE at < ?1") &&
      // Who is denied must not push out what was done: of strangers, the newest are enough.
      run(("DELETE FROM audit WHERE caller = '' AND id <= (SELECT id FROM audit WHERE caller = '' "
           "ORDER BY id DESC LIMIT 1 OFFSET " +
           std::to_string(history_denials_max) + ")")
              .c_str()) &&
      run("DELETE FROM tables_seen WHERE at < ?1 AND id < (SELECT max(id) FROM "
          "tables_seen WHERE at <= ?1)") &&
      run("DELETE FROM rounds WHERE id NOT IN (SELECT round FROM decisions)") &&
      run("DELETE FROM inputs WHERE round NOT IN (SELECT id FROM rounds)") &&
      run("DELETE FROM contents WHERE id NOT IN (SELECT content FROM decisions)") &&
      run("DELETE FROM files WHERE tables NOT IN (SELECT id FROM tables_seen)") &&
      run("DELETE FROM blobs WHERE id NOT IN (SELECT blob FROM files UNION SELECT "
          "catalog FROM tables_seen UNION SELECT locale_map FROM tables_seen)");
  if (done)
    return writing.execute("COMMIT; PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)");
  auto why = fail(ErrorCode::unavailable, writing.message(), "history.db");
  static_cast<void>(writing.execute("ROLLBACK"));
  return why;
}

Status History::State::prune_now(WallTime now) {
  constexpr unsigned tries_max = 64;
  auto done = forget({now.ns - config.max_age.ns});
  const auto number = [&](const char* sql) {
    auto row = writing.prepare(sql);
    return row.row() ? row.integer(0) : 0;
  };
  // The older tenth of what is left, again and again; at last everything but what is in force.
  auto cut = number("SELECT min(at) FROM rounds");
  const auto newest = number("SELECT max(at) FROM rounds");
  for (unsigned tries = 0; done && newest != 0 && tries < tries_max; ++tries) {
    const auto bytes = number("PRAGMA page_count") * number("PRAGMA page_size");
    if (static_cast<std::uint64_t>(bytes) <= config.max_size_bytes) break;
    cut = tries + 1 < tries_max ? cut + std::max<std::int64_t>((newest - cut) / 10, 1) : newest;
    done = forget({cut * 1'000'000});
  }
  return done;
}

}  // namespace pharos::controlplane
