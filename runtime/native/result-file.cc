#include "runtime/native/result-file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "runtime/native/errors.h"

namespace edge {
namespace {

namespace fs = std::filesystem;

std::string Reason() { return std::strerror(errno); }

bool IsDevice(const std::string& path) {
  std::error_code unknown;
  const fs::file_status status = fs::status(path, unknown);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

// The first of `out.jsonl-1.part`, `out.jsonl-2.part`, ... that no file has.
std::string FreeName(const std::string& path) {
  for (int number = 1;; ++number) {
    const std::string name = path + "-" + std::to_string(number) + ".part";
    std::error_code unknown;
    if (!fs::exists(fs::symlink_status(name, unknown))) return name;
  }
}

}  // namespace

ResultFile::ResultFile(const std::string& path, bool overwrite)
    : path_(path), overwrite_(overwrite) {
  if (path.empty()) {
    file_ = STDOUT_FILENO;
    return;
  }
  if (IsDevice(path)) {
    file_ = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file_ < 0) throw ConfigError(path + " cannot be written: " + Reason());
    return;
  }
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) {
    throw ConfigError(path + " is a folder, expected the name of a file to write");
  }
  if (!overwrite && fs::exists(path, unknown)) {
    throw ConfigError(path + " exists; add --overwrite to replace it, or name another file");
  }
  part_ = PartName(path);
  Take();
}

void ResultFile::Take() {
  while (true) {
    file_ = open(part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) throw ConfigError(path_ + " cannot be written: " + Reason());
    if (flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(file_);
      file_ = -1;
      throw ConfigError(path_ + " is being written by another run; name another");
    }
    struct stat mine{};
    struct stat named{};
    const bool still_named = fstat(file_, &mine) == 0 && stat(part_.c_str(), &named) == 0 &&
                             mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
    if (still_named && mine.st_size == 0) return;
    if (still_named) {
      kept_ = FreeName(path_);
      if (std::rename(part_.c_str(), kept_.c_str()) != 0) {
        throw ConfigError(part_ + " cannot be kept: " + Reason());
      }
    }
    close(file_);
    file_ = -1;
  }
}

ResultFile::~ResultFile() {
  if (file_ < 0 || file_ == STDOUT_FILENO) return;
  if (!part_.empty() && !written_) unlink(part_.c_str());
  close(file_);
}

void ResultFile::Append(const std::string& lines) {
  std::size_t done = 0;
  while (done < lines.size()) {
    const ssize_t wrote = write(file_, lines.data() + done, lines.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      const std::string reason = Reason();
      // Whole lines only: half an object would break whoever reads the part.
      if (!part_.empty() && done > 0) {
        const off_t end = lseek(file_, 0, SEEK_CUR);
        if (ftruncate(file_, end - static_cast<off_t>(done)) != 0) written_ = true;
      }
      std::string text = "the results cannot be written: " + reason + "; is the disk full?";
      if (written_ && !part_.empty()) text += " Those so far are in " + part_;
      throw std::runtime_error(text);
    }
    done += static_cast<std::size_t>(wrote);
  }
  written_ = written_ || !lines.empty();
}

void ResultFile::Publish() {
  if (part_.empty()) return;
  if (fsync(file_) != 0) throw std::runtime_error(path_ + " cannot be written: " + Reason());
  written_ = true;
  int failed = 0;
  if (overwrite_) {
    failed = std::rename(part_.c_str(), path_.c_str());
  } else if (link(part_.c_str(), path_.c_str()) == 0) {
    unlink(part_.c_str());
  } else if (errno == EEXIST) {
    throw std::runtime_error(path_ + " appeared while it was being made, and is left as it is; " +
                             "this run's output is in " + part_);
  } else {
    failed = std::rename(part_.c_str(), path_.c_str());  // no second names here, as on FAT
  }
  if (failed != 0) throw std::runtime_error(part_ + " cannot be renamed: " + Reason());
  part_.clear();
}

}  // namespace edge
