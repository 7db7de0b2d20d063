// What the writer writes and forgets.
#include "pharos/controlplane/history/history.hh"

#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <set>

#include "facts.hh"
#include "state.hh"

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr std::int64_t no_blob = 0;  // of what is not kept, or could not be

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
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
  return {pool.answered_by, pool.panic, kept_members(pool.members).members};
}

std::int64_t ms_of(WallTime time) {
  return time.ns / 1'000'000;
}

}  // namespace

const DatabaseKind history_kind{.application_id = 0x50484849,  // "PHHI"
                                .version = 2,
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
CREATE TABLE IF NOT EXISTS scoring (round INTEGER PRIMARY KEY, exponents TEXT NOT NULL,
  distances INTEGER NOT NULL);
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
CREATE TABLE IF NOT EXISTS gaps (at INTEGER NOT NULL, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL,
  caller TEXT NOT NULL, command TEXT NOT NULL, outcome TEXT NOT NULL, client BLOB NOT NULL);
)sql",
                                .durable = true};

Status History::State::write_all(const std::vector<Offered>& batch,
                                 const std::optional<HistoryGap>& gap) {
  const auto former_tables = tables_id;
  auto outcome = write_transaction(batch, gap);
  if (outcome) {
    owed.reset();
    return outcome;
  }
  static_cast<void>(writing.execute("ROLLBACK"));  // the failure to report is the first one
  former_pools.clear();
  scored_world.reset();
  tables_id = former_tables;
  for (const auto& one : batch) {
    if (const auto* tables = std::get_if<OfferedTables>(&one)) owed = *tables;
  }
  const std::lock_guard lock(mutex);
  kept_files = {};  // what comes next is read whole
  return outcome;
}

Status History::State::write_transaction(const std::vector<Offered>& batch,
                                         const std::optional<HistoryGap>& gap) {
  if (auto begun = writing.execute("BEGIN IMMEDIATE"); !begun) return begun;
  const auto failed = [&] { return fail(ErrorCode::unavailable, writing.message(), "history.db"); };
  if (owed && !write(*owed)) return failed();
  if (gap && !write(*gap)) return failed();
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
  if (!write_scoring(decided, id)) return false;
  std::size_t at = 0;
  for (const auto& pool : decided.pools) {
    auto then = former_pools.find(world.pools[pool.pool].pool.name());
    const PoolMove move{
        then == former_pools.end() ? PoolThen{} : parsed(then->second),
        {world.pools[pool.answered_by].pool.name(), pool.panic, members_of(decided, pool)}};
    if (!write_inputs(decided, pool, move, id)) return false;
    for (; at < round.changes.size() && round.changes[at].pool == pool.pool; ++at) {
      if (!write_change(decided, pool, round.changes[at], id)) return false;
    }
  }
  const std::lock_guard lock(mutex);
  ++counters.rounds;
  counters.cells += round.cell_count();
  return true;
}

// What made scores of facts, for all cells of the round.
bool History::State::write_scoring(const DecisionRound& decided, std::int64_t id) {
  if (scored_world != decided.round.world) {
    const auto text = distances_text(*decided.round.world);
    const bool kept = text.size() <= history_image_bytes_max;
    distances = kept ? blob_of(text) : no_blob;
    if (kept && distances == no_blob) return false;
    scored_world = decided.round.world;
  }
  auto row = writing.prepare("INSERT INTO scoring VALUES (?1, ?2, ?3)");
  return row.bind(1, id).bind(2, exponents_text(decided.exponents)).bind(3, distances).run();
}

// The facts of a pool's members.
bool History::State::write_inputs(const DecisionRound& decided, const PoolFacts& pool,
                                  const PoolMove& move, std::int64_t id) {
  const auto name = decided.round.world->pools[pool.pool].pool.name();
  auto text = members_text(move.now.members, facts_moved(move.former, move.now));
  auto inputs = writing.prepare("INSERT INTO inputs VALUES (?1, ?2, ?3, ?4, ?5)");
  inputs.bind(1, id)
      .bind(2, name)
      .bind(3, static_cast<std::int64_t>(pool.panic))
      .bind(4, move.now.answered_by)
      .bind(5, text);
  if (!inputs.run()) return false;
  former_pools[name] = {move.now.answered_by, pool.panic, std::move(text)};
  return true;
}

bool History::State::write_change(const DecisionRound& decided, const PoolFacts& pool,
                                  const CellChange& change, std::int64_t id) {
  const auto& world = *decided.round.world;
  const auto body = body_of(decided.round.answers_of(change));
  const auto content = content_of(body);
  if (content == 0) return false;
  const auto name = world.pools[pool.pool].pool.name();
  for (const auto locale : decided.round.locales_of(change)) {
    // Its cause follows from the decision before it, its scores from `scoring` and `inputs`: found by who asks.
    auto row = writing.prepare(
        "INSERT INTO decisions (at, round, pool, locale, ttl_s, content, cause, scores) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, '', '')");
    row.bind(1, ms_of(decided.at))
        .bind(2, id)
        .bind(3, name)
        .bind(4, world.locales[locale])
        .bind(5, static_cast<std::int64_t>(change.ttl_s))
        .bind(6, content);
    if (!row.run()) return false;
  }
  return true;
}

bool History::State::write(const HistoryGap& gap) {
  auto row = writing.prepare("INSERT INTO gaps VALUES (?1, ?2)");
  return row.bind(1, ms_of(gap.from)).bind(2, ms_of(gap.until)).run();
}

bool History::State::write(const AuditEntry& entry) {
  const auto client = sealer.seal(
      dumped({{"peer", entry.peer}, {"arguments", entry.arguments}, {"door", entry.door}}),
      "audit");
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
      run("DELETE FROM audit WHERE at < ?1") && run("DELETE FROM gaps WHERE until < ?1") &&
      // Who is denied must not push out what was done: of strangers, the newest are enough.
      run(("DELETE FROM audit WHERE caller = '' AND id <= (SELECT id FROM audit WHERE caller = '' "
           "ORDER BY id DESC LIMIT 1 OFFSET " +
           std::to_string(history_denials_max) + ")")
              .c_str()) &&
      run("DELETE FROM tables_seen WHERE at < ?1 AND id < (SELECT max(id) FROM "
          "tables_seen WHERE at <= ?1)") &&
      run("DELETE FROM rounds WHERE id NOT IN (SELECT round FROM decisions)") &&
      run("DELETE FROM scoring WHERE round NOT IN (SELECT id FROM rounds)") &&
      run("DELETE FROM inputs WHERE round NOT IN (SELECT id FROM rounds)") &&
      run("DELETE FROM contents WHERE id NOT IN (SELECT content FROM decisions)") &&
      run("DELETE FROM files WHERE tables NOT IN (SELECT id FROM tables_seen)") &&
      run("DELETE FROM blobs WHERE id NOT IN (SELECT blob FROM files UNION SELECT "
          "catalog FROM tables_seen UNION SELECT locale_map FROM tables_seen UNION SELECT "
          "distances "
          "FROM scoring)");
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
