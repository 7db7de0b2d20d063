#include "pharos/dataplane/core/watching.hh"

#include "pharos/base/assert.hh"

#include <sys/random.h>

#include <spdlog/spdlog.h>

#include <bit>
#include <utility>

namespace pharos::dataplane {

namespace {

// A reader is away for this long before it is an alarm: it may just have been started anew.
constexpr Duration reader_patience = seconds(5);

// Two seconds of the most samples that may be configured, of ordinary names; taken once a second.
constexpr std::uint64_t name_ring_bytes = 1U << 18;

[[nodiscard]] DnstapServer server_of(const config::Config& config) {
  const auto& identity = config.dataplane.dnstap.identity;
  return {.identity = identity.empty() ? config.server_name : identity,
          .version = "pharos " PHAROS_VERSION};
}

}  // namespace

Watching::Watching(RcuPointer<const Watch>& published, unsigned seat_count, bool sample_names)
    : published_(published), seat_count_(seat_count), hot_names_(monotonic_now()) {
  for (unsigned seat = 0; sample_names && seat < seat_count_; ++seat)
    name_rings_.push_back(std::make_unique<RecordRing>(name_ring_bytes));
  REQUIRE(::getrandom(dnstap_key_.data(), dnstap_key_.size(), 0) ==
          static_cast<ssize_t>(dnstap_key_.size()));
}

Watching::~Watching() {
  stop();
  published_.store(nullptr);
}

Status Watching::start(std::function<void()> on_start) {
  return writer_.start(std::move(on_start));
}

void Watching::stop() noexcept {
  writer_.stop();
}

std::shared_ptr<const RingSet> Watching::make_rings(std::uint64_t bytes) const {
  auto rings = std::make_shared<RingSet>();
  for (unsigned seat = 0; seat < seat_count_; ++seat)
    rings->push_back(std::make_unique<RecordRing>(bytes));
  return rings;
}

DnstapWatch Watching::watch_of(const config::DnstapConfig& dnstap) const {
  DnstapWatch watch;
  watch.every = dnstap.sample;
  watch.queries = dnstap.messages != config::DnstapMessages::responses;
  watch.responses = dnstap.messages != config::DnstapMessages::queries;
  watch.mask.ipv4_prefix_bits = static_cast<std::uint8_t>(dnstap.ipv4_prefix);
  watch.mask.ipv6_prefix_bits = static_cast<std::uint8_t>(dnstap.ipv6_prefix);
  if (dnstap.clients == config::DnstapClients::keyed)
    watch.mask.key = dnstap.key ? std::bit_cast<CookieSecret>(*dnstap.key) : dnstap_key_;
  watch.rings = make_rings(dnstap.ring_bytes);
  return watch;
}

// No serving thread holds the former one when this returns.
void Watching::publish() {
  std::unique_ptr<Watch> next;
  if (dnstap_watch_ || capture_) {
    next = std::make_unique<Watch>();
    next->dnstap = dnstap_watch_;
    if (capture_) next->capture = capture_->watch();
  }
  published_.store(next.get());
  synchronize_rcu();
  watch_ = std::move(next);
}

void Watching::apply(const config::Config& config) {
  const auto& dnstap = config.dataplane.dnstap;
  auto server = server_of(config);
  const bool same_server = server.identity == server_.identity && server.version == server_.version;
  if (dnstap == dnstap_ && (same_server || !dnstap.on())) return;
  dnstap_ = dnstap;
  server_ = std::move(server);
  if (!dnstap.on()) {
    dnstap_watch_.reset();
    publish();
    writer_.change(std::nullopt);
    return;
  }
  dnstap_watch_ = watch_of(dnstap);
  DnstapJob job{
      .target = {.path = dnstap.socket, .address = dnstap.tcp.value_or(config::SocketAddress{})},
      .server = server_,
      .rings = dnstap_watch_->rings};
  publish();
  writer_.change(std::move(job));
}

Result<std::uint64_t> Watching::start_capture(CaptureOrder order) {
  if (capture_) {
    return fail(ErrorCode::conflict,
                "a capture of port '" + capture_->order().port_id + "' runs already", {},
                "wait for its end; one whose reader is gone ends within ten seconds");
  }
  capture_.emplace(++captures_, std::move(order), seat_count_, monotonic_now());
  publish();
  const auto& what = capture_->order();
  spdlog::log(what.mask ? spdlog::level::info : spdlog::level::warn,
              "capture {} of port '{}' begins, with {}", captures_, what.port_id,
              what.mask ? "clients' addresses cut" : "clients' whole addresses");
  return captures_;
}

CaptureSession* Watching::capture(std::uint64_t id) noexcept {
  return capture_ && capture_->id() == id ? &*capture_ : nullptr;
}

void Watching::stop_capture(const char* why) {
  spdlog::info("capture {} ends, {}: {} frames, {} dropped", capture_->id(), why,
               capture_->frames(), capture_->dropped());
  // Workers may hold its seats until the grace period is over.
  const auto former = std::exchange(capture_, std::nullopt);
  publish();
}

const HotNames& Watching::hot_names(Instant now) {
  hot_names_.advance(now);
  for (const auto& ring : name_rings_) {
    for (auto record = ring->front(); !record.empty(); record = ring->front()) {
      hot_names_.add(record);
      ring->pop();
    }
  }
  return hot_names_;
}

void Watching::tick(Instant now) {
  (void)hot_names(now);
  if (capture_ && capture_->is_forsaken(now)) stop_capture("its reader is gone");
}

std::vector<std::string> Watching::alarms() const {
  const auto report = writer_.report();
  if (!report.on || report.connected || monotonic_now() - report.since < reader_patience) return {};
  return {"dnstap has no reader: " +
          (report.last_error.empty() ? report.target : report.last_error)};
}

}  // namespace pharos::dataplane
