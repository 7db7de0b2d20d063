#include "local_line.hh"

#include "pharos/config/model.hh"
#include "pharos/controlplane/ctl/local.hh"

#include <ostream>

namespace pharos::controlplane::ctl {

LocalLine::LocalLine(CLI::App& app, LineHooks hooks, const Terminal& terminal)
    : hooks_(std::move(hooks)), terminal_(terminal) {
  add_images();
  add_config();
  add_secrets();
  hooks_.add(&app, "version", "version of pharosctl",
             [this] { return put("pharosctl " PHAROS_VERSION "\n"); });
}

Status LocalLine::put(const std::string& text) const {
  terminal_.out << text;
  return {};
}

void LocalLine::add_images() {
  auto* image = hooks_.add_group("image", "table images on disk");
  for (const bool dump : {true, false}) {
    auto* command = hooks_.add(
        image, dump ? "dump" : "check", dump ? "prove images and print them" : "prove images",
        [this, dump] { return image_command(files_, dump, hooks_.as_json(), terminal_); });
    command
        ->add_option("file", files_,
                     "images; before a ranking delta, its base and the deltas between")
        ->required();
  }
}

void LocalLine::add_config() {
  config_ = hooks_.add_group("config", "the configuration file");
  hooks_.add(config_, "schema", "print its JSON schema", [this] { return put(config::schema()); });
  hooks_.add(config_, "reference", "print all keys as Markdown",
             [this] { return put(config::reference()); });
  auto* check =
      hooks_.add(config_, "check", "check a configuration file, without a daemon",
                 [this] { return check_config(files_.at(0), hooks_.as_json(), terminal_); });
  check->add_option("file", files_, "the configuration file")->required()->expected(1);
}

void LocalLine::add_secrets() {
  auto* key = hooks_.add_group("key", "keys of beacons and cookies");
  auto* generate = hooks_.add(
      key, "generate", "print a fresh key as a line of the configuration",
      [this] { return generate_key({key_id_, key_bytes_, bare_}, hooks_.as_json(), terminal_); });
  generate->add_option("--id", key_id_, "id of the key")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  generate
      ->add_option("--bytes", key_bytes_,
                   "length of the secret: 32 of beacons, 16 of cookies and of the client key")
      ->check(CLI::IsMember({16U, 32U}))
      ->capture_default_str();
  generate->add_flag("--bare", bare_, "only the secret, for a key file");
  auto* token = hooks_.add_group("token", "tokens of the API");
  auto* make =
      hooks_.add(token, "generate", "print a fresh token, and the line that lets it in",
                 [this] { return generate_token(id_, role_, hooks_.as_json(), terminal_); });
  make->add_option("--id", id_, "who holds it")->required();
  make->add_option("--role", role_, "read or write")
      ->check(CLI::IsMember({"read", "write"}))
      ->required();
}

}  // namespace pharos::controlplane::ctl
