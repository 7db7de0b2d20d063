// The control sockets: how pharosctl and other tools speak to the daemons.
//
// Each daemon listens at two unix stream sockets in its run directory:
//   <daemon>.read.sock    mode 0666: commands that only look
//   <daemon>.write.sock   mode 0600: all commands; peers must be root, the daemon's user or `control.uid`
// A message is a length (u32, network order, at most 16 MiB) and that many bytes of JSON.
//
//   request   {"protocol": 1, "command": "status", "arguments": {...}}
//   response  {"protocol": 1, "ok": true, "result": ...}
//             {"protocol": 1, "ok": false, "error": {"code": "not_found", "what": "...", "where": "...", "hint": "..."}}
//
// A connection may carry any number of requests, answered in order.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/base/clock.hh"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pharos::control {

inline constexpr int protocol_version = 1;
inline constexpr std::uint32_t message_bytes_max = 16U << 20;
inline constexpr unsigned connections_max = 32;

enum class Access { read, write };

using Handler = std::function<Result<nlohmann::json>(const nlohmann::json& arguments)>;

struct Command {
  std::string name;
  Access access = Access::read;
  std::string summary;  // one line, for `pharosctl commands`
  Handler handler;
};

// Serves both sockets of a daemon from one thread. Not hot, not shared: `poll_once` is called by its owner.
class Server {
 public:
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  // Opens <directory>/<daemon>.read.sock and .write.sock, replacing dead ones. Errors: unavailable, conflict.
  [[nodiscard]] static Result<Server> open(const std::string& directory, const std::string& daemon,
                                           unsigned allowed_uid);
  void add(Command command);
  // Waits at most `timeout` for traffic, then reads, answers and closes what there is. Slow or silent peers are
  // dropped after 10 s; a bad message gets an error and its connection is closed.
  void poll_once(Duration timeout);
  // For owners with a poll set of their own: readable when poll_once(0) has work (an epoll descriptor).
  [[nodiscard]] int fd() const noexcept;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// One request and its response's result. Errors: unavailable (no daemon there: hint says how to start it), denied,
// and whatever the daemon answered.
[[nodiscard]] Result<nlohmann::json> call(const std::string& socket_path, const std::string& command,
                                          const nlohmann::json& arguments, Duration timeout = seconds(10));

// Encodes and decodes one message body; fuzzed.
[[nodiscard]] Result<std::pair<std::string, nlohmann::json>> parse_request(ConstBytes body);

}  // namespace pharos::control
