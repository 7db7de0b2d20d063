// The control sockets: how pharosctl and other tools speak to the daemons.
//
// Each daemon listens at two unix stream sockets in its run directory:
//   <daemon>.read.sock    mode 0666: commands that only look
//   <daemon>.write.sock   mode 0600: all commands; peers must be root, the daemon's user, or
//                         `control_uid` (then the mode is 0666 and credentials alone decide)
// A message is a length (u32, network order) and that many bytes of JSON: requests up to 1 MiB,
// responses up to 16.
//
//   0        4
//   +--------+------------------+
//   | length | JSON, UTF-8      |     nested at most 32 deep
//   +--------+------------------+
//
//   request   {"protocol": 1, "command": "status", "arguments": {...}}
//   response  {"protocol": 1, "ok": true, "result": ...}
//             {"protocol": 1, "ok": false,
//              "error": {"code": "not_found", "what": "...", "where": "...", "hint": "..."}}
//
// A connection may carry any number of requests, answered in order.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pharos::control {

inline constexpr int protocol_version = 1;
inline constexpr std::uint32_t message_bytes_max = 16U << 20;
// Anyone may send requests: 32 connections on each socket times 1 MiB bound what they can cost.
inline constexpr std::uint32_t request_bytes_max = 1U << 20;
inline constexpr unsigned connections_max = 32;  // of each socket: readers cannot crowd writers out
inline constexpr unsigned nesting_max = 32;
inline constexpr Duration peer_patience = seconds(10);

enum class Access { read, write };

using Handler = std::function<Result<nlohmann::json>(const nlohmann::json& arguments)>;

enum class Pace {
  brief,  // runs where it is taken from the socket; those that change something, one at a time
  lengthy,  // may take its time: has a thread of its own, and its handler guards what it shares with others
};
// Lengthy commands that run at once, of those that only look and of those that change something; more wait.
inline constexpr unsigned lengthy_max = 4;

struct Command {
  std::string name;
  Access access = Access::read;
  std::string summary;  // one line, for `pharosctl commands`
  Handler handler;      // of those that only look: may run in several threads at once
  Pace pace = Pace::brief;
  bool changes =
      true;  // of those with Access::write: something, and not only looks where not all may look
};

// Who is at the other end of a socket, as the kernel knows it (SO_PEERCRED).
struct Peer {
  unsigned uid = 0;
  int pid = 0;
};
// Is told of each command over a socket that changes something, with its outcome, and of who was denied one (an empty name:
// the socket itself). In the thread that ran it, before the answer is on its way; several threads at once.
using Witness = std::function<void(const Peer& peer, const std::string& command,
                                   const nlohmann::json& arguments, const Status& outcome)>;

// Serves both sockets of a daemon from one thread, and lengthy commands from others. Not hot, not shared: `poll_once` is
// called by its owner.
class Server {
 public:
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  // Opens <directory>/<daemon>.read.sock and .write.sock, replacing dead ones; makes the directory
  // where it is missing. A lock file keeps a second daemon out. `allowed_uid`: may write beside
  // root and ours; ours where there is no such user. Errors: unavailable, conflict (another daemon
  // is there), invalid (path too long).
  [[nodiscard]] static Result<Server> open(const std::string& directory, const std::string& daemon,
                                           unsigned allowed_uid);
  // Before anything is served.
  void set_witness(Witness witness);
  // A later command replaces one of the same name. `commands` is there from the start: all of them,
  // for people.
  void add(Command command);
  // Runs a command as if it had come over a socket of this access, in the caller's thread; any thread, once all commands
  // are added. Waits as the sockets do: see Pace.
  [[nodiscard]] Result<nlohmann::json> run(Access access, const std::string& command,
                                           const nlohmann::json& arguments);
  // The access that a command needs; nothing where there is no such command.
  [[nodiscard]] std::optional<Access> access_of(const std::string& command) const;
  // Whether a command changes something; not where there is no such command.
  [[nodiscard]] bool changes(const std::string& command) const;
  // Waits at most `timeout` for traffic, then reads, answers and closes what there is. Slow or
  // silent peers are dropped after `peer_patience`; a bad message gets an error and its connection
  // is closed. What a handler throws becomes an `invalid` error. Never blocks on a peer.
  void poll_once(Duration timeout);
  // Closes connections that made no progress since `peer_patience` before `now`. poll_once() does
  // this by itself.
  void drop_slow_peers(Instant now);
  // Waits for the lengthy commands of the sockets that still run; nobody polls any more. Before what their handlers use
  // goes.
  void finish();
  // For owners with a poll set of their own: readable when poll_once(0) has work (an epoll
  // descriptor).
  [[nodiscard]] int fd() const noexcept;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// One request and its response's result. Errors: unavailable (no daemon there: hint says how to
// start it), denied, and whatever the daemon answered.
[[nodiscard]] Result<nlohmann::json> call(const std::string& socket_path,
                                          const std::string& command,
                                          const nlohmann::json& arguments,
                                          Duration timeout = seconds(10));

// Where a daemon ("dataplane", "controlplane") listens.
[[nodiscard]] std::string socket_path(const std::string& directory, std::string_view daemon,
                                      Access access);

// Decode one message body; fuzzed. Requests: command and arguments, an empty object where there are
// none. Errors: invalid, unsupported (another protocol version). Responses: the result, or the
// error inside of it.
[[nodiscard]] Result<std::pair<std::string, nlohmann::json>> parse_request(ConstBytes body);
[[nodiscard]] Result<nlohmann::json> parse_response(ConstBytes body);

}  // namespace pharos::control
