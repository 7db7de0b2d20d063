// How many beacons one core takes: the gate alone, by size and by what is wrong with them, and the whole way from a ring
// or a kernel socket to the engine's queue. `items_per_second` is beacons a second.
//
// Datagrams of 1024 sites, signed in advance; where they are to be accepted again, the gate is made anew outside of the
// measured time. Floors: the MAC alone, and a bare drain loop at a socket of the same kind, fed alike.
#include "pharos/controlplane/ingest/beacon_gate.hh"
#include "pharos/controlplane/ingest/ingest.hh"
#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/controlplane/ingest/udp_receiver.hh"
#include "pharos/shared/spsc_ring.hh"

#include <sys/socket.h>

#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace pharos;
using namespace pharos::controlplane;

constexpr unsigned site_count = 1024;
constexpr WallTime sent{1'700'000'000'000'000'000};
constexpr Instant received{1'000'000'000'000};

std::vector<config::SiteConfig> make_sites() {
  std::vector<config::SiteConfig> sites(site_count);
  for (unsigned i = 0; i < site_count; ++i) {
    sites[i].id = "site" + std::to_string(i);
    config::KeyConfig key;
    key.id = 1;
    key.secret.fill(static_cast<std::uint8_t>(i));
    sites[i].keys = {key};
  }
  return sites;
}

BeaconGate make_gate() {
  return {*BeaconSites::make(make_sites(), 1), seconds(30)};
}

// All eleven metrics and some endpoints: 112 bytes and 16 for each endpoint.
SiteReport make_report(unsigned endpoint_count) {
  SiteReport report;
  report.metrics = {0.5F, 0.1F, 0.5F, 0.0F, 1e9F, 1e9F, 1e10F, 1e5F, 100.0F, 0.01F, 800.0F};
  report.interval_ms = 1000;
  for (unsigned i = 0; i < endpoint_count; ++i) report.endpoints.push_back({i, true, 10.0F});
  return report;
}

// `rounds` beacons of each site, in the order in which they would come.
std::vector<std::vector<std::byte>> make_datagrams(unsigned rounds, unsigned endpoint_count) {
  const auto sites = make_sites();
  const auto report = make_report(endpoint_count);
  std::vector<std::vector<std::byte>> all;
  for (unsigned round = 1; round <= rounds; ++round) {
    for (const auto& site : sites) {
      std::array<std::byte, beacon::datagram_bytes_max> buffer;
      const beacon::Stamp stamp{beacon::site_tag(site.id), 1, round, sent.ns / 1'000'000, 1};
      const auto length =
          beacon::encode(stamp, report, beacon::MacKey(site.keys[0].secret), buffer);
      if (length == 0) std::abort();
      all.emplace_back(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(length));
    }
  }
  return all;
}

void report_rate(benchmark::State& state, std::size_t datagrams, std::size_t bytes) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(datagrams));
  state.counters["datagram_bytes"] = static_cast<double>(bytes);
}

void mac_alone(benchmark::State& state) {
  const auto datagrams = make_datagrams(1, static_cast<unsigned>(state.range(0)));
  const beacon::MacKey key(make_sites()[0].keys[0].secret);
  for (auto _ : state) {
    for (const auto& datagram : datagrams) benchmark::DoNotOptimize(key.mac_of(datagram));
  }
  report_rate(state, datagrams.size(), datagrams[0].size());
}
BENCHMARK(mac_alone)->Arg(0)->Arg(4)->Arg(16)->Arg(62);

void gate_accepts(benchmark::State& state) {
  const auto datagrams = make_datagrams(16, static_cast<unsigned>(state.range(0)));
  AcceptedBeacon out;
  std::size_t accepted = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto gate = make_gate();
    state.ResumeTiming();
    for (const auto& datagram : datagrams) {
      accepted += gate.admit(datagram, received, sent, out) == BeaconVerdict::accepted ? 1 : 0;
    }
  }
  if (accepted != datagrams.size() * static_cast<std::size_t>(state.iterations()))
    state.SkipWithError("refused");
  report_rate(state, datagrams.size(), datagrams[0].size());
}
BENCHMARK(gate_accepts)->Arg(0)->Arg(4)->Arg(16)->Arg(62);

// A flood: 0 forged MAC, 1 unknown site, 2 noise, 3 replays.
void gate_refuses(benchmark::State& state) {
  auto datagrams = make_datagrams(4, 4);
  auto gate = make_gate();
  AcceptedBeacon out;
  constexpr const char* names[] = {"forged", "unknown site", "noise", "replays"};
  for (auto& datagram : datagrams) {
    switch (state.range(0)) {
      case 0:
        datagram.back() ^= std::byte{1};
        break;
      case 1:
        datagram[8] ^= std::byte{1};
        break;
      case 2:
        datagram[0] ^= std::byte{1};
        break;
      default:
        (void)gate.admit(datagram, received, sent, out);
        break;
    }
  }
  std::size_t accepted = 0;
  for (auto _ : state) {
    for (const auto& datagram : datagrams) {
      accepted += gate.admit(datagram, received, sent, out) == BeaconVerdict::accepted ? 1 : 0;
    }
  }
  if (accepted != 0) state.SkipWithError("accepted");
  state.SetLabel(names[state.range(0)]);
  report_rate(state, datagrams.size(), datagrams[0].size());
}
BENCHMARK(gate_refuses)->DenseRange(0, 3);

// Ring, gate and queue; pushing into the ring and draining the queue are not timed.
void ring_to_queue(benchmark::State& state) {
  const auto datagrams = make_datagrams(4, static_cast<unsigned>(state.range(0)));
  auto ring = RingProducer::create(1U << 23, "ingest-bench");
  if (!ring) return state.SkipWithError(ring.error().text().c_str());
  std::size_t accepted = 0;
  const Now at{received, sent};
  const BeaconArrival arrival{
      .received_ns = received.ns, .source = {}, .source_port = 1, .worker = 0, .reserved = 0};
  auto ingest = Ingest::open({}, *BeaconSites::make(make_sites(), 1));
  std::vector<UniqueFd> fds;
  fds.emplace_back(::dup(ring->fd()));
  if (!ingest || !ingest->replace_rings(std::move(fds))) return state.SkipWithError("no ingest");
  AcceptedBeacon out;
  for (auto _ : state) {
    state.PauseTiming();
    // All keys of all sites change and change back, so that every chain starts anew.
    auto other = make_sites();
    for (auto& site : other) site.keys[0].secret[0] ^= 0xff;
    ingest->replace_sites(*BeaconSites::make(other, 1), seconds(30));
    ingest->replace_sites(*BeaconSites::make(make_sites(), 1), seconds(30));
    for (const auto& datagram : datagrams) {
      if (!ring->push(RingRecordKind::beacon, object_bytes(arrival), datagram))
        state.SkipWithError("ring full");
    }
    state.ResumeTiming();
    while (ingest->turn(at) != 0) {
    }
    state.PauseTiming();
    ingest->begin_drain();
    while (ingest->pop(out)) ++accepted;
    state.ResumeTiming();
  }
  if (accepted != datagrams.size() * static_cast<std::size_t>(state.iterations()))
    state.SkipWithError("lost");
  report_rate(state, datagrams.size(), datagrams[0].size());
}
BENCHMARK(ring_to_queue)->Arg(0)->Arg(4)->Arg(16)->Arg(62);

// Fills the socket with datagrams that are all new, signed just before; how they are taken out is what is timed.
class SocketLoad {
 public:
  explicit SocketLoad(const config::SocketAddress& to) {
    for (const auto& site : make_sites())
      senders_.push_back({beacon::site_tag(site.id), beacon::MacKey(site.keys[0].secret)});
    sockaddr_storage system{};
    const auto length = to_system(to, system);
    fd_ = UniqueFd(::socket(system.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd_ || ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&system), length) != 0)
      std::abort();
  }
  // One beacon of each site; all of one round carry the same time, as if they came at once.
  void fill() {
    ++sequence_;
    for (const auto& sender : senders_) {
      const beacon::Stamp stamp{sender.tag, 1, sequence_, at().wall.ns / 1'000'000, 1};
      bytes_ = beacon::encode(stamp, report_, sender.key, buffer_);
      if (bytes_ == 0 ||
          ::send(fd_.get(), buffer_.data(), bytes_, 0) != static_cast<ssize_t>(bytes_))
        std::abort();
    }
  }
  [[nodiscard]] Now at() const noexcept {
    const auto passed = seconds(static_cast<std::int64_t>(sequence_));
    return {received + passed, WallTime{sent.ns + passed.ns}};
  }
  [[nodiscard]] std::size_t count() const { return senders_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Sender {
    std::uint64_t tag;
    beacon::MacKey key;
  };
  std::vector<Sender> senders_;
  SiteReport report_ = make_report(4);
  std::array<std::byte, beacon::datagram_bytes_max> buffer_{};
  std::size_t bytes_ = 0;
  std::uint64_t sequence_ = 0;
  UniqueFd fd_;
};

constexpr config::SocketAddress loopback{IpAddress::from_ipv4(0x7f000001), 0};
constexpr unsigned rounds_a_fill = 4;  // a clock is read once for so many thousand datagrams

// The floor: recvmmsg in a loop, the bytes left where they are.
void socket_bare_drain(benchmark::State& state) {
  auto receiver = UdpReceiver::open(loopback, 4 << 20);
  if (!receiver) return state.SkipWithError(receiver.error().text().c_str());
  SocketLoad load(receiver->address());
  constexpr unsigned batch = UdpReceiver::batch_datagrams;
  std::vector<std::array<std::byte, beacon::datagram_bytes_max>> slots(batch);
  std::array<iovec, batch> vectors{};
  std::array<mmsghdr, batch> messages{};
  for (unsigned i = 0; i < batch; ++i) {
    vectors[i] = {slots[i].data(), slots[i].size()};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::size_t seen = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (unsigned round = 0; round < rounds_a_fill; ++round) load.fill();
    state.ResumeTiming();
    int count = 0;
    while ((count = ::recvmmsg(receiver->fd(), messages.data(), batch, MSG_DONTWAIT, nullptr)) > 0)
      seen += static_cast<std::size_t>(count);
  }
  if (seen != rounds_a_fill * load.count() * static_cast<std::size_t>(state.iterations()))
    state.SkipWithError("datagrams lost");
  report_rate(state, rounds_a_fill * load.count(), load.bytes());
}
BENCHMARK(socket_bare_drain);

// All are accepted: authenticated, fresh, decoded, in the engine's queue. Taking them out there is the engine's time.
void socket_through_ingest(benchmark::State& state) {
  Ingest::Options options;
  options.listen = {loopback};
  auto ingest = Ingest::open(std::move(options), *BeaconSites::make(make_sites(), 1));
  if (!ingest) return state.SkipWithError(ingest.error().text().c_str());
  SocketLoad load(ingest->listening()[0]);
  AcceptedBeacon out;
  std::size_t accepted = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (unsigned round = 0; round < rounds_a_fill; ++round) load.fill();
    const auto at = load.at();
    state.ResumeTiming();
    while (ingest->turn(at) != 0) {
    }
    state.PauseTiming();
    ingest->begin_drain();
    while (ingest->pop(out)) ++accepted;
    state.ResumeTiming();
  }
  if (accepted != rounds_a_fill * load.count() * static_cast<std::size_t>(state.iterations()))
    state.SkipWithError("beacons lost or refused");
  report_rate(state, rounds_a_fill * load.count(), load.bytes());
}
BENCHMARK(socket_through_ingest);

}  // namespace

BENCHMARK_MAIN();
