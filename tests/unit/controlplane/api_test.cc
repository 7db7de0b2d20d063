// The API on loopback, over a whole daemon: who gets in, how often, and what it takes.
#include "pharos/base/log.hh"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "api_fixture.hh"
#include "test_certificates.hh"

namespace pharos::controlplane {
namespace {

TEST_F(ApiTest, KnowsCallersByTheirTokensAndLetsEachDoWhatItsRoleMay) {
  start();
  for (const char* token : {static_cast<const char*>(nullptr), "pharos_nobody", ""}) {
    const auto [status, body] = get("/v1/status", token);
    EXPECT_EQ(status, 401) << body;
    EXPECT_EQ(body["error"]["code"], "denied");
  }
  EXPECT_EQ(get("/metrics", nullptr).first, 401);
  EXPECT_EQ(get("/v1/status", reader_token).first, 200);
  const auto state = "/v1/services/www/endpoints/fra/state";
  const auto [status, body] = put(state, {{"state", "drain"}}, reader_token);
  EXPECT_EQ(status, 403) << body;
  EXPECT_EQ(put(state, {{"state", "drain"}}, writer_token).second["override"], "drain");
  // The generic path asks for the role of the command that it names.
  auto reader = client(reader_token);
  EXPECT_EQ(reader.Post("/v1/commands/reload", "{}", "application/json")->status, 403);
  EXPECT_EQ(reader.Post("/v1/commands/alarms", "{}", "application/json")->status, 200);
  EXPECT_EQ(reader.Post("/v1/commands/nonsense", "{}", "application/json")->status, 404);
}

TEST_F(ApiTest, StrangersMayReadOnlyWhereThatIsConfiguredAndOnlyByOurOwnName) {
  start([](config::ApiConfig& api) { api.anonymous_read = true; });
  EXPECT_EQ(get("/v1/status", nullptr).first, 200);
  EXPECT_EQ(put("/v1/log-level", {{"level", "info"}}, nullptr).first, 403);
  auto rebound = client();
  for (const char* host :
       {"evil.example", "127.evil.example", "evil.example:8053", "localhost.evil"})
    EXPECT_EQ(rebound.Get("/v1/status", {{"Host", host}})->status, 401) << host;
  EXPECT_EQ(rebound.Get("/v1/status", {{"Host", "localhost:8053"}})->status, 200);
}

TEST_F(ApiTest, HoldsEachCallerToItsRate) {
  start([](config::ApiConfig& api) { api.requests_per_second = 0.001; });
  auto reader = client(reader_token);
  EXPECT_EQ(reader.Get("/v1/alarms")->status, 200);
  const auto second = reader.Get("/v1/alarms");
  EXPECT_EQ(second->status, 429);
  EXPECT_GT(std::stoi(second->get_header_value("Retry-After")), 100);
  EXPECT_EQ(get("/v1/alarms", writer_token).first, 200) << "another caller has a rate of its own";
  EXPECT_EQ(get("/v1/alarms", "pharos_guess").first, 401);
  EXPECT_EQ(get("/v1/alarms", "pharos_guess2").first, 429) << "guesses count for the address";
}

TEST_F(ApiTest, TakesOnlyRequestsOfBoundedSizeAndSoundForm) {
  start();
  const std::string authorization = std::string("Authorization: Bearer ") + writer_token + "\r\n";
  const auto post = [&](const std::string& headers, const std::string& body) {
    return raw("POST /v1/reload HTTP/1.1\r\nHost: x\r\n" + authorization + headers + "\r\n" + body)
        .substr(0, 12);
  };
  const std::string as_json = "Content-Type: application/json\r\n";
  EXPECT_EQ(post(as_json + "Content-Length: 2\r\n", "{}"), "HTTP/1.1 200");
  EXPECT_EQ(post(as_json + "Content-Length: 1048577\r\n", std::string(1048577, ' ')),
            "HTTP/1.1 413");
  EXPECT_EQ(post(as_json + "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            "HTTP/1.1 411");
  EXPECT_EQ(post("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}"), "HTTP/1.1 415");
  EXPECT_EQ(post(as_json + "Content-Encoding: gzip\r\nContent-Length: 2\r\n", "{}"),
            "HTTP/1.1 415");
  EXPECT_EQ(post(as_json + "Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"), "HTTP/1.1 400");
  EXPECT_EQ(raw("GET /v1/status HTTP/1.1\r\nContent-Length: 5\r\n" + authorization + "\r\nGET /x")
                .substr(0, 12),
            "HTTP/1.1 400");
  EXPECT_EQ(raw("GET /" + std::string(2000, 'a') + " HTTP/1.1\r\n" + authorization + "\r\n")
                .substr(0, 12),
            "HTTP/1.1 414");
  std::string ranges = "Range: bytes=0-1";
  while (ranges.size() < 8000) ranges += ",0-1";
  const auto ranged =
      raw("GET /v1/alarms HTTP/1.1\r\nConnection: close\r\n" + authorization + ranges + "\r\n\r\n");
  EXPECT_LT(ranged.size(), 2000U) << "ranges do not multiply an answer";
  for (const std::string& nonsense :
       {std::string("\r\n\r\n"), std::string(100'000, 'A'), std::string("GET\r\n\r\n"),
        std::string("\x16\x03\x01\x02", 4), std::string("GET / HTTP/1.1\r\n")}) {
    EXPECT_EQ(raw(nonsense).find("hangs"), std::string::npos) << nonsense.substr(0, 20);
  }
  EXPECT_EQ(get("/v1/status", reader_token).first, 200) << "it lives";
}

TEST_F(ApiTest, TakesClientCertificatesOfItsIssuerAndTheirRoles) {
  const TestCertificates files(directory_);
  start([&](config::ApiConfig& api) {
    api.tokens = {{"reader", config::ApiRole::read, hash_of_token(reader_token)}};
    api.certificate = files.server.certificate;
    api.key = files.server.key;
    api.client_ca = files.issuer.certificate;
    api.clients = {{"ops", config::ApiRole::write}};
  });
  const auto status = [&](const TestCertificate* shown, const char* token) {
    httplib::SSLClient caller =
        shown == nullptr ? httplib::SSLClient("127.0.0.1", port_)
                         : httplib::SSLClient("127.0.0.1", port_, shown->certificate, shown->key);
    caller.enable_server_certificate_verification(false);
    if (token != nullptr) caller.set_bearer_token_auth(token);
    const auto result = caller.Put("/v1/log-level", R"({"level": "info"})", "application/json");
    return result ? result->status : -1;
  };
  EXPECT_EQ(status(&files.ops, nullptr), 200);
  EXPECT_EQ(status(&files.other, nullptr), 401) << "issued by ours, and not in the list";
  EXPECT_EQ(status(nullptr, nullptr), 401);
  EXPECT_EQ(status(nullptr, reader_token), 403) << "a token does without a certificate";
  EXPECT_EQ(status(&files.foreign, nullptr), -1) << "named as ours, and of another issuer";
  const auto plain = client(reader_token).Get("/v1/status");
  EXPECT_FALSE(plain && plain->status == 200) << "no plain HTTP where there is TLS";
  EXPECT_GT(daemon_->api_counters()->http.handshakes_failed, 0U);
}

TEST_F(ApiTest, AReloadChangesWhoMayCall) {
  start();
  EXPECT_EQ(get("/v1/alarms", reader_token).first, 200);
  write_tokens("[" + token_line("fresh", "write", "pharos_fresh") + "]");
  auto writer = client(writer_token);
  ASSERT_EQ(writer.Post("/v1/reload", "{}", "application/json")->status, 200);
  EXPECT_EQ(get("/v1/alarms", reader_token).first, 401);
  EXPECT_EQ(get("/v1/alarms", "pharos_fresh").first, 200);
}

// Where it listens only a restart changes, so what the new configuration allows on loopback is not allowed elsewhere.
TEST_F(ApiTest, AReloadOpensNothingBeyondLoopback) {
  const TestCertificates files(directory_);
  start([&](config::ApiConfig& api) {
    api.listen = {{*IpAddress::parse("0.0.0.0"), 0}};
    api.certificate = files.server.certificate;
    api.key = files.server.key;
  });
  write_tokens("[" + token_line("fresh", "write", "pharos_fresh") + "], anonymous_read: true");
  ASSERT_TRUE(daemon_->reload({}));
  const auto plain = client("pharos_fresh").Get("/v1/alarms");
  EXPECT_FALSE(plain) << "no token goes over plain HTTP";
  const auto status = [&](const char* token) {
    httplib::SSLClient caller("127.0.0.1", port_);
    caller.enable_server_certificate_verification(false);
    if (token != nullptr) caller.set_bearer_token_auth(token);
    const auto result = caller.Get("/v1/alarms", {{"Host", "localhost"}});
    return result ? result->status : -1;
  };
  EXPECT_EQ(status(nullptr), 401);
  EXPECT_EQ(status(reader_token), 401) << "it was taken away";
  EXPECT_EQ(status("pharos_fresh"), 200);
}

TEST_F(ApiTest, WhoIsDeniedWritesNoLinesOfTheLog) {
  start();
  std::ostringstream lines;
  const auto former = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines)));
  EXPECT_EQ(get("/v1/x%0Aall%20is%20well%1B%5B2J", nullptr).first, 401);
  spdlog::set_default_logger(former);
  EXPECT_NE(lines.str().find("x?all is well?[2J"), std::string::npos) << lines.str();
}

// A browser shows its user's certificate, whichever page asks: a form without a body would do.
TEST_F(ApiTest, PagesFromElsewhereChangeNothing) {
  start();
  const auto status = [&](const char* origin) {
    return client(writer_token)
        .Post("/v1/reload", {{"Origin", origin}}, "", "application/json")
        ->status;
  };
  EXPECT_EQ(status("https://evil.example"), 403);
  EXPECT_EQ(status("null"), 403);
  EXPECT_EQ(status(("http://127.0.0.1:" + std::to_string(port_)).c_str()), 200);
  EXPECT_EQ(client(reader_token).Get("/v1/alarms", {{"Origin", "null"}})->status, 200);
}

TEST_F(ApiTest, EveryAnswerTellsBrowsersToTakeItForWhatItIs) {
  start();
  for (const char* request : {"GET /v1/status HTTP/1.1\r\n\r\n", "BREW / HTTP/1.1\r\n\r\n",
                              "GET /v1/status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    const auto answer = raw(request);
    EXPECT_NE(answer.find("X-Content-Type-Options: nosniff"), std::string::npos) << answer;
    EXPECT_NE(answer.find("Content-Security-Policy: default-src 'none'"), std::string::npos);
    EXPECT_NE(answer.find(R"({"error":{"code":)"), std::string::npos) << answer;
  }
}

TEST_F(ApiTest, SpeaksOnlyTlsThatKeepsThePastSecret) {
  const TestCertificates files(directory_);
  start([&](config::ApiConfig& api) {
    api.certificate = files.server.certificate;
    api.key = files.server.key;
  });
  const auto status = [&](int version_max, const char* ciphers) {
    httplib::SSLClient caller("127.0.0.1", port_);
    caller.enable_server_certificate_verification(false);
    SSL_CTX_set_min_proto_version(caller.ssl_context(), 0);
    SSL_CTX_set_max_proto_version(caller.ssl_context(), version_max);
    EXPECT_EQ(SSL_CTX_set_cipher_list(caller.ssl_context(), ciphers), 1) << ciphers;
    caller.set_bearer_token_auth(reader_token);
    const auto result = caller.Get("/v1/alarms");
    return result ? result->status : -1;
  };
  EXPECT_EQ(status(TLS1_3_VERSION, "DEFAULT"), 200);
  EXPECT_EQ(status(TLS1_2_VERSION, "DEFAULT"), 200);
  EXPECT_EQ(status(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"), 200);
  EXPECT_EQ(status(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA"), -1) << "its MAC is beside the cipher";
  EXPECT_EQ(status(TLS1_1_VERSION, "ALL:@SECLEVEL=0"), -1);
}

TEST_F(ApiTest, ServesANewCertificateWithoutARestart) {
  const TestCertificates files(directory_);
  start([&](config::ApiConfig& api) {
    api.certificate = files.server.certificate;
    api.key = files.server.key;
  });
  const auto serves = [&](const TestCertificate& certificate) {
    httplib::SSLClient caller("127.0.0.1", port_);
    caller.enable_server_certificate_verification(true);
    caller.set_ca_cert_path(certificate.certificate.c_str());
    const auto result = caller.Get("/");
    return result ? X509_V_OK : caller.get_openssl_verify_result();
  };
  constexpr long of_another = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
  ASSERT_NE(serves(files.issuer), of_another);
  std::filesystem::rename(files.foreign.key, files.server.key);
  std::filesystem::rename(files.foreign.certificate, files.server.certificate);
  const auto until = monotonic_now() + seconds(20);
  while (monotonic_now() < until && serves(files.issuer) != of_another) {
  }
  EXPECT_EQ(serves(files.issuer), of_another);
}

TEST_F(ApiTest, RefusesAKeyThatEverybodyCanRead) {
  const TestCertificates files(directory_);
  ::chmod(files.server.key.c_str(), 0644);
  config::ApiConfig api;
  api.certificate = files.server.certificate;
  api.key = files.server.key;
  const auto refused = HttpDoor::open(api, {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text().find("chmod o= " + api.key), std::string::npos)
      << refused.error().text();
}

TEST(CallersTest, AFloodOfStrangersTakesNothingFromThoseThatAreKnown) {
  config::ApiConfig config;
  config.requests_per_second = 0.001;
  Callers callers(config);
  const Instant now{};
  for (std::size_t i = 0; i < strangers_max; ++i)
    EXPECT_EQ(callers.take(nullptr, "block " + std::to_string(i), now), 0);
  EXPECT_GT(callers.take(nullptr, "one more", now), 0);
  const Caller known{"token grafana", config::ApiRole::read};
  EXPECT_EQ(callers.take(&known, "one more", now), 0);
  EXPECT_GT(callers.take(&known, "one more", now), 0) << "it has a rate, too";
  // Once the strangers' buckets are full again there is room for others.
  EXPECT_EQ(callers.take(nullptr, "one more", now + seconds(1001)), 0);
}

TEST(CallersTest, OneHostWithAWholeBlockOfIPv6CountsOnce) {
  const auto block = [](const char* address) { return peer_block(*IpAddress::parse(address)); };
  EXPECT_EQ(block("2001:db8:1:2::3"), block("2001:db8:1:2:ffff:ffff:ffff:ffff"));
  EXPECT_NE(block("2001:db8:1:2::3"), block("2001:db8:1:3::3"));
  EXPECT_NE(block("192.0.2.1"), block("192.0.2.2"));
}

}  // namespace
}  // namespace pharos::controlplane
