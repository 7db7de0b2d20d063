// Keys and certificates of a day, made where a test needs them: an issuer, a server, two clients of that issuer, and
// one that calls itself the same and has another issuer. Tests only.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

namespace pharos::controlplane {

struct TestCertificate {
  std::string certificate, key;  // files
  std::shared_ptr<X509> x509;
  std::shared_ptr<EVP_PKEY> pkey;
};

struct TestCertificates {
  explicit TestCertificates(const std::string& directory)
      : issuer(make(directory, "issuer", "issuer", nullptr)),
        server(make(directory, "server", "localhost", &issuer)),
        ops(make(directory, "ops", "ops", &issuer)),
        other(make(directory, "other", "other", &issuer)),
        foreign(make_foreign(directory)) {}

  TestCertificate issuer, server, ops, other, foreign;

 private:
  static TestCertificate make_foreign(const std::string& directory) {
    const auto another = make(directory, "another", "another", nullptr);
    return make(directory, "foreign", "ops", &another);
  }

  static TestCertificate make(const std::string& directory, const std::string& file,
                              const std::string& name, const TestCertificate* by) {
    TestCertificate made;
    made.certificate = directory + "/" + file + ".crt";
    made.key = directory + "/" + file + ".key";
    made.pkey.reset(EVP_EC_gen("P-256"), EVP_PKEY_free);
    made.x509.reset(X509_new(), X509_free);
    auto* x509 = made.x509.get();
    static long serial = 1;
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 86'400);
    X509_set_pubkey(x509, made.pkey.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    const auto* signer = by == nullptr ? &made : by;
    X509_set_issuer_name(x509, X509_get_subject_name(signer->x509.get()));
    if (by == nullptr) {
      std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> authority(
          X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE"),
          &X509_EXTENSION_free);
      X509_add_ext(x509, authority.get(), -1);
    }
    X509_sign(x509, signer->pkey.get(), EVP_sha256());
    write(made.certificate, [&](std::FILE* to) { return PEM_write_X509(to, x509); });
    write(made.key, [&](std::FILE* to) {
      return PEM_write_PrivateKey(to, made.pkey.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    ::chmod(made.key.c_str(), 0600);
    return made;
  }

  template <typename Put>
  static void write(const std::string& path, Put put) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"),
                                                               &std::fclose);
    if (!file || put(file.get()) != 1) throw std::runtime_error(path + " cannot be written");
  }
};

}  // namespace pharos::controlplane
