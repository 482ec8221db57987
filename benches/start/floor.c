/* The floor: makes each sandbox of the benchmark with nothing but the calls it takes, and no library.
 *
 *   floor WORK BINDS UID COMMAND...   step1, step2, step3, step4 or full, as the recipe of that name says it;
 *                                     paths as there, from the directory it is started in
 *   floor look                        prints what a sandbox is, for the comparison before anything is timed
 *   floor peak COMMAND...             runs a command; prints the most memory it or a child of it had, in KiB
 *
 * The child borrows this program's memory until it executes its command, as `apply`'s does where it can. */
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define DETACH 2
#define READ_ONLY_BIND (MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)

typedef long word;

static word raw(word number, word a, word b, word c, word d, word e) {
#if defined(__x86_64__)
    register word r10 __asm__("r10") = d, r8 __asm__("r8") = e;
    word result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register word x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#endif
}

static size_t length(const char *text) {
    size_t count = 0;
    while (text[count]) count++;
    return count;
}

static char *join(char *end, const char *text) {
    while ((*end = *text)) end++, text++;
    return end;
}

static char *decimal(char *end, unsigned long number) {
    char digits[24];
    int count = 0;
    do digits[count++] = '0' + number % 10; while (number /= 10);
    while (count) *end++ = digits[--count];
    *end = 0;
    return end;
}

static unsigned long number_of(const char *text) {
    unsigned long number = 0;
    for (; *text; text++) number = number * 10 + (*text - '0');
    return number;
}

static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static void say(int fd, const char *text) { raw(__NR_write, fd, (word)text, length(text), 0, 0); }

static word must(const char *name, word result) {
    if (result >= 0) return result;
    char text[64], *end = join(text, name);
    join(decimal(join(end, ": errno "), -result), "\n");
    say(2, text);
    raw(__NR_exit_group, 125, 0, 0, 0, 0);
    return result;
}

#define ASK_(name, a, b, c, d, e, ...) must(#name, raw(__NR_##name, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e)))
#define ASK(name, ...) ASK_(name, __VA_ARGS__, 0, 0, 0, 0, 0)

static void map(const char *file, const char *text) {
    word fd = ASK(openat, AT_FDCWD, file, O_WRONLY | O_CLOEXEC);
    ASK(write, fd, text, length(text));
    ASK(close, fd);
}

static void maps(const char *uid) {
    char text[64];
    join(join(join(text, "0 "), uid), " 1\n");
    map("/proc/self/setgroups", "deny");
    map("/proc/self/uid_map", text);
    map("/proc/self/gid_map", text);
}

static void mount(const char *from, const char *at, const char *type, word flags, const char *data) {
    ASK(mount, from, at, type, flags, data);
}

static void make(const char *directory, int mode) { ASK(mkdirat, AT_FDCWD, directory, mode); }

static void link_to(const char *target, const char *at) { ASK(symlinkat, target, AT_FDCWD, at); }

static void see(const char *from, const char *at) {
    mount(from, at, 0, MS_BIND, 0);
    mount(0, at, 0, READ_ONLY_BIND, 0);
}

static void proc_at(const char *at) { mount("proc", at, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0); }

static void enter(const char *root) {
    ASK(chdir, root);
    ASK(pivot_root, ".", ".");
    ASK(umount2, ".", DETACH);
    ASK(chdir, "/");
}

static void devices(void) {
    static const char *const names[] = {"null", "zero", "full", "random", "urandom", "tty"};
    make("merged/dev", 0755);
    mount("tmpfs", "merged/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755");
    for (int i = 0; i < 6; i++) {
        char from[32], at[32];
        join(join(from, "/dev/"), names[i]);
        join(join(at, "merged/dev/"), names[i]);
        ASK(mknodat, AT_FDCWD, at, 0100000 | 0666, 0);
        mount(from, at, 0, MS_BIND, 0);
    }
    make("merged/dev/pts", 0755);
    mount("devpts", "merged/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
    make("merged/dev/shm", 01777);
    mount("tmpfs", "merged/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777");
    link_to("pts/ptmx", "merged/dev/ptmx");
    link_to("/proc/self/fd", "merged/dev/fd");
    link_to("/proc/self/fd/0", "merged/dev/stdin");
    link_to("/proc/self/fd/1", "merged/dev/stdout");
    link_to("/proc/self/fd/2", "merged/dev/stderr");
}

static void whole_root(unsigned long binds) {
    static const char *const names[] = {"usr", "etc", "bin",  "lib",  "lib64", "sbin",
                                        "opt", "var", "srv", "home", "root",  "media"};
    mount("tmpfs", "merged", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
    for (int i = 0; i < 12; i++) {
        char from[32], at[32];
        join(join(from, "lower/"), names[i]);
        join(join(at, "merged/"), names[i]);
        make(at, 0755);
        see(from, at);
    }
    if (binds) make("merged/binds", 0755);
    for (unsigned long i = 0; i < binds; i++) {
        char from[64], at[64];
        decimal(join(from, "binds/"), i);
        decimal(join(at, "merged/binds/"), i);
        make(at, 0755);
        see(from, at);
    }
    make("merged/proc", 0755);
    proc_at("merged/proc");
    make("merged/tmp", 0755);
    mount("tmpfs", "merged/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
    devices();
    enter("merged");
}

static void loopback(void) {
    struct ifreq request = {.ifr_name = "lo"};
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    word fd = ASK(socket, 1, 2 | O_CLOEXEC, 0);
    ASK(ioctl, fd, SIOCSIFFLAGS, &request);
    ASK(close, fd);
}

static void drop_rights(void) {
    for (int which = 0; which <= CAP_LAST_CAP; which++) ASK(prctl, PR_CAPBSET_DROP, which);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    ASK(capset, &head, none);
}

/* One comparison a call: for so few, no tree is faster to load. */
static void filter(void) {
    static const int denied[] = {__NR_ptrace,        __NR_umount2,     __NR_swapon,        __NR_reboot,
                                 __NR_sethostname,   __NR_setdomainname, __NR_init_module, __NR_delete_module,
                                 __NR_quotactl,      __NR_kexec_load,  __NR_add_key,       __NR_request_key,
                                 __NR_keyctl,        __NR_unshare,     __NR_setns,         __NR_mount,
                                 __NR_pivot_root,    __NR_perf_event_open, __NR_open_by_handle_at, __NR_finit_module,
                                 __NR_bpf,           __NR_kexec_file_load, __NR_acct,      __NR_settimeofday};
    enum { COUNT = sizeof denied / sizeof *denied };
    struct sock_filter code[COUNT + 6], *next = code;
#if defined(__x86_64__)
    const unsigned machine = AUDIT_ARCH_X86_64;
#else
    const unsigned machine = AUDIT_ARCH_AARCH64;
#endif
    *next++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, machine, 0, COUNT + 2);
    *next++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < COUNT; i++)
        *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denied[i], COUNT - i, 0);
    *next++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    *next++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    *next++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1);
    struct sock_fprog program = {next - code, code};
    ASK(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void become(int work, unsigned long binds, const char *uid, char **command, char **environment) {
    maps(uid);
    if (work >= 2) ASK(sethostname, "sandbox", 7);
    if (work >= 3) mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
    if (work == 3) proc_at("/proc");
    if (work == 4) {
        mount("overlay", "merged", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work,userxattr");
        proc_at("merged/proc");
        enter("merged");
    }
    if (work == 5) {
        loopback();
        whole_root(binds);
        drop_rights();
    }
    ASK(prctl, PR_SET_NO_NEW_PRIVS, 1);
    if (work == 5) filter();
    ASK(execve, command[0], command, environment);
}

static word born(word flags) {
    struct clone_args how = {.flags = flags | CLONE_VM | CLONE_VFORK, .exit_signal = 17};
    return ASK(clone3, &how, sizeof how);
}

static int status_of(word child, void *usage) {
    int status = 0;
    ASK(wait4, child, &status, 0, usage);
    return status & 127 ? 128 + (status & 127) : status >> 8 & 255;
}

static void copy_out(const char *file) {
    char text[4096];
    word fd = ASK(openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC), count;
    while ((count = ASK(read, fd, text, sizeof text)) > 0) ASK(write, 1, text, count);
    ASK(close, fd);
}

static int look(void) {
    static const char *const kinds[] = {"user", "uts", "ipc", "net", "cgroup", "time", "pid", "mnt"};
    char text[1024];
    for (int i = 0; i < 8; i++) {
        char file[64];
        join(join(file, "/proc/self/ns/"), kinds[i]);
        word count = ASK(readlinkat, AT_FDCWD, file, text, sizeof text - 1);
        text[count] = 0;
        say(1, "ns "), say(1, text), say(1, "\n");
    }
    ASK(uname, text);
    say(1, "hostname "), say(1, text + 65), say(1, "\n");
    copy_out("/proc/self/status");
    copy_out("/proc/self/mountinfo");
    return 0;
}

static int peak(char **command, char **environment) {
    struct { long times[4], peak, rest[13]; } usage;
    word child = born(0);
    if (!child) ASK(execve, command[0], command, environment);
    int status = status_of(child, &usage);
    char text[32];
    join(decimal(text, usage.peak), "\n");
    say(2, text);
    return status;
}

int begin(int count, char **words, char **environment) {
    static const word namespaces[] = {
        CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWUTS, CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS,
        CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWTIME};
    if (count >= 2 && same(words[1], "look")) return look();
    if (count >= 3 && same(words[1], "peak")) return peak(words + 2, environment);
    if (count < 5) return 2;
    int work = same(words[1], "full") ? 5 : words[1][4] - '0';
    unsigned long binds = number_of(words[2]);
    word child = born(namespaces[work > 3 ? 2 : work - 1] | (work == 5 ? namespaces[3] : 0));
    if (!child) become(work, binds, words[3], words + 4, environment);
    return status_of(child, 0);
}

/* What a compiler may call. */
void *memset(void *to, int byte, size_t count) {
    for (char *next = to; count; count--) *next++ = byte;
    return to;
}

void *memcpy(void *to, const void *from, size_t count) {
    const char *source = from;
    for (char *next = to; count; count--) *next++ = *source++;
    return to;
}

__attribute__((used, noreturn)) void start(word *stack) {
    char **words = (char **)(stack + 1);
    raw(__NR_exit_group, begin(*stack, words, words + *stack + 1), 0, 0, 0, 0);
    __builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29, #0\n mov x0, sp\n bl start\n");
#endif
