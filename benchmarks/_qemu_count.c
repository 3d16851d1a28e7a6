// A plugin of qemu's: counts the guest instructions that ran until each write to standard output.
//
// cc -O2 -shared -fPIC _qemu_count.c -o count.so
// qemu-aarch64 -plugin count.so,out=FILE program
//
// FILE gets one line per write: "all NUMBER dot NUMBER ...", each since the start. Debian's qemu
// ships no header for plugins; what is declared here is version 1 of the interface.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t PluginId;
typedef struct qemu_plugin_tb Block;
typedef struct qemu_plugin_insn Instruction;

void qemu_plugin_register_vcpu_tb_trans_cb(PluginId id, void (*call)(PluginId, Block*));
void qemu_plugin_register_vcpu_tb_exec_cb(Block* block, void (*call)(unsigned, void*), int flags,
                                          void* data);
void qemu_plugin_register_vcpu_syscall_cb(PluginId id,
                                          void (*call)(PluginId, unsigned, int64_t, uint64_t,
                                                       uint64_t, uint64_t, uint64_t, uint64_t,
                                                       uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const Block* block);
Instruction* qemu_plugin_tb_get_insn(const Block* block, size_t index);
const void* qemu_plugin_insn_data(const Instruction* instruction);

EXPORT int qemu_plugin_version = 1;

// One bit pattern of A64 each, vectors of registers and by element; two lines of a name add up.
static const struct {
  const char* name;
  uint32_t mask, value;
} kKinds[] = {
    {"dot", 0x9fe0fc00, 0x0e809400},       // SDOT, UDOT: four int8 products into each int32
    {"dot", 0x9fc0f400, 0x0f80e000},       // by element
    {"matrix", 0xdfe0fc00, 0x4e80a400},    // SMMLA, UMMLA: eight int8 products into each int32
    {"widening", 0xbf20bc00, 0x0e208000},  // SMULL, SMLAL: int8 into int16, int16 into int32
    {"widening", 0xbf007400, 0x0f002000},  // by element
    {"float", 0xbfa0fc00, 0x0e20cc00},     // FMLA of float32 and float64
    {"float", 0xbf80f400, 0x0f801000},     // by element
};
enum { kNumKinds = sizeof(kKinds) / sizeof(kKinds[0]), kAll = kNumKinds, kNumCounts };
enum { kThreads = 64, kWrite = 64, kWritev = 66, kStdout = 1 };

// A thread adds to its own row, so none is lost; rows lie on their own cache lines.
static struct {
  uint64_t count[kNumCounts];
} __attribute__((aligned(128))) g_rows[kThreads];
static FILE* g_file;

static void OnRun(unsigned thread, void* data) {
  const uint16_t* const has = data;
  uint64_t* const count = g_rows[thread % kThreads].count;
  count[kAll] += has[kAll];
  for (int kind = 0; kind < kNumKinds; ++kind) count[kind] += has[kind];
}

// Blocks are translated once and run often; qemu keeps them, so what they hold is never freed.
static void OnTranslate(PluginId id, Block* block) {
  (void)id;
  uint16_t* const has = calloc(kNumCounts, sizeof(uint16_t));
  if (has == NULL) abort();
  const size_t instructions = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < instructions; ++i) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof(word));
    for (int kind = 0; kind < kNumKinds; ++kind) {
      has[kind] += (word & kKinds[kind].mask) == kKinds[kind].value;
    }
  }
  has[kAll] = instructions;
  qemu_plugin_register_vcpu_tb_exec_cb(block, OnRun, 0, has);
}

static void OnSystemCall(PluginId id, unsigned thread, int64_t number, uint64_t file, uint64_t a2,
                         uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7,
                         uint64_t a8) {
  (void)id, (void)thread, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if ((number != kWrite && number != kWritev) || file != kStdout) return;
  for (int kind = kNumCounts - 1; kind >= 0; --kind) {
    uint64_t sum = 0;
    for (int row = 0; row < kThreads; ++row) sum += g_rows[row].count[kind];
    fprintf(g_file, "%s %llu ", kind == kAll ? "all" : kKinds[kind].name, (unsigned long long)sum);
  }
  fputc('\n', g_file);
  fflush(g_file);
}

EXPORT int qemu_plugin_install(PluginId id, const void* info, int argc, char** argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) return -1;
  g_file = fopen(argv[0] + 4, "w");
  if (g_file == NULL) return -1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, OnTranslate);
  qemu_plugin_register_vcpu_syscall_cb(id, OnSystemCall);
  return 0;
}
