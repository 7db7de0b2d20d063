#include "pharos/shared/control_protocol.hh"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <vector>

namespace pharos::control {

using nlohmann::json;

namespace {

constexpr std::size_t command_bytes_max = 64;
constexpr std::array error_codes = {
    ErrorCode::invalid, ErrorCode::unsupported, ErrorCode::not_found, ErrorCode::conflict,
    ErrorCode::denied,  ErrorCode::unavailable, ErrorCode::exhausted};

// Whether brackets nest deeper than `nesting_max`: deeper values would make the recursive parts of
// the JSON library eat the stack. Text inside of strings does not count.
bool nests_too_deep(std::string_view text) {
  unsigned depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > nesting_max) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

// The JSON object of a message of our protocol version.
Result<json> parse_message(ConstBytes body) {
  const auto text = as_text(body);
  if (nests_too_deep(text)) {
    return fail(ErrorCode::invalid, "message nests deeper than " + std::to_string(nesting_max));
  }
  auto message = json::parse(text, nullptr, false);
  if (message.is_discarded()) return fail(ErrorCode::invalid, "message is not valid JSON");
  if (!message.is_object()) return fail(ErrorCode::invalid, "message is not a JSON object");
  const auto protocol = message.find("protocol");
  if (protocol == message.end() || !protocol->is_number_integer()) {
    return fail(ErrorCode::invalid, "message has no protocol version", {}, "send \"protocol\": 1");
  }
  if (*protocol != protocol_version) {
    return fail(ErrorCode::unsupported, "protocol version " + protocol->dump() + " is not known",
                {}, "this side speaks version " + std::to_string(protocol_version));
  }
  return message;
}

std::string text_member(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Error parse_error(const json& object) {
  Error error{ErrorCode::invalid, text_member(object, "what"), text_member(object, "where"),
              text_member(object, "hint")};
  const auto code = text_member(object, "code");
  const auto known = std::ranges::find(error_codes, code, [](ErrorCode c) { return name_of(c); });
  if (known != error_codes.end()) error.code = *known;
  if (error.what.empty()) error.what = "the daemon gave no reason";
  return error;
}

// ---- one call, for tools: a socket with a deadline over all of it ----

class Caller {
 public:
  Caller(UniqueFd fd, std::string path, Instant deadline)
      : fd_(std::move(fd)), path_(std::move(path)), deadline_(deadline) {}

  Status send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      } else if (auto waited = wait_after_error(POLLOUT, "send"); !waited) {
        return waited;
      }
    }
    return {};
  }

  Status receive_all(std::byte* to, std::size_t size_bytes) {
    while (size_bytes > 0) {
      const auto got = ::recv(fd_.get(), to, size_bytes, MSG_DONTWAIT);
      if (got == 0) {
        return fail(ErrorCode::unavailable, "the daemon closed the connection", path_,
                    "its log says why");
      }
      if (got > 0) {
        to += got;
        size_bytes -= static_cast<std::size_t>(got);
      } else if (auto waited = wait_after_error(POLLIN, "recv"); !waited) {
        return waited;
      }
    }
    return {};
  }

 private:
  Status wait_after_error(short events, const char* what) {
    if (errno == EINTR) return {};
    if (errno != EAGAIN && errno != EWOULDBLOCK) return fail_errno(what, path_);
    const auto left_ms = (deadline_ - monotonic_now()).ms();
    pollfd waiting{fd_.get(), events, 0};
    const int wait_ms =
        static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, std::numeric_limits<int>::max()));
    if (left_ms > 0 && ::poll(&waiting, 1, wait_ms) != 0) return {};
    return fail(ErrorCode::unavailable, "the daemon did not answer in time", path_,
                "it is busy or stopped; see its log");
  }

  UniqueFd fd_;
  std::string path_;
  Instant deadline_;
};

std::unexpected<Error> connect_failure(const std::string& path) {
  switch (errno) {
    case ENOENT:
    case ECONNREFUSED:
      return fail(ErrorCode::unavailable, "no daemon listens there", path,
                  "start it, for instance with systemctl, or name its --run-directory");
    case EACCES:
      return fail(ErrorCode::denied, "this user may not open the control socket", path,
                  "run as root, as the daemon's user, or as the user of control_uid");
    case EAGAIN:
      return fail(ErrorCode::unavailable, "the daemon takes no more connections", path);
    default:
      return fail_errno("connect", path);
  }
}

Result<UniqueFd> connect_to(const std::string& path, Duration timeout) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::invalid, "socket path is longer than 107 bytes", path,
                "choose a shorter run directory");
  }
  std::ranges::copy(path, address.sun_path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", path);
  const timeval limit{timeout.ns / 1'000'000'000, timeout.ns % 1'000'000'000 / 1'000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // bounds connect, too
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return connect_failure(path);
  }
  return fd;
}

}  // namespace

std::string socket_path(const std::string& directory, std::string_view daemon, Access access) {
  return directory + "/" + std::string(daemon) +
         (access == Access::read ? ".read.sock" : ".write.sock");
}

Result<std::pair<std::string, json>> parse_request(ConstBytes body) {
  auto message = parse_message(body);
  if (!message) return std::unexpected(std::move(message.error()));
  const auto command = message->find("command");
  if (command == message->end() || !command->is_string()) {
    return fail(ErrorCode::invalid, "request names no command");
  }
  auto name = command->get<std::string>();
  if (name.empty() || name.size() > command_bytes_max) {
    return fail(ErrorCode::invalid, "command name is empty or longer than 64 bytes");
  }
  auto arguments = json::object();
  if (const auto given = message->find("arguments"); given != message->end()) {
    if (!given->is_object()) {
      return fail(ErrorCode::invalid, "arguments of a request must be an object", name);
    }
    arguments = std::move(*given);
  }
  return std::pair(std::move(name), std::move(arguments));
}

Result<json> parse_response(ConstBytes body) {
  auto message = parse_message(body);
  if (!message) return message;
  const auto ok = message->find("ok");
  if (ok == message->end() || !ok->is_boolean()) {
    return fail(ErrorCode::invalid, "response says neither that it worked nor that it failed");
  }
  if (!ok->get<bool>()) {
    const auto error = message->find("error");
    return std::unexpected(
        parse_error(error != message->end() && error->is_object() ? *error : json::object()));
  }
  const auto result = message->find("result");
  return result != message->end() ? std::move(*result) : json();
}

Result<json> call(const std::string& socket_path, const std::string& command, const json& arguments,
                  Duration timeout) {
  const auto deadline = monotonic_now() + timeout;
  auto fd = connect_to(socket_path, timeout);
  if (!fd) return std::unexpected(std::move(fd.error()));
  Caller caller(std::move(*fd), socket_path, deadline);

  const json request = {
      {"protocol", protocol_version}, {"command", command}, {"arguments", arguments}};
  const auto body = request.dump(-1, ' ', false, json::error_handler_t::replace);
  if (body.size() > request_bytes_max) {
    return fail(ErrorCode::exhausted, "request is larger than 1 MiB", command);
  }
  const Be32 length = static_cast<std::uint32_t>(body.size());
  // A server that turns us away answers before it reads: its reason is worth more than our EPIPE,
  // and where there is none, receiving fails as sending did.
  (void)caller.send_all(std::string(as_text(object_bytes(length))) + body);
  std::array<std::byte, 4> prefix{};
  if (auto got = caller.receive_all(prefix.data(), prefix.size()); !got) {
    return std::unexpected(std::move(got.error()));
  }
  const std::uint32_t answer_length = load<Be32>(prefix.data());
  if (answer_length == 0 || answer_length > message_bytes_max) {
    return fail(ErrorCode::invalid, "response is empty or larger than 16 MiB", socket_path,
                "is that a Pharos daemon?");
  }
  std::vector<std::byte> answer(answer_length);
  if (auto got = caller.receive_all(answer.data(), answer.size()); !got) {
    return std::unexpected(std::move(got.error()));
  }
  return parse_response(answer);
}

}  // namespace pharos::control
