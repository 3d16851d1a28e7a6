// The file that results are written to: one process writes it, it appears when it is whole, and
// what was written stays, whatever ends the process. The rules are those of runtime/parts.py.
#pragma once

#include <string>

namespace edge {

class ResultFile {
 public:
  // The name of a file until it is whole.
  static std::string PartName(const std::string& path) { return path + ".part"; }

  // Opens `<path>.part`, alone. What a run that was cut off left there is kept as `<path>-N.part`.
  // A device, such as /dev/null, is written itself. An empty path is stdout.
  // Throws ConfigError when the file is there already, unless `overwrite`, when another process
  // writes it, or when it cannot be made.
  ResultFile(const std::string& path, bool overwrite);
  ~ResultFile();
  ResultFile(const ResultFile&) = delete;
  ResultFile& operator=(const ResultFile&) = delete;

  // Appends whole lines, or none. Throws std::runtime_error when the disk is full or gone.
  void Append(const std::string& lines);
  // Gives the file its name. Throws std::runtime_error when one of that name appeared meanwhile.
  void Publish();
  // Where the results are until then; empty for stdout and devices.
  const std::string& part() const { return part_; }
  // What an earlier run left, under its new name; empty where there was nothing.
  const std::string& kept() const { return kept_; }

 private:
  void Take();

  std::string path_;
  std::string part_;
  std::string kept_;
  bool overwrite_;
  bool written_ = false;
  int file_ = -1;
};

}  // namespace edge
