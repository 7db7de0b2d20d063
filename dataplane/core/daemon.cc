#include "pharos/dataplane/core/daemon.hh"

#include "pharos/base/log.hh"
#include "pharos/dataplane/core/capture_commands.hh"
#include "pharos/dataplane/core/commands.hh"
#include "pharos/dataplane/core/directories.hh"
#include "pharos/dataplane/core/reload.hh"
#include "pharos/dataplane/core/signals.hh"
#include "pharos/dataplane/io/eal_log.hh"
#include "pharos/shared/control_protocol.hh"

#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

namespace pharos::dataplane {

namespace {

// From the lane to the control plane: demand and logged queries, no beacons.
constexpr std::uint64_t lane_ring_bytes = 1U << 17;
// A frame of this size with two tags is one record of the rings to the lane.
constexpr unsigned exception_mtu_max = ring_record_bytes_max - 22;

[[nodiscard]] InterfaceSettings settings_of(const config::Config& config,
                                            const config::PortConfig& port,
                                            const io::Port& opened) {
  InterfaceSettings settings;
  settings.mac = opened.mac();
  settings.addresses = port.addresses;
  settings.vlan = port.vlan;
  settings.dns_port = config.dataplane.dns_port;
  settings.beacon_port = config.dataplane.beacon_port;
  settings.any_mac = port.promiscuous;
  settings.exception_port = !port.exception_interface.empty();
  settings.transmit_ipv4_checksum = opened.features().transmit_ipv4_checksum;
  settings.transmit_udp_checksum = opened.features().transmit_udp_checksum;
  return settings;
}

[[nodiscard]] ServedQueue served_queue(const config::PortConfig& config, const io::Port& port,
                                       const Interface& interface, unsigned queue) {
  constexpr unsigned ethernet_bytes = 14;
  return {.handle = {.port = port.number(),
                     .queue = static_cast<std::uint16_t>(queue),
                     .receive_checksum = port.features().receive_ipv4_checksum ||
                                         port.features().receive_udp_checksum,
                     .frame_bytes_max = static_cast<std::uint16_t>(
                         std::min(port.mtu_bytes() + ethernet_bytes, 0xffffU)),
                     .pool = port.pool(queue)},
          .interface = &interface,
          .idle = config.idle,
          .doorbell = port.doorbell(queue)};
}

void log_port(const io::Port& port) {
  const auto kinds = [](bool ipv4, bool udp) {
    return ipv4 && udp ? "IPv4 and UDP" : ipv4 ? "IPv4" : udp ? "UDP" : "none";
  };
  const auto& features = port.features();
  spdlog::info(
      "port '{}': {}, driver {}, {}, {} queues{}, MTU {}, checksums in hardware: receive {}, "
      "transmit {}",
      port.id(), port.device_name(), port.driver(), port.mac().text(), port.queue_count(),
      features.rss ? " by RSS" : "", port.mtu_bytes(),
      kinds(features.receive_ipv4_checksum, features.receive_udp_checksum),
      kinds(features.transmit_ipv4_checksum, features.transmit_udp_checksum));
}

// Each connection takes a descriptor; what the daemon has beside them fits in the reserve.
void raise_descriptor_limit(unsigned connections_max) {
  constexpr rlim_t reserve = 1024;
  const rlim_t wanted = connections_max + reserve;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  const rlimit raised{.rlim_cur = wanted, .rlim_max = std::max(limit.rlim_max, wanted)};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return;
  limit.rlim_cur = limit.rlim_max;  // as far as we may
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
  spdlog::warn(
      "{} open files allowed, and {} are needed for dataplane.tcp.connections_max: raise "
      "LimitNOFILE",
      limit.rlim_max, wanted);
}

[[nodiscard]] SandboxNeeds sandbox_needs(const std::vector<io::Device>& devices) {
  SandboxNeeds needs;
  for (const auto& device : devices) {
    needs.pci |= device.is_pci();
    needs.xdp |= device.driver == "net_af_xdp";
    needs.shared_memory |= device.driver == "net_memif" || device.driver == "net_vhost" ||
                           device.driver == "net_virtio_user";
  }
  return needs;
}

// What putting interfaces back takes: promiscuous mode, a TAP's link, an XDP program, routes of exception interfaces.
[[nodiscard]] std::uint64_t closing_capabilities(const std::vector<io::Device>& devices,
                                                 const std::vector<config::PortConfig>& ports) {
  std::uint64_t bits = 0;
  if (std::ranges::any_of(ports, [](const auto& p) { return !p.exception_interface.empty(); }))
    bits |= std::uint64_t{1} << CAP_NET_ADMIN;
  for (const auto& device : devices) {
    const bool xdp = device.driver == "net_af_xdp";
    if (xdp || device.driver == "net_af_packet" || device.driver == "net_tap")
      bits |= std::uint64_t{1} << CAP_NET_ADMIN;
    if (xdp) bits |= std::uint64_t{1} << CAP_BPF;
  }
  return bits;
}

}  // namespace

Daemon::Daemon(config::Config config) : config_(std::move(config)) {}

Daemon::~Daemon() {
  stop();
}

Status Daemon::start() {
  struct Stage {
    const char* name;
    Status (Daemon::*run)();
  };
  static constexpr std::array stages = {
      Stage{"directories", &Daemon::make_directories},
      Stage{"EAL", &Daemon::start_eal},
      Stage{"kernel lane", &Daemon::open_lane},
      Stage{"ports", &Daemon::open_ports},
      Stage{"rights", &Daemon::give_up_rights},
      Stage{"workers", &Daemon::make_workers},
      Stage{"tables", &Daemon::open_tables},
      Stage{"control sockets", &Daemon::open_control},
      Stage{"events", &Daemon::open_events},
      Stage{"launch", &Daemon::launch_workers},
  };
  for (const auto& stage : stages) {
    spdlog::debug("start: {}", stage.name);
    service_manager_.status(std::string("starting: ") + stage.name);
    if (auto ok = (this->*stage.run)(); !ok) {
      return std::unexpected(
          std::move(ok.error()).in(std::string("start, stage '") + stage.name + "'"));
    }
  }
  if (sandboxed_) enter_sandbox(ThreadKind::control);
  tick();
  service_manager_.ready("serving");
  spdlog::info("ready: {} ports, {} workers, {} kernel sockets, {} after start", ports_.size(),
               workers_.size(), 2 * config_.dataplane.listen.size(),
               fmt::format("{:.0f} ms", (monotonic_now() - started_at_).seconds() * 1000));
  return {};
}

Status Daemon::make_directories() {
  if (config_.dataplane.user) {
    auto account = account_of(*config_.dataplane.user);
    if (!account) return std::unexpected(account.error());
    account_ = *account;
  }
  for (const auto& path :
       {config_.run_directory, config_.state_directory, config_.state_directory + "/tables"}) {
    const auto trusted = account_ ? std::span(&*account_, 1) : std::span<const Account>();
    if (auto ok = prepare_directory(path, 0750, trusted); !ok) return ok;
  }
  auto lock = lock_instance(config_.run_directory);
  if (!lock) return std::unexpected(lock.error());
  lock_ = std::move(*lock);
  for (const auto secret :
       {std::span<std::byte>(cookie_secret_), std::span<std::byte>(limit_key_)}) {
    if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
      return fail_errno("getrandom");
  }
  return {};
}

// Secrets that are not configured are ours, made at the start. The seat is the kernel lane's; workers take their own.
ServeOptions Daemon::options_of(const config::Config& config) const {
  auto options = serve_options(config);
  options.rate_limit.key = limit_key_;
  options.seat = static_cast<unsigned>(plan_.worker_cores.size());
  if (options.cookie_secrets.empty()) options.cookie_secrets.push_back(cookie_secret_);
  return options;
}

// Without a port there is nothing for DPDK to do, and no memory to be taken for it.
Status Daemon::start_eal() {
  if (config_.dataplane.ports.empty()) {
    if (!config_.dataplane.listen.empty()) return {};
    return fail(ErrorCode::invalid, "there is no port and no address to listen on",
                "dataplane.ports", "list a port, or addresses with dataplane.listen");
  }
  auto plan = io::plan_eal(config_.dataplane, config_.run_directory, io::read_host_facts());
  if (!plan) return std::unexpected(plan.error());
  plan_ = std::move(*plan);
  auto eal = io::Eal::start(plan_, config_.run_directory);
  if (!eal) return std::unexpected(eal.error());
  eal_.emplace(std::move(*eal));
  io::set_eal_log_level(config_.log_level);
  return {};
}

Status Daemon::open_ports() {
  const auto& configs = config_.dataplane.ports;
  ports_.reserve(configs.size());
  interfaces_.reserve(configs.size());  // workers keep pointers to its elements
  for (std::size_t i = 0; i < configs.size(); ++i) {
    auto port = io::Port::open(configs[i], plan_.devices[i]);
    if (!port) return std::unexpected(port.error());
    auto interface = make_interface(settings_of(config_, configs[i], *port));
    if (!interface)
      return std::unexpected(std::move(interface.error()).in("port '" + configs[i].id + "'"));
    // The link-local address that every interface has is worth no promiscuous mode on a port without IPv6.
    if (std::ranges::any_of(configs[i].addresses, [](const auto& a) { return !a.is_ipv4(); })) {
      port->join_multicast(multicast_macs(*interface));
    }
    log_port(*port);
    ports_.push_back(std::move(*port));
    interfaces_.push_back(*interface);
    exceptions_.push_back(nullptr);
    if (configs[i].exception_interface.empty()) continue;
    if (auto ok = open_exception_interface(configs[i], ports_.back(), plan_.devices[i]); !ok)
      return ok;
  }
  links_up_.assign(ports_.size(), false);
  return {};
}

// Ports and all that needs a right are open; what follows are files and sockets of our own.
Status Daemon::give_up_rights() {
  const auto& dataplane = config_.dataplane;
  if (account_) {
    if (auto ok = give_directories(config_.run_directory, config_.state_directory, *account_); !ok)
      return ok;
  }
  sandboxed_ = dataplane.sandbox && sandbox_is_possible();
  if (!sandboxed_) {
    spdlog::warn("sandbox: off, {}",
                 dataplane.sandbox ? "as in every build with sanitizers" : "by dataplane.sandbox");
    if (!account_) return {};
  }
  if (sandboxed_) {
    if (auto ok = prepare_sandbox(sandbox_needs(plan_.devices)); !ok) return ok;
  }
  auto unconfined = drop_privileges(
      {.become = account_,
       .closing_capabilities = closing_capabilities(plan_.devices, dataplane.ports)});
  if (!unconfined) return std::unexpected(unconfined.error());
  unconfined_ = std::move(*unconfined);
  for (const auto& thread : unconfined_)
    spdlog::warn("sandbox: thread {} blocks all signals and keeps its rights", thread);
  return {};
}

// Queues are dealt round-robin: queue n of all goes to worker n mod workers.
Status Daemon::make_workers() {
  std::vector<WorkerSettings> settings(plan_.worker_cores.size());
  unsigned next = 0;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    for (unsigned queue = 0; queue < ports_[i].queue_count(); ++queue) {
      auto& worker = settings[next++ % settings.size()];
      worker.queues.push_back(
          served_queue(config_.dataplane.ports[i], ports_[i], interfaces_[i], queue));
      if (exceptions_[i] != nullptr)
        worker.queues.back().exceptions = &exceptions_[i]->queue(queue);
    }
  }
  const auto options = options_of(config_);
  const auto cycles_per_us = measure_cycles_per_us();
  const auto lane_seat = static_cast<unsigned>(settings.size());
  const auto name_samples = config_.dataplane.name_samples_per_second;
  watching_ = std::make_unique<Watching>(published_.watch, lane_seat + 1, name_samples != 0);
  for (unsigned index = 0; index < settings.size(); ++index) {
    settings[index].index = index;
    settings[index].core = plan_.worker_cores[index];
    settings[index].cycles_per_us = cycles_per_us;
    settings[index].names = watching_->name_ring(index);
    settings[index].name_samples_per_second = name_samples;
    auto ring = RingProducer::create(config_.dataplane.beacon_ring_bytes, "pharos-beacons");
    if (!ring) return std::unexpected(std::move(ring.error()).in("beacon ring"));
    settings[index].beacons.emplace(std::move(*ring));
    workers_.push_back(std::make_unique<Worker>(std::move(settings[index]), published_, options));
  }
  pulses_.resize(workers_.size());
  watching_->apply(config_);
  lane_->set_watch(published_.watch, lane_seat,
                   NameSampler(lane_seat, name_samples, watching_->name_ring(lane_seat)));
  return {};
}

// All sockets are bound here, before privileges are given up.
Status Daemon::open_lane() {
  const auto& dataplane = config_.dataplane;
  raise_descriptor_limit(dataplane.tcp.connections_max);
  lane_ = std::make_unique<Lane>(published_.root, published_.wall_s, options_of(config_));
  if (auto ok = lane_->open(dataplane.tcp); !ok) return ok;
  auto ring = RingProducer::create(lane_ring_bytes, "pharos-lane");
  if (!ring) return std::unexpected(std::move(ring.error()).in("ring of the kernel lane"));
  lane_ring_fd_ = ring->fd();
  lane_->set_ring(std::move(*ring));
  for (const auto& address : dataplane.listen) {
    if (auto ok = listen_on(address, Bind::existing, "dataplane.listen"); !ok) return ok;
  }
  return {};
}

Status Daemon::listen_on(const config::SocketAddress& address, Bind bind,
                         const std::string& where) {
  auto listener = open_listener(address, bind);
  if (!listener) return std::unexpected(std::move(listener.error()).in(where));
  spdlog::info("listening on {}, UDP and TCP", text_of(listener->address));
  return lane_->add(std::move(*listener));
}

// The kernel's side of a port, and DNS over TCP at the port's addresses. UDP is answered before it comes to the kernel,
// but for what only the kernel puts together again: queries of this machine itself, and IPv6 fragments.
Status Daemon::open_exception_interface(const config::PortConfig& config, const io::Port& port,
                                        const io::Device& device) {
  TapSettings settings;
  settings.name = config.exception_interface;
  settings.mac = port.mac();
  settings.mtu_bytes = std::min(port.mtu_bytes(), exception_mtu_max);
  settings.addresses = config.addresses;
  settings.gateways = config.gateways;
  settings.networks = config.networks;
  const auto where = "port '" + config.id + "'";
  if (device.driver == "net_af_packet") settings.shadow = device.argument("iface");
  auto tap = Tap::open(settings);
  if (!tap) return std::unexpected(std::move(tap.error()).in(where));
  auto added = lane_->add(std::move(*tap), port.queue_count(), config.vlan);
  if (!added) return std::unexpected(std::move(added.error()).in(where));
  exceptions_.back() = *added;
  for (const auto& address : config.addresses) {
    if (auto ok = listen_on({address, config_.dataplane.dns_port}, Bind::anywhere, where); !ok)
      return ok;
  }
  spdlog::info("port '{}': exception interface {}", config.id, settings.name);
  return {};
}

Status Daemon::open_tables() {
  TableStoreOptions options;
  options.socket_path = config_.run_directory + "/tables.sock";
  options.state_directory = config_.state_directory + "/tables";
  options.allowed_uid = config_.dataplane.allowed_uid.value_or(0);
  if (sandboxed_) options.on_saver_start = [] { confine_this_thread(ThreadKind::saver); };
  options.seat_count = static_cast<unsigned>(workers_.size()) + 1;  // and the kernel lane
  for (const auto& worker : workers_) {
    if (worker->beacon_ring_fd() >= 0) options.ring_fds.push_back(worker->beacon_ring_fd());
  }
  if (options.ring_fds.size() < table_channel::fds_max) options.ring_fds.push_back(lane_ring_fd_);
  auto store = TableStore::open(std::move(options),
                                [this](const TableRoot* next) { publish_root(published_, next); });
  if (!store) return std::unexpected(store.error());
  store_ = std::move(*store);
  const auto loaded = store_->load();
  for (const auto& note : loaded.notes) spdlog::info("tables: {}", note);
  if (!loaded.adopted)
    spdlog::info(
        "tables: none on disk yet; queries are dropped until the control plane sends some");
  return {};
}

Status Daemon::open_control() {
  auto server =
      control::Server::open(config_.run_directory, "dataplane", config_.control_uid.value_or(0));
  if (!server) return std::unexpected(server.error());
  control_ = std::make_unique<control::Server>(std::move(*server));
  control_->set_witness([](const control::Peer& peer, const std::string& command,
                           const nlohmann::json& arguments, const Status& outcome) {
    spdlog::info("socket: uid {} at pid {}: {} {}: {}", peer.uid, peer.pid, harmless(command),
                 arguments.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
                 outcome ? "done" : harmless(outcome.error().text()));
  });
  add_commands(*control_, *this);
  add_capture_commands(*control_, *this);
  return {};
}

Status Daemon::open_events() {
  signals_fd_ = signals::watch();
  timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!timer_ || !epoll_) return fail_errno("epoll, timerfd");

  constexpr Duration tick_default = seconds(1);
  const auto watchdog = service_manager_.watchdog_interval();
  const auto interval = watchdog.ns > 0 ? std::min(watchdog, tick_default) : tick_default;
  const timespec period{.tv_sec = interval.ns / 1'000'000'000,
                        .tv_nsec = interval.ns % 1'000'000'000};
  const itimerspec timer{.it_interval = period, .it_value = period};
  if (::timerfd_settime(timer_.get(), 0, &timer, nullptr) != 0)
    return fail_errno("timerfd_settime");

  for (const int fd : {signals_fd_, timer_.get(), store_->fd(), control_->fd()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("epoll_ctl");
  }
  return {};
}

Status Daemon::launch_workers() {
  for (auto& worker : workers_) {
    std::string text;
    for (const auto& queue : worker->queues()) {
      text +=
          fmt::format("{}{}/{}", text.empty() ? "" : ", ", port_of(queue).id(), queue.handle.queue);
    }
    spdlog::info("worker {} on core {}: {}", worker->index(), worker->core(), text);
    if (auto ok = eal_->launch(worker->index(),
                               [this, w = worker.get()] {
                                 if (sandboxed_) confine_this_thread(ThreadKind::worker);
                                 w->run();
                               });
        !ok)
      return ok;
  }
  if (auto ok = watching_->start([this] {
        if (sandboxed_) confine_this_thread(ThreadKind::dnstap);
      });
      !ok)
    return ok;
  return lane_->start([this] {
    if (sandboxed_) confine_this_thread(ThreadKind::lane);
  });
}

const io::Port& Daemon::port_of(const ServedQueue& queue) const {
  const auto found = std::ranges::find_if(
      ports_, [&](const auto& port) { return port.number() == queue.handle.port; });
  REQUIRE(found != ports_.end());  // workers are made from these ports
  return *found;
}

void Daemon::stop() noexcept {
  // relaxed: see Published
  published_.stop.store(true, std::memory_order_relaxed);
  if (eal_) eal_->join();
  if (lane_) lane_->stop();
  watching_.reset();
  raise_closing_capabilities();
  control_.reset();
  store_.reset();  // frees the tables: no worker is left
  workers_.clear();
  lane_.reset();
  interfaces_.clear();
  ports_.clear();
  eal_.reset();
}

}  // namespace pharos::dataplane
