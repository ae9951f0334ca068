/* Element-wise kernels: the scalar level, which defines the bits. */
#include "kern/elem.h"

#define ELEM_FILL kern_elem_scalar
#include "kern/elem_tmpl.h"
