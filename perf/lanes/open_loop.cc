// pharos-open-loop: asks a DNS server at times that are fixed beforehand, whatever comes back, and tells the latency.
//
// Queries go out as a Poisson process of a given rate, drawn from a seed. The latency of a query counts from the time
// when it was due, not from when this program came to send it: a generator that waits for a slow server would leave
// out just those queries that had to wait (coordinated omission). It ends when the reply reaches this machine's kernel,
// which notes the time (SO_TIMESTAMPNS), and not when this program comes to read it: replies are read where no query is
// due. One thread, which sleeps only where it is told to; sockets of the kernel. Prints one JSON object: what was sent
// and received, and percentiles in microseconds.
#include "pharos/base/bytes.hh"
#include "pharos/base/fd.hh"
#include "pharos/wire/name_text.hh"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <vector>

namespace {

using namespace pharos;

constexpr unsigned batch_max = 32;
constexpr std::int64_t read_ns = 4'000;  // what reading some replies takes
constexpr std::size_t reply_bytes_max = 1500;
constexpr double ns_a_second = 1e9;
constexpr std::int64_t drain_ns = 300'000'000;  // after the last query, for replies that are late, at the most

struct Options {
  std::string server;
  std::uint16_t port = 53;
  std::string queries;
  double rate = 10000;
  double seconds = 1;
  double warm_up_seconds = 0.2;
  unsigned sockets = 4;
  std::uint64_t seed = 1;
  bool sleep = false;
};

using Message = std::vector<std::byte>;

void append16(Message& to, unsigned value) {
  to.push_back(static_cast<std::byte>(value >> 8));
  to.push_back(static_cast<std::byte>(value));
}

// A query with an OPT record of 1232 bytes; its id comes when it is sent.
[[nodiscard]] Result<Message> query_of(const std::string& name, const std::string& type) {
  const auto wire = dns::parse_name(name);
  if (!wire) return std::unexpected(wire.error());
  if (type != "A" && type != "AAAA")
    return fail(ErrorCode::invalid, "type " + type + " is neither A nor AAAA");
  Message message;
  for (const unsigned field : {0U, 0U, 1U, 0U, 0U, 1U}) append16(message, field);
  const auto view = wire->view();
  message.insert(message.end(), view.begin(), view.end());
  for (const unsigned field : {type == "A" ? 1U : 28U, 1U}) append16(message, field);
  message.push_back(std::byte{0});
  for (const unsigned field : {41U, 1232U, 0U, 0U, 0U}) append16(message, field);
  return message;
}

[[nodiscard]] Result<std::vector<Message>> read_queries(const Options& options) {
  std::ifstream in(options.queries);
  std::vector<Message> messages;
  for (std::string line, name, type; std::getline(in, line);) {
    if (!(std::istringstream(line) >> name >> type)) continue;
    auto message = query_of(name, type);
    if (!message) return std::unexpected(std::move(message.error()).in(options.queries));
    messages.push_back(std::move(*message));
  }
  if (messages.empty()) return fail(ErrorCode::invalid, "no queries", options.queries);
  std::ranges::shuffle(messages, std::mt19937_64(options.seed));
  return messages;
}

// One connected socket, its ids, and when the query of each id was due.
struct Lane {
  UniqueFd socket;
  std::uint16_t next_id = 0;
  std::vector<std::int64_t> due_ns = std::vector<std::int64_t>(1U << 16, 0);  // 0: nothing is asked
};

// The clock of receive time stamps.
[[nodiscard]] std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

[[nodiscard]] Result<Lane> open_lane(const Options& options) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  if (::inet_pton(AF_INET, options.server.c_str(), &address.sin_addr) != 1)
    return fail(ErrorCode::invalid, "not an IPv4 address", options.server);
  Lane lane;
  lane.socket = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!lane.socket) return fail_errno("socket");
  const int buffer_bytes = 4 << 20;
  ::setsockopt(lane.socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
  const int on = 1;
  if (::setsockopt(lane.socket.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0)
    return fail_errno("setsockopt(SO_TIMESTAMPNS)");
  if (::connect(lane.socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("connect", options.server);
  return lane;
}

class Generator {
 public:
  Generator(const Options& options, std::vector<Message> messages, std::vector<Lane> lanes)
      : options_(options),
        messages_(std::move(messages)),
        lanes_(std::move(lanes)),
        random_(options.seed),
        gap_ns_(options.rate / ns_a_second) {}

  void run() {
    const std::int64_t start_ns = now_ns();
    counted_from_ns_ = start_ns + nanoseconds(options_.warm_up_seconds);
    const std::int64_t end_ns = counted_from_ns_ + nanoseconds(options_.seconds);
    double gone_ns = 0;
    const auto due_ns = [&] { return start_ns + static_cast<std::int64_t>(gone_ns); };
    for (std::int64_t now = start_ns; now < end_ns; now = now_ns()) {
      Lane& lane = lanes_[turn_++ % lanes_.size()];
      unsigned count = 0;
      while (count < batch_max && due_ns() <= now) {
        prepare(lane, count++, due_ns());
        gone_ns += gap_ns_(random_);
      }
      send(lane, count);
      if (due_ns() - now_ns() > read_ns) receive(lanes_[next_read_++ % lanes_.size()]);
      if (options_.sleep && count == 0) wait_until(due_ns());
    }
    for (const std::int64_t until = now_ns() + drain_ns; awaited_ > 0 && now_ns() < until;) {
      for (Lane& each : lanes_) receive(each);
    }
  }

  void print() {
    std::ranges::sort(latencies_us_);
    const auto at = [&](double share) {
      if (latencies_us_.empty()) return 0.0F;
      const auto last = static_cast<double>(latencies_us_.size() - 1);
      return latencies_us_[static_cast<std::size_t>(std::floor(share * last))];
    };
    fmt::print(
        "{{\"sent\": {}, \"received\": {}, \"unsent\": {}, \"seconds\": {}, \"p50\": {:.2f}, "
        "\"p90\": {:.2f}, \"p99\": {:.2f}, \"p999\": {:.2f}, \"max\": {:.2f}}}\n",
        sent_, latencies_us_.size(), unsent_, options_.seconds, at(0.5), at(0.9), at(0.99),
        at(0.999), at(1.0));
  }

 private:
  struct Control {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(timespec))> bytes;
  };

  // When the kernel had it.
  [[nodiscard]] static std::int64_t arrival_ns(msghdr& header) {
    const cmsghdr* control = CMSG_FIRSTHDR(&header);
    if (control == nullptr || control->cmsg_type != SCM_TIMESTAMPNS) return now_ns();
    const auto at = load<timespec>(reinterpret_cast<const std::byte*>(CMSG_DATA(control)));
    return at.tv_sec * 1'000'000'000 + at.tv_nsec;
  }

  [[nodiscard]] static std::int64_t nanoseconds(double seconds) {
    return static_cast<std::int64_t>(seconds * ns_a_second);
  }

  // For the next reply or query, whichever comes first.
  void wait_until(std::int64_t due_ns) {
    const std::int64_t left_ns = due_ns - now_ns();
    if (left_ns <= 0) return;
    const timespec left{.tv_sec = left_ns / 1'000'000'000, .tv_nsec = left_ns % 1'000'000'000};
    std::vector<pollfd> waiting;
    for (const Lane& lane : lanes_)
      waiting.push_back({.fd = lane.socket.get(), .events = POLLIN, .revents = 0});
    ::ppoll(waiting.data(), waiting.size(), &left, nullptr);
  }

  void prepare(Lane& lane, unsigned slot, std::int64_t due_ns) {
    Message& message = messages_[next_message_++ % messages_.size()];
    out_[slot].assign(message.begin(), message.end());
    const std::uint16_t id = lane.next_id++;
    out_[slot][0] = static_cast<std::byte>(id >> 8);
    out_[slot][1] = static_cast<std::byte>(id);
    lane.due_ns[id] = due_ns;
    ++awaited_;
    sent_ += due_ns >= counted_from_ns_ ? 1 : 0;
  }

  // What the kernel does not take is lost, and counts as a query that was sent and never answered.
  void send(Lane& lane, unsigned count) {
    if (count == 0) return;
    std::array<mmsghdr, batch_max> headers{};
    std::array<iovec, batch_max> parts{};
    for (unsigned i = 0; i < count; ++i) {
      parts[i] = {.iov_base = out_[i].data(), .iov_len = out_[i].size()};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int taken = ::sendmmsg(lane.socket.get(), headers.data(), count, 0);
    const unsigned left = count - static_cast<unsigned>(std::max(taken, 0));
    unsent_ += left;
    awaited_ -= left;
  }

  void receive(Lane& lane) {
    std::array<mmsghdr, batch_max> headers{};
    std::array<iovec, batch_max> parts{};
    std::array<Control, batch_max> controls;
    for (unsigned i = 0; i < batch_max; ++i) {
      parts[i] = {.iov_base = in_[i].data(), .iov_len = in_[i].size()};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
      headers[i].msg_hdr.msg_control = controls[i].bytes.data();
      headers[i].msg_hdr.msg_controllen = controls[i].bytes.size();
    }
    const int count =
        ::recvmmsg(lane.socket.get(), headers.data(), batch_max, MSG_DONTWAIT, nullptr);
    for (unsigned i = 0; i < static_cast<unsigned>(std::max(count, 0)); ++i) {
      if (headers[i].msg_len < 12) continue;
      const auto id = load<Be16>(in_[i].data());
      std::int64_t& due_ns = lane.due_ns[std::uint16_t{id}];
      if (due_ns >= counted_from_ns_)
        latencies_us_.push_back(static_cast<float>(arrival_ns(headers[i].msg_hdr) - due_ns) /
                                1000.0F);
      awaited_ -= due_ns != 0 ? 1 : 0;
      due_ns = 0;
    }
  }

  const Options& options_;
  std::vector<Message> messages_;
  std::vector<Lane> lanes_;
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_ns_;
  std::array<Message, batch_max> out_;
  std::array<std::array<std::byte, reply_bytes_max>, batch_max> in_{};
  std::vector<float> latencies_us_;
  std::size_t turn_ = 0;
  std::size_t next_read_ = 0;
  std::size_t next_message_ = 0;
  std::int64_t counted_from_ns_ = std::numeric_limits<std::int64_t>::max();
  std::uint64_t sent_ = 0;
  std::uint64_t unsent_ = 0;
  std::int64_t awaited_ = 0;  // replies to what was sent; those that an id's next query took the place of, too
};

Status generate(const Options& options) {
  auto messages = read_queries(options);
  if (!messages) return std::unexpected(messages.error());
  std::vector<Lane> lanes;
  for (unsigned i = 0; i < options.sockets; ++i) {
    auto lane = open_lane(options);
    if (!lane) return std::unexpected(lane.error());
    lanes.push_back(std::move(*lane));
  }
  Generator generator(options, std::move(*messages), std::move(lanes));
  generator.run();
  generator.print();
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Asks a DNS server on schedule, and prints rates and latencies as JSON."};
  app.set_version_flag("--version", PHAROS_VERSION);
  app.add_option("--server", options.server, "IPv4 address")->required();
  app.add_option("--port", options.port, "UDP port")->capture_default_str();
  app.add_option("--queries", options.queries, "file of \"name A\" or \"name AAAA\" lines")
      ->required();
  app.add_option("--rate", options.rate, "queries a second")->capture_default_str();
  app.add_option("--seconds", options.seconds, "that count")->capture_default_str();
  app.add_option("--warm-up", options.warm_up_seconds, "seconds before them")
      ->capture_default_str();
  app.add_option("--sockets", options.sockets, "source ports")
      ->capture_default_str()
      ->check(CLI::Range(1U, 64U));
  app.add_option("--seed", options.seed, "of the schedule and the order")->capture_default_str();
  app.add_flag("--sleep", options.sleep, "wait in the kernel between queries, instead of spinning");
  CLI11_PARSE(app, argc, argv);
  if (const auto status = generate(options); !status) {
    fmt::print(stderr, "pharos-open-loop: {}\n", status.error().text());
    return 1;
  }
  return 0;
}
