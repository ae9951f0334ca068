/* Element-wise kernels: the scalar level, which defines the bits. */
#include "kern/levels.h"

#define ELEM_FILL kern_elem_scalar
#include "kern/elem_tmpl.h"
