#include "pharos/controlplane/store/store.hh"

#include "pharos/controlplane/score/score.hh"
#include "pharos/controlplane/store/database.hh"

#include <array>
#include <bit>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <span>
#include <thread>

namespace pharos::controlplane {

const DatabaseKind store_kind{.application_id = 0x50484152,  // "PHAR"
                              .version = 1,
                              .name = "the control plane's database",
                              .schema = R"sql(
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS overrides (service TEXT, endpoint TEXT, state TEXT NOT NULL,
  PRIMARY KEY (service, endpoint)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS weights (service TEXT, endpoint TEXT, weight REAL NOT NULL,
  PRIMARY KEY (service, endpoint)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exponents (factor TEXT PRIMARY KEY, exponent REAL NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS freshness (site TEXT PRIMARY KEY, boot_epoch INTEGER NOT NULL,
  sequence INTEGER NOT NULL, fingerprints BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS maintenance (id TEXT, site TEXT, begins_ns INTEGER NOT NULL,
  ends_ns INTEGER NOT NULL, PRIMARY KEY (id, site)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS down_sites (site TEXT PRIMARY KEY) WITHOUT ROWID;
)sql"};

namespace {

using Write = std::function<bool(Database&)>;
// More queued writes than this (a disk that hangs) and new ones are dropped, with an alarm.
constexpr std::size_t queue_writes_max = 100'000;

std::int64_t as_stored(std::uint64_t value) noexcept {
  return std::bit_cast<std::int64_t>(value);
}

std::optional<config::Override> parse_override(const std::string& text) {
  for (const auto value : {config::Override::automatic, config::Override::up,
                           config::Override::down, config::Override::drain}) {
    if (config::name_of(value) == text) return value;
  }
  return std::nullopt;
}

void read_meta(Database& database, Remembered& into) {
  auto rows = database.prepare("SELECT name, value FROM meta");
  while (rows.row()) {
    const auto name = rows.text(0);
    if (name == "epoch") into.version.epoch = rows.unsigned_integer(1);
    if (name == "generation") into.version.generation = rows.unsigned_integer(1);
    if (name == "name_count") into.name_count = rows.unsigned_integer(1);
    if (name == "hash_key" && rows.blob(1).size() == sizeof(dns::NameHashKey)) {
      into.hash_key = load<dns::NameHashKey>(rows.blob(1).data());
    }
    if (name == "client_key" && rows.blob(1).size() == sizeof(ranking::ClientHashKey)) {
      into.client_key = load<ranking::ClientHashKey>(rows.blob(1).data());
    }
  }
}

void read_freshness(Database& database, Remembered& into) {
  auto rows = database.prepare("SELECT site, boot_epoch, sequence, fingerprints FROM freshness");
  while (rows.row()) {
    SiteFreshness site;
    site.site_id = rows.text(0);
    site.boot_epoch = rows.unsigned_integer(1);
    site.sequence = rows.unsigned_integer(2);
    const auto blob = rows.blob(3);
    for (std::size_t at = 0; at + 8 <= blob.size(); at += 8) {
      site.key_fingerprints.push_back(load<std::uint64_t>(blob.data() + at));
    }
    into.freshness.push_back(std::move(site));
  }
}

void read_decisions(Database& database, Remembered& into) {
  auto overrides = database.prepare("SELECT service, endpoint, state FROM overrides");
  while (overrides.row()) {
    if (const auto value = parse_override(overrides.text(2))) {
      into.overrides[{overrides.text(0), overrides.text(1)}] = *value;
    }
  }
  auto weights = database.prepare("SELECT service, endpoint, weight FROM weights");
  while (weights.row()) into.weights[{weights.text(0), weights.text(1)}] = weights.real(2);
  auto works =
      database.prepare("SELECT id, site, begins_ns, ends_ns FROM maintenance ORDER BY id, site");
  while (works.row()) {
    if (into.maintenance.empty() || into.maintenance.back().id != works.text(0)) {
      auto& work = into.maintenance.emplace_back();
      work.id = works.text(0);
      work.from = {works.integer(2)};
      work.to = {works.integer(3)};
    }
    into.maintenance.back().sites.push_back(works.text(1));
  }
  auto exponents = database.prepare("SELECT factor, exponent FROM exponents");
  while (exponents.row()) {
    if (!into.exponents) into.exponents.emplace();
    for (const auto& [name, member] : exponents_by_name) {
      if (exponents.text(0) == name) (*into.exponents).*member = exponents.real(1);
    }
  }
}

Remembered read_all(Database& database) {
  Remembered all;
  read_meta(database, all);
  read_decisions(database, all);
  read_freshness(database, all);
  auto down = database.prepare("SELECT site FROM down_sites");
  while (down.row()) all.down_sites.insert(down.text(0));
  all.lost = all.version == Version{};
  return all;
}

bool save_meta(Database& database, const char* name, std::int64_t value) {
  return database.prepare("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")
      .bind(1, std::string_view(name))
      .bind(2, value)
      .run();
}

}  // namespace

struct Store::State {
  State(Database opened, std::string file) : path(std::move(file)), database(std::move(opened)) {}

  const std::string path;
  Database database;  // used by the writer alone once it runs
  Remembered remembered;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable wake, written;
  std::vector<Write> queue;
  std::uint64_t queued = 0, done = 0;
  std::string failure;
  bool stopping = false;
  std::thread writer;

  void add(Write write) {
    {
      const std::lock_guard lock(mutex);
      if (queue.size() >= queue_writes_max) {
        failure = "the disk does not keep up: writes are dropped";
        return;
      }
      queue.push_back(std::move(write));
      ++queued;
    }
    wake.notify_one();
  }

  [[nodiscard]] std::string write_batch(std::span<const Write> batch) {
    if (auto begun = database.execute("BEGIN IMMEDIATE"); !begun) return begun.error().text();
    for (const auto& write : batch) {
      if (write(database)) continue;
      std::string why = database.message();
      static_cast<void>(database.execute("ROLLBACK"));  // the failure to report is the first one
      return why;
    }
    if (auto committed = database.execute("COMMIT"); !committed) {
      static_cast<void>(database.execute("ROLLBACK"));
      return committed.error().text();
    }
    return {};
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      const auto batch = std::exchange(queue, {});
      lock.unlock();
      auto why = write_batch(batch);
      if (!why.empty() && batch.size() > 1) {
        why.clear();  // one bad write must not take the others with it
        for (const auto& write : batch) {
          if (auto one = write_batch({&write, 1}); !one.empty()) why = std::move(one);
        }
      }
      lock.lock();
      failure = std::move(why);
      done += batch.size();
      written.notify_all();
    }
  }
};

Store::Store(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

Store::~Store() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_one();
  if (state_->writer.joinable()) state_->writer.join();
}

Result<std::unique_ptr<Store>> Store::open(const std::string& directory, WallTime now) {
  std::string damage;
  auto database = Database::open_in(directory, "controlplane.db", store_kind, now, damage);
  if (!database) return std::unexpected(std::move(database).error());
  auto state = std::make_unique<State>(std::move(*database), directory + "/controlplane.db");
  state->remembered = read_all(state->database);
  if (!damage.empty())
    state->remembered.alarm = "the database " + damage + "; what the operator had set is lost";
  auto* running = state.get();
  state->writer = std::thread([running] { running->run(); });
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

const Remembered& Store::remembered() const noexcept {
  return state_->remembered;
}

void Store::save_version(Version version) {
  state_->add([version](Database& database) {
    return save_meta(database, "epoch", as_stored(version.epoch)) &&
           save_meta(database, "generation", as_stored(version.generation));
  });
}

void Store::save_hash_key(const dns::NameHashKey& key) {
  state_->add([key](Database& database) {
    return database.prepare("INSERT OR REPLACE INTO meta VALUES ('hash_key', ?1)")
        .bind(1, object_bytes(key))
        .run();
  });
}

void Store::save_client_key(const ranking::ClientHashKey& key) {
  state_->add([key](Database& database) {
    return database.prepare("INSERT OR REPLACE INTO meta VALUES ('client_key', ?1)")
        .bind(1, object_bytes(key))
        .run();
  });
}

void Store::save_name_count(std::uint64_t count) {
  state_->add(
      [count](Database& database) { return save_meta(database, "name_count", as_stored(count)); });
}

void Store::save_override(const std::string& service, const std::string& endpoint,
                          config::Override value) {
  state_->add([=](Database& database) {
    return database.prepare("INSERT OR REPLACE INTO overrides VALUES (?1, ?2, ?3)")
        .bind(1, service)
        .bind(2, endpoint)
        .bind(3, config::name_of(value))
        .run();
  });
}

void Store::save_weight(const std::string& service, const std::string& endpoint,
                        std::optional<double> weight) {
  state_->add([=](Database& database) {
    if (!weight) {
      return database.prepare("DELETE FROM weights WHERE service = ?1 AND endpoint = ?2")
          .bind(1, service)
          .bind(2, endpoint)
          .run();
    }
    return database.prepare("INSERT OR REPLACE INTO weights VALUES (?1, ?2, ?3)")
        .bind(1, service)
        .bind(2, endpoint)
        .bind(3, *weight)
        .run();
  });
}

void Store::save_exponents(const std::optional<config::ScoreConfig>& exponents) {
  state_->add([=](Database& database) {
    if (!database.prepare("DELETE FROM exponents").run()) return false;
    if (!exponents) return true;
    for (const auto& [name, member] : exponents_by_name) {
      if (!database.prepare("INSERT INTO exponents VALUES (?1, ?2)")
               .bind(1, std::string_view(name))
               .bind(2, (*exponents).*member)
               .run()) {
        return false;
      }
    }
    return true;
  });
}

void Store::save_maintenance(const config::MaintenanceConfig& work) {
  state_->add([work, now = wall_now()](Database& database) {
    if (!database.prepare("DELETE FROM maintenance WHERE id = ?1 OR ends_ns <= ?2")
             .bind(1, work.id)
             .bind(2, now.ns)
             .run()) {
      return false;
    }
    for (const auto& site : work.sites) {
      if (!database.prepare("INSERT INTO maintenance VALUES (?1, ?2, ?3, ?4)")
               .bind(1, work.id)
               .bind(2, site)
               .bind(3, work.from.ns)
               .bind(4, work.to.ns)
               .run()) {
        return false;
      }
    }
    return true;
  });
}

void Store::save_freshness(std::vector<SiteFreshness> freshness) {
  state_->add([freshness = std::move(freshness)](Database& database) {
    for (const auto& site : freshness) {
      if (!database.prepare("INSERT OR REPLACE INTO freshness VALUES (?1, ?2, ?3, ?4)")
               .bind(1, site.site_id)
               .bind(2, as_stored(site.boot_epoch))
               .bind(3, as_stored(site.sequence))
               .bind(4, std::as_bytes(std::span(site.key_fingerprints)))
               .run()) {
        return false;
      }
    }
    return true;
  });
}

void Store::save_site_down(const std::string& site, bool down) {
  state_->add([=](Database& database) {
    return database
        .prepare(down ? "INSERT OR REPLACE INTO down_sites VALUES (?1)"
                      : "DELETE FROM down_sites WHERE site = ?1")
        .bind(1, site)
        .run();
  });
}

Status Store::sync() {
  std::unique_lock lock(state_->mutex);
  const auto target = state_->queued;
  state_->written.wait(lock, [&] { return state_->done >= target; });
  if (state_->failure.empty()) return {};
  return fail(ErrorCode::unavailable, state_->failure, "controlplane.db",
              "look at the disk: what was set holds only until a restart");
}

Status Store::backup(const std::string& path) {
  if (auto written = sync(); !written) return written;
  auto second = Database::open(state_->path, store_kind);  // the first one is the writer's
  if (!second) return std::unexpected(std::move(second).error());
  return second->copy_to(path);
}

std::string Store::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

}  // namespace pharos::controlplane
