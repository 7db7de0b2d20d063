// What the key tables read with: the mistakes so far, and the facts that only make sense once all
// files are read.
//
// Values are read in the order of the tables and not of the file, so that an object's id is known
// before its other keys. A fact keeps its line, so that checks across objects (check.cc) can point
// at it. One Reader per load(); private to include/pharos/config.
#pragma once

#include "pharos/config/document.hh"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace pharos::config {

// What an id or a name stands for. Ids are unique within their kind and scope.
enum class Thing {
  site,
  locale,
  zone,
  service,
  service_name,
  endpoint,
  policy,
  port,
  device,
  port_address,
  exception_interface
};
[[nodiscard]] std::string_view name_of(Thing thing) noexcept;

struct Declaration {
  Thing thing;
  std::string scope;  // the service of an endpoint; empty elsewhere
  std::string id;
  Place place;
};

struct Reference {
  Thing thing;
  std::string id;
  std::string by;  // who refers: "endpoint 'a' of service 'www'"
  Place place;
};

struct PrefixUse {
  IpPrefix prefix;
  std::string locale;
  Place place;
};

struct Reader {
  explicit Reader(MistakeList& list) : mistakes(list) {}

  MistakeList& mistakes;
  bool secrets = true;  // false: key and data files are not opened, secrets stay zero
  std::string service;  // ids of the objects being read, for scopes and messages
  std::string locale;

  // Reads what the value of an `include` key names.
  std::function<void(Reader&, const Node&)> include;
  // Adds the zones whose files the value of a `zone_files` key names.
  std::function<void(Reader&, const Node&)> zone_files;

  std::vector<Declaration> declarations;
  std::vector<Reference> references;
  std::vector<PrefixUse> prefixes;

  void mistake(const Node& node, std::string what, std::string hint = {}) {
    mistakes.add(node.place, std::move(what), std::move(hint));
  }
  void mistake(const Node& node, const Error& error) {
    mistakes.add(node.place, error.what, error.hint);
  }

  // A path of the file, relative to the folder of the file in which it stands.
  [[nodiscard]] std::string path(const Node& node) const;
  // Reports a file that is not there or cannot be read.
  void require_file(const Node& node, const std::string& path);
};

// The contents of a file of at most file_bytes_max, or an Error whose `what` names it.
[[nodiscard]] Result<std::string> read_text(const std::string& path);

// What holds between objects and sections: ids, references, prefixes, names and zones. Fills
// defaults that come from other sections.
void check_everything(Reader& reader, Config& config);

}  // namespace pharos::config
