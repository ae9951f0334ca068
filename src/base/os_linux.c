/* Linux: mmap, clocks, /proc. Owns nothing; any thread. */
#define _GNU_SOURCE
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool os_map_open(struct os_map *m, const char *path, struct err *e) {
    *m = (struct os_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return err_set(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) != 0) {
        err_set(e, ERR_IO, "cannot stat %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        err_set(e, ERR_IO, "%s is not a regular file", path);
    } else if (st.st_size <= 0) {
        err_set(e, ERR_FORMAT, "%s is empty", path);
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            err_set(e, ERR_IO, "cannot map %s: %s", path, strerror(errno));
        } else {
            *m = (struct os_map){p, (size_t)st.st_size};
            ok = true;
        }
    }
    close(fd);
    return ok;
}

void os_map_close(struct os_map *m) {
    if (m->data) munmap((void *)(uintptr_t)m->data, m->len);
    *m = (struct os_map){0};
}

void os_map_advise(const struct os_map *m, bool will_need) {
    madvise((void *)(uintptr_t)m->data, m->len, will_need ? MADV_WILLNEED : MADV_RANDOM);
}

void os_advise_huge(void *p, size_t len) {
    madvise(p, len, MADV_HUGEPAGE);
}

uint64_t os_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The first number in a small file, or `none`. */
static uint64_t read_number(const char *path, uint64_t none) {
    FILE *f = fopen(path, "re");
    if (!f) return none;
    uint64_t v;
    if (fscanf(f, "%" SCNu64, &v) != 1) v = none;
    fclose(f);
    return v;
}

int os_physical_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set)) continue;
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        uint64_t first = read_number(path, (uint64_t)cpu);
        n += first == (uint64_t)cpu || first >= CPU_SETSIZE || !CPU_ISSET((size_t)first, &set);
    }
    return n ? n : 1;
}

static uint64_t meminfo(const char *key) {
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f) return 0;
    char line[128];
    uint64_t kib = 0;
    size_t n = strlen(key);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) == 0 && sscanf(line + n, ": %" SCNu64, &kib) == 1) break;
    }
    fclose(f);
    return kib * 1024;
}

uint64_t os_memory_total(void) {
    uint64_t total = meminfo("MemTotal"),
             cap = read_number("/sys/fs/cgroup/memory.max", UINT64_MAX);
    return cap < total ? cap : total;
}

uint64_t os_memory_available(void) {
    uint64_t avail = meminfo("MemAvailable");
    uint64_t cap = read_number("/sys/fs/cgroup/memory.max", UINT64_MAX);
    uint64_t used = read_number("/sys/fs/cgroup/memory.current", 0);
    if (cap != UINT64_MAX && cap - (used < cap ? used : cap) < avail) avail = cap - used;
    return avail;
}

uint64_t os_memory_resident(void) {
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    uint64_t size, resident = 0;
    if (fscanf(f, "%" SCNu64 " %" SCNu64, &size, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void os_pin_thread(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

void os_background_thread(void) {
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
}
