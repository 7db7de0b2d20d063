// The queue, the writer's loop, and what is read. Writing is in history_write.cc.
#include "pharos/controlplane/history/history.hh"

#include "pharos/base/turns.hh"

#include <pthread.h>

#include <nlohmann/json.hpp>
#include <sodium.h>

#include <algorithm>

#include "facts.hh"
#include "state.hh"

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds gather_time{200};
constexpr Duration prune_interval = seconds(600);

const char* decision_columns =
    "SELECT d.id, d.at, r.epoch, r.generation, d.pool, d.locale, d.ttl_s, i.panic, i.answered_by, "
    "d.cause, c.body, i.members, d.scores, d.round FROM decisions d "
    "JOIN rounds r ON r.id = d.round JOIN contents c ON c.id = d.content "
    "JOIN inputs i ON i.round = d.round AND i.pool = d.pool ";
enum Column : int { scores_column = 12, round_column = 13 };

// What moved of a pool, and what became of it in a cell.
std::string cause_of(const std::string& of_pool, const std::string& of_cell) {
  if (of_pool.empty() && of_cell.empty()) return "scores moved";
  return of_pool + (of_pool.empty() || of_cell.empty() ? "" : "; ") + of_cell;
}

std::int64_t ms_of(WallTime time) {
  return time.ns / 1'000'000;
}

}  // namespace

PastDecision History::State::decision_of(const Statement& row) {
  PastDecision past;
  past.id = row.integer(0);
  past.at = {row.integer(1) * 1'000'000};
  past.version = {row.unsigned_integer(2), row.unsigned_integer(3)};
  past.pool = row.text(4);
  past.service = past.pool.substr(0, past.pool.rfind('/'));
  past.locale = row.text(5);
  past.ttl_s = static_cast<std::uint32_t>(row.integer(6));
  past.panic = row.integer(7) != 0;
  past.answered_by = row.text(8);
  past.content = json::parse(row.text(10), nullptr, false);
  auto kept = kept_members(row.text(11));
  past.members = std::move(kept.members);
  past.cause = row.text(9);  // of former versions
  if (past.cause.empty())
    past.cause = cause_of(kept.moved, kept.moved == first_ranking ? "" : moved_by(past));
  return past;
}

std::string History::State::moved_by(const PastDecision& past) {
  auto row = reading.prepare(
      "SELECT d.ttl_s, c.body, i.members FROM decisions d JOIN contents c ON c.id = d.content "
      "JOIN inputs i ON i.round = d.round AND i.pool = d.pool WHERE d.pool = ?1 AND d.locale = ?2 "
      "AND d.at <= ?3 AND d.id < ?4 ORDER BY d.at DESC, d.id DESC LIMIT 1");
  row.bind(1, past.pool).bind(2, past.locale).bind(3, ms_of(past.at)).bind(4, past.id);
  if (!row.row()) return {};
  return clients_moved(
      {row.integer(0), json::parse(row.text(1), nullptr, false), kept_members(row.text(2)).members},
      {past.ttl_s, past.content, past.members});
}

std::array<std::uint8_t, 32> hash_of_content(std::string_view content) {
  std::array<std::uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(),
                     reinterpret_cast<const unsigned char*>(content.data()), content.size(),
                     nullptr, 0);
  return hash;
}

void widen(std::optional<HistoryGap>& gap, WallTime at) {
  if (!gap) gap = HistoryGap{at, at};
  gap->from.ns = std::min(gap->from.ns, at.ns);
  gap->until.ns = std::max(gap->until.ns, at.ns);
}

void History::State::add(Offered one, std::size_t cells) {
  {
    const std::lock_guard lock(mutex);
    if (queued_cells + cells > history_queue_cells_max) {
      counters.dropped += cells;
      if (const auto* round = std::get_if<DecisionRound>(&one)) widen(lost, round->at);
      wake.notify_one();
      return;
    }
    queued_cells += cells;
    queue.push_back(std::move(one));
    ++offered;
  }
  wake.notify_one();
}

void History::State::run() {
  work_in_background();
  std::unique_lock lock(mutex);
  for (;;) {
    wake.wait_for(lock, std::chrono::seconds(60),
                  [&] { return stopping || !queue.empty() || lost; });
    if (queue.empty() && stopping) return;
    // Gathers a little, so that a storm of rounds is not a storm of disk flushes.
    if (!stopping) wake.wait_for(lock, gather_time, [&] { return stopping; });
    const auto batch = std::exchange(queue, {});
    const auto cells = std::exchange(queued_cells, 0);
    const auto gap = std::exchange(lost, {});
    lock.unlock();
    const bool writes = !batch.empty() || owed || gap;
    const auto outcome = writes ? write_all(batch, gap) : Status();
    std::optional<Status> pruned;
    for (const auto& one : batch) {
      if (const auto* order = std::get_if<PruneOrder>(&one)) pruned = prune_now(order->now);
    }
    if (monotonic_now() >= next_prune) {
      pruned = prune_now(wall_now());
      next_prune = monotonic_now() + prune_interval;
    }
    lock.lock();
    const auto text_of = [](const Status& status) {
      return status ? std::string() : status.error().text();
    };
    if (writes) failure = text_of(outcome);
    if (pruned) prune_failure = text_of(*pruned);
    if (!outcome) {
      counters.dropped += cells;
      for (const auto& one : batch) {
        if (const auto* round = std::get_if<DecisionRound>(&one)) widen(lost, round->at);
      }
      if (gap) {
        widen(lost, gap->from);
        widen(lost, gap->until);
      }
    }
    finished += batch.size();
    written.notify_all();
  }
}

History::History(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

History::~History() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  if (state_->writer.joinable()) state_->writer.join();
}

Result<std::unique_ptr<History>> History::open(const std::string& directory,
                                               const config::HistoryConfig& config, WallTime now) {
  std::string damage;
  auto database = Database::open_in(directory, "history.db", history_kind, now, damage);
  if (!database) return std::unexpected(std::move(database).error());
  auto reading = Database::open(directory + "/history.db", history_kind);
  if (!reading) return std::unexpected(std::move(reading).error());
  auto sealer = Sealer::open(directory + "/history.key");
  if (!sealer) return std::unexpected(std::move(sealer).error());
  auto state = std::make_unique<State>(std::move(*database), std::move(*reading), *sealer, config);
  if (!damage.empty()) state->opened_alarm = "the history " + damage;
  state->next_prune = monotonic_now() + prune_interval;
  auto* running = state.get();
  state->writer = std::thread([running] { running->run(); });
  ::pthread_setname_np(state->writer.native_handle(), "history");
  return std::unique_ptr<History>(new History(std::move(state)));
}

void History::offer(DecisionRound round) {
  const auto cells = round.round.cell_count();
  if (cells > 0) state_->add(std::move(round), cells);
}

void History::offer_tables(std::shared_ptr<const Tables> tables, Version version,
                           std::string changes) {
  KeptFiles kept;
  {
    const std::lock_guard lock(state_->mutex);
    kept = state_->kept_files;
  }
  auto files = offer_files(*tables->world->config, kept);
  state_->add(OfferedTables{std::move(tables), version, std::move(changes), wall_now(),
                            std::move(files), kept.tables_id},
              1);
}

void History::audit(AuditEntry entry) {
  state_->add(std::move(entry), 1);
}

Status History::sync() {
  std::unique_lock lock(state_->mutex);
  const auto target = state_->offered;
  state_->written.wait(lock, [&] { return state_->finished >= target; });
  if (state_->failure.empty()) return {};
  return fail(ErrorCode::unavailable, state_->failure, "history.db", "look at the disk");
}

HistoryCounters History::counters() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counters;
}

std::string History::alarm() const {
  const std::lock_guard lock(state_->mutex);
  if (!state_->failure.empty()) return "history: " + state_->failure;
  if (!state_->prune_failure.empty()) return "history: cannot forget: " + state_->prune_failure;
  return state_->opened_alarm;
}

void History::prune(WallTime now) {
  state_->add(PruneOrder{now}, 0);
  static_cast<void>(sync());  // a failure is an alarm
}

Result<std::vector<PastDecision>> History::decisions(const DecisionFilter& filter) {
  const std::lock_guard lock(state_->read_mutex);
  // '0' is the character behind '/': all pools of a service.
  const auto sql =
      std::string(decision_columns) +
      "WHERE (?1 = '' OR d.pool = ?1 OR (d.pool > ?1 || '/' AND d.pool < ?1 || '0')) "
      "AND (?2 = '' OR d.locale = ?2) AND d.at >= ?3 AND d.at <= ?4 ORDER BY d.id DESC LIMIT ?5";
  auto rows = state_->reading.prepare(sql.c_str());
  constexpr auto latest = std::numeric_limits<std::int64_t>::max();
  rows.bind(1, filter.service)
      .bind(2, filter.locale)
      .bind(3, filter.since ? ms_of(*filter.since) : std::int64_t{0})
      .bind(4, filter.until ? ms_of(*filter.until) : latest)
      .bind(5, static_cast<std::int64_t>(filter.limit));
  std::vector<PastDecision> all;
  while (rows.row()) all.push_back(state_->decision_of(rows));
  if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
  return all;
}

Result<std::optional<PastDecision>> History::decision(const std::string& pool,
                                                      const std::string& locale, WallTime at) {
  const std::lock_guard lock(state_->read_mutex);
  const auto sql = std::string(decision_columns) +
                   "WHERE d.pool = ?1 AND d.locale = ?2 AND d.at <= ?3 "
                   "ORDER BY d.at DESC, d.id DESC LIMIT 1";
  auto rows = state_->reading.prepare(sql.c_str());
  rows.bind(1, pool).bind(2, locale).bind(3, ms_of(at));
  if (rows.row()) {
    auto past = state_->decision_of(rows);
    // Former versions wrote scores.
    past.scores = json::parse(rows.text(scores_column), nullptr, false);
    if (past.scores.is_array()) return past;
    auto scores = state_->scores_in(rows.integer(round_column), past);
    if (!scores) return std::unexpected(std::move(scores).error());
    past.scores = std::move(*scores);
    return past;
  }
  if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
  return std::nullopt;
}

// By the exponents and the distances of that round; null where these were too large to keep.
Result<json> History::State::scores_in(std::int64_t round, const PastDecision& past) {
  auto row = reading.prepare(
      "SELECT s.exponents, b.content FROM scoring s JOIN blobs b ON b.id = s.distances "
      "WHERE s.round = ?1");
  row.bind(1, round);
  if (!row.row()) return json();
  auto packed = sealer.unseal(as_text(row.blob(1)), "blob");
  if (!packed) return std::unexpected(std::move(packed).error());
  const auto text = unpack(*packed, history_image_bytes_max);
  if (!text) return std::unexpected(text.error());
  return scores_of(past.members, past.locale, *text, row.text(0));
}

Result<std::optional<HistoryGap>> History::gap_between(WallTime from, WallTime until) {
  const std::lock_guard lock(state_->read_mutex);
  auto rows = state_->reading.prepare(
      "SELECT at, until FROM gaps WHERE at <= ?2 AND until >= ?1 ORDER BY at DESC LIMIT 1");
  rows.bind(1, ms_of(from)).bind(2, ms_of(until));
  if (rows.row()) return HistoryGap{{rows.integer(0) * 1'000'000}, {rows.integer(1) * 1'000'000}};
  if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
  return std::nullopt;
}

Result<PastTables> History::tables_at(WallTime at) {
  const std::lock_guard lock(state_->read_mutex);
  auto rows = state_->reading.prepare(
      "SELECT t.id, t.at, t.epoch, t.generation, t.changes, t.names, c.content, l.content "
      "FROM tables_seen t LEFT JOIN blobs c ON c.id = t.catalog LEFT JOIN blobs l ON l.id = "
      "t.locale_map WHERE t.at <= ?1 ORDER BY t.at DESC, t.id DESC LIMIT 1");
  rows.bind(1, ms_of(at));
  if (!rows.row()) {
    if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
    return fail(ErrorCode::not_found, "nothing is known of that time", "at",
                "`pharosctl config history` shows how far the history goes back");
  }
  PastTables past;
  past.id = rows.integer(0);
  past.at = {rows.integer(1) * 1'000'000};
  past.version = {rows.unsigned_integer(2), rows.unsigned_integer(3)};
  past.changes = rows.text(4);
  const auto names_text = unpack(as_text(rows.blob(5)), 256U << 20);
  if (!names_text) return std::unexpected(names_text.error());
  const auto names = json::parse(*names_text, nullptr, false);
  if (!names.is_object()) return fail(ErrorCode::invalid, "its names are damaged", "history.db");
  past.pools = names.value("pools", std::vector<std::string>());
  past.locales = names.value("locales", std::vector<std::string>());
  past.policies = names.value("policies", std::vector<std::string>());
  const auto image = [&](int column, ImageKind kind, SealedImage& to) -> Status {
    if (rows.blob(column).empty())
      return fail(ErrorCode::not_found, "the tables of that time were too large to keep", "at");
    auto packed = state_->sealer.unseal(as_text(rows.blob(column)), "blob");
    if (!packed) return std::unexpected(packed.error());
    auto bytes = unpack(*packed, history_image_bytes_max);
    if (!bytes) return std::unexpected(bytes.error());
    auto sealed = SealedImage::seal(kind, as_bytes(std::string_view(*bytes)));
    if (!sealed) return std::unexpected(std::move(sealed).error());
    to = std::move(*sealed);
    return {};
  };
  if (auto read = image(6, ImageKind::catalog, past.catalog_image); !read)
    return std::unexpected(std::move(read).error());
  if (auto read = image(7, ImageKind::locale_map, past.locale_image); !read)
    return std::unexpected(std::move(read).error());
  auto catalog = catalog::View::prove(past.catalog_image.mapping.bytes());
  if (!catalog) return std::unexpected(std::move(catalog.error()).in("history.db"));
  past.catalog = *catalog;
  auto locales = locale_map::View::prove(past.locale_image.mapping.bytes());
  if (!locales) return std::unexpected(std::move(locales.error()).in("history.db"));
  past.locale_map = *locales;
  return past;
}

Result<std::vector<PastConfiguration>> History::configurations(std::size_t limit) {
  const std::lock_guard lock(state_->read_mutex);
  auto rows = state_->reading.prepare(
      "SELECT id, at, epoch, generation, changes FROM tables_seen ORDER BY id DESC LIMIT ?1");
  rows.bind(1, static_cast<std::int64_t>(limit));
  std::vector<PastConfiguration> all;
  while (rows.row()) {
    all.push_back({rows.integer(0),
                   {rows.integer(1) * 1'000'000},
                   {rows.unsigned_integer(2), rows.unsigned_integer(3)},
                   rows.text(4)});
  }
  if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
  return all;
}

Result<std::vector<PastFile>> History::files_of(std::int64_t configuration) {
  const std::lock_guard lock(state_->read_mutex);
  auto rows = state_->reading.prepare(
      "SELECT f.path, f.bytes, f.hash, b.content FROM files f LEFT JOIN blobs b ON b.id = f.blob "
      "WHERE f.tables = ?1 ORDER BY f.path");
  rows.bind(1, configuration);
  std::vector<PastFile> all;
  while (rows.row()) {
    PastFile file;
    file.path = rows.text(0);
    file.bytes = rows.unsigned_integer(1);
    if (rows.blob(2).size() == file.hash.size())
      std::memcpy(file.hash.data(), rows.blob(2).data(), file.hash.size());
    if (!rows.blob(3).empty()) {
      auto packed = state_->sealer.unseal(as_text(rows.blob(3)), "blob");
      if (!packed) return std::unexpected(packed.error());
      auto content = unpack(*packed, history_file_bytes_max);
      if (!content) return std::unexpected(content.error());
      file.content = std::move(*content);
    }
    all.push_back(std::move(file));
  }
  if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
  if (all.empty())
    return fail(ErrorCode::not_found, "no configuration " + std::to_string(configuration), {},
                "`pharosctl config history` lists those that there are");
  return all;
}

Result<std::vector<AuditEntry>> History::audit_log(std::size_t limit) {
  const std::lock_guard lock(state_->read_mutex);
  auto rows = state_->reading.prepare(
      "SELECT at, caller, command, outcome, client FROM audit ORDER BY id DESC LIMIT ?1");
  rows.bind(1, static_cast<std::int64_t>(limit));
  std::vector<AuditEntry> all;
  while (rows.row()) {
    AuditEntry entry;
    entry.at = {rows.integer(0) * 1'000'000};
    entry.caller = rows.text(1);
    entry.command = rows.text(2);
    entry.outcome = rows.text(3);
    auto client = state_->sealer.unseal(as_text(rows.blob(4)), "audit");
    if (!client) return std::unexpected(client.error());
    const auto fields = json::parse(*client, nullptr, false);
    if (fields.is_object()) {
      entry.peer = fields.value("peer", "");
      entry.arguments = fields.value("arguments", "");
      entry.door = fields.value("door", entry.door);  // former versions knew one
    }
    all.push_back(std::move(entry));
  }
  if (!rows.ok()) return fail(ErrorCode::unavailable, state_->reading.message(), "history.db");
  return all;
}

Status History::backup(const std::string& path) {
  if (auto done = sync(); !done) return done;
  const std::lock_guard lock(state_->read_mutex);
  return state_->reading.copy_to(path);
}

}  // namespace pharos::controlplane
