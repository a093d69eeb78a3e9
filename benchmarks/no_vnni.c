/* A processor without AVX-512, VNNI and AMX, for one process: preload this library and CPUID says so.
 *
 * ONNX Runtime chooses its kernels by asking CPUID. Linux lets a process make that instruction fault
 * (arch_prctl(ARCH_CPUID, 0), on processors with the flag cpuid_fault); the fault arrives here as SIGSEGV,
 * we run the instruction in its place and strike the features out. What is left is an AVX2 processor, so the
 * kernels that run are the ones an ordinary desktop of before 2021 runs. The clock and the caches stay this
 * machine's, so compare what is measured under it only with other figures measured under it.
 *
 *     cc -O2 -shared -fPIC -o no_vnni.so no_vnni.c && LD_PRELOAD=./no_vnni.so python ...
 *
 * The setting belongs to the thread; those started later inherit it, and exec drops it, where the preloaded
 * constructor sets it again. A program that installs a SIGSEGV handler of its own (Python's faulthandler)
 * must not be measured with it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "only Linux on x86-64 can make CPUID fault"
#endif

#define ARCH_CPUID 0x1012
#define BIT(n) (1u << (n))

static const uint32_t leaf_7_0_ebx =
    BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31); /* AVX512 F DQ IFMA PF ER CD BW VL */
static const uint32_t leaf_7_0_ecx =
    BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14); /* AVX512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
static const uint32_t leaf_7_0_edx = BIT(2) | BIT(3) | BIT(8) /* AVX512 4VNNIW, 4FMAPS, VP2INTERSECT */
                                     | BIT(22) | BIT(24) | BIT(25) /* AMX BF16, TILE, INT8 */
                                     | BIT(23); /* AVX512 FP16 */
static const uint32_t leaf_7_1_eax = BIT(4) | BIT(5) | BIT(21) | BIT(23); /* AVX VNNI, AVX512 BF16, AMX FP16, AVX IFMA */
static const uint32_t leaf_7_1_edx =
    BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19); /* AVX VNNI INT8, NE CONVERT, AMX COMPLEX, AVX VNNI INT16, AVX10 */

static long allow_cpuid(int allowed) { return syscall(SYS_arch_prctl, ARCH_CPUID, allowed); }

static void say(const char *text) {
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *instruction = (const uint8_t *)registers[REG_RIP];
    /* A jump to nowhere has no instruction to read: its address is the one that faulted. */
    if (info->si_addr == (void *)instruction || instruction[0] != 0x0F || instruction[1] != 0xA2) {
        signal(signal_number, SIG_DFL); /* a fault of the program's own: let it happen again, and end it */
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX];
    uint32_t eax, ebx, ecx, edx;
    allow_cpuid(1);
    __asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(leaf), "c"(subleaf));
    allow_cpuid(0);
    if (leaf == 7 && subleaf == 0) {
        ebx &= ~leaf_7_0_ebx;
        ecx &= ~leaf_7_0_ecx;
        edx &= ~leaf_7_0_edx;
    } else if (leaf == 7 && subleaf == 1) {
        eax &= ~leaf_7_1_eax;
        edx &= ~leaf_7_1_edx;
    }
    registers[REG_RAX] = eax;
    registers[REG_RBX] = ebx;
    registers[REG_RCX] = ecx;
    registers[REG_RDX] = edx;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    if (sigaction(SIGSEGV, &action, NULL) != 0 || allow_cpuid(0) != 0) {
        say("no_vnni: this kernel or processor cannot make CPUID fault; see the flag cpuid_fault in /proc/cpuinfo\n");
        _exit(78);
    }
}
