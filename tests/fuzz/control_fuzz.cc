// Any bytes on a control socket: as a message body, and as a stream that a server reads and answers.
#include "pharos/shared/control_protocol.hh"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace {

using namespace pharos;
using nlohmann::json;

void require(bool holds) {
  if (!holds) std::abort();
}

// A server in a directory of its own, which goes with the process.
class Target {
 public:
  Target() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pharos-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    auto opened = control::Server::open(directory_, "fuzz", ::geteuid());
    require(opened.has_value());
    server_ = std::move(*opened);
    server_->add({"echo", control::Access::read, "gives back what it got",
                  [](const json& arguments) -> Result<json> { return arguments; }});
    server_->add({"need", control::Access::read, "needs an argument",
                  [](const json& a) -> Result<json> { return a.at("n").get<int>(); }});
  }
  ~Target() {
    server_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void feed(std::string_view bytes) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto path = control::socket_path(directory_, "fuzz", control::Access::read);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    require(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    std::string answers;
    for (bool open = true; open;) {
      if (!bytes.empty()) {
        const auto sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
        if (sent < 0 && errno != EAGAIN) bytes = {};
      }
      if (bytes.empty()) ::shutdown(fd.get(), SHUT_WR);
      server_->poll_once({});
      char buffer[65536];
      const auto got = ::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (got > 0) answers.append(buffer, static_cast<std::size_t>(got));
      open = got > 0 || (got < 0 && errno == EAGAIN);
    }
    check_answers(answers);
  }

 private:
  // Whatever came in, what goes out is whole messages.
  static void check_answers(std::string_view bytes) {
    while (!bytes.empty()) {
      require(bytes.size() >= 4);
      const std::uint32_t length = load<Be32>(bytes.data());
      require(length != 0 && bytes.size() - 4 >= length);
      const auto answer = control::parse_response(as_bytes(bytes.substr(4, length)));
      require(answer.has_value() || !answer.error().what.empty());
      bytes.remove_prefix(4 + std::size_t{length});
    }
  }

  std::string directory_;
  std::optional<control::Server> server_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Target target;
  const ConstBytes body(reinterpret_cast<const std::byte*>(data), size);
  if (const auto request = control::parse_request(body)) {
    const auto again =
        json{{"protocol", 1}, {"command", request->first}, {"arguments", request->second}};
    const auto text = again.dump(-1, ' ', false, json::error_handler_t::replace);
    const auto parsed = control::parse_request(as_bytes(text));
    require(parsed.has_value() && parsed->first == request->first);
  }
  (void)control::parse_response(body);
  target.feed(as_text(body));
  return 0;
}
