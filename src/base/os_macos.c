/* macOS: mmap, clocks, sysctl. The same doors as os_linux.c. */
#include "base/os.h"

#include <pthread.h>
#include <errno.h>
#include <fcntl.h>
#include <mach/mach.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
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
    (void)p;
    (void)len;
}

uint64_t os_now_ns(void) {
    return clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
}

static uint64_t number(const char *name, uint64_t none) {
    uint64_t v = 0;
    size_t len = sizeof v;
    return sysctlbyname(name, &v, &len, NULL, 0) == 0 ? v : none;
}

int os_physical_cores(void) {
    uint64_t fast = number("hw.perflevel0.physicalcpu", 0);
    return (int)(fast ? fast : number("hw.physicalcpu", 1));
}

uint64_t os_memory_total(void) {
    return number("hw.memsize", 0);
}

uint64_t os_memory_available(void) {
    vm_statistics64_data_t vm;
    mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&vm, &n)) return 0;
    return ((uint64_t)vm.free_count + vm.inactive_count) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t os_memory_resident(void) {
    struct mach_task_basic_info info;
    mach_msg_type_number_t n = MACH_TASK_BASIC_INFO_COUNT;
    if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &n)) return 0;
    return info.resident_size;
}

void os_pin_thread(int core) {
    (void)core;
}

void os_background_thread(void) {
    pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
}
