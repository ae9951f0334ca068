/* What differs between operating systems: mapping files, clocks, cores, memory.
 * os_linux.c and os_macos.c have the same functions; the Makefile picks one. */
#ifndef HOLDFAST_BASE_OS_H
#define HOLDFAST_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A file mapped read-only and shared. Offsets are bytes. */
struct os_map {
    const unsigned char *data;
    size_t len;
};
/* Refuses directories, devices and empty files. The mapping outlives the file descriptor. */
bool os_map_open(struct os_map *m, const char *path, struct err *e);
void os_map_close(struct os_map *m);
/* Tells the system that the whole range will be read soon (true) or in no order (false). */
void os_map_advise(const struct os_map *m, bool will_need);
void os_advise_huge(void *p, size_t len);

uint64_t os_now_ns(void);       /* monotonic */
int os_physical_cores(void);    /* cores this process may run on, SMT siblings counted once */
uint64_t os_memory_total(void); /* bytes, the cgroup's limit included */
uint64_t os_memory_available(void);
uint64_t os_memory_resident(void); /* of this process */
void os_pin_thread(int core);
void os_background_thread(void); /* the calling thread gives way to the others */

#endif
