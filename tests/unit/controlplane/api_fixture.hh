// A whole daemon whose API listens on loopback, and clients of it. Tests only.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/api/callers.hh"
#include "pharos/controlplane/engine/daemon.hh"
#include "pharos/shared/control_protocol.hh"

#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sodium.h>

#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "daemon_files.hh"

namespace pharos::controlplane {

using nlohmann::json;

inline constexpr const char* reader_token = "pharos_reader";
inline constexpr const char* writer_token = "pharos_writer";

class ApiTest : public testing::Test, protected DaemonFiles {
 protected:
  ApiTest() {
    EXPECT_GE(sodium_init(), 0);
    write_tokens("[" + token_line("reader", "read", reader_token) + ", " +
                 token_line("writer", "write", writer_token) + "]");
  }

  static std::string text_of(const std::string& path) {
    const std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
  }
  [[nodiscard]] std::pair<int, json> post(const std::string& path, const json& body) const {
    return answer_of(client(writer_token).Post(path, body.dump(), "application/json"));
  }
  static std::string token_line(const char* id, const char* role, const char* token) {
    std::string digits(2 * 32 + 1, '\0');
    const auto hash = hash_of_token(token);
    sodium_bin2hex(digits.data(), digits.size(), hash.data(), hash.size());
    digits.pop_back();
    return std::string("{id: ") + id + ", role: " + role + ", hash: \"" + digits + "\"}";
  }
  void write_tokens(const std::string& tokens) const {
    write_config(services("www",
                          "[{id: fra, site: fra, address: 203.0.113.1}, "
                          "{id: sin, site: sin, address: 203.0.113.2}]") +
                 "controlplane: {api: {tokens: " + tokens + "}}\n");
  }

  // A daemon whose API listens at a port that the system chose.
  void start(const std::function<void(config::ApiConfig&)>& change = {}) {
    auto config = config::load(file());
    ASSERT_TRUE(config) << config.error().text();
    auto& api = config->controlplane.api;
    api.listen = {{*IpAddress::parse("127.0.0.1"), 0}};
    api.requests_per_second = 1e6;
    api.tokens = {{"reader", config::ApiRole::read, hash_of_token(reader_token)},
                  {"writer", config::ApiRole::write, hash_of_token(writer_token)}};
    if (change) change(api);
    auto daemon = Daemon::start(std::move(*config), false);
    ASSERT_TRUE(daemon) << daemon.error().text();
    daemon_ = std::move(*daemon);
    port_ = daemon_->api_listening().at(0).port;
  }

  [[nodiscard]] httplib::Client client(const char* token = nullptr) const {
    httplib::Client client("127.0.0.1", port_);
    if (token != nullptr) client.set_bearer_token_auth(token);
    return client;
  }
  [[nodiscard]] std::pair<int, json> get(const std::string& path, const char* token) const {
    return answer_of(client(token).Get(path));
  }
  [[nodiscard]] std::pair<int, json> put(const std::string& path, const json& body,
                                         const char* token) const {
    return answer_of(client(token).Put(path, body.dump(), "application/json"));
  }
  static std::pair<int, json> answer_of(const httplib::Result& result) {
    if (!result) return {-1, httplib::to_string(result.error())};
    return {result->status, json::parse(result->body, nullptr, false)};
  }

  // What comes back for these bytes until the other side closes.
  [[nodiscard]] std::string raw(const std::string& bytes) const {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    static_cast<void>(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
    ::shutdown(fd.get(), SHUT_WR);
    std::string all;
    std::array<char, 4096> buffer;
    for (;;) {
      pollfd waiting{.fd = fd.get(), .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 20'000) <= 0) return all + " (and hangs)";
      const auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return all;
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

  std::unique_ptr<Daemon> daemon_;
  std::uint16_t port_ = 0;
};

// The control socket of a data plane that knows one command; a thread answers.
class DataplaneSocket {
 public:
  DataplaneSocket(const std::string& run_directory, const char* name, control::Handler handler)
      : server_(*control::Server::open(run_directory, "dataplane", ::geteuid())) {
    server_.add({name, control::Access::read, "of the test", std::move(handler)});
    thread_ = std::thread([this] {
      while (!stopping_) server_.poll_once(milliseconds(5));
    });
  }
  ~DataplaneSocket() {
    stopping_ = true;
    thread_.join();
  }
  DataplaneSocket(const DataplaneSocket&) = delete;
  DataplaneSocket& operator=(const DataplaneSocket&) = delete;

 private:
  control::Server server_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// What it says of the hottest names.
inline Result<json> hottest_names(const json& arguments) {
  return json{{"per_second", 120.5},
              {"samples", 1000},
              {"sampling", true},
              {"rows", arguments.value("rows", 0)},
              {"names", json::array({{{"name", "www.example.org."},
                                      {"per_second", 80.5},
                                      {"uncertain_per_second", 0.1},
                                      {"share", 0.67},
                                      {"nxdomain_share", 0},
                                      {"dropped_share", 0}}})}};
}

}  // namespace pharos::controlplane
