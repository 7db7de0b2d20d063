// How many targets one core probes: CPU time of the prober's thread by look, by kind; `items_per_second` is looks a second that one
// core has time for, so targets at an interval of one second. Targets of TCP are addresses of their own in 127.0.0.0/8. All are
// served by another thread; on loopback the kernel does much of the server's work in our time, so that real targets cost less.
#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/controlplane/probe/prober.hh"
#include "pharos/wire/dns.hh"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <thread>

namespace {

using namespace pharos;

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Accepts, answers one line to whoever asks, and echoes DNS queries as answers; at every address of this machine.
class Server {
 public:
  Server() : stream_(bound(SOCK_STREAM, stream_port)), datagrams_(bound(SOCK_DGRAM, dns_port)) {
    if (::listen(stream_.get(), 4096) != 0) std::abort();
    epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    for (const int fd : {stream_.get(), datagrams_.get()}) add(fd);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    ending_.store(true,
                  std::memory_order_relaxed);  // relaxed: orders nothing, the thread is joined
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t stream_port = 0, dns_port = 0;

 private:
  static UniqueFd bound(int type, std::uint16_t& port) {
    UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_storage system{};
    auto length = controlplane::to_system({IpAddress::from_ipv4(0), 0}, system);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&system), length) != 0) std::abort();
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&system), &length);
    port = controlplane::from_system(system).port;
    return fd;
  }
  void add(int fd) const {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) ::close(fd);
  }
  void serve() const {
    std::array<epoll_event, 256> events;
    while (!ending_.load(std::memory_order_relaxed)) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), 256, 20);
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
    }
  }
  void handle(int fd) const {
    std::array<char, 2048> buffer;
    if (fd == stream_.get()) {
      for (int peer = 0;
           (peer = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
        add(peer);
    } else if (fd == datagrams_.get()) {
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      ssize_t got = 0;
      while ((got = ::recvfrom(fd, buffer.data(), buffer.size(), 0,
                               reinterpret_cast<sockaddr*>(&from), &length)) >= 12) {
        buffer[2] |= static_cast<char>(0x80);
        buffer[7] = 1;  // one answer, which the probe does not look for
        ::sendto(fd, buffer.data(), static_cast<std::size_t>(got), 0,
                 reinterpret_cast<const sockaddr*>(&from), length);
      }
    } else {
      constexpr std::string_view reply = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok\n";
      if (::recv(fd, buffer.data(), buffer.size(), 0) > 0)
        static_cast<void>(::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL));
      ::close(fd);
    }
  }

  UniqueFd stream_, datagrams_, epoll_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

void probes(benchmark::State& state, probe::Kind kind) {
  ::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const Server server;
  auto prober = probe::Prober::open(1);
  if (!prober) return state.SkipWithError(prober.error().text().c_str());
  const auto targets = static_cast<std::size_t>(state.range(0));
  for (std::size_t i = 0; i < targets; ++i) {
    probe::Spec spec;
    spec.target.kind = kind;
    const bool dns = kind == probe::Kind::dns;
    const auto address = dns ? 0x7f000001U : 0x7f010000U + static_cast<std::uint32_t>(i);
    spec.target.to = {IpAddress::from_ipv4(address), dns ? server.dns_port : server.stream_port};
    spec.timeout = seconds(5);
    prober->add(std::move(spec), monotonic_now());
  }
  const auto run_until = [&](std::uint64_t looks) {
    while (prober->looks() < looks) {
      pollfd wait{prober->fd(), POLLIN, 0};
      const auto rest = std::max((prober->next_time() - monotonic_now()).ns, std::int64_t{0});
      const timespec patience{rest / 1'000'000'000, rest % 1'000'000'000};
      ::ppoll(&wait, 1, &patience, nullptr);
      prober->turn(monotonic_now());
    }
  };
  run_until(targets);  // each has had its first look
  for (auto _ : state) {
    const auto wanted = prober->looks() + targets;
    const double began = thread_seconds();
    run_until(wanted);
    state.SetIterationTime(thread_seconds() - began);
  }
  std::size_t up = 0;
  for (std::size_t i = 0; i < targets; ++i) up += prober->up(i) == true;
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(targets));
  state.counters["up"] = static_cast<double>(up);
}
BENCHMARK_CAPTURE(probes, tcp, probe::Kind::tcp)->Arg(20'000)->UseManualTime()->Iterations(3);
BENCHMARK_CAPTURE(probes, http, probe::Kind::http)->Arg(20'000)->UseManualTime()->Iterations(3);
BENCHMARK_CAPTURE(probes, dns, probe::Kind::dns)->Arg(20'000)->UseManualTime()->Iterations(3);

}  // namespace

BENCHMARK_MAIN();
