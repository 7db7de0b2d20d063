#include "pharos/controlplane/engine/daemon.hh"

#include "pharos/base/log.hh"
#include "pharos/controlplane/api/metrics.hh"
#include "pharos/controlplane/control/commands.hh"
#include "pharos/controlplane/engine/shrink.hh"
#include "pharos/wire/name_text.hh"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <sodium.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <span>
#include <string_view>

namespace pharos::controlplane {
namespace {

constexpr Duration control_turn = milliseconds(200);
constexpr std::chrono::milliseconds keeper_turn{250};

// A key that nobody can foresee; from a seed, the same key for the same purpose each time.
Status make_key(std::span<std::byte> key, std::uint64_t seed, std::string_view purpose) {
  if (seed != 0) {
    crypto_generichash(reinterpret_cast<unsigned char*>(key.data()), key.size(),
                       reinterpret_cast<const unsigned char*>(&seed), sizeof seed,
                       reinterpret_cast<const unsigned char*>(purpose.data()), purpose.size());
  } else if (::getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    return fail_errno("getrandom", std::string(purpose));
  }
  return {};
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

// Who was denied stays nameless, as strangers do: of those the log keeps the newest.
AuditEntry entry_of(const control::Peer& peer, const std::string& command,
                    const nlohmann::json& arguments, const Status& outcome) {
  auto caller = fmt::format("uid {}", peer.uid);
  auto process = fmt::format("pid {}", peer.pid);
  if (!outcome && outcome.error().code == ErrorCode::denied) {
    return {wall_now(),
            {},
            caller + ", " + process,
            command.empty() ? "write socket" : command,
            "{}",
            "denied: " + outcome.error().what,
            "socket"};
  }
  return {wall_now(), std::move(caller),  std::move(process),
          command,    told_of(arguments), outcome ? "done" : outcome.error().text(),
          "socket"};
}

// A query that a name policy wants logged.
void log_sample(const PolicySample& sample) {
  IpAddress client;
  std::ranges::copy(sample.head.client, client.bytes.begin());
  spdlog::info("policy '{}' ({}): {} {} from {}/{}", sample.head.policy.data(),
               catalog::name_of(sample.head.action),
               dns::name_text(ConstBytes(sample.name).first(sample.head.name_bytes)),
               dns::type_text(sample.head.type), client.text(), sample.head.client_prefix_bits);
}

}  // namespace

void block_signals() noexcept {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool set_log_level(const std::string& level) {
  constexpr std::array levels = {"trace", "debug", "info", "warning", "error"};
  if (std::ranges::find(levels, level) == levels.end()) return false;
  spdlog::set_level(spdlog::level::from_str(level));
  return true;
}

std::string log_level() {
  const auto name = spdlog::level::to_string_view(spdlog::get_level());
  return {name.data(), name.size()};
}

Daemon::Daemon(config::Config config)
    : config_(std::make_shared<const config::Config>(std::move(config))),
      started_(monotonic_now()) {}

Result<std::unique_ptr<Daemon>> Daemon::start(config::Config config, bool force) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config)));
  if (auto started = daemon->start_parts(force); !started) return std::unexpected(started.error());
  ::sd_notifyf(0, "READY=1\nMAINPID=%d\nSTATUS=steering %zu services over %zu sites", ::getpid(),
               daemon->config_->services.size(), daemon->config_->sites.size());
  spdlog::info("pharos-controlplane {} runs with {}", PHAROS_VERSION, daemon->config_->file);
  return daemon;
}

Status Daemon::start_parts(bool force) {
  static_cast<void>(set_log_level(config_->log_level));
  // First, since its lock keeps a second instance away from everything else.
  auto server = control::Server::open(config_->run_directory, "controlplane",
                                      config_->control_uid.value_or(::getuid()));
  if (!server) {
    auto error = std::move(server).error();
    if (error.code == ErrorCode::conflict) error.what = "already running: " + error.what;
    return std::unexpected(std::move(error));
  }
  server_.emplace(std::move(*server));
  if (auto opened = open_store(); !opened) return opened;

  const auto& remembered = store_->remembered();
  const Version first{std::max<std::uint64_t>(remembered.version.epoch, 1),
                      remembered.version.generation + 1};
  std::string broken_zone;
  auto tables = build_tables(config_, keys_for(*config_), first, {}, broken_zone);
  if (!tables) return std::unexpected(std::move(tables).error());
  if (!force) {
    auto checked =
        check_shrink(remembered.name_count, **tables, config_->controlplane.shrink_limit);
    if (!checked) {
      checked.error().hint =
          "start with --force if that is meant; the data plane keeps its tables until then";
      return checked;
    }
  }
  store_->save_name_count((*tables)->name_count());
  if (history_) history_->offer_tables(*tables, first, "start");
  if (auto started = start_ingest(); !started) return started;
  if (auto started = start_loop(std::move(*tables)); !started) return started;
  return start_control();
}

Status Daemon::open_store() {
  auto store = Store::open(config_->state_directory, wall_now());
  if (!store) return std::unexpected(std::move(store).error());
  store_ = std::move(*store);
  const auto& remembered = store_->remembered();
  if (!remembered.alarm.empty()) spdlog::error("{}", remembered.alarm);
  if (config_->controlplane.history.on) {
    auto history =
        History::open(config_->state_directory, config_->controlplane.history, wall_now());
    // A history that cannot be kept is no reason to steer nobody.
    if (history)
      history_ = std::move(*history);
    else
      spdlog::error("no history is kept: {}", history.error().text());
  }
  return make_keys();
}

// Kept from before, so that a restart deals no client anew.
Status Daemon::make_keys() {
  const auto& remembered = store_->remembered();
  const auto seed = config_->controlplane.seed;
  if (remembered.hash_key && seed == 0) {
    keys_.names = *remembered.hash_key;
  } else {
    if (auto made = make_key(keys_.names.bytes, seed, "key of the name table"); !made) return made;
    store_->save_hash_key(keys_.names);
  }
  if (remembered.client_key && seed == 0) {
    keys_.clients = *remembered.client_key;
  } else {
    if (auto made = make_key(keys_.clients, seed, "key of the client slots"); !made) return made;
    store_->save_client_key(keys_.clients);
  }
  return {};
}

// The configured client key, a fleet's, beats our own.
CatalogKeys Daemon::keys_for(const config::Config& config) const {
  CatalogKeys keys = keys_;
  if (config.controlplane.client_key)
    keys.clients = std::bit_cast<ranking::ClientHashKey>(*config.controlplane.client_key);
  return keys;
}

Status Daemon::start_ingest() {
  auto sites = BeaconSites::make(config_->sites, site_set_);
  if (!sites) return std::unexpected(std::move(sites).error());
  Ingest::Options options;
  options.listen = config_->controlplane.beacon_listen;
  options.core = config_->controlplane.ingest_core;
  options.window = config_->controlplane.beacon_window;
  auto ingest = Ingest::open(std::move(options), std::move(*sites));
  if (!ingest) return std::unexpected(std::move(ingest).error());
  ingest_.emplace(std::move(*ingest));
  ingest_->import_freshness(store_->remembered().freshness);
  return ingest_->start();
}

Status Daemon::start_loop(std::shared_ptr<const Tables> tables) {
  const auto& remembered = store_->remembered();
  const Instant now = monotonic_now();
  Decisions decisions{remembered.overrides, remembered.weights, remembered.exponents,
                      remembered.maintenance};
  const auto socket = config_->controlplane.dataplane_socket.empty()
                          ? config_->run_directory + "/tables.sock"
                          : config_->controlplane.dataplane_socket;
  auto world = tables->world;
  EngineSide side{
      .engine = Engine(std::move(world), std::move(decisions), remembered.down_sites, now),
      .publication = Publication(std::move(tables), remembered.version, remembered.lost),
      .client = TableClient(socket),
      .site_set = site_set_,
      .now = now};
  loop_ = std::make_unique<EngineLoop>(std::move(side), *store_, *ingest_, history_.get());
  return loop_->start();
}

void Daemon::audit(const AuditEntry& entry) {
  if (history_) history_->audit(entry);
  spdlog::info("{}: {} at {}: {} {}: {}", entry.door,
               entry.caller.empty() ? "a stranger" : entry.caller, entry.peer,
               harmless(entry.command), entry.arguments, harmless(entry.outcome));
}

Status Daemon::start_control() {
  add_commands(*server_, *this);
  server_->set_witness(
      [this](const control::Peer& peer, const std::string& command, const nlohmann::json& arguments,
             const Status& outcome) { audit(entry_of(peer, command, arguments, outcome)); });
  if (auto started = start_api(); !started) return started;
  control_thread_ = std::thread([this] { serve_control(); });
  keeper_thread_ = std::thread([this] { keep(); });
  ::pthread_setname_np(control_thread_.native_handle(), "control");
  ::pthread_setname_np(keeper_thread_.native_handle(), "keeper");
  return {};
}

Status Daemon::start_api() {
  const auto& config = config_->controlplane.api;
  if (config.listen.empty()) return {};
  ApiServer::Sources sources{.commands = &*server_,
                             .metrics = [this] { return Metrics(*this).text(); },
                             .audit = [this](const AuditEntry& entry) { audit(entry); }};
  auto api = ApiServer::open(config, std::move(sources));
  if (!api) return std::unexpected(std::move(api).error());
  api_ = std::move(*api);
  for (const auto& at : api_->listening()) {
    spdlog::info("the API listens at {}, port {}", at.address.text(), at.port);
  }
  return {};
}

std::optional<ApiCounters> Daemon::api_counters() const {
  if (!api_) return std::nullopt;
  return api_->counters();
}

std::vector<config::SocketAddress> Daemon::api_listening() const {
  return api_ ? api_->listening() : std::vector<config::SocketAddress>();
}

Daemon::~Daemon() {
  api_.reset();                                      // its requests use all the rest
  stopping_.store(true, std::memory_order_release);  // acquire in the loops of the two threads
  keeper_wake_.notify_all();
  if (control_thread_.joinable()) control_thread_.join();
  if (server_) server_->finish();
  if (keeper_thread_.joinable()) keeper_thread_.join();
  if (loop_) loop_->stop();
  if (ingest_ && store_) {
    store_->save_freshness(ingest_->freshness());
    ingest_->stop();
  }
}

// By SIGHUP. Success and failure are logged by reload(), and shown by status.
void Daemon::reload_for(unsigned uid, int pid) {
  const auto report = reload({});
  audit({wall_now(), fmt::format("uid {}", uid), fmt::format("pid {}", pid), "reload", "{}",
         report ? "done" : report.error().text(), "signal"});
}

void Daemon::run() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  for (;;) {
    siginfo_t signal{};
    const int number = ::sigwaitinfo(&signals, &signal);
    if (number < 0) continue;
    if (number != SIGHUP) break;
    ::sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                 static_cast<long long>(monotonic_now().ns / 1000));
    reload_for(signal.si_uid, signal.si_pid);
    ::sd_notify(0, "READY=1");
  }
  ::sd_notify(0, "STOPPING=1");
  spdlog::info("stopping; the data plane goes on with what it has");
}

void Daemon::serve_control() {
  // acquire: see ~Daemon
  while (!stopping_.load(std::memory_order_acquire)) server_->poll_once(control_turn);
}

// Writes the freshness of beacons that came since the last turn, so that a replay finds no gap
// after a restart.
void Daemon::keep() {
  std::uint64_t watchdog_us = 0;
  const bool watched = ::sd_watchdog_enabled(0, &watchdog_us) > 0;
  std::uint64_t accepted = 0;
  std::unique_lock lock(keeper_mutex_);
  // acquire: see ~Daemon
  while (!stopping_.load(std::memory_order_acquire)) {
    keeper_wake_.wait_for(lock, keeper_turn);
    const auto now_accepted = ingest_->counters().of(BeaconVerdict::accepted);
    if (std::exchange(accepted, now_accepted) != now_accepted)
      store_->save_freshness(ingest_->freshness());
    for (const auto& sample : ingest_->take_samples()) log_sample(sample);
    if (const auto now = monotonic_now(); share_log_.due(now))
      share_log_.add(now, answer_shares(*loop_));
    if (!watched) continue;
    loop_->ask([](EngineSide&) {});  // it answers, so it lives
    ::sd_notify(0, "WATCHDOG=1");
  }
}

std::optional<LastReload> Daemon::last_reload() const {
  const std::lock_guard lock(state_mutex_);
  return last_reload_;
}

std::map<std::string, std::string> Daemon::stale_zones() const {
  const std::lock_guard lock(state_mutex_);
  return stale_zones_;
}

std::string Daemon::config_file() const {
  return config_->file;
}

std::vector<std::string> Daemon::alarms() {
  auto alarms = loop_->ask([](EngineSide& side) { return EngineLoop::alarms_of(side); });
  if (!store_->remembered().alarm.empty()) alarms.push_back(store_->remembered().alarm);
  if (auto failure = store_->failure(); !failure.empty()) alarms.push_back("store: " + failure);
  if (history_ && !history_->alarm().empty()) alarms.push_back(history_->alarm());
  const std::lock_guard lock(state_mutex_);
  if (last_reload_ && !last_reload_->ok) {
    alarms.push_back("the last reload failed, the former configuration is in force: " +
                     last_reload_->message);
  }
  return alarms;
}

Result<std::shared_ptr<const config::Config>> Daemon::configuration_for(
    const ReloadRequest& request, const Tables& former) {
  if (!request.read_configuration) return former.world->config;
  auto config = config::load(config_->file);
  if (!config) {
    return fail(ErrorCode::invalid, config.error().text(), {},
                "the former configuration is in force");
  }
  return std::make_shared<const config::Config>(std::move(*config));
}

Result<std::shared_ptr<const Tables>> Daemon::candidate(const std::string& text) {
  const auto [former, version] = loop_->ask([](EngineSide& side) {
    return std::pair(side.publication.shared_tables(), side.publication.last());
  });
  auto config = config::load_text(text, config_->file);
  if (!config) return fail(ErrorCode::invalid, config.error().text());
  std::string broken_zone;
  auto shared = std::make_shared<const config::Config>(std::move(*config));
  return build_tables(shared, keys_for(*shared), {version.epoch, version.generation + 1},
                      {former.get(), {}, false}, broken_zone);
}

Result<ReloadReport> Daemon::reload(const ReloadRequest& request) {
  const std::lock_guard one_at_a_time(reload_mutex_);
  auto report = reload_locked(request);
  const std::lock_guard lock(state_mutex_);
  last_reload_ = LastReload{monotonic_now(), report.has_value(),
                            report ? joined(report->changed) : report.error().text()};
  if (report) {
    stale_zones_.clear();
    spdlog::info("reloaded: {}",
                 report->changed.empty() ? "nothing changed" : last_reload_->message);
  } else {
    spdlog::error("reload failed, the former configuration is in force: {}", last_reload_->message);
  }
  return report;
}

Result<ReloadReport> Daemon::reload_locked(const ReloadRequest& request) {
  const auto [former, version] = loop_->ask([](EngineSide& side) {
    return std::pair(side.publication.shared_tables(), side.publication.last());
  });
  auto config = configuration_for(request, *former);
  if (!config) return std::unexpected(std::move(config).error());
  if (!request.zone.empty() && !former->zones.contains(request.zone)) {
    return fail(ErrorCode::not_found, "no zone '" + request.zone + "' is configured", {},
                "`pharosctl zone list` shows those that are");
  }
  const ZoneReuse reuse{former.get(), request.zone, request.every_zone};
  std::string broken_zone;
  auto tables = build_tables(*config, keys_for(**config), {version.epoch, version.generation + 1},
                             reuse, broken_zone);
  if (!tables) {
    const std::lock_guard lock(state_mutex_);
    if (!broken_zone.empty()) stale_zones_[broken_zone] = tables.error().text();
    return std::unexpected(std::move(tables).error());
  }
  // Whom the API lets in is no matter of tables. A certificate that cannot be read leaves the former one.
  const auto take_callers = [&] {
    if (!api_ || !request.read_configuration) return;
    auto taken = api_->reconfigure((*config)->controlplane.api);
    if (!taken) spdlog::error("the API keeps its certificate: {}", taken.error().text());
  };
  ReloadReport report{differences(*former, **tables), version};
  if (report.changed.empty()) {
    take_callers();
    return report;
  }
  if (!request.force) {
    auto checked = check_shrink(*former, **tables, (*config)->controlplane.shrink_limit);
    if (checked) {
      checked = check_endpoint_shrink(*former->world, *(*tables)->world,
                                      (*config)->controlplane.shrink_limit);
    }
    if (!checked) return std::unexpected(std::move(checked).error());
  }
  auto sites = BeaconSites::make((*config)->sites, site_set_ + 1);
  if (!sites) return std::unexpected(std::move(sites).error());
  ++site_set_;
  const auto name_count = (*tables)->name_count();
  if (history_)
    history_->offer_tables(*tables, {version.epoch, version.generation + 1},
                           joined(report.changed));
  report.version =
      swap_in(std::move(*tables), std::move(*sites), (*config)->controlplane.beacon_window);
  store_->save_name_count(name_count);
  take_callers();
  return report;
}

Version Daemon::swap_in(std::shared_ptr<const Tables> tables, BeaconSites sites, Duration window) {
  const auto version = loop_->ask([&, set = site_set_](EngineSide& side) {
    side.engine.replace_world(tables->world, side.now);
    side.publication.replace_tables(tables);
    side.site_set = set;
    return side.publication.last();
  });
  // Beacons that pass the gate between the two are of the former set, and dropped: less than a turn
  // of ingest.
  ingest_->replace_sites(std::move(sites), window);
  return {version.epoch, version.generation + 1};
}

}  // namespace pharos::controlplane
